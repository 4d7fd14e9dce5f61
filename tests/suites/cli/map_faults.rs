//! Commands on an attached XDP program whose maps are full, out of date, changed by two processes
//! at once, or not to be had.
//!
//! Each test has a veth pair, a namespace and a bpffs of its own.

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use sixgate_common::names::LAYOUT;
use sixgate_tests::gate;

use crate::{
    host::{Host, NEEDS, set},
    installation::ran,
};

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
fn without_rights_on_the_maps_a_command_fails_and_changes_nothing() {
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
    let no_daemon = "run the command as root, or start the daemon (`systemctl start sixgate`)";
    for (words, reason) in [
        ("optin add ::2", "not permitted; it needs root"),
        ("optin remove ::1", "not permitted; it needs root"),
        ("detach", "not permitted; it needs root"),
        ("attach", "not permitted; it needs root"),
        ("ptr flush", "only root and the daemon's user may change the BPF maps"),
        ("stats", no_daemon),
        ("flows", no_daemon),
        ("ptr list", no_daemon),
    ] {
        let ended = host.place.run_as_nobody(words);
        assert_eq!(ended.code, Some(2), "{words}: {ended:?}");
        assert!(ended.messages.contains(reason), "{words}: {ended:?}");
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
        let daemon = "daemon     unknown: the control socket is for root and the daemon's user and group";
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
