//! The daemon is killed: the kernel goes on, no sender is accepted unverified, and a new daemon
//! takes over.

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
        let error = site.try_connect(SENDER, destination).expect_err("no process listens");
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
    site.try_connect(SENDER, OTHER).expect_err("no process listens");
    assert_eq!(site.counter("tag_not_opted_in"), 1);
}

#[test]
fn the_reply_is_true_wherever_in_a_delivery_the_daemon_dies() {
    if !can_run() {
        return;
    }
    let (site, mut daemon) = site("");
    let mut told = 0;
    for steps in 0..=DIALOGUE.len() {
        let mut client = site.connect(SENDER, GATE);
        client.reply().unwrap();
        for (line, code) in DIALOGUE.iter().take(steps) {
            client.send(line).unwrap();
            if let Some(code) = code {
                assert_eq!(client.reply().unwrap().code, *code, "{line}");
            }
        }
        // the last step is the final dot without its reply: the kill and the delivery are in a race
        daemon.kill().unwrap();
        let heard = client.reply();
        assert!(steps == DIALOGUE.len() || heard.is_err(), "step {steps}: {heard:?}");
        told += usize::from(heard.is_ok_and(|reply| reply.code == 250));
        daemon = site.serve(&[]);
    }
    let delivered = site.delivered();
    assert!((told..=1).contains(&delivered.len()), "{told} told, {} delivered", delivered.len());
    assert!(delivered.iter().all(|message| message.ends_with("\r\nwhole\r\n")), "{delivered:?}");
    assert_eq!(site.swaks(SENDER, GATE, ORDINARY).code, 0);
}

/// A delivery, each line with the code of its reply, if one is due and waited for.
const DIALOGUE: &[(&str, Option<u16>)] = &[
    ("HELO mail.sender.example", Some(250)),
    ("MAIL FROM:<a@sender.example>", Some(250)),
    ("RCPT TO:<user@contoso.com>", Some(250)),
    ("DATA", Some(354)),
    ("Subject: killed", None),
    ("", None),
    ("whole", None),
    (".", None),
];
