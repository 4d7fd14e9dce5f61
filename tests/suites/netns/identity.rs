//! An attached interface that is renamed, deleted, detached by others or moved while the daemon
//! runs. The daemon logs it, does about it what can be done, and `status` reports the state.

use std::{fs, process::Command};

use sixgate_dataplane::Pins;
use sixgate_tests::{
    daemon::Daemon,
    netns::Netns,
    site::{GATE, INTERFACE, OTHER, PEER, SENDER, Site},
    timeouts::wait_until,
};

use crate::{can_run, site};

/// Exit code and all that `status` printed.
fn status(site: &Site) -> (Option<i32>, String) {
    site.ran("status")
}

/// Waits for the line; then the daemon has done what the line reports, and `status` has this exit
/// code and this text.
#[track_caller]
fn expect(site: &Site, daemon: &Daemon, line: &str, code: i32, words: &[&str]) {
    daemon.wait_for_log(line).unwrap();
    let (ended, text) = status(site);
    assert_eq!(ended, Some(code), "{text}");
    assert!(words.iter().all(|words| text.contains(words)), "{words:?} in\n{text}");
    for untrue in ["another XDP program", "gate0 is in another network namespace", "runs in another"] {
        assert!(!text.contains(untrue) || words.contains(&untrue), "{text}");
    }
}

/// All is as it should be, once the maps follow the addresses.
#[track_caller]
fn is_good(site: &Site) {
    let looks = (0..50).map(|_| status(site)).find(|(code, _)| *code == Some(0));
    assert!(looks.is_some(), "{}", status(site).1);
}

/// The gate's program refuses the sender at a destination that has not opted in.
#[track_caller]
fn refuses(site: &Site) {
    let before = site.counter("tag_not_opted_in");
    assert_eq!(site.connect(SENDER, OTHER).reply().unwrap().code, 220);
    assert_eq!(site.counter("tag_not_opted_in"), before + 1, "the program was to see it");
}

/// The number of the link on an interface: its pin has it in its name.
fn link_of(site: &Site, interface: &str) -> String {
    let links = fs::read_dir(Pins::new(&site.pins()).directory().join("links")).unwrap();
    let names = links.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let of_interface = |name: String| Some(name.strip_suffix(&format!("-{interface}"))?.to_owned());
    let link = names.filter_map(of_interface).next();
    link.unwrap_or_else(|| panic!("no link of {interface}"))
}

fn detach_link(id: &str) {
    let done = Command::new("bpftool").args(["link", "detach", "id", id]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn a_renamed_interface_is_still_ours() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    site.gate.ip(&format!("link set {INTERFACE} name wan0")).unwrap();
    let renamed = "gate0 was renamed to wan0: the XDP program stays attached";
    expect(&site, &daemon, renamed, 0, &["interface  wan0: ", "no interface is called gate0 any more"]);
    assert_eq!(site.sixgate("guard list").lines().count(), 2, "its addresses are guarded");
    site.gate.ip("link set wan0 up").unwrap();
    refuses(&site);
    assert_eq!(site.sixgate("detach --iface wan0"), "wan0: detached\n");
    assert!(!site.gate.ip("link show wan0").unwrap().contains("xdp"));
    let (_, text) = status(&site);
    assert!(text.contains("no network interface named \"gate0\""), "{text}");
}

#[test]
fn two_interfaces_that_swap_their_names_stay_what_they_are() {
    if !can_run() {
        return;
    }
    let (site, daemon, _beside) = two_interfaces();
    let index = |name: &str| -> String {
        site.gate.ip(&format!("-o link show {name}")).unwrap().split(':').next().unwrap().to_owned()
    };
    let (first, second) = (index(INTERFACE), index("gate1"));
    for (from, to) in [(INTERFACE, "aside0"), ("gate1", INTERFACE), ("aside0", "gate1")] {
        site.gate.ip(&format!("link set {from} name {to}")).unwrap();
    }
    assert_eq!((index("gate1"), index(INTERFACE)), (first, second));
    daemon.wait_for_log("was renamed to").unwrap();
    let (code, text) = status(&site);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("interface  gate0: ") && text.contains("interface  gate1: "), "{text}");
    assert_eq!(site.sixgate("guard list").lines().count(), 2, "{}", site.sixgate("guard list"));
    site.sixgate("detach --iface gate1");
    assert!(!site.gate.ip("link show gate1").unwrap().contains("xdp"));
    assert!(site.gate.ip("link show gate0").unwrap().contains("xdp"));
}

/// A site whose gate has another interface, `gate1`; the configuration names both.
fn two_interfaces() -> (Site, Daemon, Netns) {
    let site = Site::new(crate::ZONE, "answer = \"daemon\"")
        .configured(&format!("xdp.interfaces = [\"{INTERFACE}\", \"gate1\"]"));
    let beside = Netns::new().unwrap();
    site.gate.join("gate1", &beside, "outside1").unwrap();
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    let daemon = site.serve(&[]);
    (site, daemon, beside)
}

#[test]
fn an_interface_is_found_by_an_alternative_name() {
    if !can_run() {
        return;
    }
    const ALTNAME: &str = "enp3s0f0np0-a-long-alternative-name";
    let site = Site::new(crate::ZONE, "answer = \"daemon\"")
        .configured(&format!("xdp.interfaces = [\"{ALTNAME}\"]"));
    site.gate.ip(&format!("link property add dev {INTERFACE} altname {ALTNAME}")).unwrap();
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    let daemon = site.serve(&[]);
    daemon.wait_for_log("gate0: attached").unwrap();
    let (code, text) = status(&site);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("interface  gate0: "), "{text}");
    refuses(&site);
    assert_eq!(site.sixgate(&format!("detach --iface {ALTNAME}")), "gate0: detached\n");
    assert!(site.sixgate(&format!("attach --iface {ALTNAME}")).starts_with("gate0: attached"));
}

#[test]
fn an_interface_that_is_deleted_and_made_again_is_attached_again() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    site.gate.ip(&format!("link delete {INTERFACE}")).unwrap();
    let deleted = "gate0 was deleted: the daemon attaches it again when it is back";
    expect(&site, &daemon, deleted, 1, &["no network interface named \"gate0\""]);
    site.gate.join(INTERFACE, &site.outside, PEER).unwrap();
    wait_for_lines(&daemon, "gate0: attached", 2);
    site.restore();
    is_good(&site);
    refuses(&site);
}

#[test]
fn a_link_that_another_program_detached_is_attached_again() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    for round in 1..=2 {
        detach_link(&link_of(&site, INTERFACE));
        wait_for_lines(
            &daemon,
            "another program detached the XDP link of gate0: the daemon attaches it again",
            round,
        );
        wait_for_lines(&daemon, "gate0: attached", round + 1);
        is_good(&site);
        refuses(&site);
    }
    // without the daemon, status reports the problem
    drop(daemon);
    detach_link(&link_of(&site, INTERFACE));
    let (code, text) = status(&site);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("the XDP program is not attached to gate0"), "{text}");
    assert!(site.sixgate("attach").starts_with("gate0: attached"));
    let (_, text) = status(&site);
    assert!(text.contains("interface  gate0: native") && !text.contains("not attached"), "{text}");
}

#[test]
fn pins_that_are_removed_are_made_again() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    for pin in fs::read_dir(Pins::new(&site.pins()).directory().join("links")).unwrap() {
        fs::remove_file(pin.unwrap().path()).unwrap();
    }
    daemon
        .wait_for_log("the pin of the XDP link of gate0 was removed: the daemon attaches it again")
        .unwrap();
    wait_for_lines(&daemon, "gate0: attached", 2);
    is_good(&site);
    refuses(&site);
    fs::remove_dir_all(site.pins()).unwrap();
    wait_for_lines(&daemon, "gate0: attached", 3);
    is_good(&site);
    wait_for_lines(&daemon, "its maps are in use", 1);
    refuses(&site);
}

#[test]
fn where_the_pin_of_one_map_is_removed_all_of_it_is_made_again() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    fs::remove_file(Pins::new(&site.pins()).directory().join("PARTIAL_LINES")).unwrap();
    daemon
        .wait_for_log("the pin of the map PARTIAL_LINES was removed: the daemon makes the maps anew")
        .unwrap();
    wait_for_lines(&daemon, "gate0: attached", 2);
    is_good(&site);
    refuses(&site);
    site.sixgate("optin add 2001:db8:77::77");
    is_good(&site);
    assert!(!daemon.log().contains("another XDP program"), "{}", daemon.log());
}

#[test]
fn an_interface_that_moves_to_another_network_namespace_is_let_go() {
    if !can_run() {
        return;
    }
    let (site, daemon, _beside) = two_interfaces();
    let elsewhere = Netns::new().unwrap();
    let path = elsewhere.path();
    site.gate.ip(&format!("link set gate1 netns {path}")).unwrap();
    daemon.wait_for_log("gate1 was moved to another network namespace: the daemon detaches").unwrap();
    expect(&site, &daemon, "no network interface named \"gate1\"", 1, &["\"gate1\"", "interface  gate0: "]);
    assert!(!elsewhere.ip("link show gate1").unwrap().contains("xdp"));
    refuses(&site);
    elsewhere.ip(&format!("link set gate1 netns {}", site.gate.path())).unwrap();
    wait_for_lines(&daemon, "gate1: attached", 2);
    is_good(&site);
}

#[test]
fn what_a_command_detached_stays_so_until_a_command_or_the_next_start() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    assert_eq!(site.sixgate("detach"), "gate0: detached\n");
    daemon.wait_for_log("gate0 was detached by a command: the daemon does not attach it again").unwrap();
    // an event and a poll later it is still so
    site.gate.ip(&format!("link set {INTERFACE} mtu 1400")).unwrap();
    site.gate.ip(&format!("link set {INTERFACE} name wan0")).unwrap();
    daemon.wait_for_log("no network interface named \"gate0\"").unwrap();
    site.gate.ip(&format!("link set wan0 name {INTERFACE}")).unwrap();
    let (code, text) = status(&site);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("gate0 was detached by a command"), "{text}");
    assert!(!site.gate.ip(&format!("link show {INTERFACE}")).unwrap().contains("xdp"));
    assert!(site.sixgate("attach").starts_with("gate0: attached"));
    // the daemon has seen that
    wait_for_lines(&daemon, "its maps are in use", 2);
    detach_link(&link_of(&site, INTERFACE));
    daemon.wait_for_log("another program detached the XDP link of gate0").unwrap();
    is_good(&site);
    site.sixgate("detach");
    daemon.stop().unwrap();
    let daemon = site.serve(&[]);
    daemon.wait_for_log("gate0: attached").unwrap();
    is_good(&site);
}

#[test]
fn down_and_up_and_another_mtu_change_nothing() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("");
    let before = link_of(&site, INTERFACE);
    for change in ["mtu 1280", "mtu 1500", "down", "up"] {
        site.gate.ip(&format!("link set {INTERFACE} {change}")).unwrap();
    }
    site.restore();
    is_good(&site);
    refuses(&site);
    assert_eq!(link_of(&site, INTERFACE), before);
    is_good(&site);
}

#[test]
fn another_mac_address_is_taken_over() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("");
    refuses(&site);
    site.gate.ip(&format!("link set {INTERFACE} address 02:00:00:00:25:25")).unwrap();
    site.outside.ip(&format!("-6 neigh flush dev {PEER}")).unwrap();
    site.restore();
    // until the daemon has seen it, the program passes frames on
    let is_taken = || {
        let before = site.counter("tag_not_opted_in");
        site.connect(SENDER, OTHER).reply().unwrap();
        site.counter("tag_not_opted_in") > before
    };
    wait_until("a frame to the new address is taken", is_taken);
}

/// Waits until that many lines of the log contain the text.
#[track_caller]
fn wait_for_lines(daemon: &Daemon, text: &str, count: usize) {
    daemon.wait_for_lines(text, count).unwrap();
}
