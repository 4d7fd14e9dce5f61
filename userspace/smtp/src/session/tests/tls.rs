//! STARTTLS (RFC 3207): what is forgotten, and what is left alone.

use std::time::Duration;

use super::pair::{Pair, check};
use crate::session::{Admission, Task, TlsProgress};

#[test]
fn starttls_forgets_what_was_said_and_is_not_offered_again() {
    let pair = check(
        Admission::Serve,
        "S: 220 gate.example ESMTP sixgate
         C: STARTTLS
         S: 503 5.5.1 Bad sequence of commands
         C: HELO mail.example
         S: 250 gate.example
         C: MAIL FROM:<a@b.example>
         S: 250 2.1.0 Sender ok
         C: STARTTLS
         S: 503 5.5.1 Bad sequence of commands
         C: RSET
         S: 250 2.0.0 Reset
         C: STARTTLS
         S: 220 2.0.0 Ready to start TLS
         C: MAIL FROM:<a@b.example>
         S: 503 5.5.1 Bad sequence of commands",
    );
    assert_eq!(pair.session.tls().map(|tls| tls.version), Some("TLS1.3"));
    assert!(pair.session.hello().is_none());
    let mut other = check(Admission::Serve, "S: 220 gate.example ESMTP sixgate");
    other.say(b"HELO mail.example\r\nSTARTTLS\r\n");
    let offer = other.say(b"EHLO mail.example\r\n");
    assert!(!offer.contains("STARTTLS") && offer.contains("CHUNKING"), "{offer}");
    assert_eq!(other.say(b"STARTTLS\r\n"), "503 5.5.1 Bad sequence of commands\r\n");
}

#[test]
fn what_is_said_in_the_clear_after_starttls_is_dropped() {
    for (first, second) in [
        ("STARTTLS\r\nRSET\r\nMAIL FROM:<evil@b.example>\r\n", ""),
        ("STARTTLS\r\nRS", "ET\r\n"),
        ("STARTTLS\r\n", "EHLO evil.example\r\n"),
        ("STARTTLS\r\n", "\n\0"),
    ] {
        let mut pair = Pair::new(Admission::Serve);
        pair.say(b"EHLO a\r\n");
        pair.receive(first.as_bytes());
        assert!(matches!(pair.session.poll_task(), Some(Task::StartTls)), "{first}");
        pair.receive(second.as_bytes());
        pair.perform(Task::StartTls);
        assert_eq!(pair.hear(), "220 2.0.0 Ready to start TLS\r\n", "{first}");
        assert_eq!(pair.say(b"NOOP\r\n"), "250 2.0.0 Ok\r\n", "{first}");
        assert!(pair.session.hello().is_none() && pair.session.transaction().is_none());
    }
}

#[test]
fn tls_that_cannot_be_had_leaves_the_session_as_it_was() {
    let mut pair = Pair::new(Admission::Serve);
    pair.say(b"EHLO a\r\n");
    pair.receive(b"STARTTLS\r\n");
    assert!(matches!(pair.session.poll_task(), Some(Task::StartTls)));
    assert_eq!(pair.session.poll_timeout(), Some(pair.now + Duration::from_secs(300)));
    pair.session.answer_start_tls(pair.now, TlsProgress::Unavailable);
    assert_eq!(pair.hear(), "454 4.7.0 TLS is not available for the moment\r\n");
    assert!(pair.session.tls().is_none());
    assert_eq!(pair.say(b"MAIL FROM:<>\r\n"), "250 2.1.0 Sender ok\r\n");
}
