//! How sessions end (RFC 9293 3.10.7, RFC 5961 3): the sender's FIN, ours, and resets.
//!
//! Rows and numbers are those of `numbers`.

use sixgate_common::{slot::FLAG_RESUMED, stat::Stat};
use sixgate_tests::{
    gate,
    packet::tcp::{ACK, FIN, PSH, RST},
};

use super::{
    numbers::{
        GREETING, NOOP, QUIT, RSET, acked, early, ended, g, go_through, last, length, n, noop, silent,
    },
    session::{Observed, Segment, Sender, bare, line, load, replied},
};
use crate::program::NEEDS;

#[test]
fn the_senders_fin_is_answered_with_ours() {
    if !gate::require(NEEDS) {
        return;
    }
    let fin = |at, ack| bare(FIN | ACK, at, ack);
    let greeted = || Observed::Answered {
        stat: Stat::AnswerFin,
        flags: PSH | ACK | FIN,
        at: 0,
        ack: 1,
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
                (Segment { flags: FIN | PSH | ACK, ..noop().0 }, last(Stat::AnswerReply, g(), 7, &NOOP)),
                (Segment { flags: FIN | PSH | ACK, ..noop().0 }, last(Stat::AnswerAgain, g(), 7, &NOOP)),
                (noop().0, last(Stat::AnswerAgain, g(), 7, &NOOP)),
                (fin(6, g() + n()), ended(g() + n(), 7)),
                (bare(ACK, 7, g() + n() + 1), silent()),
            ],
        ),
        (
            "with a command that came before without it",
            vec![
                noop(),
                (Segment { flags: FIN | PSH | ACK, ..noop().0 }, last(Stat::AnswerAgain, g(), 7, &NOOP)),
            ],
        ),
        (
            "with two commands",
            vec![
                (
                    Segment { flags: FIN | PSH | ACK, at: 0, ack: g(), data: b"NOOP\r\nRSET\r\n" },
                    replied(Stat::AnswerReply, g(), 6, &NOOP),
                ),
                (
                    Segment { flags: FIN | PSH | ACK, at: 6, ack: g() + n(), data: b"RSET\r\n" },
                    last(Stat::AnswerReply, g() + n(), 13, &RSET),
                ),
            ],
        ),
        (
            "with a line that never ends",
            vec![
                (Segment { flags: FIN | ACK, at: 0, ack: g(), data: b"NOOP" }, ended(g(), 5)),
                (Segment { flags: FIN | ACK, at: 0, ack: g(), data: b"NOOP" }, ended(g(), 5)),
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
                (Segment { flags: FIN | PSH | ACK, ..quit().0 }, last(Stat::AnswerAgain, g(), 6, &QUIT)),
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
            "acknowledgements of the past, one of which would be a cookie's",
            vec![
                (bare(ACK, 0, g()), silent()),
                quit(),
                (bare(ACK, 0, 0), silent()),
                (bare(ACK, 0, g()), silent()),
                (bare(ACK, 6, end), silent()),
                (bare(ACK, 0, 0), silent()),
            ],
        ),
        (
            "a second command behind QUIT",
            vec![(line(0, g(), b"QUIT\r\nNOOP\r\n"), last(Stat::AnswerReply, g(), 6, &QUIT))],
        ),
        (
            "QUIT and FIN at once",
            vec![
                (Segment { flags: FIN | PSH | ACK, ..quit().0 }, last(Stat::AnswerReply, g(), 7, &QUIT)),
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
        ("at its place", 6, Observed::Dropped(Stat::DropReset), false),
        ("one octet behind", 7, acked(g() + n(), 6), true),
        ("at the window's end", 6 + 2439, acked(g() + n(), 6), true),
        ("behind the window", 6 + 2441, silent(), true),
        ("one octet before", 5, silent(), true),
        ("long before", -1000, silent(), true),
        ("far away", 1_000_000, Observed::Passed(Stat::PassSegment), true),
    ];
    for (name, at, wanted, lives) in rows {
        for flags in [RST, RST | ACK] {
            let sender = Sender::usual(&mut program);
            sender.go_through(&mut program, name, &[noop(), (bare(ACK, 6, g() + n()), silent())]);
            assert_eq!(sender.send(&mut program, bare(flags, at, g() + n())), wanted, "{name}");
            assert_eq!(sender.entry(&mut program).is_some(), lives, "{name}");
            let next = sender.send(&mut program, line(6, g() + n(), b"RSET\r\n"));
            let answer = replied(Stat::AnswerReply, g() + n(), 12, &RSET);
            // a client that goes on all the same is answered by its numbers
            assert_eq!(next, answer, "{name}");
            let is_resumed = sender.entry(&mut program).unwrap().flags & FLAG_RESUMED != 0;
            assert_eq!(is_resumed, !lives, "{name}");
        }
    }
}
