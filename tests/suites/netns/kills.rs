//! The daemon is killed: the kernel goes on, nobody is accepted unverified, and a new daemon takes over.

use std::io::ErrorKind;

use sixgate_tests::site::{GATE, OTHER, SENDER};

use crate::{ORDINARY, can_run, site};

#[test]
fn the_kernel_goes_on_tagging_without_the_daemon() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    daemon.kill().unwrap();
    for destination in [OTHER, GATE] {
        let error = site.try_connect(SENDER, destination).expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{destination}");
    }
    assert_eq!(site.counter("tag_not_opted_in"), 1);
    assert_eq!(site.counter("pass_opted_in"), 1);
}

#[test]
fn a_new_daemon_takes_over_what_the_killed_one_left() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    daemon.kill().unwrap();
    // changed while no daemon runs
    site.sixgate(&format!("optin add {OTHER}"));
    let _second = site.serve(&[]);
    for destination in [GATE, OTHER] {
        let sent = site.swaks(SENDER, destination, ORDINARY);
        assert_eq!(sent.code, 0, "{destination}: {}", sent.output);
    }
    site.sixgate(&format!("optin remove {OTHER}"));
    let sent = site.swaks(SENDER, OTHER, ORDINARY);
    assert!(sent.output.contains("550 5.2.1"), "{}", sent.output);
    // one program, attached once: each SYN was counted once
    assert_eq!(site.counter("pass_opted_in"), 2);
    assert_eq!(site.counter("tag_not_opted_in"), 1);
}

#[test]
fn a_daemon_that_is_asked_to_stop_leaves_the_gate_closed() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    let (status, log) = daemon.stop().unwrap();
    assert!(status.success(), "{status}\n{log}");
    site.try_connect(SENDER, OTHER).expect_err("nobody listens");
    assert_eq!(site.counter("tag_not_opted_in"), 1);
}

#[test]
fn a_session_that_a_kill_cuts_off_has_delivered_nothing() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    let mut client = site.connect(SENDER, GATE);
    client.reply().unwrap();
    for line in ["HELO mail.sender.example", "MAIL FROM:<a@sender.example>", "RCPT TO:<user@contoso.com>"] {
        assert_eq!(client.say(line).unwrap().code, 250, "{line}");
    }
    assert_eq!(client.say("DATA").unwrap().code, 354);
    client.send("Subject: unfinished").unwrap();
    daemon.kill().unwrap();
    client.closed().unwrap();
    let _second = site.serve(&[]);
    assert!(site.delivered().is_empty());
    assert_eq!(site.swaks(SENDER, GATE, ORDINARY).code, 0);
    assert_eq!(site.delivered().len(), 1);
}
