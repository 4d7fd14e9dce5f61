//! Lines: where one ends, how long it may be, in how many pieces it comes.
//!
//! `commands` tests their content.

use nix::{sched::sched_setaffinity, unistd::Pid};
use sixgate_common::{
    domain::DOMAIN_MAX,
    names::PARTIAL_LINES_ENTRIES,
    refuse::{LINE_MAX, MAIL_LINE_MAX, ReplyId},
    reply::KEPT_DOMAIN_MAX,
    stat::Stat,
};
use sixgate_tests::{
    gate,
    packet::tcp::{ACK, RST},
};

use super::{
    commands::{EHLO, RCPT},
    cpus::two_cpus,
    lockstep::{Lockstep, length},
    session::{Observed, Sender, about, bare, greeting, line, load, replied, signalled, text},
};
use crate::program::{NEEDS, OURS, Program};

/// A line of so many octets in all, which begins so.
pub(super) fn long(start: &str, length: usize) -> Vec<u8> {
    let mut line = vec![b'x'; length];
    line[..start.len()].copy_from_slice(start.as_bytes());
    line[length - 2..].copy_from_slice(b"\r\n");
    line
}

#[test]
fn a_line_has_its_length_and_no_more() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let rows = [
        ("NOOP ", LINE_MAX, ReplyId::Noop),
        ("NOOP ", LINE_MAX + 1, ReplyId::TooLong),
        ("", LINE_MAX, ReplyId::Unknown),
        ("", LINE_MAX + 1, ReplyId::TooLong),
        ("EHLO ", LINE_MAX, ReplyId::Ehlo),
        ("EHLO ", LINE_MAX + 1, ReplyId::TooLong),
        ("", MAIL_LINE_MAX, ReplyId::TooLong),
        ("", MAIL_LINE_MAX + 1, ReplyId::TooLong),
        ("", 1220, ReplyId::TooLong),
        ("MAIL FROM:<", MAIL_LINE_MAX, ReplyId::BadSequence),
        ("MAIL FROM:<", MAIL_LINE_MAX + 1, ReplyId::TooLong),
        ("RCPT TO:<", LINE_MAX, ReplyId::BadSequence),
        ("RCPT TO:<", LINE_MAX + 1, ReplyId::TooLong),
        ("QUIT ", LINE_MAX + 1, ReplyId::TooLong),
    ];
    for (start, length, reply) in rows {
        let mut lockstep = Lockstep::usual(&mut program);
        lockstep.expect_reply(&mut program, &long(start, length), &text(reply));
        lockstep.expect_reply(&mut program, b"NOOP\r\n", &text(ReplyId::Noop));
    }
    let mut lockstep = Lockstep::usual(&mut program);
    lockstep.expect_reply(&mut program, EHLO, &text(ReplyId::Ehlo));
    lockstep.expect_reply(&mut program, &long("mail from:<", MAIL_LINE_MAX), &text(ReplyId::Mail));
}

#[test]
fn a_line_of_many_segments_gets_one_reply_at_its_end() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let g = length(greeting());
    for (total, segment) in
        [(4096, 1220), (4096, 600), (8000, 1220), (2000, 1000), (1133, 567), (20_000, 1440)]
    {
        let sender = Sender::usual(&mut program);
        let octets = long("MAIL FROM:<", total);
        let parts: Vec<&[u8]> = octets.chunks(segment).collect();
        let mut at = 0;
        for (index, part) in parts.iter().enumerate() {
            let end = at + length(part);
            let last = index + 1 == parts.len();
            let wanted = |stat| {
                if last {
                    replied(stat, g, end, &text(ReplyId::TooLong))
                } else {
                    signalled(Stat::AnswerAck, ACK, g, end)
                }
            };
            assert_eq!(
                sender.send(&mut program, line(at, g, part)),
                wanted(Stat::AnswerReply),
                "{total} {segment} {at}"
            );
            // once more: the acknowledgement may be lost, too
            assert_eq!(
                sender.send(&mut program, line(at, g, part)),
                wanted(Stat::AnswerAgain),
                "{total} {segment} {at}"
            );
            at = end;
        }
        let ack = g + length(text(ReplyId::TooLong));
        let observed = sender.send(&mut program, line(at, ack, b"NOOP\r\n"));
        assert_eq!(observed, replied(Stat::AnswerReply, ack, at + 6, &text(ReplyId::Noop)));
    }
}

#[test]
fn a_line_in_pieces_is_read_as_one() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let mail = long("MAIL FROM:<", MAIL_LINE_MAX);
    let lines: [(&[u8], String); 5] = [
        (EHLO, text(ReplyId::Ehlo)),
        (&mail, text(ReplyId::Mail)),
        (RCPT, about(ReplyId::NotOptedIn, "contoso.com")),
        (b"RCPT TO:<postmaster>\r\n", about(ReplyId::NotOptedIn, &OURS.to_string())),
        (b"DATA\r\n", text(ReplyId::NoRecipients)),
    ];
    for piece in [1, 2, 3, 7, 16, 100, 564] {
        let sender = Sender::usual(&mut program);
        let (mut at, mut ack) = (0, length(greeting()));
        for (octets, wanted) in &lines {
            let end = at + length(octets);
            for (index, part) in octets.chunks(piece).enumerate() {
                let to = at + length(part);
                let observed = sender.send(&mut program, line(at, ack, part));
                if to == end {
                    assert_eq!(observed, replied(Stat::AnswerReply, ack, end, wanted), "{piece}: {octets:?}");
                } else {
                    // the first piece has to come twice
                    let held = index == 0 && observed == Observed::Dropped(Stat::DropIncomplete);
                    let observed =
                        if held { sender.send(&mut program, line(at, ack, part)) } else { observed };
                    assert_eq!(observed, signalled(Stat::AnswerAck, ACK, ack, to), "{piece}: {octets:?}");
                }
                at = to;
            }
            ack += length(wanted);
        }
    }
}

#[test]
fn what_is_no_line_end_ends_the_session() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let too_long = [&[b'x'; 700][..], b"\n"].concat();
    let rows: [&[u8]; 11] = [
        b"NOOP\n",
        b"\n",
        b"NO\nOP\r\n",
        b"NOOP\rRSET\r\n",
        b"\r\r\n",
        b"NOOP\r\r\n",
        b"NOOP\0\r\n",
        b"\0",
        b"EHLO a\nMAIL FROM:<>\r\n",
        &too_long,
        b"RCPT TO:<a@b.example>\n.\r\n",
    ];
    for octets in rows {
        let mut lockstep = Lockstep::usual(&mut program);
        lockstep.expect_reply(&mut program, b"NOOP\r\n", &text(ReplyId::Noop));
        lockstep.expect_last_reply(&mut program, octets, &text(ReplyId::BareLineEnd));
    }
}

#[test]
fn a_reply_to_a_line_in_pieces_fits_behind_the_last_octet() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    for (length_of_domain, is_said) in
        [(KEPT_DOMAIN_MAX, true), (KEPT_DOMAIN_MAX + 1, false), (DOMAIN_MAX, false)]
    {
        let domain = format!("{}contoso.com", "a.".repeat(DOMAIN_MAX));
        let domain = domain[domain.len() - length_of_domain..].trim_start_matches('.');
        let domain = format!("{}{domain}", "a".repeat(length_of_domain - domain.len()));
        let subject = if is_said { domain.clone() } else { OURS.to_string() };
        let reply = about(ReplyId::NotOptedIn, &subject);
        let mut lockstep = Lockstep::usual(&mut program);
        lockstep.expect_reply(&mut program, EHLO, &text(ReplyId::Ehlo));
        lockstep.expect_reply(&mut program, b"MAIL FROM:<>\r\n", &text(ReplyId::Mail));
        let Lockstep { sender, at, ack } = lockstep;
        let octets = format!("RCPT TO:<u@{domain}>\r");
        let end = at + length(&octets);
        for observed in [Observed::Dropped(Stat::DropIncomplete), signalled(Stat::AnswerAck, ACK, ack, end)] {
            assert_eq!(sender.send(&mut program, line(at, ack, octets.as_bytes())), observed);
        }
        for stat in [Stat::AnswerReply, Stat::AnswerAgain] {
            let observed = sender.send(&mut program, line(end, ack, b"\n"));
            assert_eq!(observed, replied(stat, ack, end + 1, &reply), "{domain}");
        }
    }
}

#[test]
fn a_line_that_gave_way_to_others_ends_its_session_with_a_reset() {
    if !gate::require(NEEDS) {
        return;
    }
    // an LRU map has a list for each CPU: an entry that was made on another one stays longer
    let [cpu, _] = two_cpus();
    sched_setaffinity(Pid::from_raw(0), &cpu).unwrap();
    let mut program = load();
    let g = length(greeting());
    let begin = |program: &mut Program| {
        let sender = Sender::usual(program);
        for observed in [Observed::Dropped(Stat::DropIncomplete), signalled(Stat::AnswerAck, ACK, g, 2)] {
            assert_eq!(sender.send(program, line(0, g, b"NO")), observed);
        }
        sender
    };
    let oldest = begin(&mut program);
    for count in 0..2 * PARTIAL_LINES_ENTRIES {
        let other = begin(&mut program);
        other.forget(&mut program);
        if count % 400 == 0 {
            // its entry in FLOWS stays in use, and is not used more often than acknowledgements are
            // limited to
            let observed = oldest.send(&mut program, bare(ACK, 1, g));
            assert_eq!(observed, signalled(Stat::AnswerAck, ACK, g, 2));
        }
    }
    let observed = oldest.send(&mut program, line(2, g, b"OP\r\n"));
    assert_eq!(observed, signalled(Stat::AnswerLineLost, RST | ACK, g, 2));
    assert_eq!(program.counter(Stat::AlsoEnded), 1);
    // whose line is there goes on
    let newest = begin(&mut program);
    let observed = newest.send(&mut program, line(2, g, b"OP\r\n"));
    assert_eq!(observed, replied(Stat::AnswerReply, g, 6, &text(ReplyId::Noop)));
}
