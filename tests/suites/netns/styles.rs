//! The three styles of refusing a destination that has not opted in, behind a tag.

use sixgate_tests::site::{GATE, OTHER, SENDER};

use crate::{can_run, site};

#[test]
fn at_rcpt_the_whole_dialogue_is_spoken() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("refuse_at = \"rcpt\"");
    let mut client = site.connect(SENDER, OTHER);
    assert_eq!(client.reply().unwrap().last(), "220 gate.example ESMTP sixgate");
    let offered = client.say("EHLO mail.sender.example").unwrap().lines;
    assert!(!offered.iter().any(|line| line.contains("PIPELINING")), "{offered:?}");
    assert_eq!(client.say("MAIL FROM:<a@sender.example>").unwrap().code, 250);
    let refused = client.say("RCPT TO:<user@contoso.com>").unwrap();
    assert_eq!(
        refused.last(),
        "550 5.2.1 Service unavailable, [contoso.com] does not accept email over IPv6."
    );
    assert_eq!(client.say("QUIT").unwrap().code, 221);
    client.closed().unwrap();
}

#[test]
fn at_the_greeting_the_sender_gets_554_and_can_only_quit() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("refuse_at = \"greeting\"");
    let mut client = site.connect(SENDER, OTHER);
    let greeting = client.reply().unwrap();
    assert_eq!(
        greeting.last(),
        format!("554 gate.example Service unavailable, [{OTHER}] does not accept email over IPv6.")
    );
    assert_eq!(client.say("EHLO mail.sender.example").unwrap().code, 503);
    assert_eq!(client.say("QUIT").unwrap().code, 221);
    client.closed().unwrap();
    assert_eq!(site.connect(SENDER, GATE).reply().unwrap().code, 220);
}

#[test]
fn a_reset_ends_the_connection_before_a_word() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("refuse_at = \"reset\"");
    // the reset may come before connect(2) returns
    if let Ok(mut client) = site.try_connect(SENDER, OTHER) {
        client.closed().unwrap();
        assert_eq!(client.transcript().replies().count(), 0);
    }
    assert_eq!(site.counter("tag_not_opted_in"), 1);
    assert_eq!(site.connect(SENDER, GATE).reply().unwrap().code, 220);
}
