//! A daemon that is told to stop: clients that wait get a reply about it, a message under way is
//! taken, and no client delays the stop for long.

use nix::sys::signal::Signal;
use sixgate_tests::{
    gate::{self, Need},
    site::{GATE, SENDER},
    timeouts::wait_until,
};

use crate::{begin_message, greeted, honest_site};

const STOPPING: &str = "421 4.3.2 gate.example Service is shutting down";

#[test]
fn who_waits_gets_421_and_a_message_under_way_is_taken() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let site = honest_site("");
    let daemon = site.serve(&["--no-xdp"]);
    let (mut idle, mut in_transaction, mut sending) =
        (greeted(&site, SENDER), greeted(&site, SENDER), greeted(&site, SENDER));
    assert_eq!(in_transaction.say("MAIL FROM:<a@sender.example>").unwrap().code, 250);
    begin_message(&mut sending);
    sending.write(b"Subject: half a").unwrap();
    daemon.signal(Signal::SIGTERM).unwrap();
    for client in [&mut idle, &mut in_transaction] {
        assert_eq!(client.reply().unwrap().last(), STOPPING);
        client.closed().unwrap();
    }
    wait_until("no client is let in any more", || site.try_connect(SENDER, GATE).is_err());
    sending.write(b" message\r\n\r\n").unwrap();
    assert!(sending.say(".").unwrap().last().starts_with("250 2.0.0 Delivered as "));
    assert_eq!(sending.reply().unwrap().last(), STOPPING);
    sending.closed().unwrap();
    drop((idle, in_transaction, sending));
    assert!(daemon.stop().unwrap().0.success());
    assert_eq!(site.delivered().len(), 1);
}

#[test]
fn what_waits_behind_a_message_under_way_is_not_begun() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let site = honest_site("");
    let daemon = site.serve(&["--no-xdp"]);
    let held = site.dns.hold("TXT");
    let mut client = greeted(&site, SENDER);
    begin_message(&mut client);
    held.wait_for_question("sender.example");
    let another = "MAIL FROM:<a@sender.example>\r\nRCPT TO:<user@contoso.com>\r\nDATA\r\n";
    client.write(format!("Subject: one\r\n\r\n.\r\n{another}").as_bytes()).unwrap();
    daemon.signal(Signal::SIGTERM).unwrap();
    wait_until("no client is let in any more", || site.try_connect(SENDER, GATE).is_err());
    drop(held);
    assert!(client.reply().unwrap().last().starts_with("250 2.0.0 Delivered as "));
    assert_eq!(client.reply().unwrap().last(), STOPPING);
    client.closed().unwrap();
    assert!(daemon.stop().unwrap().0.success());
    assert_eq!(site.delivered().len(), 1);
}

#[test]
fn who_does_not_end_is_cut_off_and_nothing_of_the_message_is_left() {
    if !gate::require(&[Need::Root]) || !gate::long() {
        return;
    }
    let site = honest_site("");
    let daemon = site.serve(&["--no-xdp"]);
    let mut sending = greeted(&site, SENDER);
    begin_message(&mut sending);
    sending.write(b"Subject: half a").unwrap();
    // fails if it takes longer than a minute
    let (status, log) = daemon.stop().unwrap();
    assert!(status.success() && log.contains("sessions closed: the next hop"), "{log}");
    sending.closed().unwrap();
    assert!(site.delivered().is_empty());
}
