//! What user space is told of refused sessions: one record when one begins, one when it ends, and a count of those
//! that found no room.

use sixgate::dataplane::monotonic_nanoseconds;
use sixgate_common::{
    event::{Ending, KIND_BEGUN, KIND_ENDED},
    flow::{DOMAIN_KEPT, REASON_NO_PTR, REASON_NOT_OPTED_IN},
    map::EVENTS_BYTES,
    settings::{REFUSE_AT_RESET, Settings},
    stat::Stat,
};
use sixgate_tests::{
    gate,
    packet::{
        Packet,
        tcp::{ACK, FIN, PSH, RST},
    },
};

use super::session::{ANSWERING, STRANGER, Sender, Told, bare, greeting, line, load, tell};
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
    domain: Vec<u8>,
}

impl Record {
    fn read(octets: &[u8]) -> Self {
        let number = |at: usize| u64::from_ne_bytes(octets[at..at + 8].try_into().unwrap());
        assert_eq!(octets[6..8], [0; 2], "reserved");
        assert_eq!(octets[60..64], [0; 4], "padding");
        let kind = octets[0];
        let domain = match (kind, octets.len()) {
            (KIND_BEGUN, 64) => &octets[64..],
            (KIND_ENDED, 128) => &octets[64..64 + usize::from(octets[3])],
            (kind, length) => panic!("kind {kind}, {length} octets"),
        };
        Self {
            kind,
            reason: octets[1],
            ending: octets[2],
            commands: u16::from_ne_bytes([octets[4], octets[5]]),
            opened: number(8),
            now: number(16),
            flow: octets[24..60].to_vec(),
            domain: domain.to_vec(),
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

/// Says complete lines, one after the other, and gets a reply to each.
fn converse(program: &mut Program, sender: &Sender, lines: &[&[u8]]) -> (i32, i32) {
    let (mut at, mut next) = (0, i32::try_from(greeting().len()).unwrap());
    for octets in lines {
        // twice: what is said again makes no second record
        for _ in 0..2 {
            let Told::Answered { flags, data, heard, .. } = sender.say(program, line(at, next, octets))
            else {
                panic!("no answer to {octets:?}");
            };
            if heard == at + i32::try_from(octets.len()).unwrap() && !data.is_empty() {
                let end = next + i32::try_from(data.len()).unwrap() + i32::from(flags & FIN != 0);
                let _ = sender.say(program, bare(ACK, at, next));
                if flags & PSH != 0 {
                    at = heard;
                    next = end;
                    break;
                }
            }
        }
    }
    (at, next)
}

/// A session: its name, its commands, how the sender ends it, how it ended, and the domain that is told.
type Row<'a> = (&'a str, &'a [&'a [u8]], Option<u8>, Ending, &'a [u8]);

const EHLO: &[u8] = b"EHLO mail.example\r\n";
const MAIL: &[u8] = b"MAIL FROM:<a@b.example>\r\n";
const RCPT: &[u8] = b"RCPT TO:<user@contoso.com>\r\n";

#[test]
fn each_session_leaves_one_record_of_its_beginning_and_one_of_its_end() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let longest = format!("RCPT TO:<u@{}>\r\n", "a.".repeat(31) + "bc");
    let longer = format!("RCPT TO:<u@{}>\r\n", "a.".repeat(31) + "bcd");
    let kept = &longest.as_bytes()[11..11 + DOMAIN_KEPT];
    let rows: &[Row<'_>] = &[
        ("quit", &[b"QUIT\r\n"], None, Ending::Quit, b""),
        ("a whole dialogue", &[EHLO, MAIL, RCPT, b"QUIT\r\n"], None, Ending::Quit, b"contoso.com"),
        (
            "two recipients",
            &[EHLO, MAIL, RCPT, b"RCPT TO:<x@Fabrikam.example>\r\n", b"QUIT\r\n"],
            None,
            Ending::Quit,
            b"Fabrikam.example",
        ),
        ("no domain", &[EHLO, MAIL, RCPT, b"RCPT TO:<x>\r\n", b"QUIT\r\n"], None, Ending::Quit, b""),
        ("the longest domain", &[EHLO, MAIL, longest.as_bytes()], Some(FIN | ACK), Ending::Closed, kept),
        ("a longer domain", &[EHLO, MAIL, longer.as_bytes()], Some(FIN | ACK), Ending::Closed, b""),
        ("closed at once", &[], Some(FIN | ACK), Ending::Closed, b""),
        ("reset at once", &[], Some(RST), Ending::Reset, b""),
        ("reset", &[EHLO, MAIL, RCPT], Some(RST | ACK), Ending::Reset, b"contoso.com"),
        ("a bare LF", &[EHLO, b"NOOP\n"], None, Ending::Dismissed, b""),
        ("reset after the end", &[b"QUIT\r\n"], Some(RST), Ending::Quit, b""),
        ("closed after the end", &[b"QUIT\r\n"], Some(FIN | ACK), Ending::Quit, b""),
    ];
    for (source, destination, reason) in
        [(STRANGER, OURS, REASON_NOT_OPTED_IN), (NO_PTR, OPTED_IN, REASON_NO_PTR)]
    {
        for (name, lines, end, ending, domain) in rows {
            let before = monotonic_nanoseconds();
            let sender = Sender::open(&mut program, source, destination, &greeting());
            let (at, next) = converse(&mut program, &sender, lines);
            if let Some(flags) = end {
                let _ = sender.say(&mut program, bare(*flags, at, next));
            }
            let after = monotonic_nanoseconds();
            let [begun, ended] = &records(&mut program)[..] else {
                panic!("{name}: not two records");
            };
            let kinds = [(begun.kind, begun.ending), (ended.kind, ended.ending)];
            assert_eq!(kinds, [(KIND_BEGUN, 0), (KIND_ENDED, *ending as u8)], "{name}");
            assert_eq!([begun.reason, ended.reason], [reason; 2], "{name}");
            assert_eq!([begun.commands, ended.commands], [0, u16::try_from(lines.len()).unwrap()], "{name}");
            assert_eq!([&begun.flow, &ended.flow], [&flow(&sender); 2], "{name}");
            assert_eq!(String::from_utf8_lossy(&ended.domain), String::from_utf8_lossy(domain), "{name}");
            let times = [before - TICK, begun.opened, begun.now, ended.now, after];
            assert!(times.is_sorted(), "{name}: {times:?}");
            assert_eq!(ended.opened, begun.opened, "{name}");
        }
    }
    let sessions = rows.len() as u64;
    for (stat, wanted) in [
        (Stat::AlsoBegunNotOptedIn, sessions),
        (Stat::AlsoBegunNoPtr, sessions),
        (Stat::AlsoEnded, 2 * sessions),
        (Stat::AlsoEventLost, 0),
    ] {
        assert_eq!(program.counter(stat), wanted, "{stat:?}");
    }
}

#[test]
fn a_refusal_by_reset_leaves_one_record() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    tell(&mut program, &Settings { refuse_at: REFUSE_AT_RESET, ..ANSWERING });
    let packet = program.next_connection().source(STRANGER).destination(OURS);
    let before = monotonic_nanoseconds();
    assert!(matches!(program.send(&packet), Fate::Answered(Stat::AnswerReset, _)));
    let [refused] = &records(&mut program)[..] else {
        panic!("not one record");
    };
    assert_eq!((refused.kind, refused.ending), (KIND_ENDED, Ending::Refused as u8));
    assert_eq!((refused.reason, refused.commands, &refused.domain[..]), (REASON_NOT_OPTED_IN, 0, &b""[..]));
    assert_eq!(refused.flow[..16], STRANGER.octets());
    assert!(before - TICK <= refused.opened && refused.opened <= refused.now);
}

#[test]
fn records_that_nobody_reads_are_counted_and_refusing_goes_on() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    tell(&mut program, &Settings { refuse_at: REFUSE_AT_RESET, ..ANSWERING });
    let packet = Packet::syn().source(STRANGER).destination(OURS);
    // a record of 128 octets and its header of 8 (Documentation/bpf/ringbuf.rst)
    let room = u64::from(EVENTS_BYTES / 136);
    for _ in 0..room + 10 {
        assert!(matches!(program.send(&packet), Fate::Answered(Stat::AnswerReset, _)));
    }
    let lost = program.counter(Stat::AlsoEventLost);
    assert!((10..=11).contains(&lost), "{lost}");
    tell(&mut program, &ANSWERING);
    let sender = Sender::usual(&mut program);
    converse(&mut program, &sender, &[EHLO, b"QUIT\r\n"]);
    assert_eq!(program.counter(Stat::AlsoEventLost), lost + 2);
    assert_eq!(records(&mut program).len() as u64, room + 10 - lost);
    // read: there is room again
    let sender = Sender::usual(&mut program);
    converse(&mut program, &sender, &[EHLO, b"QUIT\r\n"]);
    assert_eq!(records(&mut program).len(), 2);
}

/// The program reads the clock of the last tick: at most 10 ms ago (CONFIG_HZ is 100 at least).
const TICK: u64 = 10_000_000;
