//! Settings that are not meant: what they must not destroy, and what they are told by.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use nix::sys::{signal::Signal, stat::Mode};
use serde_json::Value;
use sixgate_tests::{
    daemon::{Daemon, binary},
    site::{GATE, SENDER, Site},
};

use crate::{can_run, site};

fn precious(site: &Site, name: &str) -> PathBuf {
    let path = site.folder().join(name);
    fs::write(&path, format!("the only copy of {name}\n")).unwrap();
    path
}

#[track_caller]
fn is_intact(path: &Path) {
    let name = path.file_name().unwrap().to_string_lossy();
    assert_eq!(fs::read_to_string(path).unwrap(), format!("the only copy of {name}\n"));
}

#[test]
fn another_file_where_socket_and_metrics_are_to_be_stays_as_it_is() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let (one, other) = (precious(&site, "ledger"), precious(&site, "letters"));
    let site = site.configured(&format!("control_socket = {one:?}\nmetrics.file = {other:?}"));
    let not_socket = "a file that is not a socket is there already";
    let not_metrics = "a file that does not hold sixgate's metrics is there already";
    site.expect("config check", 0, &[not_socket, not_metrics]);
    let daemon = site.serve(&["--no-xdp"]);
    daemon.wait_for_log(not_socket).unwrap();
    daemon.wait_for_log(not_metrics).unwrap();
    assert_eq!(site.connect(SENDER, GATE).reply().unwrap().code, 220);
    daemon.stop().unwrap();
    is_intact(&one);
    is_intact(&other);
    // what the daemon wrote itself is replaced
    let metrics = site.folder().join("metrics");
    let site = site.configured(&format!("metrics.file = {metrics:?}"));
    for _ in 0..2 {
        site.serve(&["--no-xdp"]).stop().unwrap();
        assert!(fs::read_to_string(&metrics).unwrap().starts_with("# HELP sixgate_"));
        site.expect("config check", 0, &["good"]);
    }
    let (_, text) = site.ran("config check");
    assert!(!text.contains(not_metrics), "{text}");
}

#[test]
fn a_reload_that_would_write_over_the_store_is_refused() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let daemon = site.serve(&["--no-xdp"]);
    let store = site.folder().join("store.db");
    for (at, name) in [(&store, "store"), (&site.config(), "the configuration")] {
        site.write(&format!("metrics.file = {at:?}"));
        let words = format!("metrics.file and {name} are the same file, {}: ", at.display());
        site.expect("reload", 1, &[&words]);
        site.expect("config check", 1, &[&words]);
    }
    daemon.stop().unwrap();
    assert!(fs::read(&store).unwrap().starts_with(b"SQLite format 3"));
}

#[test]
fn an_address_whose_interface_comes_later_does_not_delay_another() {
    if !can_run(&[]) {
        return;
    }
    let addresses = "[\"[::]:25\", \"[fe80::25%later0]:26\", \"[2001:db8:dead::1]:27\"]";
    let site = site(&format!("listen.addresses = {addresses}"));
    let daemon = site.serve(&["--no-xdp"]);
    daemon.wait_for_log("cannot listen on [fe80::25%later0]:26: its interface is not there").unwrap();
    assert_eq!(site.connect(SENDER, GATE).reply().unwrap().code, 220);
    let words = [
        "does not listen on [fe80::25%later0]:26: its interface is not there",
        "no interface has the address of [2001:db8:dead::1]:27",
    ];
    site.expect("status", 1, &words);
    site.gate.ip("link add later0 type veth peer name later1").unwrap();
    for name in ["later0", "later1"] {
        site.gate.ip(&format!("link set {name} up")).unwrap();
    }
    site.gate.ip("addr add fe80::25/64 dev later0 nodad").unwrap();
    site.gate.ip("addr add 2001:db8:dead::1/128 dev later0 nodad").unwrap();
    daemon.wait_for_log("listening address=[fe80::25%").unwrap();
    site.expect("status", 0, &["listening  [::]:25, [2001:db8:dead::1]:27, [fe80::25%"]);
    daemon.stop().unwrap();
}

#[test]
fn settings_that_do_not_what_they_seem_to_are_warned_of() {
    if !can_run(&[]) {
        return;
    }
    let rows = [
        (
            "temporary_refusals = [\"not_opted_in\"]\nrefuse_at = \"greeting\"",
            "temporary_refusals = [\"not_opted_in\"] is about the reply to RCPT TO: with refuse_at = \"greeting\" ",
        ),
        (
            "temporary_refusals = [\"not_opted_in\"]\nrefuse_at = \"reset\"",
            "temporary_refusals = [\"not_opted_in\"] is about the reply to RCPT TO: with refuse_at = \"reset\" ",
        ),
        ("limits.message_size = 50", "limits.message_size is 50 octets: "),
        ("limits.recipients = 99", "limits.recipients is 99: "),
        ("next_hop = { lmtp = \"[::1]:24\" }", "next_hop.lmtp takes one recipient of a message at a time"),
        ("limits.session_timeout = \"1s\"", "limits.session_timeout is 1s: "),
        ("limits.dkim_small = 3", "limits.dkim_small is now called limits.dkim_concurrency_small: "),
        ("limits.dkim_wait = \"3s\"", "limits.dkim_wait is now called limits.dkim_queue_timeout: "),
        ("limits.data_rate = 1000000000", "limits.data_rate is 1000000000 octets in a second: "),
    ];
    let site = site("");
    let daemon = site.serve(&["--no-xdp"]);
    let (_, text) = site.ran("config check");
    assert!(!text.contains("limits.") && !text.contains("RCPT TO:"), "{text}");
    for (settings, warning) in rows {
        site.write(settings);
        let warned = format!("warning: {warning}");
        site.expect("config check", 0, &[&warned]);
        site.expect("reload", 0, &[&warned]);
        daemon.wait_for_log(warning).unwrap();
    }
    site.write("refuse_at = \"greeting\"");
    site.sixgate("domain add --temporary contoso.com");
    site.expect("config check", 0, &["warning: domains are marked temporary, "]);
    daemon.stop().unwrap();
    let daemon = site.serve(&["--no-xdp"]);
    daemon.wait_for_log("domains are marked temporary, ").unwrap();
    daemon.stop().unwrap();
}

#[test]
fn status_tells_what_it_can_while_the_configuration_has_an_error() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let daemon = site.serve(&["--no-xdp"]);
    let good = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), format!("mode = shadow\n{good}")).unwrap();
    let running = format!("pid {}, version ", daemon.pid());
    let words = ["daemon     running since ", &running, "mode enforce", "the configuration has an error: "];
    site.expect("status", 1, &words);
    let output = site.run("status --json");
    assert_eq!(output.status.code(), Some(1));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["daemon"]["pid"], daemon.pid());
    let problem = document["problems"][0].as_str().unwrap();
    assert!(problem.starts_with("the configuration has an error: "), "{problem}");
    daemon.stop().unwrap();
    site.expect(
        "status",
        1,
        &[
            "daemon     not running, or does not answer\n",
            "kernel     unknown: no maps are pinned in /",
            "the configuration has an error: ",
        ],
    );
}

#[test]
fn a_daemon_that_does_not_answer_is_named_by_status() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let daemon = site.serve(&["--no-xdp"]);
    daemon.signal(Signal::SIGSTOP).unwrap();
    site.expect("status", 1, &["daemon     not answering (pid ", ") did not answer within 5 s at "]);
    daemon.signal(Signal::SIGCONT).unwrap();
    site.expect("status", 0, &["daemon     running since "]);
    daemon.stop().unwrap();
}

#[test]
fn a_hang_up_that_comes_before_the_handlers_is_a_reload() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    // the signal is pending when the program begins
    let script = site.folder().join("hung-up");
    let held = format!("kill -HUP $$; exec {} \"$@\"", binary().display());
    let text = format!("#!/bin/sh\nexec env --block-signal=HUP sh -c '{held}' sixgate \"$@\"\n");
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = Daemon::start_binary(&script, Some(&site.gate), &site.config()).unwrap();
    daemon.wait_for_log("SIGHUP: reading the configuration again").unwrap();
    daemon.stop().unwrap();
}

#[test]
fn a_pipe_as_configuration_is_refused_by_name() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let daemon = site.serve(&["--no-xdp"]);
    fs::remove_file(site.config()).unwrap();
    nix::unistd::mkfifo(&site.config(), Mode::S_IRUSR).unwrap();
    let words = [
        format!("cannot read the configuration {}", site.config().display()),
        "it is not a regular file".to_owned(),
    ];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    site.expect("config check", 2, &words);
    site.expect("optin list", 2, &words);
    site.expect("status", 1, &words);
    daemon.stop().unwrap();
}
