//! Dialogues in memory: the client's lines in, the replies out. Recipients and messages are
//! answered by a fixed rule; no policy is applied here.

mod bounds;
mod chunks;
mod incidents;
mod line_ends;
mod pair;
mod tally;
mod times;
mod tls;

use proptest::prelude::*;
use sixgate_common::refuse::Reason;
use sixgate_common::settings::{REFUSE_AT_GREETING, REFUSE_AT_RCPT};

use super::*;
use crate::command::Mailbox;
use pair::{Pair, check, next_hop, parameters};

const NOT_OPTED_IN: Admission = Admission::Refuse { reason: Reason::NotOptedIn, refuse_at: REFUSE_AT_RCPT };

/// The pieces of which random clients are made.
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

#[test]
fn a_task_carries_what_it_is_about() {
    let mut pair = Pair::new(Admission::Serve);
    pair.hear();
    pair.receive(b"EHLO a.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<u@contoso.com>\r\n");
    let Some(Task::Begin { hello, mail }) = pair.session.poll_task() else { panic!("MAIL") };
    assert_eq!((hello.name.as_str(), hello.extended), ("a.example", true));
    let Some(Task::Recipient { recipient, mail: same, hello }) = pair.session.poll_task() else {
        panic!("RCPT")
    };
    assert!(Arc::ptr_eq(&mail, &same), "the sender is not copied for each recipient");
    assert_eq!((hello.name.as_str(), recipient.to_string()), ("a.example", "u@contoso.com".to_owned()));
    pair.session.answer_recipient(pair.now, &next_hop(250, "2.1.5 ok"));
    pair.receive(b"BDAT 0 LAST\r\n");
    let Some(Task::Message { transaction, tls }) = pair.session.poll_task() else { panic!("BDAT") };
    assert_eq!(
        transaction.mail.reverse_path.as_ref().map(Mailbox::to_string).as_deref(),
        Some("a@b.example")
    );
    assert_eq!(
        (transaction.recipients, transaction.hello.name.as_str(), tls),
        (vec![recipient], "a.example", None)
    );
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
fn a_refused_session_gets_the_promised_text_at_rcpt() {
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
fn a_pipelined_group_is_answered_in_order_with_any_questions() {
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
