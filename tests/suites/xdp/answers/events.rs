//! The events that user space gets about refused sessions: one record when one ends, and a count of
//! those beyond a network's share and of those that found no space.

use std::net::Ipv6Addr;

use sixgate_common::{
    event::{Ending, KIND_ENDED, KIND_RECIPIENT, SHARE_MAX, TICK_SHIFT},
    flow::ARGUMENT_KEPT,
    names::EVENTS_BYTES,
    refuse::{REASON_NO_PTR, REASON_NOT_OPTED_IN, ReplyId},
    settings::{REFUSE_AT_GREETING, REFUSE_AT_RESET, Settings},
    stat::Stat,
};
use sixgate_dataplane::monotonic_nanoseconds;
use sixgate_tests::{
    gate,
    packet::{
        Packet,
        tcp::{ACK, FIN, PSH, RST},
    },
};

use super::session::{ANSWERING, CLIENT, Observed, Sender, about, bare, configure, greeting, line, load};
use crate::program::{Fate, NEEDS, NO_PTR, OPTED_IN, OURS, Program};

/// A record, read by the offsets that `sixgate_common::event` promises.
#[derive(Debug)]
struct Record {
    kind: u8,
    reason: u8,
    ending: u8,
    commands: u16,
    opened: u64,
    now: u64,
    flow: Vec<u8>,
    refused: u8,
    sender: String,
    recipient: String,
}

impl Record {
    fn read(octets: &[u8]) -> Self {
        let number = |at: usize| u64::from_ne_bytes(octets[at..at + 8].try_into().unwrap());
        assert_eq!(octets[60..64], [0; 4], "padding");
        let kind = octets[0];
        let argument = |at: usize, length: u8| {
            let argument = &octets[at..][..usize::from(length)];
            String::from_utf8_lossy(argument).into_owned()
        };
        assert!(matches!(kind, KIND_ENDED | KIND_RECIPIENT) && octets.len() == 256, "{octets:?}");
        Self {
            kind,
            reason: octets[1],
            ending: octets[2],
            commands: u16::from_ne_bytes([octets[4], octets[5]]),
            opened: number(8),
            now: number(16),
            flow: octets[24..60].to_vec(),
            refused: octets[3],
            sender: argument(64, octets[6]),
            recipient: argument(64 + ARGUMENT_KEPT, octets[7]),
        }
    }
}

fn records(program: &mut Program) -> Vec<Record> {
    program.events().iter().map(|octets| Record::read(octets)).collect()
}

/// The octets of a connection's key.
fn flow(sender: &Sender) -> Vec<u8> {
    let key = sender.key();
    [&key.source[..], &key.destination, &key.source_port, &key.destination_port].concat()
}

/// Sends complete lines, one after the other, and gets a reply to each.
fn converse(program: &mut Program, sender: &Sender, lines: &[&[u8]]) -> (i32, i32) {
    let (mut at, mut next) = (0, i32::try_from(greeting().len()).unwrap());
    for octets in lines {
        // twice: input that is sent again makes no second record
        for _ in 0..2 {
            let Observed::Answered { flags, data, ack, .. } = sender.send(program, line(at, next, octets))
            else {
                panic!("no answer to {octets:?}");
            };
            if ack == at + i32::try_from(octets.len()).unwrap() && !data.is_empty() {
                let end = next + i32::try_from(data.len()).unwrap() + i32::from(flags & FIN != 0);
                let _ = sender.send(program, bare(ACK, at, next));
                if flags & PSH != 0 {
                    at = ack;
                    next = end;
                    break;
                }
            }
        }
    }
    (at, next)
}

/// A session: its name, its commands, how the sender ends it, how it ended, and the sender and
/// recipient in its event.
type Row<'a> = (&'a str, &'a [&'a [u8]], Option<u8>, Ending, (&'a str, &'a str));

const EHLO: &[u8] = b"EHLO mail.example\r\n";
const MAIL: &[u8] = b"MAIL FROM:<a@b.example>\r\n";
const RCPT: &[u8] = b"RCPT TO:<user@contoso.com>\r\n";

#[test]
fn each_session_leaves_one_record_of_its_end() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let longest = format!("RCPT TO:<u@{}>\r\n", "a.".repeat(46));
    let longer = format!("RCPT TO:<u@{}>\r\n", "a.".repeat(99));
    let long_mail = format!("MAIL FROM:<{}@b.example>\r\n", "x".repeat(99));
    let (all, beginning) = (&longest[8..8 + ARGUMENT_KEPT], &longer[8..8 + ARGUMENT_KEPT]);
    let (sender, recipient) = ("<a@b.example>", "<user@contoso.com>");
    let rows: &[Row<'_>] = &[
        ("quit", &[b"QUIT\r\n"], None, Ending::Quit, ("", "")),
        ("a whole dialogue", &[EHLO, MAIL, RCPT, b"QUIT\r\n"], None, Ending::Quit, (sender, recipient)),
        ("no recipient", &[EHLO, MAIL, b"QUIT\r\n"], None, Ending::Quit, (sender, "")),
        ("a sender too early", &[MAIL, b"QUIT\r\n"], None, Ending::Quit, ("", "")),
        ("a recipient too early", &[EHLO, RCPT, b"QUIT\r\n"], None, Ending::Quit, ("", "")),
        ("no domain", &[EHLO, MAIL, b"RCPT TO: x\r\n", b"QUIT\r\n"], None, Ending::Quit, (sender, " x")),
        (
            "parameters",
            &[EHLO, b"MAIL FROM:<> SIZE=7\r\n", b"QUIT\r\n"],
            None,
            Ending::Quit,
            ("<> SIZE=7", ""),
        ),
        ("all is kept", &[EHLO, MAIL, longest.as_bytes()], Some(FIN | ACK), Ending::Closed, (sender, all)),
        (
            "a part is kept",
            &[EHLO, MAIL, longer.as_bytes()],
            Some(FIN | ACK),
            Ending::Closed,
            (sender, beginning),
        ),
        (
            "a part of the sender is kept",
            &[EHLO, long_mail.as_bytes(), RCPT],
            Some(FIN | ACK),
            Ending::Closed,
            (&long_mail[10..10 + ARGUMENT_KEPT], recipient),
        ),
        ("closed at once", &[], Some(FIN | ACK), Ending::Closed, ("", "")),
        ("reset at once", &[], Some(RST), Ending::Reset, ("", "")),
        ("reset", &[EHLO, MAIL, RCPT], Some(RST | ACK), Ending::Reset, (sender, recipient)),
        ("a bare LF", &[EHLO, b"NOOP\n"], None, Ending::Dismissed, ("", "")),
        ("reset after the end", &[b"QUIT\r\n"], Some(RST), Ending::Quit, ("", "")),
        ("closed after the end", &[b"QUIT\r\n"], Some(FIN | ACK), Ending::Quit, ("", "")),
    ];
    for (source, destination, reason) in
        [(CLIENT, OURS, REASON_NOT_OPTED_IN), (NO_PTR, OPTED_IN, REASON_NO_PTR)]
    {
        for (name, lines, end, ending, observed) in rows {
            let before = monotonic_nanoseconds();
            let sender = Sender::open(&mut program, source, destination, &greeting());
            let (at, next) = converse(&mut program, &sender, lines);
            if let Some(flags) = end {
                let _ = sender.send(&mut program, bare(*flags, at, next));
            }
            let after = monotonic_nanoseconds();
            let [ended] = &records(&mut program)[..] else {
                panic!("{name}: not one record");
            };
            assert_eq!((ended.kind, ended.ending), (KIND_ENDED, *ending as u8), "{name}");
            assert_eq!((ended.reason, usize::from(ended.commands)), (reason, lines.len()), "{name}");
            assert_eq!(ended.flow, flow(&sender), "{name}");
            assert_eq!((ended.sender.as_str(), ended.recipient.as_str()), *observed, "{name}");
            let refusal = if reason == REASON_NO_PTR { ReplyId::NoPtr } else { ReplyId::NotOptedIn };
            assert_eq!(ended.refused, if observed.1.is_empty() { 0 } else { refusal as u8 }, "{name}");
            let times = [before - TICK, ended.opened, ended.now, after];
            assert!(times.is_sorted(), "{name}: {times:?}");
        }
    }
    let sessions = rows.len() as u64;
    for (stat, wanted) in [
        (Stat::AlsoBegunNotOptedIn, sessions),
        (Stat::AlsoBegunNoPtr, sessions),
        (Stat::AlsoEnded, 2 * sessions),
        (Stat::AlsoEventLost, 0),
        (Stat::AlsoEventOverShare, 0),
    ] {
        assert_eq!(program.counter(stat), wanted, "{stat:?}");
    }
}

#[test]
fn each_recipient_but_the_last_one_leaves_a_record_of_its_own() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let sender = Sender::usual(&mut program);
    let lines: [&[u8]; 9] = [
        EHLO,
        MAIL,
        RCPT,
        b"RCPT TO:<x@later.example>\r\n",
        b"RSET\r\n",
        b"MAIL FROM:<c@d.example>\r\n",
        b"RCPT TO:<y@Fabrikam.example>\r\n",
        b"RSET\r\n",
        b"MAIL FROM:<>\r\n",
    ];
    let (at, next) = converse(&mut program, &sender, &lines);
    let _ = sender.send(&mut program, bare(FIN | ACK, at, next));
    let observed: Vec<_> = records(&mut program)
        .into_iter()
        .map(|Record { kind, refused, sender, recipient, .. }| (kind, refused, sender, recipient))
        .collect();
    let (permanent, temporary) = (ReplyId::NotOptedIn as u8, ReplyId::NotOptedInTemporary as u8);
    let wanted = [
        (KIND_RECIPIENT, permanent, "<a@b.example>", "<user@contoso.com>"),
        (KIND_RECIPIENT, temporary, "<a@b.example>", "<x@later.example>"),
        (KIND_RECIPIENT, permanent, "<c@d.example>", "<y@Fabrikam.example>"),
        (KIND_ENDED, 0, "<>", ""),
    ];
    assert_eq!(observed, wanted.map(|(kind, id, from, to)| (kind, id, from.to_owned(), to.to_owned())));
    assert_eq!(program.counter(Stat::AlsoEnded), 1);
}

#[test]
fn a_greeting_that_refuses_is_in_the_record() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    configure(&mut program, &Settings { refuse_at: REFUSE_AT_GREETING, ..ANSWERING });
    let wanted = about(ReplyId::GreetingRefused, &OURS.to_string());
    let sender = Sender::open(&mut program, CLIENT, OURS, &wanted);
    let _ = sender.send(&mut program, bare(RST, 0, wanted.len() as i32));
    let observed = records(&mut program);
    assert_eq!(observed.last().map(|record| record.refused), Some(ReplyId::GreetingRefused as u8));
}

#[test]
fn a_refusal_by_reset_leaves_one_record() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    configure(&mut program, &Settings { refuse_at: REFUSE_AT_RESET, ..ANSWERING });
    let packet = program.next_connection().source(CLIENT).destination(OURS);
    let before = monotonic_nanoseconds();
    assert!(matches!(program.send(&packet), Fate::Answered(Stat::AnswerReset, _)));
    let [refused] = &records(&mut program)[..] else {
        panic!("not one record");
    };
    assert_eq!((refused.kind, refused.ending), (KIND_ENDED, Ending::Refused as u8));
    assert_eq!((refused.reason, refused.commands), (REASON_NOT_OPTED_IN, 0));
    assert_eq!((refused.refused, refused.sender.as_str(), refused.recipient.as_str()), (0, "", ""));
    assert_eq!(refused.flow[..16], CLIENT.octets());
    assert!(before - TICK <= refused.opened && refused.opened <= refused.now);
}

#[test]
fn a_network_has_its_share_of_records_and_leaves_the_others_theirs() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    configure(&mut program, &Settings { refuse_at: REFUSE_AT_RESET, ..ANSWERING });
    let ticks = || monotonic_nanoseconds() >> TICK_SHIFT;
    let (before, sent) = (ticks(), 4 * SHARE_MAX);
    for _ in 0..sent {
        let packet = program.next_connection().source(CLIENT).destination(OURS);
        assert!(matches!(program.send(&packet), Fate::Answered(Stat::AnswerReset, _)));
    }
    let [a, b, c, _, ..] = CLIENT.segments();
    let another = Ipv6Addr::new(a, b, c, 0x7001, 0, 0, 0, 1);
    let packet = program.next_connection().source(another).destination(OURS);
    assert!(matches!(program.send(&packet), Fate::Answered(Stat::AnswerReset, _)));
    let shares = (ticks() - before + 1) * u64::from(SHARE_MAX);
    let records = records(&mut program);
    let of = |source: Ipv6Addr| records.iter().filter(|record| record.flow[..16] == source.octets()).count();
    let (observed, over) = (of(CLIENT) as u64, program.counter(Stat::AlsoEventOverShare));
    assert!(observed >= SHARE_MAX.into() && observed <= shares, "{observed} of {shares}");
    assert_eq!((of(another), observed + over), (1, sent.into()));
    assert_eq!(program.counter(Stat::AlsoEnded), u64::from(sent) + 1);
}

#[test]
fn records_that_nothing_reads_are_counted_and_refusing_goes_on() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    configure(&mut program, &Settings { refuse_at: REFUSE_AT_RESET, ..ANSWERING });
    // a record of 256 octets and its header of 8 (Documentation/bpf/ringbuf.rst)
    let most = u64::from(EVENTS_BYTES / 264);
    let mut sent = 0;
    while program.counter(Stat::AlsoEventLost) == 0 {
        // of many networks, so that their shares last
        let network = u16::try_from(sent % 0x4000).unwrap();
        let source = Ipv6Addr::new(0x2001, 0xdb8, 0x1000, network, 0, 0, 0, 1);
        let packet = Packet::syn().source(source).destination(OURS);
        assert!(matches!(program.send(&packet), Fate::Answered(Stat::AnswerReset, _)));
        sent += 1;
        assert!(sent < 20 * most, "the ring buffer is never full");
    }
    let kept = sent - 1 - program.counter(Stat::AlsoEventOverShare);
    assert!((most - 1..=most).contains(&kept), "{kept}");
    configure(&mut program, &ANSWERING);
    let sender = Sender::usual(&mut program);
    converse(&mut program, &sender, &[EHLO, b"QUIT\r\n"]);
    assert_eq!(program.counter(Stat::AlsoEventLost), 2);
    assert_eq!(records(&mut program).len() as u64, kept);
    // read: there is space again
    let sender = Sender::usual(&mut program);
    converse(&mut program, &sender, &[EHLO, b"QUIT\r\n"]);
    assert_eq!(records(&mut program).len(), 1);
}

/// The program reads the clock of the last tick: at most 10 ms ago (CONFIG_HZ is 100 at least).
const TICK: u64 = 10_000_000;
