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
    lockstep::{Lockstep, length},
    session::{Observed, Segment, Sender, bare, greeting, line, load, signalled, text},
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
    for (name, sent) in [
        ("a SYN (RFC 5961 4)", bare(SYN, 0, 0)),
        ("a reset beside its place (RFC 5961 3)", bare(RST, 5, 0)),
        ("an acknowledgement of what was not sent (RFC 5961 5)", bare(ACK, 0, g + 1000)),
        ("an old segment", line(-3, g, b"xyz")),
        ("a segment behind a gap", line(far, g, b"NOOP\r\n")),
        ("a keep-alive", bare(ACK, -1, g)),
    ] {
        let mut lockstep = Lockstep::usual(&mut program);
        // a SYN of the same connection is answered by itself, with a cookie
        if sent.flags == SYN {
            continue;
        }
        let acknowledged = |observed: &Observed| {
            matches!(observed, Observed::Answered { stat: Stat::AnswerAck, flags: ACK, .. })
        };
        for _ in 0..2 {
            for count in 0..ACKNOWLEDGMENTS_MAX {
                let observed = lockstep.sender.send(&mut program, shifted(sent, &lockstep));
                assert!(acknowledged(&observed), "{name}, {count}: {observed:?}");
            }
            for _ in 0..3 {
                let observed = lockstep.sender.send(&mut program, shifted(sent, &lockstep));
                assert_eq!(observed, Observed::Dropped(Stat::DropAckLimit), "{name}");
            }
            lockstep.expect_reply(&mut program, b"NOOP\r\n", &text(ReplyId::Noop));
        }
        for _ in 0..=ACKNOWLEDGMENTS_MAX {
            lockstep.sender.send(&mut program, shifted(sent, &lockstep));
        }
        lockstep.sender.let_time_pass(&mut program);
        let observed = lockstep.sender.send(&mut program, shifted(sent, &lockstep));
        assert!(acknowledged(&observed), "{name}: {observed:?}");
    }
}

/// The segment as many octets later as the dialogue has come.
fn shifted<'a>(sent: Segment<'a>, lockstep: &Lockstep) -> Segment<'a> {
    Segment { at: sent.at + lockstep.at, ack: sent.ack + lockstep.ack - length(greeting()), ..sent }
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
        let (mut at, mut ack, mut replies) = (0, length(greeting()), 0);
        let endless = i32::try_from(ENDLESS_MAX).unwrap();
        loop {
            let end = at + length(&octets);
            let observed = sender.send(&mut program, line(at, ack, &octets));
            let is_command = end / endless > at / endless;
            at = end;
            if !is_command {
                assert_eq!(observed, signalled(Stat::AnswerAck, ACK, ack, at), "{piece} {at}");
                continue;
            }
            replies += 1;
            let is_last = replies > COMMANDS_MAX;
            let wanted = text(if is_last { ReplyId::TooManyCommands } else { ReplyId::TooLong });
            let flags = if is_last { PSH | ACK | FIN } else { PSH | ACK };
            let answer = |stat| Observed::Answered { stat, flags, at: ack, ack: at, data: wanted.clone() };
            assert_eq!(observed, answer(Stat::AnswerReply), "{piece} {at}");
            // its reply may be lost
            let again = sender.send(&mut program, line(at - length(&octets), ack, &octets));
            assert_eq!(again, answer(Stat::AnswerAgain), "{piece} {at}");
            ack += length(&wanted);
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
    let (mut at, mut ack) = (0, length(greeting()));
    for _ in 0..32 {
        sender.send(&mut program, line(at, ack, &octets));
        at += 2048;
    }
    for (sent, wanted) in [(&b"xx\r\n"[..], ReplyId::TooLong), (b"NOOP\r\n", ReplyId::Noop)] {
        ack += length(text(ReplyId::TooLong));
        let observed = sender.send(&mut program, line(at, ack, sent));
        at += length(sent);
        assert_eq!(
            observed,
            Observed::Answered {
                stat: Stat::AnswerReply,
                flags: PSH | ACK,
                at: ack,
                ack: at,
                data: text(wanted)
            }
        );
    }
}
