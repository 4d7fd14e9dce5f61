//! Two interfaces: one set of maps, one verdict, on either of them.

use std::net::SocketAddrV6;

use sixgate_tests::{
    client::Client,
    netns::Netns,
    site::{GATE, INTERFACE, OTHER, SENDER, Site},
};

use crate::{ZONE, can_run};

const SECOND: &str = "gate1";
const SECOND_GATE: &str = "2001:db8:26::25";
const SECOND_SENDER: &str = "2001:db8:26::4";

#[test]
fn both_interfaces_have_the_program_and_the_same_maps() {
    if !can_run() {
        return;
    }
    let settings = format!("answer = \"daemon\"\nxdp.interfaces = [\"{INTERFACE}\", \"{SECOND}\"]");
    let site = Site::new(ZONE, &settings);
    let beside = Netns::new().unwrap();
    site.gate.join(SECOND, &beside, "outside0").unwrap();
    site.gate.add_address(SECOND, format!("{SECOND_GATE}/64").parse().unwrap()).unwrap();
    beside.add_address("outside0", format!("{SECOND_SENDER}/64").parse().unwrap()).unwrap();
    site.sixgate(&format!("optin add {GATE}"));
    let _daemon = site.serve(&[]);
    let greeting = |destination: &str| {
        let address = |text: &str, port| SocketAddrV6::new(text.parse().unwrap(), port, 0, 0);
        let mut client =
            Client::connect(Some(&beside), address(SECOND_SENDER, 0), address(destination, 25)).unwrap();
        client.reply().unwrap().code
    };
    assert_eq!(greeting(SECOND_GATE), 220);
    assert_eq!(site.counter("tag_not_opted_in"), 1);
    site.connect(SENDER, OTHER).reply().unwrap();
    assert_eq!(site.counter("tag_not_opted_in"), 2);
    site.sixgate(&format!("optin add {SECOND_GATE}"));
    assert_eq!(greeting(SECOND_GATE), 220);
    assert_eq!(site.counter("pass_opted_in"), 1);

    site.sixgate(&format!("detach --iface {SECOND}"));
    assert_eq!(greeting(SECOND_GATE), 220);
    assert_eq!(site.counter("pass_opted_in"), 1, "the program was to be gone from {SECOND}");
    site.connect(SENDER, GATE).reply().unwrap();
    assert_eq!(site.counter("pass_opted_in"), 2, "and still on {INTERFACE}");
}
