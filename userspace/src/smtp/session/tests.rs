//! Dialogues in memory: what a client says in, what it hears out. Recipients and messages are answered by
//! a fixed rule; nothing here judges them.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use proptest::prelude::*;
use sixgate_common::settings::{REFUSE_AT_GREETING, REFUSE_AT_RCPT};

use super::{answers::REFUSED_RECIPIENTS_FACTOR, obey::IDLE_COMMANDS_MAX, *};
use crate::{
    policy::{Refusal, evidence::Endpoints},
    smtp::reply::Reply,
};

const NOT_OPTED_IN: Admission = Admission::Refuse { reason: Reason::NotOptedIn, refuse_at: REFUSE_AT_RCPT };

/// What the random clients are made of.
const PIECES: [&[u8]; 19] = [
    b"EHLO a\r\n",
    b"MAIL FROM:<a@b.example>\r\n",
    b"RCPT TO:<u@c.example>\r\n",
    b"RCPT TO:<bad@c.example>\r\n",
    b"DATA\r\n",
    b"BDAT 3\r\n",
    b"BDAT 11 LAST\r\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT 1500\r\n",
    b"BDAT 99999999999999999999\r\n",
    b".\r\n",
    b"x\r\n",
    b"..y\r\n",
    b"RSET\r\n",
    b"QUIT\r\n",
    b"\r",
    b"\n",
    b"\0",
    b"junk",
];

fn parameters(admission: Admission) -> SessionParameters {
    SessionParameters {
        table: Arc::new(ReplyTable::new("gate.example", 1000)),
        endpoints: Endpoints {
            source: "2001:db8:1::1".parse().unwrap(),
            source_port: 1024,
            destination: "2001:db8::25".parse().unwrap(),
            destination_port: 25,
        },
        admission,
        offer: Offer {
            eight_bit_mime: true,
            size: true,
            smtp_utf8: true,
            start_tls: true,
            message_size: 1000,
        },
        limits: SessionLimits {
            recipients: 3,
            messages: 2,
            errors: 3,
            line_length: 998,
            received: 100,
            data_rate: NonZeroU32::new(100),
            transaction_timeout: Duration::from_secs(1800),
            command_timeout: Duration::from_secs(300),
            data_timeout: Duration::from_secs(180),
            session_timeout: Duration::from_secs(3600),
        },
    }
}

/// A session with somebody who answers its tasks: `bad…` recipients are refused by the next hop, `policy…`
/// ones by the policy; messages are delivered unless they say `spam`.
struct Pair {
    session: Session,
    now: Instant,
    /// Why octets are not kept, if they are not.
    unkept: Option<Unkept>,
    arriving: Vec<u8>,
    messages: Vec<Vec<u8>>,
    abandoned: usize,
}

impl Pair {
    fn new(admission: Admission) -> Self {
        let now = Instant::now();
        Self {
            session: Session::new(parameters(admission), now),
            now,
            unkept: None,
            arriving: Vec::new(),
            messages: Vec::new(),
            abandoned: 0,
        }
    }

    fn hear(&mut self) -> String {
        String::from_utf8(self.session.poll_output()).unwrap()
    }

    fn say(&mut self, input: &[u8]) -> String {
        self.session.handle_input(self.now, input);
        while let Some(task) = self.session.poll_task() {
            self.perform(task);
        }
        self.hear()
    }

    fn perform(&mut self, task: Task) {
        match task {
            Task::Begin => {}
            Task::Abandon => {
                self.abandoned += 1;
                self.arriving.clear();
            }
            Task::Content(octets) => {
                self.arriving.extend(octets);
                self.session.answer_content(self.now, self.unkept.map_or(Ok(()), Err));
            }
            Task::StartTls => {
                self.session.answer_start_tls(self.now, TlsProgress::Ready);
                let tls = Tls { version: "TLS1.3", cipher: "TLS_AES_128_GCM_SHA256".to_owned() };
                self.session.answer_start_tls(self.now, TlsProgress::Done(tls));
            }
            Task::Recipient(recipient) => {
                let answer = match recipient.to_string() {
                    name if name.starts_with("bad") => next_hop(550, "5.1.1 unknown"),
                    name if name.starts_with("another") => next_hop(452, "4.5.3 one at a time"),
                    name if name.starts_with("policy") => Answer::Refused(Refusal::DomainNotOptedIn),
                    _ => next_hop(250, "2.1.5 ok"),
                };
                self.session.answer_recipient(self.now, answer);
            }
            Task::Message => {
                let octets = mem::take(&mut self.arriving);
                let spam = octets.windows(4).any(|window| window == b"spam");
                self.messages.push(octets);
                let refused = Answer::Refused(Refusal::NotAuthenticated);
                self.session
                    .answer_message(self.now, if spam { refused } else { next_hop(250, "2.0.0 queued") });
            }
        }
    }
}

fn next_hop(code: u16, text: &str) -> Answer {
    Answer::Reply(Reply::from_next_hop(code, [text.as_bytes()]).unwrap())
}

/// Runs lines of `C: ` (sent with CRLF) and `S: ` (expected).
fn check(admission: Admission, script: &str) -> Pair {
    let mut pair = Pair::new(admission);
    let mut heard = pair.hear();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(said) = line.strip_prefix("C:") {
            let said = said.trim_start();
            assert_eq!(heard, "", "unexpected before {line}");
            heard = pair.say(format!("{said}\r\n").as_bytes());
        } else {
            let wanted = line.strip_prefix("S: ").expect(line);
            let (first, rest) =
                heard.split_once("\r\n").unwrap_or_else(|| panic!("nothing heard for {line}"));
            assert_eq!(first, wanted);
            heard = rest.to_owned();
        }
    }
    assert_eq!(heard, "");
    pair
}

#[test]
fn a_message_is_handed_on_as_it_came() {
    let pair = check(
        Admission::Serve,
        "S: 220 gate.example ESMTP sixgate
         C: EHLO mail.example
         S: 250-gate.example
         S: 250-PIPELINING
         S: 250-SIZE 1000
         S: 250-STARTTLS
         S: 250-8BITMIME
         S: 250-CHUNKING
         S: 250-SMTPUTF8
         S: 250 ENHANCEDSTATUSCODES
         C: MAIL FROM:<a@b.example> SIZE=100 BODY=8BITMIME
         S: 250 2.1.0 Sender ok
         C: RCPT TO:<u@contoso.com>
         S: 250 2.1.5 ok
         C: DATA
         S: 354 End data with <CRLF>.<CRLF>
         C: Subject: x
         C: 
         C: ..dot
         C: .
         S: 250 2.0.0 queued
         C: QUIT
         S: 221 2.0.0 gate.example closing connection",
    );
    assert_eq!(pair.messages, [b"Subject: x\r\n\r\n.dot\r\n".to_vec()]);
    assert!(pair.session.is_closing());
}

#[test]
fn what_the_next_hop_lacks_is_neither_offered_nor_taken() {
    let offer =
        Offer { eight_bit_mime: false, size: false, smtp_utf8: false, start_tls: false, message_size: 1000 };
    let now = Instant::now();
    let session = Session::new(SessionParameters { offer, ..parameters(Admission::Serve) }, now);
    let mut pair = Pair { session, ..Pair::new(Admission::Serve) };
    pair.hear();
    let heard = pair.say(b"EHLO mail.example\r\n");
    assert_eq!(heard, "250-gate.example\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 ENHANCEDSTATUSCODES\r\n");
    for parameter in ["SIZE=1", "BODY=8BITMIME", "SMTPUTF8"] {
        let heard = pair.say(format!("MAIL FROM:<a@b.example> {parameter}\r\n").as_bytes());
        assert_eq!(heard, "555 5.5.4 Parameter not recognized or not implemented\r\n");
    }
}

#[test]
fn an_address_outside_ascii_needs_smtputf8_in_its_transaction() {
    check(
        Admission::Serve,
        "S: 220 gate.example ESMTP sixgate
         C: HELO mail.example
         S: 250 gate.example
         C: MAIL FROM:<jörg@b.example>
         S: 550 5.6.7 Non-ASCII addresses are not accepted
         C: MAIL FROM:<a@b.example>
         S: 250 2.1.0 Sender ok
         C: RCPT TO:<u@bücher.example>
         S: 553 5.6.7 Non-ASCII addresses are not accepted
         C: RSET
         S: 250 2.0.0 Reset
         C: MAIL FROM:<jörg@b.example> SMTPUTF8
         S: 250 2.1.0 Sender ok
         C: RCPT TO:<policy@bücher.example>
         S: 550 5.2.1 Service unavailable, [xn--bcher-kva.example] does not accept email over IPv6.
         C: RCPT TO:<u@bücher.example>
         S: 250 2.1.5 ok",
    );
}

#[test]
fn a_message_in_chunks_is_the_same_however_it_is_cut() {
    let message = b"Subject: x\r\n\r\n.dot\r\n..\r\n\xff\r\nend";
    for length in 1..=message.len() {
        let mut pair = Pair::new(Admission::Serve);
        pair.say(b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\n");
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
        let mut pair = Pair::new(Admission::Serve);
        pair.say(b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\n");
        pair.session.handle_input(pair.now, format!("BDAT 0 LAST\r\n{said}").as_bytes());
        assert!(matches!(pair.session.poll_task(), Some(Task::Message)), "{said:?}");
        assert_eq!(pair.session.has_quit_waiting(), wanted, "{said:?}");
    }
}

#[test]
fn a_message_of_crumbs_is_not_taken() {
    let mut pair = Pair::new(Admission::Serve);
    pair.say(b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\n");
    assert!(pair.say(&b"BDAT 0\r\n".repeat(1000)).ends_with("250 2.0.0 0 octets received\r\n"));
    assert_eq!(pair.say(b"BDAT 0\r\n"), "421 4.7.0 gate.example Too many commands\r\n");
}

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
        pair.session.handle_input(pair.now, first.as_bytes());
        assert!(matches!(pair.session.poll_task(), Some(Task::StartTls)), "{first}");
        pair.session.handle_input(pair.now, second.as_bytes());
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
    pair.session.handle_input(pair.now, b"STARTTLS\r\n");
    assert!(matches!(pair.session.poll_task(), Some(Task::StartTls)));
    assert_eq!(pair.session.poll_timeout(), Some(pair.now + Duration::from_secs(300)));
    pair.session.answer_start_tls(pair.now, TlsProgress::Unavailable);
    assert_eq!(pair.hear(), "454 4.7.0 TLS is not available for the moment\r\n");
    assert!(pair.session.tls().is_none());
    assert_eq!(pair.say(b"MAIL FROM:<>\r\n"), "250 2.1.0 Sender ok\r\n");
}

#[test]
fn the_words_of_another_protocol_end_the_session() {
    for opening in ["PROXY TCP6 ::1 ::1 1 25\r\n", "POST / HTTP/1.1\r\nHost: gate.example\r\n\r\n"] {
        let mut pair = Pair::new(Admission::Serve);
        pair.hear();
        assert_eq!(pair.say(opening.as_bytes()), "500 5.5.1 This is SMTP\r\n");
        assert!(pair.session.is_closing());
    }
    let mut pair = Pair::new(Admission::Serve);
    pair.hear();
    let heard = pair.say(b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24");
    assert!(
        heard.ends_with("500 5.5.2 Lines end with <CRLF>; bare <CR>, bare <LF> and NUL are not accepted\r\n")
    );
    assert!(pair.session.is_closing());
}

#[test]
fn commands_out_of_order_are_refused_and_change_nothing() {
    check(
        Admission::Serve,
        "S: 220 gate.example ESMTP sixgate
         C: MAIL FROM:<a@b.example>
         S: 503 5.5.1 Bad sequence of commands
         C: HELO mail.example
         S: 250 gate.example
         C: RCPT TO:<u@contoso.com>
         S: 503 5.5.1 Bad sequence of commands
         C: DATA
         S: 503 5.5.1 Bad sequence of commands
         C: NOOP
         S: 250 2.0.0 Ok
         C: VRFY u
         S: 252 2.5.0 Cannot verify; send mail and see
         C: HELP
         S: 214 2.0.0 See RFC 5321
         C: MAIL FROM:<>
         S: 250 2.1.0 Sender ok
         C: RSET
         S: 250 2.0.0 Reset",
    );
}

#[test]
fn data_needs_an_accepted_recipient() {
    check(
        Admission::Serve,
        "S: 220 gate.example ESMTP sixgate
         C: HELO mail.example
         S: 250 gate.example
         C: MAIL FROM:<a@b.example>
         S: 250 2.1.0 Sender ok
         C: MAIL FROM:<a@b.example>
         S: 503 5.5.1 Bad sequence of commands
         C: RCPT TO:<policy@contoso.com>
         S: 550 5.2.1 Service unavailable, [contoso.com] does not accept email over IPv6.
         C: RCPT TO:<bad@contoso.com>
         S: 550 5.1.1 unknown
         C: DATA
         S: 554 5.5.1 No valid recipients
         C: RCPT TO:<u@contoso.com>
         S: 250 2.1.5 ok
         C: DATA
         S: 354 End data with <CRLF>.<CRLF>
         C: spam
         C: .
         S: 450 4.7.26 Service unavailable, message sent over IPv6 [2001:db8:1::1] must pass either SPF or DKIM validation.
         C: DATA
         S: 503 5.5.1 Bad sequence of commands",
    );
}

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
    let mut pair = Pair::new(Admission::Serve);
    pair.say(b"HELO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\n");
    for (recipient, code) in [("another", "452"), ("bad", "550")] {
        let heard = pair.say(format!("RCPT TO:<{recipient}@contoso.com>\r\n").repeat(30).as_bytes());
        assert!(heard.lines().all(|line| line.starts_with(code)), "{heard}");
    }
    assert!(!pair.session.is_closing());
    assert!(pair.session.poll_reached().iter().all(|say| *say == Say::TooManyRecipients));
    let heard = pair.say(b"RCPT TO:<another@contoso.com>\r\nRCPT TO:<bad@contoso.com>\r\n");
    assert!(heard.ends_with("421 4.7.0 gate.example Too many errors\r\n"), "{heard}");
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
    let mut pair = Pair::new(Admission::Serve);
    pair.say(b"HELO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\nDATA\r\n");
    assert_eq!(pair.say(&b"0123456\r\n".repeat(500)), "");
    assert!(pair.arriving.is_empty());
    let heard = pair.say(b"\r\nQUIT\r\n.\r\nNOOP\r\n");
    assert_eq!(heard, "552 5.3.4 Message size exceeds fixed limit\r\n250 2.0.0 Ok\r\n");
    assert_eq!((pair.messages.len(), pair.abandoned), (0, 1));
    assert_eq!(pair.session.poll_reached(), [Say::TooBig]);
}

#[test]
fn a_message_that_cannot_be_kept_is_read_to_its_end_and_refused_for_now() {
    let rows = [
        (Unkept::Memory, "452 4.3.1 Insufficient system storage, please try again later.\r\n"),
        (Unkept::Disk, "452 4.3.1 Insufficient system storage, please try again later.\r\n"),
        (Unkept::Failure, "451 4.3.0 The message could not be stored, please try again later.\r\n"),
    ];
    for (unkept, wanted) in rows {
        let mut pair = Pair::new(Admission::Serve);
        pair.say(b"HELO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\nDATA\r\n");
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
fn line_ends_other_than_crlf_end_the_session() {
    for (said, wanted) in [
        (&b"HELO a\n"[..], "500 5.5.2 "),
        (b"HELO a\r\nNO\rOP\r\n", "500 5.5.2 "),
        (b"HELO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\nDATA\r\nx\n.\r\nQUIT\r\n", "550 5.6.0 "),
    ] {
        let mut pair = Pair::new(Admission::Serve);
        let heard = pair.say(said);
        assert!(heard.lines().last().unwrap().starts_with(wanted), "{heard}");
        assert!(pair.session.is_closing());
        assert!(pair.messages.is_empty());
    }
}

#[test]
fn a_bare_line_end_in_a_command_ends_the_session_wherever_it_stands_and_however_it_is_cut() {
    let begun = "EHLO a\r\n";
    let mail = "EHLO a\r\nMAIL FROM:<>\r\n";
    let recipient = "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\n";
    let chunk = "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\nBDAT 3\r\na\r\n";
    let whole = "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\nBDAT 3 LAST\r\na\r\n";
    let data = "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\nDATA\r\na\r\n.\r\n";
    let skipped = "EHLO a\r\nBDAT 3 LAST\r\n\n\0\r";
    let ends = ["\n", "\r", "\0", "\r\r\n", "\n\r\n", "\0\r\n", "\r\0\n", "\n\n", "\r\r"];
    for before in ["", begun, mail, recipient, chunk, whole, data, skipped] {
        for end in ends {
            for command in ["NOOP", "RCPT TO:<evil@contoso.com>", "DATA", "BDAT 0 LAST", "QUIT", ""] {
                let said = format!("{before}{command}{end}RSET\r\nMAIL FROM:<evil@b.example>\r\n");
                for length in [1, 2, 7, said.len()] {
                    let mut pair = Pair::new(Admission::Serve);
                    let delivered = usize::from([whole, data].contains(&before));
                    let mut heard = String::new();
                    for octets in said.as_bytes().chunks(length) {
                        heard += &pair.say(octets);
                    }
                    assert!(
                        heard.lines().last().unwrap().starts_with("500 5.5.2 Lines end with"),
                        "{said:?} by {length}: {heard}"
                    );
                    assert!(pair.session.is_closing() && pair.session.transaction().is_none());
                    assert_eq!(pair.messages.len(), delivered, "{said:?} by {length}");
                }
            }
        }
    }
}

#[test]
fn a_silent_client_hears_why_it_is_dropped() {
    let mut pair = Pair::new(Admission::Serve);
    pair.hear();
    let timeout = pair.session.poll_timeout().unwrap();
    assert_eq!(timeout, pair.now + Duration::from_secs(300));
    pair.session.handle_timeout(timeout - Duration::from_millis(1));
    assert_eq!(pair.hear(), "");
    pair.session.handle_timeout(timeout);
    assert_eq!(pair.hear(), "421 4.4.2 gate.example Time-out waiting for input\r\n");
    assert!(pair.session.is_closing());
}

#[test]
fn recipients_and_sizes_beyond_the_limits_do_not_go_on_for_ever() {
    let mut pair = Pair::new(Admission::Serve);
    pair.say(b"EHLO a\r\nMAIL FROM:<>\r\n");
    let heard = pair.say(&b"RCPT TO:<u@contoso.com>\r\n".repeat(1000));
    assert_eq!(heard.matches("250 2.1.5").count(), 3);
    assert_eq!(heard.matches("452 4.5.3").count(), 3 * REFUSED_RECIPIENTS_FACTOR + 1);
    assert!(heard.ends_with("421 4.7.0 gate.example Too many errors\r\n"), "{heard}");

    let mut pair = Pair::new(Admission::Serve);
    pair.say(b"EHLO a\r\n");
    let heard = pair.say(&b"MAIL FROM:<> SIZE=1001\r\n".repeat(1000));
    assert_eq!(heard.matches("552 5.3.4").count(), IDLE_COMMANDS_MAX as usize - 1);
    assert!(heard.ends_with("421 4.7.0 gate.example Too many commands\r\n"), "{heard}");
}

#[test]
fn octets_of_a_command_do_not_put_its_time_off() {
    let mut pair = Pair::new(Admission::Serve);
    let timeout = pair.session.poll_timeout();
    pair.now += Duration::from_secs(299);
    pair.say(b"NO");
    assert_eq!(pair.session.poll_timeout(), timeout);
    pair.say(b"OP\r\n");
    assert_eq!(pair.session.poll_timeout(), Some(pair.now + Duration::from_secs(300)));
}

#[test]
fn a_message_has_to_keep_a_pace() {
    let mut pair = Pair::new(Admission::Serve);
    pair.say(b"HELO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\nDATA\r\n");
    // 100 octets in a second, and 180 seconds of grace
    for _ in 0..2 {
        pair.now += Duration::from_secs(90);
        pair.say(&[b'x'; 50]);
    }
    assert_eq!(pair.session.poll_timeout(), Some(pair.now + Duration::from_secs(1)));
    pair.now += Duration::from_secs(1);
    pair.session.handle_timeout(pair.now);
    assert_eq!(pair.hear(), "421 4.4.2 gate.example The message arrives too slowly\r\n");
    assert_eq!(pair.session.poll_reached(), [Say::TooSlow]);
    assert!(pair.session.is_closing());
}

#[test]
fn the_time_that_keeping_takes_is_not_the_senders() {
    let mut pair = Pair::new(Admission::Serve);
    pair.say(b"HELO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\nDATA\r\n");
    pair.session.handle_input(pair.now, b"Subject: x\r\n");
    let Some(Task::Content(_)) = pair.session.poll_task() else { panic!("a piece") };
    assert_eq!(pair.session.poll_timeout(), None);
    let later = pair.now + Duration::from_secs(1000);
    pair.session.answer_content(later, Ok(()));
    assert!(pair.session.poll_timeout().is_some_and(|timeout| timeout >= later + Duration::from_secs(180)));
}

#[test]
fn a_transaction_ends_in_time_even_if_something_always_happens() {
    let mut pair = Pair::new(Admission::Serve);
    pair.say(b"HELO a\r\nMAIL FROM:<>\r\n");
    for _ in 0..7 {
        pair.now += Duration::from_secs(250);
        pair.say(b"RCPT TO:<bad@contoso.com>\r\n");
    }
    pair.now += Duration::from_secs(50);
    pair.session.handle_timeout(pair.now);
    assert_eq!(pair.hear(), "421 4.4.2 gate.example The transaction takes too long\r\n");
    assert_eq!(pair.abandoned, 0, "not yet told");
    assert!(matches!(pair.session.poll_task(), Some(Task::Abandon)));
}

#[test]
fn a_chatty_client_cannot_stay_for_ever() {
    let mut pair = Pair::new(Admission::Serve);
    pair.now += Duration::from_secs(3599);
    pair.say(b"NOOP\r\n");
    assert_eq!(pair.session.poll_timeout(), Some(pair.now + Duration::from_secs(1)));
    let heard = pair.say(&b"NOOP\r\n".repeat(IDLE_COMMANDS_MAX as usize));
    assert!(heard.ends_with("421 4.7.0 gate.example Too many commands\r\n"), "{heard}");
}

#[test]
fn a_stopping_daemon_lets_the_message_under_way_finish() {
    let mut pair = Pair::new(Admission::Serve);
    pair.say(b"HELO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\nDATA\r\n");
    pair.session.handle_shutdown();
    assert!(!pair.session.is_closing());
    let heard = pair.say(b"x\r\n.\r\n");
    assert_eq!(heard, "250 2.0.0 queued\r\n421 4.3.2 gate.example Service is shutting down\r\n");
    let mut idle = Pair::new(Admission::Serve);
    idle.hear();
    idle.session.handle_shutdown();
    assert_eq!(idle.hear(), "421 4.3.2 gate.example Service is shutting down\r\n");
}

#[test]
fn a_refused_session_hears_the_promised_text_at_rcpt() {
    check(
        NOT_OPTED_IN,
        "S: 220 gate.example ESMTP sixgate
         C: EHLO mail.example
         S: 250-gate.example
         S: 250-SIZE 1000
         S: 250-8BITMIME
         S: 250-SMTPUTF8
         S: 250 ENHANCEDSTATUSCODES
         C: RCPT TO:<u@contoso.com>
         S: 503 5.5.1 Bad sequence of commands
         C: MAIL FROM:<a@b.example>
         S: 250 2.1.0 Sender ok
         C: RCPT TO:<u@Contoso.com>
         S: 550 5.2.1 Service unavailable, [Contoso.com] does not accept email over IPv6.
         C: RCPT TO:<postmaster>
         S: 550 5.2.1 Service unavailable, [2001:db8::25] does not accept email over IPv6.
         C: DATA
         S: 554 5.5.1 No valid recipients
         C: STARTTLS
         S: 502 5.5.1 Command not implemented
         C: QUIT
         S: 221 2.0.0 gate.example closing connection",
    );
    check(
        Admission::Refuse { reason: Reason::NoPtr, refuse_at: REFUSE_AT_GREETING },
        "S: 220 gate.example ESMTP sixgate
         C: HELO mail.example
         S: 250 gate.example
         C: MAIL FROM:<a@b.example>
         S: 250 2.1.0 Sender ok
         C: RCPT TO:<u@contoso.com>
         S: 450 4.7.25 Service unavailable, sending IPv6 address [2001:db8:1::1] must have reverse DNS record.",
    );
    check(
        Admission::Refuse { reason: Reason::NotOptedIn, refuse_at: REFUSE_AT_GREETING },
        "S: 554 gate.example Service unavailable, [2001:db8::25] does not accept email over IPv6.
         C: EHLO mail.example
         S: 503 5.5.1 Bad sequence of commands
         C: QUIT
         S: 221 2.0.0 gate.example closing connection",
    );
}

#[test]
fn a_pipelined_group_is_answered_in_order_whatever_has_to_be_asked() {
    let mut pair = Pair::new(Admission::Serve);
    pair.hear();
    let heard = pair.say(
        b"HELO a\r\nMAIL FROM:<>\r\nRCPT TO:<bad@contoso.com>\r\nRCPT TO:<u@contoso.com>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n",
    );
    let codes: Vec<&str> = heard.lines().map(|line| &line[..3]).collect();
    assert_eq!(codes, ["250", "250", "550", "250", "354", "250", "221"]);
}

proptest! {
    #[test]
    fn however_input_is_cut_the_replies_are_the_same(
        input in proptest::collection::vec(proptest::sample::select(PIECES.to_vec()), 0..40),
        cuts in proptest::collection::vec(1usize..20, 1..200),
        refused in any::<bool>(),
    ) {
        let admission = if refused { NOT_OPTED_IN } else { Admission::Serve };
        let input = input.concat();
        let mut whole = Pair::new(admission);
        let at_once = whole.hear() + &whole.say(&input);
        let mut pieces = Pair::new(admission);
        let mut heard = pieces.hear();
        let mut rest = input.as_slice();
        for cut in cuts.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, remaining) = rest.split_at(cut.min(rest.len()));
            heard += &pieces.say(piece);
            rest = remaining;
        }
        prop_assert_eq!(heard, at_once);
        prop_assert_eq!(pieces.messages, whole.messages);
    }

    #[test]
    fn no_input_panics(input in proptest::collection::vec(any::<u8>(), 0..3000), refused in any::<bool>()) {
        let mut pair = Pair::new(if refused { NOT_OPTED_IN } else { Admission::Serve });
        pair.say(&input);
    }
}
