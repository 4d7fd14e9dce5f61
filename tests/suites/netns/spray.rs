//! Two gates with one address and one key of cookies, and a switch that sends each packet of a
//! client to the other one.

use std::{fs, os::unix::fs::PermissionsExt as _};

use sixgate_tests::{
    daemon::Daemon,
    gate::{self, Need},
    netns::Netns,
    site::{INTERFACE, OTHER, PEER, SENDER, Site},
    xdp_helper::Spray,
};

#[test]
fn two_gates_with_one_key_hold_one_dialogue_packet_by_packet() {
    if !gate::require(&[Need::Root, Need::Bpffs, Need::Xdp, Need::Program("ethtool")]) {
        return;
    }
    let switch = Netns::new().unwrap();
    let (first, first_daemon) = joined(|gate, outside| {
        gate.join(INTERFACE, &switch, "gate1")?;
        outside.join(PEER, &switch, "client")
    });
    let (second, second_daemon) = joined(|gate, outside| {
        gate.join(INTERFACE, &switch, "gate2")?;
        // nothing is sent from there
        outside.join(PEER, &switch, "unused")
    });
    let _spray = Spray::attach(&switch, ["client", "gate1", "gate2"]).unwrap();
    // the switch is another host: checksums are complete there
    first.outside.tool("ethtool", &format!("-K {PEER} tx off")).unwrap();
    first.outside.ip(&format!("neighbour replace {OTHER} lladdr {MAC} dev {PEER} nud permanent")).unwrap();
    let both = |name: &str| [first.counter(name), second.counter(name)];

    for number in 0..SESSIONS {
        let mut client = first.connect(SENDER, OTHER);
        assert_eq!(client.reply().unwrap().code, 220);
        // an odd number of packets, so that the next session begins at the other gate
        for (line, code) in DIALOGUE.iter().skip((number % 2) as usize) {
            assert_eq!(client.say(line).unwrap().code, *code, "{line}");
        }
        client.closed().unwrap();
    }
    // each gate had a part of each kind, and neither the daemon
    for name in ["answer_syn", "answer_greeting", "answer_reply", "also_resumed"] {
        let [one, other] = both(name);
        assert!(one > 0 && other > 0, "{name}: {one} and {other}");
    }
    let greeted: u64 = both("answer_greeting").iter().sum();
    assert!(greeted >= SESSIONS, "{greeted}");
    assert_eq!(both("tag_not_opted_in"), [0, 0]);
    for daemon in [first_daemon, second_daemon] {
        daemon.stop().unwrap();
    }
}

/// A gate that answers in the kernel, with the common key and the common Ethernet address.
fn joined(join: impl FnOnce(&Netns, &Netns) -> anyhow::Result<()>) -> (Site, Daemon) {
    let site = Site::joined_by("", "", join);
    site.gate.ip(&format!("link set {INTERFACE} address {MAC}")).unwrap();
    let key = site.folder().join("cookie.key");
    fs::write(&key, KEY).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let site = site.configured(&format!(
        "answer = \"kernel\"\nxdp.interfaces = [\"{INTERFACE}\"]\nxdp.mode = \"generic\"\nxdp.cookie_key = {key:?}"
    ));
    let daemon = site.serve(&[]);
    (site, daemon)
}

/// Enough for each packet of a dialogue to go to each gate.
const SESSIONS: u64 = 12;
const DIALOGUE: &[(&str, u16)] = &[
    ("NOOP", 250),
    ("EHLO mail.sender.example", 250),
    ("MAIL FROM:<a@sender.example>", 250),
    ("RCPT TO:<user@contoso.com>", 550),
    ("NOOP", 250),
    ("RCPT TO:<other@contoso.com>", 550),
    ("QUIT", 221),
];
const MAC: &str = "02:00:00:00:25:99";
const KEY: &str = "000102030405060708090a0b0c0d0e0f\n";
