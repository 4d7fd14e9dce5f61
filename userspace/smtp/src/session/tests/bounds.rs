//! The bounds of a session, and the replies that report them.

use super::pair::{Pair, check};
use crate::{
    reply::ReplyKind,
    session::{
        Admission, Event, StoreFailure, answers::REFUSED_RECIPIENTS_FACTOR, commands::IDLE_COMMANDS_MAX,
    },
};

#[test]
fn the_bounds_of_a_session_have_replies() {
    check(
        Admission::Serve,
        "S: 220 gate.example ESMTP sixgate
         C: HELO mail.example
         S: 250 gate.example
         C: MAIL FROM:<a@b.example> SIZE=1001
         S: 552 5.3.4 Message size exceeds fixed limit
         C: MAIL FROM:<a@b.example>
         S: 250 2.1.0 Sender ok
         C: RCPT TO:<u1@contoso.com>
         S: 250 2.1.5 ok
         C: RCPT TO:<u2@contoso.com>
         S: 250 2.1.5 ok
         C: RCPT TO:<u3@contoso.com>
         S: 250 2.1.5 ok
         C: RCPT TO:<u4@contoso.com>
         S: 452 4.5.3 Too many recipients
         C: what
         S: 500 5.5.2 Command not recognized
         C: what
         S: 500 5.5.2 Command not recognized
         C: AUTH PLAIN
         S: 502 5.5.1 Command not implemented
         C: what
         S: 421 4.7.0 gate.example Too many errors",
    );
}

#[test]
fn recipients_that_may_come_back_are_no_fault_of_the_sender() {
    let mut pair = Pair::with_recipient();
    for (recipient, code) in [("another", "452"), ("bad", "550")] {
        let heard = pair.say(format!("RCPT TO:<{recipient}@contoso.com>\r\n").repeat(30).as_bytes());
        assert!(heard.lines().all(|line| line.starts_with(code)), "{heard}");
    }
    assert!(!pair.session.is_closing());
    assert!(pair.events().iter().all(|event| *event == Event::Deferred));
    let heard = pair.say(b"RCPT TO:<another@contoso.com>\r\nRCPT TO:<bad@contoso.com>\r\n");
    assert!(heard.ends_with("421 4.7.0 gate.example Too many rejected recipients\r\n"), "{heard}");
}

#[test]
fn messages_of_one_session_are_bounded() {
    let mut pair = Pair::new(Admission::Serve);
    let message = b"MAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\nDATA\r\n\r\n.\r\n";
    pair.say(b"HELO a\r\n");
    assert!(pair.say(message).ends_with("250 2.0.0 queued\r\n"));
    assert!(pair.say(message).ends_with("250 2.0.0 queued\r\n"));
    assert_eq!(pair.say(message), "421 4.7.0 gate.example Too many messages in this connection\r\n");
    assert!(pair.session.is_closing());
}

#[test]
fn a_message_over_the_limit_is_read_to_its_end() {
    let mut pair = Pair::in_data();
    assert_eq!(pair.say(&b"0123456\r\n".repeat(500)), "");
    assert!(pair.arriving.is_empty());
    let heard = pair.say(b"\r\nQUIT\r\n.\r\nNOOP\r\n");
    assert_eq!(heard, "552 5.3.4 Message size exceeds fixed limit\r\n250 2.0.0 Ok\r\n");
    assert_eq!((pair.messages.len(), pair.abandoned), (0, 1));
    assert_eq!(pair.events(), [Event::Message(ReplyKind::TooBig)]);
}

#[test]
fn a_message_that_cannot_be_kept_is_read_to_its_end_and_refused_for_now() {
    let rows = [
        (StoreFailure::Memory, "452 4.3.1 Insufficient system storage, please try again later.\r\n"),
        (StoreFailure::Disk, "452 4.3.1 Insufficient system storage, please try again later.\r\n"),
        (StoreFailure::Failure, "451 4.3.0 The message could not be stored, please try again later.\r\n"),
    ];
    for (unkept, wanted) in rows {
        let mut pair = Pair::in_data();
        pair.say(b"Subject: x\r\n");
        pair.unkept = Some(unkept);
        assert_eq!(pair.say(b"more\r\n"), "");
        pair.unkept = None;
        assert_eq!(pair.say(b"and more\r\n.\r\n"), wanted, "{unkept:?}");
        assert_eq!((pair.messages.len(), pair.abandoned), (0, 1));
        assert_eq!(pair.say(b"NOOP\r\n"), "250 2.0.0 Ok\r\n");
    }
}

#[test]
fn recipients_and_sizes_beyond_the_limits_do_not_go_on_for_ever() {
    let mut pair = Pair::new(Admission::Serve);
    pair.say(b"EHLO a\r\nMAIL FROM:<>\r\n");
    let heard = pair.say(&b"RCPT TO:<u@contoso.com>\r\n".repeat(1000));
    assert_eq!(heard.matches("250 2.1.5").count(), 3);
    assert_eq!(heard.matches("452 4.5.3").count(), 3 * REFUSED_RECIPIENTS_FACTOR + 1);
    assert!(heard.ends_with("421 4.7.0 gate.example Too many rejected recipients\r\n"), "{heard}");

    let mut pair = Pair::new(Admission::Serve);
    pair.say(b"EHLO a\r\n");
    let heard = pair.say(&b"MAIL FROM:<> SIZE=1001\r\n".repeat(1000));
    assert_eq!(heard.matches("552 5.3.4").count(), IDLE_COMMANDS_MAX as usize - 1);
    assert!(heard.ends_with("421 4.7.0 gate.example Too many commands\r\n"), "{heard}");
}

#[test]
fn transactions_that_come_to_nothing_do_not_go_on_for_ever() {
    let mut pair = Pair::new(Admission::Serve);
    pair.say(b"EHLO a\r\n");
    for (transaction, code) in [
        ("MAIL FROM:<a@b.example>\r\nRSET\r\n", "250 2.0.0"),
        ("MAIL FROM:<a@b.example>\r\nRCPT TO:<u@contoso.com>\r\nRSET\r\n", "250 2.0.0"),
        ("MAIL FROM:<a@b.example>\r\nEHLO a\r\n", "250 ENHANCED"),
    ] {
        let mut pair = Pair::new(Admission::Serve);
        pair.say(b"EHLO a\r\n");
        let heard = pair.say(transaction.repeat(1000).as_bytes());
        assert_eq!(heard.matches(code).count(), IDLE_COMMANDS_MAX as usize - 1, "{transaction}");
        assert!(heard.ends_with("421 4.7.0 gate.example Too many commands\r\n"), "{transaction}");
    }
    // a message sets the count back, and their number is bounded
    for _ in 0..2 {
        let heard = pair.say(&b"MAIL FROM:<>\r\nRSET\r\n".repeat(IDLE_COMMANDS_MAX as usize - 1));
        assert!(!heard.contains("421 "), "{heard}");
        pair.say(b"MAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\nDATA\r\n.\r\n");
    }
    assert!(!pair.session.is_closing() && pair.messages.len() == 2);
}

#[test]
fn a_message_that_breaks_a_rule_is_one_of_those_that_a_session_may_have() {
    let begun = "MAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\n";
    let rows = [
        ("a line too long", format!("{begun}DATA\r\n{}\r\n.\r\n", "x".repeat(999)), "550 5.6.0"),
        ("too big", format!("{begun}DATA\r\n{}.\r\n", "0123456\r\n".repeat(200)), "552 5.3.4"),
        ("a chunk too big", format!("{begun}BDAT 1001\r\n{}", "x".repeat(1001)), "552 5.3.4"),
        ("hops", format!("{begun}DATA\r\n{}.\r\n", "Received:\r\n".repeat(101)), "552 5.3.4"),
    ];
    for (claim, message, code) in rows {
        let mut pair = Pair::new(Admission::Serve);
        pair.say(b"EHLO a\r\n");
        let heard = pair.say(message.repeat(5).as_bytes());
        assert_eq!(heard.matches(code).count(), 2, "{claim}: {heard}");
        let last = "421 4.7.0 gate.example Too many messages in this connection\r\n";
        assert!(heard.ends_with(last), "{claim}: {heard}");
    }
}
