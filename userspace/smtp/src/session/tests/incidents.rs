//! Reports to the log: the incident, and how far the session had come.

use super::{NOT_OPTED_IN, pair::Pair};
use crate::{
    reply::{ReplyKind, ReplyTable},
    session::{Admission, CommandName, Event, Incident, SessionProgress, Stage, StoreFailure},
};

#[test]
fn what_is_refused_given_up_or_ended_is_reported_with_what_led_to_it() {
    let mail = "EHLO a\r\nMAIL FROM:<a@b.example>\r\n";
    let rcpt = format!("{mail}RCPT TO:<u@contoso.com>\r\n");
    let data = format!("{rcpt}DATA\r\n");
    let long = "x".repeat(600);
    let rows: [(&str, String, Event, Stage, u64); 19] = [
        (
            "a bare line end at once",
            "\n".to_owned(),
            Event::Session(ReplyKind::BareCommand),
            Stage::Connect,
            0,
        ),
        (
            "another protocol",
            "GET / HTTP/1.1\r\n".to_owned(),
            Event::Session(ReplyKind::OtherProtocol),
            Stage::Connect,
            0,
        ),
        ("no command", "EHLO a\r\nx\r\n".to_owned(), Event::Command(ReplyKind::Unknown), Stage::Hello, 0),
        ("a long line", format!("EHLO a\r\n{long}\r\n"), Event::Command(ReplyKind::TooLong), Stage::Hello, 0),
        (
            "too large",
            "EHLO a\r\nMAIL FROM:<> SIZE=1001\r\n".to_owned(),
            Event::Command(ReplyKind::TooBig),
            Stage::Hello,
            0,
        ),
        ("out of order", format!("{mail}DATA\r\n"), Event::Command(ReplyKind::NoRecipients), Stage::Mail, 0),
        ("in vain", format!("{mail}RCPT TO:<another@a.example>\r\n"), Event::Deferred, Stage::Rcpt, 0),
        (
            "recipients",
            format!("{rcpt}{}", "RCPT TO:<u@contoso.com>\r\n".repeat(3)),
            Event::Command(ReplyKind::TooManyRecipients),
            Stage::Rcpt,
            0,
        ),
        (
            "no size of a chunk",
            format!("{rcpt}BDAT x\r\n"),
            Event::Session(ReplyKind::BadChunk),
            Stage::Rcpt,
            0,
        ),
        (
            "a bare line end",
            format!("{data}Subject: x\r\n\n"),
            Event::Session(ReplyKind::BareData),
            Stage::Data,
            13,
        ),
        (
            "a line too long",
            format!("{data}{long}{long}\r\n.\r\n"),
            Event::Message(ReplyKind::LineTooLong),
            Stage::Data,
            1205,
        ),
        (
            "a chunk too long",
            format!("{rcpt}BDAT 1001 LAST\r\n{}", "x".repeat(1001)),
            Event::Message(ReplyKind::TooBig),
            Stage::Bdat,
            1001,
        ),
        (
            "between chunks",
            format!("{rcpt}BDAT 3\r\nx\r\nNOOP\n"),
            Event::Session(ReplyKind::BareCommand),
            Stage::Bdat,
            3,
        ),
        (
            "a chunk for nobody",
            "EHLO a\r\nBDAT 3\r\nx\r\n".to_owned(),
            Event::Command(ReplyKind::BadSequence),
            Stage::Hello,
            0,
        ),
        (
            "after a message",
            format!("{data}x\r\n.\r\nx\r\n"),
            Event::Command(ReplyKind::Unknown),
            Stage::Hello,
            0,
        ),
        ("after RSET", format!("{rcpt}RSET\r\nx\r\n"), Event::Command(ReplyKind::Unknown), Stage::Hello, 0),
        ("after STARTTLS", "EHLO a\r\nSTARTTLS\r\n".to_owned(), Event::Left, Stage::StartTls, 0),
        ("gone in the middle", format!("{data}Subject: x\r\n"), Event::Left, Stage::Data, 12),
        ("gone at once", String::new(), Event::Left, Stage::Connect, 0),
    ];
    for (claim, said, event, stage, octets) in rows {
        let mut pair = Pair::new(Admission::Serve);
        let heard = pair.say(said.as_bytes());
        if event == Event::Left {
            pair.session.handle_end_of_input();
        }
        let told = pair.session.poll_incidents();
        let [Incident { event: found, progress, reply }] = told.as_slice() else {
            panic!("{claim}: {told:?}")
        };
        let is_heard = reply.as_ref().map(|reply| heard.ends_with(&reply.to_string()));
        let is_ours = !matches!(event, Event::Left | Event::Deferred);
        assert_eq!(is_heard, is_ours.then_some(true), "{claim}: {reply:?} in {heard}");
        assert_eq!((*found, progress.stage, progress.octets), (event, stage, octets), "{claim}");
        let in_transaction = !matches!(stage, Stage::Connect | Stage::Hello | Stage::StartTls);
        assert_eq!(progress.mail_from.as_deref(), in_transaction.then_some("a@b.example"), "{claim}");
    }
}

#[test]
fn what_goes_well_is_not_reported() {
    let mut pair = Pair::in_data();
    pair.say(b"spam\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<bad@a.example>\r\nRSET\r\nNOOP\r\nQUIT\r\n");
    pair.session.handle_end_of_input();
    assert_eq!(pair.events(), []);
}

#[test]
fn what_ends_by_errors_is_reported_once_with_the_transaction_that_it_ends() {
    let mut pair = Pair::with_recipient();
    pair.say(&b"x\r\n".repeat(10));
    let told = pair.session.poll_incidents();
    assert_eq!(told.len(), 4, "{told:?}");
    let progress = SessionProgress {
        stage: Stage::Rcpt,
        octets: 0,
        mail_from: Some(String::new()),
        recipients: 1,
        to: vec![told[3].progress.to[0].clone()],
        message_id: String::new(),
        argument: None,
        command: Some(CommandName::Unknown),
        messages: 0,
    };
    let reply = Some(ReplyTable::new("gate.example", 1000).reply(ReplyKind::TooManyErrors));
    assert_eq!(told[3], Incident { event: Event::Session(ReplyKind::TooManyErrors), progress, reply });
}

#[test]
fn a_message_that_could_not_be_kept_is_reported_at_its_end() {
    let mut pair = Pair::in_data();
    pair.unkept = Some(StoreFailure::Memory);
    pair.say(b"Subject: x\r\n");
    assert_eq!(pair.events(), []);
    pair.say(b".\r\n");
    assert_eq!(pair.events(), [Event::Message(ReplyKind::NoMemory)]);
}

#[test]
fn a_session_that_refuses_everything_says_so() {
    let mut pair = Pair::new(NOT_OPTED_IN);
    pair.session.handle_shutdown();
    let told = pair.session.poll_incidents();
    assert_eq!(told.iter().map(|incident| incident.progress.stage).collect::<Vec<_>>(), [Stage::Refused]);
}
