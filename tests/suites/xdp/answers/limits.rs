//! What one session can make the program send and read without getting anywhere.

use sixgate_common::{
    line::ENDLESS_MAX,
    refuse::{COMMANDS_MAX, ReplyId},
    slot::ACKNOWLEDGMENTS_MAX,
    stat::Stat,
};
use sixgate_tests::{
    gate,
    packet::tcp::{ACK, FIN, PSH, RST, SYN},
};

use super::{
    polite::{Polite, length},
    session::{Said, Sender, Told, bare, greeting, line, load, signalled, text},
};
use crate::program::NEEDS;

#[test]
fn stale_segments_get_ten_acknowledgements_until_time_or_a_command() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let g = length(greeting());
    let far = 2000;
    for (name, said) in [
        ("a SYN (RFC 5961 4)", bare(SYN, 0, 0)),
        ("a reset beside its place (RFC 5961 3)", bare(RST, 5, 0)),
        ("an acknowledgement of what was not sent (RFC 5961 5)", bare(ACK, 0, g + 1000)),
        ("an old segment", line(-3, g, b"xyz")),
        ("a segment behind a gap", line(far, g, b"NOOP\r\n")),
        ("a keep-alive", bare(ACK, -1, g)),
    ] {
        let mut polite = Polite::usual(&mut program);
        // a SYN of the same connection is answered by itself, with a cookie
        if said.flags == SYN {
            continue;
        }
        let acknowledged =
            |told: &Told| matches!(told, Told::Answered { stat: Stat::AnswerAck, flags: ACK, .. });
        for _ in 0..2 {
            for count in 0..ACKNOWLEDGMENTS_MAX {
                let told = polite.sender.say(&mut program, shifted(said, &polite));
                assert!(acknowledged(&told), "{name}, {count}: {told:?}");
            }
            for _ in 0..3 {
                let told = polite.sender.say(&mut program, shifted(said, &polite));
                assert_eq!(told, Told::Dropped(Stat::DropAckLimit), "{name}");
            }
            polite.hear(&mut program, b"NOOP\r\n", &text(ReplyId::Noop));
        }
        for _ in 0..=ACKNOWLEDGMENTS_MAX {
            polite.sender.say(&mut program, shifted(said, &polite));
        }
        polite.sender.let_time_pass(&mut program);
        let told = polite.sender.say(&mut program, shifted(said, &polite));
        assert!(acknowledged(&told), "{name}: {told:?}");
    }
}

/// The segment as many octets later as the dialogue has come.
fn shifted<'a>(said: Said<'a>, polite: &Polite) -> Said<'a> {
    Said { at: said.at + polite.at, heard: said.heard + polite.heard - length(greeting()), ..said }
}

#[test]
fn an_endless_line_is_a_command_every_64_kib_until_the_session_ends() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    for piece in [1220, 2440, 999] {
        let sender = Sender::usual(&mut program);
        let octets = vec![b'x'; piece];
        let (mut at, mut heard, mut replies) = (0, length(greeting()), 0);
        let endless = i32::try_from(ENDLESS_MAX).unwrap();
        loop {
            let end = at + length(&octets);
            let told = sender.say(&mut program, line(at, heard, &octets));
            let is_command = end / endless > at / endless;
            at = end;
            if !is_command {
                assert_eq!(told, signalled(Stat::AnswerAck, ACK, heard, at), "{piece} {at}");
                continue;
            }
            replies += 1;
            let is_last = replies > COMMANDS_MAX;
            let wanted = text(if is_last { ReplyId::TooManyCommands } else { ReplyId::TooLong });
            let flags = if is_last { PSH | ACK | FIN } else { PSH | ACK };
            let answer = |stat| Told::Answered { stat, flags, at: heard, heard: at, data: wanted.clone() };
            assert_eq!(told, answer(Stat::AnswerReply), "{piece} {at}");
            // its reply may be lost
            let again = sender.say(&mut program, line(at - length(&octets), heard, &octets));
            assert_eq!(again, answer(Stat::AnswerAgain), "{piece} {at}");
            heard += length(&wanted);
            if is_last {
                break;
            }
        }
        assert_eq!(at / endless, i32::from(COMMANDS_MAX) + 1);
    }
}

#[test]
fn the_end_of_an_endless_line_is_one_more_command() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let sender = Sender::usual(&mut program);
    let octets = vec![b'x'; 2048];
    let (mut at, mut heard) = (0, length(greeting()));
    for _ in 0..32 {
        sender.say(&mut program, line(at, heard, &octets));
        at += 2048;
    }
    for (said, wanted) in [(&b"xx\r\n"[..], ReplyId::TooLong), (b"NOOP\r\n", ReplyId::Noop)] {
        heard += length(text(ReplyId::TooLong));
        let told = sender.say(&mut program, line(at, heard, said));
        at += length(said);
        assert_eq!(
            told,
            Told::Answered {
                stat: Stat::AnswerReply,
                flags: PSH | ACK,
                at: heard,
                heard: at,
                data: text(wanted)
            }
        );
    }
}
