//! TCP (RFC 9293 3.10.7, RFC 5961): what each segment of a session is answered with, by its numbers
//! and flags.
//!
//! Each row is a session of its own. While the last reply is not acknowledged, nothing but that
//! reply acknowledges the command that it answers: else a sender would not send it again, and a
//! lost reply would be lost for good.

use std::sync::LazyLock;

use sixgate_common::{refuse::ReplyId, stat::Stat};
use sixgate_tests::{
    gate,
    packet::tcp::{ACK, CWR, ECE, FIN, PSH, RST, SYN},
};

use super::session::{Observed, Segment, Sender, bare, greeting, line, load, replied, signalled, text};
use crate::program::NEEDS;

/// A session: its name, and the segments and their answers after the greeting was sent.
pub(super) type Row = (&'static str, Vec<(Segment<'static>, Observed)>);

pub(super) static GREETING: LazyLock<String> = LazyLock::new(greeting);
pub(super) static NOOP: LazyLock<String> = LazyLock::new(|| text(ReplyId::Noop));
pub(super) static RSET: LazyLock<String> = LazyLock::new(|| text(ReplyId::Rset));
pub(super) static QUIT: LazyLock<String> = LazyLock::new(|| text(ReplyId::Quit));

/// Where the greeting ends.
pub(super) fn g() -> i32 {
    length(&GREETING)
}

/// Octets of the reply to NOOP.
pub(super) fn n() -> i32 {
    length(&NOOP)
}

pub(super) fn length(text: &str) -> i32 {
    i32::try_from(text.len()).unwrap()
}

pub(super) fn silent() -> Observed {
    Observed::Dropped(Stat::DropSilent)
}

pub(super) fn early() -> Observed {
    Observed::Dropped(Stat::DropEarly)
}

pub(super) fn incomplete() -> Observed {
    Observed::Dropped(Stat::DropIncomplete)
}

pub(super) fn acked(at: i32, ack: i32) -> Observed {
    signalled(Stat::AnswerAck, ACK, at, ack)
}

/// The reply to [`noop`], once more.
pub(super) fn again() -> Observed {
    replied(Stat::AnswerAgain, g(), 6, &NOOP)
}

/// A reply that ends the connection.
pub(super) fn last(stat: Stat, at: i32, ack: i32, data: &str) -> Observed {
    Observed::Answered { stat, flags: PSH | ACK | FIN, at, ack, data: data.to_owned() }
}

pub(super) fn ended(at: i32, ack: i32) -> Observed {
    signalled(Stat::AnswerFin, FIN | ACK, at, ack)
}

/// NOOP, the first command, and its reply.
pub(super) fn noop() -> (Segment<'static>, Observed) {
    (line(0, g(), b"NOOP\r\n"), replied(Stat::AnswerReply, g(), 6, &NOOP))
}

pub(super) fn go_through(rows: Vec<Row>) {
    let mut program = load();
    for (name, steps) in rows {
        let sender = Sender::usual(&mut program);
        sender.go_through(&mut program, name, &steps);
    }
}

#[test]
fn acknowledgements_are_silent_and_keep_alives_answered() {
    if !gate::require(NEEDS) {
        return;
    }
    go_through(vec![
        (
            "the greeting is acknowledged, again and again",
            vec![
                (bare(ACK, 0, g()), silent()),
                (bare(ACK, 0, g()), silent()),
                (bare(ACK, 0, 0), silent()),
                (bare(ACK, 0, 5), silent()),
                (bare(ACK | ECE, 0, g()), silent()),
            ],
        ),
        (
            "a keep-alive without an octet",
            vec![
                (bare(ACK, 0, g()), silent()),
                (bare(ACK, -1, g()), acked(g(), 0)),
                (bare(ACK, -1, g()), acked(g(), 0)),
            ],
        ),
        ("a keep-alive with an octet", vec![(line(-1, g(), b"\0"), acked(g(), 0))]),
        (
            "a keep-alive after a command",
            vec![
                noop(),
                (bare(ACK, 6, g() + n()), silent()),
                (bare(ACK, 5, g() + n()), acked(g() + n(), 6)),
                (line(5, g() + n(), b"\n"), acked(g() + n(), 6)),
                (line(5, g() + n(), b"x"), acked(g() + n(), 6)),
            ],
        ),
        (
            "an acknowledgement of the past",
            vec![noop(), (bare(ACK, 0, g()), silent()), (bare(ACK, 6, 0), silent())],
        ),
    ]);
}

#[test]
fn a_command_that_comes_again_gets_the_same_reply() {
    if !gate::require(NEEDS) {
        return;
    }
    go_through(vec![
        ("four times", vec![noop(), (noop().0, again()), (noop().0, again()), (noop().0, again())]),
        (
            "after its reply was acknowledged",
            vec![
                noop(),
                (bare(ACK, 6, g() + n()), silent()),
                (line(0, g() + n(), b"NOOP\r\n"), acked(g() + n(), 6)),
                // a delayed one, from before
                (noop().0, again()),
            ],
        ),
        ("with half of its reply acknowledged", vec![noop(), (line(0, g() + 3, b"NOOP\r\n"), again())]),
        (
            "with the command behind it",
            vec![
                noop(),
                (line(0, g(), b"NOOP\r\nRSET\r\n"), again()),
                (line(6, g() + n(), b"RSET\r\n"), replied(Stat::AnswerReply, g() + n(), 12, &RSET)),
                (line(0, g() + n(), b"NOOP\r\nRSET\r\n"), replied(Stat::AnswerAgain, g() + n(), 12, &RSET)),
            ],
        ),
        (
            "with known octets in front of a new command",
            vec![
                noop(),
                (line(0, g() + n(), b"NOOP\r\nRSET\r\n"), replied(Stat::AnswerReply, g() + n(), 12, &RSET)),
            ],
        ),
        ("only its end", vec![noop(), (line(2, g(), b"OP\r\n"), acked(g() + n(), 0))]),
        ("only its beginning", vec![noop(), (line(0, g(), b"NO"), again()), (noop().0, again())]),
    ]);
}

#[test]
fn a_command_is_answered_when_it_is_whole() {
    if !gate::require(NEEDS) {
        return;
    }
    go_through(vec![
        ("not whole, then whole", vec![(line(0, g(), b"NOOP\r"), incomplete()), noop()]),
        (
            "not whole twice: the sender waits for an acknowledgement",
            vec![
                (line(0, g(), b"N"), incomplete()),
                (line(0, g(), b"N"), acked(g(), 1)),
                (line(0, g(), b"N"), acked(g(), 1)),
                (line(1, g(), b"OO"), acked(g(), 3)),
                (line(3, g(), b"P\r"), acked(g(), 5)),
                (line(5, g(), b"\nRSET\r\n"), replied(Stat::AnswerReply, g(), 6, &NOOP)),
                (line(5, g(), b"\n"), again()),
                (line(3, g(), b"P\r\n"), again()),
                (noop().0, again()),
                (line(6, g() + n(), b"RSET\r\n"), replied(Stat::AnswerReply, g() + n(), 12, &RSET)),
            ],
        ),
        (
            "not whole twice, then whole",
            vec![
                (line(0, g(), b"NOO"), incomplete()),
                (line(0, g(), b"NOO"), acked(g(), 3)),
                (line(1, g(), b"OOP\r\n"), replied(Stat::AnswerReply, g(), 6, &NOOP)),
                (noop().0, again()),
                (line(6, g() + n(), b"RS"), incomplete()),
                (line(6, g() + n(), b"RSET\r\n"), replied(Stat::AnswerReply, g() + n(), 12, &RSET)),
            ],
        ),
        (
            "not whole twice, and then the sender ends",
            vec![
                (line(0, g(), b"NOO"), incomplete()),
                (line(0, g(), b"NOOP"), acked(g(), 4)),
                (bare(FIN | ACK, 4, g()), ended(g(), 5)),
                (bare(FIN | ACK, 4, g()), ended(g(), 5)),
            ],
        ),
        (
            "the end comes first",
            vec![(line(2, g(), b"OP\r\n"), acked(g(), 0)), (line(0, g(), b"NO"), incomplete()), noop()],
        ),
        (
            "two commands at once",
            vec![
                (line(0, g(), b"NOOP\r\nRSET\r\n"), replied(Stat::AnswerReply, g(), 6, &NOOP)),
                (line(6, g(), b"RSET\r\n"), early()),
                (line(6, g() + n() - 1, b"RSET\r\n"), early()),
                (line(6, g() + n(), b"RSET\r\n"), replied(Stat::AnswerReply, g() + n(), 12, &RSET)),
            ],
        ),
        (
            "a command and a half",
            vec![
                (line(0, g(), b"NOOP\r\nRS"), replied(Stat::AnswerReply, g(), 6, &NOOP)),
                (line(6, g() + n(), b"RS"), incomplete()),
                (line(8, g() + n(), b"ET\r\n"), acked(g() + n(), 6)),
                (line(6, g() + n(), b"RSET\r\n"), replied(Stat::AnswerReply, g() + n(), 12, &RSET)),
            ],
        ),
        (
            "before the greeting is acknowledged",
            vec![(line(0, 0, b"NOOP\r\n"), early()), (line(0, g() - 1, b"NOOP\r\n"), early()), noop()],
        ),
        (
            "without PSH, with URG and ECN",
            vec![(Segment { flags: ACK | 0x20 | ECE | CWR, ..noop().0 }, noop().1)],
        ),
    ]);
}

#[test]
fn what_is_out_of_place_is_answered_with_the_right_place() {
    if !gate::require(NEEDS) {
        return;
    }
    go_through(vec![
        ("a gap", vec![(line(1, g(), b"NOOP\r\n"), acked(g(), 0)), noop()]),
        ("the last octet of the window", vec![(line(2439, g(), b"x"), acked(g(), 0))]),
        (
            "behind the window",
            vec![(line(2441, g(), b"NOOP\r\n"), acked(g(), 0)), (bare(ACK, 9000, g()), acked(g(), 0))],
        ),
        (
            "an acknowledgement of what was not sent",
            vec![
                (bare(ACK, 0, g() + 1), acked(g(), 0)),
                (line(0, g() + 1, b"NOOP\r\n"), acked(g(), 0)),
                (line(0, g() + 30_000, b"NOOP\r\n"), acked(g(), 0)),
                noop(),
            ],
        ),
        (
            "no acknowledgement",
            vec![
                (bare(0, 0, 0), silent()),
                (bare(PSH, 0, 0), silent()),
                (Segment { flags: PSH, at: 0, ack: 0, data: b"NOOP\r\n" }, silent()),
                (bare(FIN, 0, 0), silent()),
                (bare(SYN | FIN, 0, 0), silent()),
                noop(),
            ],
        ),
        ("a SYN-ACK", vec![(bare(SYN | ACK, 0, g()), acked(g(), 0)), noop()]),
        (
            "far away",
            vec![
                (line(100_000, g(), b"NOOP\r\n"), Observed::Passed(Stat::PassSegment)),
                (line(-100_000, g(), b"NOOP\r\n"), Observed::Passed(Stat::PassSegment)),
                (bare(ACK, 0, 1_000_000), Observed::Passed(Stat::PassSegment)),
                (bare(ACK, 0, -1_000_000), Observed::Passed(Stat::PassSegment)),
                (bare(FIN | ACK, 2_000_000_000, g()), Observed::Passed(Stat::PassSegment)),
                noop(),
            ],
        ),
        (
            "a lost reply is not given away",
            vec![
                noop(),
                // the third of three commands at once, while the second was dropped
                (line(12, g(), b"RSET\r\n"), acked(g() + n(), 0)),
                (bare(ACK, 5, g()), acked(g() + n(), 0)),
                (line(9000, g(), b"x"), acked(g() + n(), 0)),
                (bare(SYN | ACK, 6, g()), acked(g() + n(), 0)),
                (noop().0, replied(Stat::AnswerAgain, g(), 6, &NOOP)),
                (line(6, g() + n(), b"RSET\r\n"), replied(Stat::AnswerReply, g() + n(), 12, &RSET)),
            ],
        ),
    ]);
}

#[test]
fn a_syn_within_a_session_changes_nothing() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let sender = Sender::usual(&mut program);
    sender.go_through(&mut program, "before", &[noop()]);
    let before = sender.entry(&mut program);
    for at in [-1, 0, 6, 100, 1_000_000] {
        let syn = sender.packet(bare(SYN, at, 0));
        Sender::half_open_with(&mut program, &syn);
        assert_eq!(sender.entry(&mut program), before);
    }
    sender.go_through(
        &mut program,
        "after",
        &[(line(6, g() + n(), b"RSET\r\n"), replied(Stat::AnswerReply, g() + n(), 12, &RSET))],
    );
}

#[test]
fn a_spoiled_segment_of_a_session_changes_nothing() {
    if !gate::require(NEEDS) {
        return;
    }
    use sixgate_tests::packet::Checksum;
    let mut program = load();
    let sender = Sender::usual(&mut program);
    let before = sender.entry(&mut program);
    for sent in
        [noop().0, bare(ACK, 0, g()), bare(FIN | ACK, 0, g()), bare(RST, 0, 0), line(0, g(), b"NOOP\r\nx")]
    {
        let fate = program.send(&sender.packet(sent).checksum(Checksum::Wrong));
        assert_eq!(sender.read(fate), Observed::Passed(Stat::PassChecksum), "{sent:?}");
        assert_eq!(sender.entry(&mut program), before, "{sent:?}");
    }
    let fate = program.send(&sender.packet(noop().0).checksum(Checksum::Partial));
    assert_eq!(sender.read(fate), noop().1);
}
