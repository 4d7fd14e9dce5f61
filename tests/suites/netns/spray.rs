//! Two gates with one address, and a switch that sends each packet of a client to the other one.

use std::{fs, os::unix::fs::PermissionsExt as _};

use anyhow::{Context as _, Result, ensure};
use aya::programs::XdpMode;
use sixgate_tests::{
    daemon::Daemon,
    gate::{self, Need},
    netns::Netns,
    site::{INTERFACE, OTHER, PEER, SENDER, Site},
    xdp_helper::{Pass, Spray},
};

#[test]
fn two_gates_with_one_key_hold_one_dialogue_packet_by_packet() {
    if !gate::require(NEEDS) {
        return;
    }
    for mode in [XdpMode::Skb, XdpMode::Driver] {
        let gates = Gates::new(mode, [KEY, KEY]);
        for number in 0..SESSIONS {
            gates.play(number).unwrap();
        }
        // each gate had a part of each kind, and neither the daemon
        for name in ["answer_syn", "answer_greeting", "answer_reply", "also_resumed"] {
            let [one, other] = gates.both(name);
            assert!(one > 0 && other > 0, "{mode:?}: {name}: {one} and {other}");
        }
        let greeted: u64 = gates.both("answer_greeting").iter().sum();
        assert!(greeted >= SESSIONS, "{mode:?}: {greeted}");
        assert_eq!(gates.both("tag_not_opted_in"), [0, 0], "{mode:?}");
        gates.stop();
    }
}

#[test]
fn two_gates_with_different_keys_do_not() {
    if !gate::require(NEEDS) {
        return;
    }
    for mode in [XdpMode::Skb, XdpMode::Driver] {
        let gates = Gates::new(mode, [KEY, OTHER_KEY]);
        for number in 0..SESSIONS {
            assert!(gates.play(number).is_err(), "{mode:?}: session {number}");
        }
        // each SYN was answered; what follows at the other gate goes to its host, which resets it
        for name in ["answer_syn", "pass_segment"] {
            let count: u64 = gates.both(name).iter().sum();
            assert!(count >= SESSIONS, "{mode:?}: {name}: {count}");
        }
        assert_eq!(gates.both("also_resumed"), [0, 0], "{mode:?}");
        gates.stop();
    }
}

/// Two gates with the same addresses behind a switch, and a client before it.
struct Gates {
    sites: [Site; 2],
    daemons: [Daemon; 2],
    _spray: Spray,
    _pass: Option<Pass>,
    _switch: Netns,
}

impl Gates {
    fn new(mode: XdpMode, keys: [&str; 2]) -> Self {
        let switch = Netns::new().unwrap();
        let first = joined(mode, keys[0], |gate, outside| {
            gate.join(INTERFACE, &switch, "gate1")?;
            outside.join(PEER, &switch, "client")
        });
        let second = joined(mode, keys[1], |gate, outside| {
            gate.join(INTERFACE, &switch, "gate2")?;
            // nothing is sent from there
            outside.join(PEER, &switch, "unused")
        });
        let spray = Spray::attach(&switch, ["client", "gate1", "gate2"], mode).unwrap();
        let native = matches!(mode, XdpMode::Driver);
        let pass = native.then(|| Pass::attach(&first.outside, PEER, mode).unwrap());
        // the switch is another host: checksums are complete there
        first.outside.tool("ethtool", &format!("-K {PEER} tx off")).unwrap();
        for site in [&first, &second] {
            site.gate.tool("ethtool", &format!("-K {INTERFACE} tx off")).unwrap();
        }
        first.outside.ip(&format!("link set {PEER} address {CLIENT_MAC}")).unwrap();
        // the switch would send one's answer to the other's question
        first.outside.ip(&neighbour(OTHER, MAC, PEER)).unwrap();
        let sites = [first, second];
        for site in &sites {
            site.gate.ip(&neighbour("fe80::51", CLIENT_MAC, INTERFACE)).unwrap();
        }
        let daemons = sites.each_ref().map(|site| site.serve(&[]));
        Self { sites, daemons, _spray: spray, _pass: pass, _switch: switch }
    }

    /// A whole session.
    fn play(&self, number: u64) -> Result<()> {
        let mut client = self.sites[0].try_connect(SENDER, OTHER)?;
        ensure!(client.reply()?.code == 220, "another greeting");
        // an odd number of packets, so that the next session begins at the other gate
        for (line, code) in DIALOGUE.iter().skip((number % 2) as usize) {
            let reply = client.say(line).with_context(|| format!("session {number}, {line}"))?;
            ensure!(reply.code == *code, "session {number}, {line}: {}", reply.last());
        }
        client.closed()
    }

    fn both(&self, name: &str) -> [u64; 2] {
        self.sites.each_ref().map(|site| site.counter(name))
    }

    fn stop(self) {
        self.daemons.into_iter().for_each(|daemon| drop(daemon.stop().unwrap()));
    }
}

/// A gate that answers in the kernel, with that key and the common Ethernet address.
fn joined(mode: XdpMode, key: &str, join: impl FnOnce(&Netns, &Netns) -> Result<()>) -> Site {
    let site = Site::joined_by("", "", join);
    site.gate.ip(&format!("link set {INTERFACE} address {MAC}")).unwrap();
    let file = site.folder().join("cookie.key");
    fs::write(&file, key).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let mode = if matches!(mode, XdpMode::Driver) { "native" } else { "generic" };
    site.configured(&format!(
        "answer = \"kernel\"\nxdp.interfaces = [\"{INTERFACE}\"]\nxdp.mode = \"{mode}\"\nxdp.cookie_key = {file:?}"
    ))
}

fn neighbour(address: &str, mac: &str, interface: &str) -> String {
    format!("neighbour replace {address} lladdr {mac} dev {interface} nud permanent")
}

const NEEDS: &[Need] = &[Need::Root, Need::Bpffs, Need::Xdp, Need::Program("ethtool")];
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
const CLIENT_MAC: &str = "02:00:00:00:51:04";
const KEY: &str = "000102030405060708090a0b0c0d0e0f\n";
const OTHER_KEY: &str = "100102030405060708090a0b0c0d0e0f\n";
