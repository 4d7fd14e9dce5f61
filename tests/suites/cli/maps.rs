//! Commands on an attached XDP program: store and maps agree, or the command reports that they
//! differ.
//!
//! Each test has a veth pair, a namespace and a bpffs of its own.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use sixgate_common::{
    dest::OptIn,
    names::LAYOUT,
    settings::{MODE_ENFORCE, MODE_SHADOW, READY},
    stat::Stat,
};
use sixgate_dataplane::{MapEntry, Maps, Pins, Projection};
use sixgate_tests::{
    bpffs::Bpffs,
    gate::{self, Need},
    netns::Netns,
};

use crate::installation::{Installation, ran};

const NEEDS: [Need; 4] = [Need::Root, Need::Bpffs, Need::Xdp, Need::Program("ip")];

/// A test folder with the interface `v0`, address 2001:db8::25.
struct Host {
    place: Installation,
    bpffs: Bpffs,
    _peer: Netns,
}

impl Host {
    fn new(xdp: &str) -> Self {
        let (ours, peer) = (Netns::new().unwrap(), Netns::new().unwrap());
        ours.join("v0", &peer, "v1").unwrap();
        ours.add_address("v0", "2001:db8::25/64".parse().unwrap()).unwrap();
        let bpffs = Bpffs::new().unwrap();
        let place = Installation::inside(ours, &bpffs.pins(), xdp);
        Self { place, bpffs, _peer: peer }
    }

    fn attached(xdp: &str) -> Self {
        let host = Self::new(xdp);
        host.place.done("attach --iface v0");
        host
    }

    fn maps(&self) -> Maps {
        Maps::open(&Pins::new(&self.bpffs.pins())).unwrap().unwrap()
    }

    /// The content of OPTIN, independent of the store.
    fn optin(&self) -> BTreeSet<String> {
        let found = self.maps().difference(&Projection::default()).unwrap().removed;
        let text = |entry: &MapEntry| match entry {
            MapEntry::OptIn(prefix, OptIn::In) => Some(format!("{prefix} in")),
            MapEntry::OptIn(prefix, OptIn::Out) => Some(format!("{prefix} out")),
            MapEntry::Guard(_) | MapEntry::Temporary(_) | MapEntry::Trust(_) => None,
        };
        found.iter().filter_map(text).collect()
    }

    fn is_ready(&self) -> bool {
        self.maps().settings().unwrap().ready == READY
    }

    fn status(&self) -> Value {
        self.place.json("status")
    }
}

fn set<const N: usize>(lines: [&str; N]) -> BTreeSet<String> {
    lines.into_iter().map(str::to_owned).collect()
}

#[test]
fn attach_fills_the_maps_from_the_store_and_detach_leaves_the_store() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::new("");
    host.place.done("optin add 2001:db8::/64");
    host.place.done("optin add --out 2001:db8::26");
    host.place.done("trust add 2001:db8:10::/48");
    host.place.done("guard add 2001:db8:25::/64");
    host.place.done("domain add contoso.com");
    assert_eq!(host.place.done("attach --iface v0"), "v0: attached, native mode\n");
    assert_eq!(host.optin(), set(["2001:db8::/64 in", "2001:db8::26/128 out"]));
    assert_eq!(host.place.done("guard list"), "2001:db8::25/128 interface\n2001:db8:25::/64 store\n");
    let status = host.place.json("status --verify");
    let tag = status["embedded_tag"].clone();
    assert!(tag.is_string());
    let wanted = json!({
        "attached": true, "pins_readable": true, "mode": "enforce", "answer": "daemon", "answer_configured": "daemon",
        "answer_fallback": null, "refuse_at": "rcpt", "ready": true,
        "interfaces": [{"name": "v0", "mode": "native", "fallback": null, "tag": tag, "current": true}],
        "embedded_tag": tag,
        "optin": {"wanted": 2, "found": 2},
        "guard": {"wanted": 2, "found": 2},
        "trust": {"wanted": 1, "found": 1},
        "domains": 1, "missing": 0, "surplus": 0, "differences": [],
        "revision": 6, "shown": 6, "is_behind": false,
        "problems": [host.place.daemon_is_down()], "warnings": [],
        "kernel": {"mode": "enforce", "answer": "daemon", "refuse_at": "rcpt"}, "replies_current": true,
        "settings": {
            "mode": {"file": "enforce", "kernel": "enforce", "daemon": null},
            "answer": {"file": "daemon", "kernel": "daemon", "daemon": null},
            "refuse_at": {"file": "rcpt", "kernel": "rcpt", "daemon": null},
            "permanent_refusals": {"file": "", "kernel": null, "daemon": null},
            "temporary_refusals": {"file": "", "kernel": null, "daemon": null},
            "domains": {"file": "listed", "kernel": null, "daemon": null},
        },
        "daemon": null,
    });
    assert_eq!(status, wanted);
    host.place.agrees();

    assert_eq!(host.place.done("detach"), "v0: detached\n");
    assert!(!host.bpffs.pins().join(LAYOUT).exists());
    assert_eq!(host.place.done("optin list"), "2001:db8::/64 in\n2001:db8::26/128 out\n");
    host.place.fails("detach", 1, "nothing is attached");
}

#[test]
fn a_change_is_in_the_maps_when_it_is_reported() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::attached("");
    for (words, wanted) in [
        ("optin add 2001:db8::/64 ::1", set(["2001:db8::/64 in", "::1/128 in"])),
        ("optin add --out ::1", set(["2001:db8::/64 in", "::1/128 out"])),
        ("optin remove --allow-empty 2001:db8::/64", set(["::1/128 out"])),
    ] {
        host.place.done(words);
        assert_eq!(host.optin(), wanted, "{words}");
    }
    host.place.done("guard add 2001:db8:25::/64");
    assert_eq!(host.place.json("status --verify")["guard"], json!({"wanted": 2, "found": 2}));
    host.place.done("trust add 2001:db8:10::/48");
    assert_eq!(host.place.json("status --verify")["trust"], json!({"wanted": 1, "found": 1}));
}

#[test]
fn a_full_map_clears_ready_by_name_and_the_next_command_reconciles() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::attached("optin_entries = 2");
    host.place.done("optin add ::1 ::2");
    let wanted = "the map OPTIN is full (2 entries): ::3/128 does not fit";
    host.place.fails("optin add ::3", 2, wanted);
    assert!(!host.is_ready());
    assert_eq!(host.place.done("optin list"), "::1/128 in\n::2/128 in\n::3/128 in\n", "the store holds");
    let status = host.place.json("status --verify");
    assert_eq!((&status["ready"], &status["missing"]), (&json!(false), &json!(1)));
    assert_eq!((&status["revision"], &status["shown"]), (&json!(3), &json!(2)));
    assert_eq!(status["differences"], json!(["missing: optin ::3/128"]));
    assert_eq!(host.place.run("status").code, Some(1));
    host.place.fails("trust add ::9", 2, wanted);
    assert!(!host.is_ready());

    host.place.done("optin remove ::1");
    assert!(host.is_ready());
    assert_eq!(host.optin(), set(["::2/128 in", "::3/128 in"]));
    host.place.agrees();
}

#[test]
fn a_set_that_fits_replaces_one_that_filled_the_map() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::attached("optin_entries = 2");
    host.place.done("optin add ::1 ::2");
    fs::write(host.place.path("list"), "::3\n::4 out\n").unwrap();
    host.place.done(&format!("optin load --allow-shrink {}", host.place.path("list").display()));
    assert_eq!(host.optin(), set(["::3/128 in", "::4/128 out"]));
    assert!(host.is_ready());

    host.place.done_without_maps("optin remove --allow-empty ::3");
    host.place.done_without_maps("optin add ::5");
    assert_eq!(host.place.done("attach"), "v0: attached already, native mode\n");
    assert_eq!(host.optin(), set(["::5/128 in", "::4/128 out"]));
    assert!(host.is_ready());
}

#[test]
fn after_a_crash_between_store_and_map_any_command_reconciles() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::attached("");
    host.place.done("optin add ::1 ::2");
    for words in ["optin add ::9", "optin remove ::8", "trust add ::7", "domain add a.b", "attach"] {
        let is_one = host.place.run("optin check ::1").code == Some(0);
        let (from, to) = if is_one { ("::1/128", "::3/128") } else { ("::3/128", "::1/128") };
        host.place.done_without_maps(&format!("optin remove {from}"));
        host.place.done_without_maps(&format!("optin add {to}"));
        let quick = host.status();
        assert_eq!((&quick["is_behind"], &quick["differences"]), (&json!(true), &json!([])));
        let status = host.place.json("status --verify");
        let wanted = json!([format!("missing: optin {to}"), format!("surplus: optin {from}")]);
        assert_eq!(status["differences"], wanted, "{words}");
        let problems = status["problems"].to_string();
        assert!(problems.contains("the BPF maps differ from the store; run `sixgate attach`"), "{problems}");
        assert_eq!(host.place.run("status").code, Some(1));

        host.place.run(words);
        host.place.agrees();
        assert!(host.optin().contains(&format!("{to} in")), "{words}");
    }
}

#[test]
fn two_processes_that_add_at_once_leave_store_and_maps_alike() {
    const EACH: usize = 10;
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::attached("");
    thread::scope(|scope| {
        for process in 1..=2 {
            let place = &host.place;
            scope.spawn(move || {
                for at in 1..=EACH {
                    place.done(&format!("optin add 2001:db8:{process}::{at:x}"));
                }
            });
        }
    });
    assert_eq!(host.optin().len(), 2 * EACH);
    host.place.agrees();
}

/// The writer is stopped when the store has its change and the maps have not.
#[test]
fn status_does_not_take_a_command_that_is_at_work_for_a_difference() {
    const ENTRIES: usize = 20_000;
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::attached("");
    let list: String = (1..=ENTRIES).map(|at| format!("2001:db8:1::{at:x}\n")).collect();
    fs::write(host.place.path("list"), list).unwrap();
    let revision = || host.place.json("store log --last 1")["revisions"][0]["revision"].as_u64();
    let before = revision();
    let words = format!("optin load --quiet {}", host.place.path("list").display());
    let mut writer = host.place.spawn(&words);
    let pid = Pid::from_raw(i32::try_from(writer.id()).unwrap());
    while revision() == before {
        assert!(writer.try_wait().unwrap().is_none(), "the writer was too fast: give it more entries");
    }
    kill(pid, Signal::SIGSTOP).unwrap();
    assert_ne!(
        host.maps().settings().unwrap().shown.number(),
        revision().unwrap(),
        "the writer was too fast"
    );
    let mut status = host.place.spawn("status");
    // either it waits for the lock that the writer has, or it has ended
    let fds = format!("/proc/{}/fd", status.id());
    let waits = || {
        let entries = fs::read_dir(&fds).into_iter().flatten().flatten();
        entries.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|file| file.ends_with("changing"))
    };
    while !waits() && status.try_wait().unwrap().is_none() {
        thread::yield_now();
    }
    kill(pid, Signal::SIGCONT).unwrap();
    let status = ran(status.wait_with_output().unwrap());
    assert!(writer.wait().unwrap().success());
    assert!(!status.messages.contains("the BPF maps differ"), "{status:?}");
    assert!(status.data.contains(&format!("optin      {ENTRIES}\n")), "{status:?}");
    host.place.agrees();
}

#[test]
fn a_changed_setting_is_in_force_after_attach() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::attached("");
    host.place.done("optin add 2001:db8::/32");
    host.place.configure(
        "mode = \"shadow\"\nrefuse_at = \"reset\"\ndomains = \"all\"",
        &host.bpffs.pins(),
        "",
    );
    assert_eq!(host.maps().settings().unwrap().mode, MODE_ENFORCE);
    let status = host.status();
    assert_eq!((&status["mode"], &status["refuse_at"]), (&json!("enforce"), &json!("rcpt")));
    let differing = "\"shadow\" in the configuration, \"enforce\" in the kernel: start the daemon, or run";
    host.place.fails("status", 1, &format!("mode is {differing} `sixgate attach`"));
    assert_eq!(host.place.done("attach"), "v0: attached already, native mode\n");
    assert_eq!(host.maps().settings().unwrap().mode, MODE_SHADOW);
    assert_eq!(host.status()["warnings"], json!([]));
}

#[test]
fn attach_warns_of_refusing_everything_and_status_of_other_map_sizes() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::new("optin_entries = 2");
    let attached = host.place.run("attach --iface v0");
    assert!(attached.messages.contains("no destination has opted in: sixgate refuses all mail"));
    assert!(attached.messages.contains("no domain is listed: sixgate refuses every recipient"));
    host.place.configure("", &host.bpffs.pins(), "optin_entries = 3");
    let warnings = host.status()["warnings"].to_string();
    assert!(warnings.contains("optin_entries is 3 in the configuration, but the map has 2"), "{warnings}");
}

#[test]
fn an_interface_or_a_bpffs_that_is_missing_is_named_and_nothing_is_left() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::new("");
    host.place.fails("attach --iface v0 --iface none", 2, "none");
    assert!(!host.bpffs.pins().join(LAYOUT).exists());
    host.place.fails(
        &format!("attach --iface {}", "x".repeat(128)),
        2,
        "cannot be the name of a network interface",
    );
    let plain = host.place.path("plain");
    host.place.configure("", &plain, "");
    host.place.fails("attach --iface v0", 2, "no bpffs at");
    assert!(!plain.exists());
}

#[test]
fn without_rights_on_the_maps_a_command_says_so_and_changes_nothing() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::attached("");
    host.place.done("optin add ::1");
    for (file, mode) in
        [(host.place.path(""), 0o755), (host.place.path("state"), 0o777), (host.place.store(), 0o666)]
    {
        fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
    }
    let before = host.place.contents();
    for words in ["optin add ::2", "optin remove ::1", "stats", "flows", "ptr list", "detach", "attach"] {
        let ended = host.place.run_as_nobody(words);
        assert_eq!(ended.code, Some(2), "{words}: {ended:?}");
        assert!(ended.messages.contains("not permitted; it needs root"), "{words}: {ended:?}");
    }
    assert_eq!(host.place.run_as_nobody("optin check ::1").code, Some(0), "the store alone is enough");
    let store = host.place.store();
    let control = host.place.path("control");
    let _daemons = UnixListener::bind(&control).unwrap();
    fs::set_permissions(&control, Permissions::from_mode(0o600)).unwrap();
    for (mode, optin) in [(0o666, "optin      1"), (0o600, "optin      unknown: the store cannot be read")] {
        fs::set_permissions(&store, Permissions::from_mode(mode)).unwrap();
        let status = host.place.run_as_nobody("status");
        assert_eq!(status.code, Some(1), "{status:?}");
        let daemon = "daemon     unknown: the control socket is for root and the daemon's user";
        let pins = "ready      unknown: the pins cannot be read";
        for line in ["mode       enforce", daemon, pins, optin] {
            assert!(status.data.lines().any(|told| told == line), "{line}: {status:?}");
        }
        assert!(status.messages.contains("not permitted; it needs root"), "{status:?}");
        assert_eq!(status.messages.contains("cannot open the opt-in store"), mode == 0o600, "{status:?}");
    }
    fs::remove_file(&control).unwrap();
    assert_eq!(host.place.contents(), before);
    host.place.agrees();
}

#[test]
fn ptr_entries_are_set_shown_and_forgotten() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::attached("");
    let place = &host.place;
    assert_eq!(place.done("ptr set 2001:db8:bad::1 absent"), "set 2001:db8:bad::1 absent for 15m\n");
    place.done("ptr set 2001:db8:1::1 exists --for 2h");
    let listed = place.json("ptr list");
    let states: Vec<(&str, &str)> = listed["ptr"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["address"].as_str().unwrap(), entry["state"].as_str().unwrap()))
        .collect();
    assert_eq!(states, [("2001:db8:1::1", "exists"), ("2001:db8:bad::1", "absent")]);
    let remaining = |words: &str| place.json(words)["remaining_seconds"].as_u64().unwrap();
    assert!((7100..=7200).contains(&remaining("ptr get 2001:db8:1::1")));
    assert!((800..=900).contains(&remaining("ptr get 2001:db8:bad::1")));
    assert!(place.done("ptr get 2001:db8:bad::1").starts_with("2001:db8:bad::1 absent command 14m "));

    assert_eq!(place.done("ptr remove 2001:db8:bad::1"), "removed 2001:db8:bad::1\n");
    place.fails("ptr remove 2001:db8:bad::1", 1, "not there: 2001:db8:bad::1");
    place.fails("ptr get 2001:db8:bad::1", 1, "nothing is known about 2001:db8:bad::1");
    assert_eq!(place.json("ptr get 2001:db8:bad::1"), Value::Null);
    assert_eq!(place.done("ptr flush"), "removed 1\n");
    assert_eq!(place.done("ptr list"), "");
}

#[test]
fn stats_show_every_counter() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::attached("");
    let stats = host.place.json("stats");
    let counters = stats["counters"].as_array().unwrap();
    let names: Vec<&str> = counters.iter().map(|counter| counter["name"].as_str().unwrap()).collect();
    assert_eq!(names, Stat::ALL.map(Stat::name));
    assert!(counters.iter().all(|counter| counter["value"].is_u64() && counter["help"].is_string()));
    assert_eq!(stats["metrics_file"], Value::Null);
    let lines = host.place.done("stats");
    assert_eq!(lines.lines().count(), Stat::ALL.len());
    assert!(lines.starts_with("pass_truncated "));

    let metrics = host.place.path("metrics");
    host.place.configure("", &host.bpffs.pins(), &format!("[metrics]\nfile = {metrics:?}"));
    assert_eq!(host.place.run("stats").messages, "", "a file that is not there is not named");
    fs::write(&metrics, "").unwrap();
    let wanted = format!("sixgate: the daemon's counters are in {}\n", metrics.display());
    assert_eq!(host.place.run("stats").messages, wanted);
}
