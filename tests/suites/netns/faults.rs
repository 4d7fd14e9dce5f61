//! DNS servers that lie, are dead or do not answer, and the reply that the sender gets then: never
//! that it has no PTR record.
//!
//! The suite `dialogs` has servers that answer with an error.

use sixgate_tests::{
    dns::{Liar, Lie},
    gate::{self, Need},
    settings,
    site::{GATE, SENDER, Site},
};
use tokio::runtime::Builder;

/// Where the liar listens, on the gate.
const LIAR: &str = "[::1]:5353";
/// An address without a listener.
const SILENT_RESOLVER: &str = "[::1]:5354";

#[test]
fn with_any_dns_answer_about_the_sender_may_come_back() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let site = site(LIAR);
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let liar = {
        let _inside = runtime.enter();
        let address = LIAR.parse().unwrap();
        let (udp, tcp) = (site.gate.udp(address).unwrap(), site.gate.listen(address).unwrap());
        Liar::serve_on(Lie::Silence, udp, tcp).unwrap()
    };
    let daemon = site.serve(&["--no-xdp"]);
    for (number, lie) in Lie::FATAL.into_iter().enumerate() {
        liar.tell(lie);
        // an address without an earlier query, in a network of its own
        let heard = site.rcpt(&format!("2001:db8:51:{number}::1"), GATE);
        assert_eq!(heard.last(), FAILURE, "{lie:?}");
    }
    liar.tell(Lie::ForgedBefore);
    assert_eq!(site.rcpt(SENDER, GATE).last(), "250 2.1.5 Recipient ok");
    daemon.stop().unwrap();
}

#[test]
fn a_dns_server_that_is_dead_is_a_failure_for_the_moment() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let site = site(SILENT_RESOLVER);
    let _daemon = site.serve(&["--no-xdp"]);
    assert_eq!(site.rcpt(SENDER, GATE).last(), FAILURE);
}

/// A site that asks the DNS server at `server`.
fn site(server: &str) -> Site {
    let settings = format!("dns.servers = [{server:?}]\n{}", settings::silent_dns());
    let site = Site::new("", &settings);
    site.route("2001:db8:51::/48");
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    site
}

const FAILURE: &str = "451 4.4.3 Temporary DNS failure, please try again later.";
