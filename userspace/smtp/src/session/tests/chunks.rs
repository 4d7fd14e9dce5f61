//! Messages in chunks (RFC 3030): BDAT and what follows it.

use super::pair::Pair;
use crate::session::{Admission, Task};

#[test]
fn a_message_in_chunks_is_the_same_however_it_is_cut() {
    let message = b"Subject: x\r\n\r\n.dot\r\n..\r\n\xff\r\nend";
    for length in 1..=message.len() {
        let mut pair = Pair::with_recipient();
        for chunk in message.chunks(length) {
            let heard = pair.say(&[format!("BDAT {}\r\n", chunk.len()).as_bytes(), chunk].concat());
            assert_eq!(heard, format!("250 2.0.0 {} octets received\r\n", chunk.len()));
        }
        assert_eq!(pair.say(b"BDAT 0 LAST\r\n"), "250 2.0.0 queued\r\n");
        assert_eq!(pair.messages, [[&message[..], b"\r\n"].concat()]);
    }
}

#[test]
fn octets_of_a_chunk_are_never_commands() {
    for (before, chunk, wanted) in [
        ("", "BDAT 6", "503 5.5.1 "),
        ("MAIL FROM:<>\r\n", "BDAT 6 LAST", "503 5.5.1 "),
        ("MAIL FROM:<>\r\nRCPT TO:<bad@contoso.com>\r\n", "BDAT 6 LAST", "503 5.5.1 "),
        ("MAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\n", "BDAT 6", "250 2.0.0 6 octets"),
        ("MAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\n", "BDAT 6 LAST", "250 2.0.0 queued"),
        ("MAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\nBDAT 2000\r\n", "x", "552 5.3.4 "),
    ] {
        let mut pair = Pair::new(Admission::Serve);
        pair.say(format!("EHLO a\r\n{before}").as_bytes());
        if chunk == "x" {
            pair.say(&b"QUIT\r\n".repeat(333));
            assert!(pair.say(b"\r\n").starts_with(wanted));
            assert_eq!(pair.say(b"BDAT 6\r\nQUIT\r\n"), "503 5.5.1 Bad sequence of commands\r\n");
        } else {
            let heard = pair.say(format!("{chunk}\r\nQUIT\r\n").as_bytes());
            assert!(heard.starts_with(wanted) && heard.lines().count() == 1, "{before}{chunk}: {heard}");
        }
        assert!(!pair.session.is_closing(), "{before}{chunk}");
        assert_eq!(pair.say(b"NOOP\r\n"), "250 2.0.0 Ok\r\n");
    }
}

#[test]
fn who_has_said_quit_is_known_while_its_message_is_judged() {
    for (said, wanted) in [
        ("", false),
        ("QUIT\r\n", true),
        ("NOOP\r\nquit\r\n", true),
        ("QUIT\r\nNOOP\r\n", false),
        ("QUIT", false),
        ("QUIT\r", false),
        ("XQUIT\r\n", false),
        ("QUIT\n", false),
    ] {
        let mut pair = Pair::with_recipient();
        pair.receive(format!("BDAT 0 LAST\r\n{said}").as_bytes());
        assert!(matches!(pair.session.poll_task(), Some(Task::Message { .. })), "{said:?}");
        assert_eq!(pair.session.has_quit_waiting(), wanted, "{said:?}");
    }
}

#[test]
fn a_message_of_crumbs_is_not_taken() {
    let mut pair = Pair::with_recipient();
    assert!(pair.say(&b"BDAT 0\r\n".repeat(1000)).ends_with("250 2.0.0 0 octets received\r\n"));
    assert_eq!(pair.say(b"BDAT 0\r\n"), "421 4.7.0 gate.example Too many commands\r\n");
}
