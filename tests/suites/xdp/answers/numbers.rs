//! TCP (RFC 9293 3.10.7, RFC 5961): what each segment of a session is answered with, by its numbers and flags.
//!
//! Each row is a session of its own. While the last reply is not acknowledged, nothing but that reply acknowledges the
//! command that it answers: else a sender would not send it again, and a lost reply would be lost for good.

use std::sync::LazyLock;

use sixgate_common::{refuse::ReplyId, stat::Stat};
use sixgate_tests::{
    gate,
    packet::tcp::{ACK, CWR, ECE, FIN, PSH, RST, SYN},
};

use super::session::{Said, Sender, Told, bare, greeting, line, load, replied, signalled, text};
use crate::program::NEEDS;

/// A session: its name, and what is said and told after the greeting was sent.
type Row = (&'static str, Vec<(Said<'static>, Told)>);

static GREETING: LazyLock<String> = LazyLock::new(greeting);
static NOOP: LazyLock<String> = LazyLock::new(|| text(ReplyId::Noop));
static RSET: LazyLock<String> = LazyLock::new(|| text(ReplyId::Rset));
static QUIT: LazyLock<String> = LazyLock::new(|| text(ReplyId::Quit));

/// Where the greeting ends.
fn g() -> i32 {
    length(&GREETING)
}

/// Octets of the reply to NOOP.
fn n() -> i32 {
    length(&NOOP)
}

fn length(text: &str) -> i32 {
    i32::try_from(text.len()).unwrap()
}

fn silent() -> Told {
    Told::Dropped(Stat::DropSilent)
}

fn early() -> Told {
    Told::Dropped(Stat::DropEarly)
}

fn incomplete() -> Told {
    Told::Dropped(Stat::DropIncomplete)
}

fn acked(at: i32, heard: i32) -> Told {
    signalled(Stat::AnswerAck, ACK, at, heard)
}

/// The reply to [`noop`], once more.
fn again() -> Told {
    replied(Stat::AnswerAgain, g(), 6, &NOOP)
}

/// A reply that ends the connection.
fn last(stat: Stat, at: i32, heard: i32, data: &str) -> Told {
    Told::Answered { stat, flags: PSH | ACK | FIN, at, heard, data: data.to_owned() }
}

fn ended(at: i32, heard: i32) -> Told {
    signalled(Stat::AnswerFin, FIN | ACK, at, heard)
}

/// NOOP, the first command, and its reply.
fn noop() -> (Said<'static>, Told) {
    (line(0, g(), b"NOOP\r\n"), replied(Stat::AnswerReply, g(), 6, &NOOP))
}

fn go_through(rows: Vec<Row>) {
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
            vec![(Said { flags: ACK | 0x20 | ECE | CWR, ..noop().0 }, noop().1)],
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
                (Said { flags: PSH, at: 0, heard: 0, data: b"NOOP\r\n" }, silent()),
                (bare(FIN, 0, 0), silent()),
                (bare(SYN | FIN, 0, 0), silent()),
                noop(),
            ],
        ),
        ("a SYN-ACK", vec![(bare(SYN | ACK, 0, g()), acked(g(), 0)), noop()]),
        (
            "far away",
            vec![
                (line(100_000, g(), b"NOOP\r\n"), Told::Passed(Stat::PassCookie)),
                (line(-100_000, g(), b"NOOP\r\n"), Told::Passed(Stat::PassCookie)),
                (bare(ACK, 0, 1_000_000), Told::Passed(Stat::PassCookie)),
                (bare(ACK, 0, -1_000_000), Told::Passed(Stat::PassCookie)),
                (bare(FIN | ACK, 2_000_000_000, g()), Told::Passed(Stat::PassSegment)),
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
        Sender::knock_with(&mut program, &syn);
        assert_eq!(sender.entry(&mut program), before);
    }
    sender.go_through(
        &mut program,
        "after",
        &[(line(6, g() + n(), b"RSET\r\n"), replied(Stat::AnswerReply, g() + n(), 12, &RSET))],
    );
}

#[test]
fn the_senders_fin_is_answered_with_ours() {
    if !gate::require(NEEDS) {
        return;
    }
    let fin = |at, heard| bare(FIN | ACK, at, heard);
    let greeted = || Told::Answered {
        stat: Stat::AnswerFin,
        flags: PSH | ACK | FIN,
        at: 0,
        heard: 1,
        data: GREETING.clone(),
    };
    go_through(vec![
        (
            "alone",
            vec![
                (bare(ACK, 0, g()), silent()),
                (fin(0, g()), ended(g(), 1)),
                (fin(0, g()), ended(g(), 1)),
                (bare(ACK, 1, g() + 1), silent()),
                (fin(0, g() + 1), acked(g() + 1, 1)),
            ],
        ),
        ("alone, the greeting may be lost", vec![(fin(0, 0), greeted()), (fin(0, 0), greeted())]),
        (
            "behind a command whose reply has come",
            vec![noop(), (fin(6, g() + n()), ended(g() + n(), 7)), (fin(6, g() + n()), ended(g() + n(), 7))],
        ),
        (
            "behind a command whose reply may be lost",
            vec![
                noop(),
                (fin(6, g()), early()),
                (line(0, g(), b"NOOP\r\n"), replied(Stat::AnswerAgain, g(), 6, &NOOP)),
                (fin(6, g() + n()), ended(g() + n(), 7)),
            ],
        ),
        (
            "with the last command",
            vec![
                (Said { flags: FIN | PSH | ACK, ..noop().0 }, last(Stat::AnswerReply, g(), 7, &NOOP)),
                (Said { flags: FIN | PSH | ACK, ..noop().0 }, last(Stat::AnswerAgain, g(), 7, &NOOP)),
                (noop().0, last(Stat::AnswerAgain, g(), 7, &NOOP)),
                (fin(6, g() + n()), ended(g() + n(), 7)),
                (bare(ACK, 7, g() + n() + 1), silent()),
            ],
        ),
        (
            "with a command that came before without it",
            vec![
                noop(),
                (Said { flags: FIN | PSH | ACK, ..noop().0 }, last(Stat::AnswerAgain, g(), 7, &NOOP)),
            ],
        ),
        (
            "with two commands",
            vec![
                (
                    Said { flags: FIN | PSH | ACK, at: 0, heard: g(), data: b"NOOP\r\nRSET\r\n" },
                    replied(Stat::AnswerReply, g(), 6, &NOOP),
                ),
                (
                    Said { flags: FIN | PSH | ACK, at: 6, heard: g() + n(), data: b"RSET\r\n" },
                    last(Stat::AnswerReply, g() + n(), 13, &RSET),
                ),
            ],
        ),
        (
            "with a line that never ends",
            vec![
                (Said { flags: FIN | ACK, at: 0, heard: g(), data: b"NOOP" }, ended(g(), 5)),
                (Said { flags: FIN | ACK, at: 0, heard: g(), data: b"NOOP" }, ended(g(), 5)),
            ],
        ),
        ("before its place", vec![(fin(3, g()), acked(g(), 0)), noop()]),
        (
            "at a place of the past",
            vec![
                noop(),
                (fin(3, g() + n()), acked(g() + n(), 6)),
                (line(6, g() + n(), b"RSET\r\n"), replied(Stat::AnswerReply, g() + n(), 12, &RSET)),
            ],
        ),
    ]);
}

#[test]
fn after_our_fin_everything_is_taken_and_nothing_answered() {
    if !gate::require(NEEDS) {
        return;
    }
    let quit = || (line(0, g(), b"QUIT\r\n"), last(Stat::AnswerReply, g(), 6, &QUIT));
    let end = g() + length(&QUIT) + 1;
    go_through(vec![
        (
            "the usual end",
            vec![
                quit(),
                (bare(ACK, 6, end), silent()),
                (bare(FIN | ACK, 6, end), acked(end, 7)),
                (bare(FIN | ACK, 6, end), acked(end, 7)),
                (bare(ACK, 7, end), silent()),
            ],
        ),
        (
            "our end gets lost",
            vec![
                quit(),
                (quit().0, last(Stat::AnswerAgain, g(), 6, &QUIT)),
                (quit().0, last(Stat::AnswerAgain, g(), 6, &QUIT)),
                (bare(FIN | ACK, 6, end), acked(end, 7)),
            ],
        ),
        (
            "our end gets lost, and the sender has no more patience",
            vec![
                quit(),
                (bare(FIN | ACK, 6, g()), early()),
                (Said { flags: FIN | PSH | ACK, ..quit().0 }, last(Stat::AnswerAgain, g(), 6, &QUIT)),
                (bare(FIN | ACK, 6, end), acked(end, 7)),
            ],
        ),
        (
            "data after our end",
            vec![
                quit(),
                (line(6, end, b"MAIL FROM:<>\r\n"), acked(end, 20)),
                (line(6, end, b"MAIL FROM:<>\r\n"), acked(end, 20)),
                (line(20, end, b"junk"), acked(end, 24)),
                (bare(FIN | ACK, 24, end), acked(end, 25)),
            ],
        ),
        (
            "data before our end has come",
            vec![
                quit(),
                (line(6, g(), b"NOOP\r\n"), early()),
                (quit().0, last(Stat::AnswerAgain, g(), 6, &QUIT)),
            ],
        ),
        (
            "a second command behind QUIT",
            vec![(line(0, g(), b"QUIT\r\nNOOP\r\n"), last(Stat::AnswerReply, g(), 6, &QUIT))],
        ),
        (
            "QUIT and FIN at once",
            vec![
                (Said { flags: FIN | PSH | ACK, ..quit().0 }, last(Stat::AnswerReply, g(), 7, &QUIT)),
                (bare(ACK, 7, end), silent()),
            ],
        ),
    ]);
}

#[test]
fn only_a_reset_at_its_place_ends_a_session() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let rows = [
        ("at its place", 6, Told::Dropped(Stat::DropReset), false),
        ("one octet behind", 7, acked(g() + n(), 6), true),
        ("at the window's end", 6 + 2439, acked(g() + n(), 6), true),
        ("behind the window", 6 + 2441, silent(), true),
        ("one octet before", 5, silent(), true),
        ("long before", -1000, silent(), true),
        ("far away", 1_000_000, Told::Passed(Stat::PassSegment), true),
    ];
    for (name, at, wanted, lives) in rows {
        for flags in [RST, RST | ACK] {
            let sender = Sender::usual(&mut program);
            sender.go_through(&mut program, name, &[noop(), (bare(ACK, 6, g() + n()), silent())]);
            assert_eq!(sender.say(&mut program, bare(flags, at, g() + n())), wanted, "{name}");
            assert_eq!(sender.entry(&mut program).is_some(), lives, "{name}");
            let next = sender.say(&mut program, line(6, g() + n(), b"RSET\r\n"));
            let answer = replied(Stat::AnswerReply, g() + n(), 12, &RSET);
            // nobody's: the host resets it
            assert_eq!(next, if lives { answer } else { Told::Passed(Stat::PassCookie) }, "{name}");
        }
    }
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
    for said in
        [noop().0, bare(ACK, 0, g()), bare(FIN | ACK, 0, g()), bare(RST, 0, 0), line(0, g(), b"NOOP\r\nx")]
    {
        let fate = program.send(&sender.packet(said).checksum(Checksum::Wrong));
        assert_eq!(sender.read(fate), Told::Passed(Stat::PassChecksum), "{said:?}");
        assert_eq!(sender.entry(&mut program), before, "{said:?}");
    }
    let fate = program.send(&sender.packet(noop().0).checksum(Checksum::Partial));
    assert_eq!(sender.read(fate), noop().1);
}
