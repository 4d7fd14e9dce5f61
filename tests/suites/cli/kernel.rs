//! Who answers refused senders, and what the kernel's sessions look like from the command line.
//!
//! Tags and slots are made here; what the program makes of packets is tested elsewhere.

use std::{
    fs::{self, Permissions},
    io::Read as _,
    net::Ipv6Addr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use aya::{
    maps::{Array, HashMap, Map, MapData},
    programs::XdpMode,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use sixgate_common::{
    flow::{FlowKey, Tag},
    names,
    refuse::{Phase, REASON_NO_PTR, REASON_NOT_OPTED_IN},
    settings::{ANSWER_FALLBACK, ANSWER_KERNEL},
    slot::{FLAG_FIN_SENT, OPENED_SHIFT, Slot},
};
use sixgate_dataplane::{Maps, Pins, embedded_object, monotonic_nanoseconds};
use sixgate_tests::{
    bpffs::Bpffs,
    daemon::binary,
    gate::{self, Need},
    netns::Netns,
    xdp_helper::Pass,
};

use crate::installation::Installation;

const NEEDS: [Need; 4] = [Need::Root, Need::Bpffs, Need::Xdp, Need::Program("ip")];

/// A test folder with the interface `v0`, whose other end is `v1` of `peer`; the kernel is to
/// answer.
struct Host {
    place: Installation,
    bpffs: Bpffs,
    peer: Netns,
}

impl Host {
    fn new() -> Self {
        let (ours, peer) = (Netns::new().unwrap(), Netns::new().unwrap());
        ours.join("v0", &peer, "v1").unwrap();
        let bpffs = Bpffs::new().unwrap();
        let place = Installation::inside(ours, &bpffs.pins(), "");
        place.configure("answer = \"kernel\"\ndomains = \"all\"", &bpffs.pins(), "");
        place.done("optin add 2001:db8::25");
        place.done("guard add 2001:db8::/64");
        Self { place, bpffs, peer }
    }

    fn answer_in_force(&self) -> u32 {
        Maps::open(&Pins::new(&self.bpffs.pins())).unwrap().unwrap().settings().unwrap().answer
    }

    /// The answer of `status` about the responder: its name, the reason, the warnings.
    fn answering(&self) -> (Value, Value, Value) {
        let status = self.place.json("status");
        assert_eq!(status["answer_configured"], "kernel");
        (status["answer"].clone(), status["answer_fallback"].clone(), status["warnings"].clone())
    }

    fn map(&self, name: &str) -> Map {
        let data = MapData::from_pin(Pins::new(&self.bpffs.pins()).directory().join(name)).unwrap();
        Map::from_map_data(data).unwrap()
    }

    /// Puts a tag into FLOWS that was made at `opened`, in nanoseconds of CLOCK_MONOTONIC.
    fn put_tag(&self, sender: u16, opened: u64) {
        let mut flows: HashMap<MapData, FlowKey, Tag> = HashMap::try_from(self.map(names::FLOWS)).unwrap();
        let key = FlowKey {
            source: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, sender).octets(),
            destination: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x99).octets(),
            source_port: 40_000_u16.to_be_bytes(),
            destination_port: 25_u16.to_be_bytes(),
        };
        flows.insert(key, Tag::new(REASON_NO_PTR, opened), 0).unwrap();
    }

    /// Puts a session into SLOTS that began at `opened`, likewise; where does not matter to a list.
    fn put_session(&self, sender: u16, opened: u64, slot: Slot) {
        let mut slots: Array<MapData, Slot> = Array::try_from(self.map(names::SLOTS)).unwrap();
        let words = |address: Ipv6Addr| {
            let octets = address.octets();
            let (halves, _) = octets.as_chunks::<8>();
            [u64::from_ne_bytes(halves[0]), u64::from_ne_bytes(halves[1])]
        };
        let slot = Slot {
            source: words(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, sender)),
            destination: words(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x99)),
            source_port: 40_000_u16.to_be(),
            opened: (opened >> OPENED_SHIFT) as u32,
            ..slot
        };
        slots.set(sender.into(), slot, 0).unwrap();
    }
}

const PLAIN: &str = "v0: its peer runs no XDP program, answers would be lost";

#[test]
fn on_a_veth_whose_peer_has_no_program_the_kernel_answers_in_generic_mode() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::new();
    assert_eq!(
        host.place.done("attach --iface v0"),
        "v0: attached, generic mode (not native: its peer runs no XDP program, answers would be lost)\n"
    );
    assert_eq!(host.answer_in_force(), ANSWER_KERNEL);
    assert_eq!(host.answering(), (json!("kernel"), Value::Null, json!([])));
    assert!(host.place.run("status").data.contains("\nanswer     kernel\n"));
}

#[test]
fn where_native_mode_would_lose_replies_the_daemon_replies_with_a_reason() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::new();
    assert_eq!(
        host.place.done("attach --iface v0 --mode native"),
        format!(
            "v0: attached, native mode, VLAN tags no longer stripped\nanswer: daemon, not kernel: {PLAIN}\n"
        )
    );
    assert_eq!(host.answer_in_force(), ANSWER_FALLBACK);
    assert_eq!(host.answering(), (json!("daemon"), json!(PLAIN), json!([])));
    assert!(host.place.run("status").data.contains(&format!("\nanswer     daemon, not kernel: {PLAIN}\n")));
}

#[test]
fn status_warns_when_the_program_at_the_peer_of_native_mode_goes() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::new();
    for (mode, wanted) in [
        (
            XdpMode::Skb,
            "v0: attached, generic mode (not native: its peer runs no XDP program, answers would be lost)\n",
        ),
        (XdpMode::Driver, "v0: attached, native mode, VLAN tags no longer stripped\n"),
    ] {
        let _peer = Pass::attach(&host.peer, "v1", mode).unwrap();
        assert_eq!(host.place.done("attach --iface v0"), wanted, "{mode:?}");
        assert_eq!(host.answering(), (json!("kernel"), Value::Null, json!([])), "{mode:?}");
        if mode == XdpMode::Skb {
            host.place.done("detach");
        }
    }
    // the peer's program is gone, and no process noticed yet
    let warning = format!("{PLAIN}: the daemon notices within seconds; without it, attach again");
    assert_eq!(host.answering(), (json!("kernel"), Value::Null, json!([warning])));
    let wanted = format!("v0: attached already, native mode\nanswer: daemon, not kernel: {PLAIN}\n");
    assert_eq!(host.place.done("attach"), wanted);
    let _peer = Pass::attach(&host.peer, "v1", XdpMode::Driver).unwrap();
    assert_eq!(
        host.answering().1,
        json!("the reason is gone: the daemon notices within seconds, or `sixgate attach`")
    );
    assert_eq!(host.place.done("attach"), "v0: attached already, native mode\n");
    assert_eq!(host.answer_in_force(), ANSWER_KERNEL);
}

#[test]
fn where_native_mode_replies_vlan_tags_stay_and_one_line_tells_so() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::new();
    let _peer = Pass::attach(&host.peer, "v1", XdpMode::Driver).unwrap();
    let kernel = "answer = \"kernel\"";
    for (answer, wanted) in [
        // where the daemon answers, tags do not matter
        ("answer = \"daemon\"", "v0: attached, native mode\n"),
        (kernel, "v0: attached already, native mode, VLAN tags no longer stripped\n"),
        (kernel, "v0: attached already, native mode\n"),
    ] {
        host.place.configure(answer, &host.bpffs.pins(), "");
        assert_eq!(host.place.done("attach --iface v0"), wanted, "{answer}");
    }
    host.place.done("detach");
    assert_eq!(host.place.done("attach --iface v0"), "v0: attached, native mode\n");
}

#[test]
fn on_a_kernel_without_what_answering_needs_the_daemon_answers() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::new();
    let _peer = Pass::attach(&host.peer, "v1", XdpMode::Driver).unwrap();
    let other = without_socket_lookup(&host.place.path("sixgate"));
    let attached = host.place.run_binary(&other, "attach --iface v0");
    let (first, second) = attached.data.split_once('\n').unwrap_or_else(|| panic!("{attached:?}"));
    assert_eq!((attached.code, first), (Some(0), "v0: attached, native mode"), "tags do not matter");
    assert!(
        second.starts_with("answer: daemon, not kernel: this kernel (Linux ")
            && second.contains(") lacks a helper that the XDP program calls ("),
        "{second}"
    );
    assert_eq!(host.answer_in_force(), ANSWER_FALLBACK);
    let status = host.place.run_binary(&other, "status").data;
    assert!(status.contains("\nanswer     daemon, not kernel: this kernel (Linux "), "{status}");
    // a binary for which the kernel is good enough takes over
    assert_eq!(
        host.place.done("attach"),
        "v0: program replaced, native mode, VLAN tags no longer stripped\n"
    );
    assert_eq!(host.answer_in_force(), ANSWER_KERNEL);
}

/// The binary with a program that calls, instead of the helper that looks for a connection of the
/// host's, one that no kernel has.
fn without_socket_lookup(path: &Path) -> PathBuf {
    let mut octets = fs::read(binary()).unwrap();
    let object = embedded_object();
    let at = octets.windows(object.len()).position(|window| window == object).unwrap();
    let mut changed = 0;
    for instruction in octets[at..at + object.len()].chunks_exact_mut(8) {
        // BPF_JMP | BPF_CALL of bpf_skc_lookup_tcp, include/uapi/linux/bpf.h
        if let [0x85, 0, 0, 0, helper @ 99, high @ 0, 0, 0] = instruction {
            (*helper, *high) = (0xff, 0x7f);
            changed += 1;
        }
    }
    assert!(changed >= 1, "{changed} calls");
    fs::write(path, octets).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    path.to_owned()
}

#[test]
fn flows_are_listed_oldest_first_and_dead_ones_only_with_all() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::new();
    host.place.fails("flows", 2, "the XDP program is not attached");
    host.place.done("attach --iface v0");
    assert_eq!(host.place.done("flows"), "");
    assert_eq!(host.place.json("flows"), json!({"flows": []}));
    let session = |phase: Phase, commands, reason| Slot {
        state: Slot::state_of(reason, phase as u8),
        commands,
        ..Slot::FREE
    };
    // parts of the uptime: the machine may have been booted a moment ago
    let part = monotonic_nanoseconds() / 5;
    host.put_session(1, 4 * part, session(Phase::Connected, 0, REASON_NOT_OPTED_IN));
    host.put_session(2, 3 * part, session(Phase::Mail, 3, REASON_NO_PTR));
    host.put_tag(3, 2 * part);
    let over = session(Phase::Closing, 4, REASON_NOT_OPTED_IN);
    host.put_session(4, part, Slot { flags: FLAG_FIN_SENT, ..over });
    let live = [
        "[2001:db8:1::2]:40000 2001:db8::99 no_ptr mail 3",
        "[2001:db8:1::1]:40000 2001:db8::99 not_opted_in connected 0",
    ];
    let rest = [
        "[2001:db8:1::4]:40000 2001:db8::99 not_opted_in over 4",
        "[2001:db8:1::3]:40000 2001:db8::99 no_ptr tag 0",
    ];
    assert_eq!(without_ages(&host.place.done("flows")), live);
    assert_eq!(without_ages(&host.place.done("flows --all")), [rest, live].concat());
    let age = |opened| (monotonic_nanoseconds() - opened) / 1_000_000_000;
    let youngest = age(3 * part);
    let listed = host.place.json("flows");
    let shown = listed["flows"][0]["age_seconds"].as_u64().unwrap();
    assert!((youngest..=age(3 * part)).contains(&shown), "{shown}");
    let wanted = json!({
        "source": "2001:db8:1::2", "source_port": 40000, "destination": "2001:db8::99", "reason": "no_ptr",
        "state": "mail", "commands": 3, "age_seconds": shown,
    });
    assert_eq!((listed["flows"].as_array().unwrap().len(), &listed["flows"][0]), (2, &wanted));
}

/// The lines of a list, each without the age at its end.
fn without_ages(list: &str) -> Vec<String> {
    let before_age = |line: &str| line.split(' ').take(AGE_AT).collect::<Vec<_>>().join(" ");
    list.lines().inspect(|line| assert!(line.split(' ').count() > AGE_AT, "{line}")).map(before_age).collect()
}

/// The number of columns before the age.
const AGE_AT: usize = 5;

#[test]
fn watching_prints_what_is_counted_in_a_second_until_it_is_interrupted() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::new();
    host.place.fails("stats --watch", 2, "the XDP program is not attached");
    host.place.fails("stats --watch 0", 2, "0 is not in 1..=3600");
    host.place.fails("stats --watch --json", 2, "cannot be used with");
    host.place.done("attach --iface v0 --mode generic");
    let mut watching = host.place.spawn("stats --watch");
    let mut output = watching.stdout.take().unwrap();
    // multicast of the peer's own (router solicitations, group reports) is counted as it comes; ask
    // for more
    let mut text = Vec::new();
    let mut octets = [0; 4096];
    while !text.ends_with(b"\n") {
        // there is no responder, and none is needed
        let _ = host.peer.ip("link set v1 down");
        let _ = host.peer.ip("link set v1 up");
        match output.read(&mut octets).unwrap() {
            0 => break,
            length => text.extend(&octets[..length]),
        }
    }
    kill(Pid::from_raw(watching.id() as i32), Signal::SIGINT).unwrap();
    let ended = watching.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]));
    for line in String::from_utf8(text).unwrap().lines() {
        let [name, rate, value] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("not three words: {line:?}");
        };
        assert!(name.starts_with("pass_"), "{line}");
        assert!(rate.parse::<f64>().unwrap() > 0.0 && value.parse::<u64>().unwrap() > 0, "{line}");
    }
}
