//! The key of cookies, replaced or shared; and sessions whose state gives way.

use std::net::Ipv6Addr;

use sixgate_common::{
    refuse::ReplyId,
    slot::{FLAG_RESUMED, SLOTS_ENTRIES},
    stat::Stat,
};
use sixgate_tests::{
    gate,
    packet::{
        Packet,
        answer::Answer,
        tcp::{ACK, FIN, PSH},
    },
};

use super::{
    lockstep::{Lockstep, length},
    session::{CLIENT, Observed, Sender, about, bare, greeting, line, load, replied, signalled, text},
};
use crate::program::{NEEDS, OURS, Program, XDP_TX, run_once};

/// The dialogue of each session here: what is sent, and the reply.
fn dialogue() -> [(&'static [u8], String); 5] {
    [
        (b"EHLO mail.example\r\n", text(ReplyId::Ehlo)),
        (b"MAIL FROM:<a@b.example>\r\n", text(ReplyId::Mail)),
        (b"RCPT TO:<user@contoso.com>\r\n", about(ReplyId::NotOptedIn, "contoso.com")),
        (b"RCPT TO:<user@fabrikam.example>\r\n", about(ReplyId::NotOptedIn, "fabrikam.example")),
        (b"QUIT\r\n", text(ReplyId::Quit)),
    ]
}

#[test]
fn a_key_that_is_replaced_twice_loses_no_handshake() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    for replaced in 0..4 {
        let sender = Sender::half_open(&mut program, CLIENT, OURS);
        let old = Lockstep::usual(&mut program);
        for key in 0..replaced {
            program.maps.set_cookie_key(Some(&[key; 16].into())).unwrap();
        }
        let observed = sender.send(&mut program, bare(ACK, 0, 0));
        let wanted = if replaced <= 2 {
            replied(Stat::AnswerGreeting, 0, 0, &greeting())
        } else {
            Observed::Passed(Stat::PassSegment)
        };
        assert_eq!(observed, wanted, "{replaced}");
        // a session goes on
        let mut old = old;
        old.expect_reply(&mut program, b"NOOP\r\n", &text(ReplyId::Noop));
        program.maps.set_cookie_key(Some(&[0xaa; 16].into())).unwrap();
    }
}

#[test]
fn a_key_stays_until_there_is_another_one() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let number = program.maps.settings().unwrap().cookie;
    let sender = Sender::half_open(&mut program, CLIENT, OURS);
    for _ in 0..10 {
        program.maps.set_cookie_key(None).unwrap();
    }
    assert_eq!(program.maps.settings().unwrap().cookie, number);
    let observed = sender.send(&mut program, bare(ACK, 0, 0));
    assert_eq!(observed, replied(Stat::AnswerGreeting, 0, 0, &greeting()));
}

#[test]
fn gates_with_one_key_hold_one_dialogue_packet_by_packet() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut gates = [load(), load()];
    // each packet to the one or to the other
    for mask in 0..1 << 7 {
        spray(&mut gates, mask);
    }
}

/// One dialogue, each packet of which goes to the gate that its bit names.
fn spray(gates: &mut [Program; 2], mask: u32) {
    let mut packet = 0;
    let mut next = || {
        packet += 1;
        usize::from(mask >> (packet % 7) & 1 == 1)
    };
    let syn = gates[0].next_connection().source(CLIENT).destination(OURS);
    let sender = Sender::half_open_with(&mut gates[next()], &syn);
    let observed = sender.send(&mut gates[next()], bare(ACK, 0, 0));
    assert_eq!(observed, replied(Stat::AnswerGreeting, 0, 0, &greeting()), "{mask:#b}");
    let (mut at, mut ack) = (0, length(greeting()));
    for (octets, reply) in dialogue() {
        let closes = octets == b"QUIT\r\n";
        let flags = if closes { PSH | ACK | FIN } else { PSH | ACK };
        let end = at + length(octets);
        let observed = sender.send(&mut gates[next()], line(at, ack, octets));
        let Observed::Answered { flags: sent, at: from, ack: to, data, .. } = observed else {
            panic!("{mask:#b}: {observed:?}");
        };
        assert_eq!((sent, from, to, &data), (flags, ack, end, &reply), "{mask:#b}");
        (at, ack) = (end, ack + length(reply) + i32::from(closes));
        let observed = sender.send(&mut gates[next()], bare(ACK, at, ack));
        assert_eq!(observed, Observed::Dropped(Stat::DropSilent), "{mask:#b}");
    }
    let observed = sender.send(&mut gates[next()], bare(FIN | ACK, at, ack));
    let Observed::Answered { ack: to, .. } = observed else {
        panic!("{mask:#b}: {observed:?}");
    };
    assert_eq!(to, at + 1, "{mask:#b}");
}

#[test]
fn a_flood_of_handshakes_ends_no_session_of_others() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let flooding: Ipv6Addr = "2001:db8:f::bad".parse().unwrap();
    let mut waiting = Vec::new();
    for (index, _) in dialogue().iter().enumerate() {
        let mut lockstep = Lockstep::usual(&mut program);
        for (octets, reply) in &dialogue()[..index] {
            lockstep.expect_reply(&mut program, octets, reply);
        }
        waiting.push(lockstep);
    }
    let flood = |program: &mut Program| {
        for port in 1..=u16::MAX {
            let syn = Packet::syn().source(flooding).destination(OURS).source_port(port);
            let (action, frame) = run_once(program.xdp(), &syn.build());
            assert_eq!(action, XDP_TX);
            let answer = Answer::read(&frame, &syn);
            let ack = syn.clone().flags(ACK).sequence(syn.sequence_number() + 1);
            let ack = ack.acknowledgment(answer.sequence.wrapping_add(1));
            let (action, _) = run_once(program.xdp(), &ack.build());
            assert_eq!(action, XDP_TX);
        }
    };
    flood(&mut program);
    assert!(program.counter(Stat::AlsoSlotTaken) > u64::from(u16::MAX) - u64::from(SLOTS_ENTRIES));
    for (index, lockstep) in waiting.iter_mut().enumerate() {
        assert_eq!(lockstep.sender.entry(&mut program), None, "the flood was too small");
        for (octets, reply) in &dialogue()[index..] {
            match *octets {
                b"QUIT\r\n" => lockstep.expect_last_reply(&mut program, octets, reply),
                _ => lockstep.expect_reply(&mut program, octets, reply),
            }
        }
        let entry = lockstep.sender.entry(&mut program).unwrap();
        assert_ne!(entry.flags & FLAG_RESUMED, 0);
    }
    assert_eq!(program.counter(Stat::AlsoResumed), waiting.len() as u64);
}

#[test]
fn a_kept_part_is_found_again_after_an_old_duplicate_made_the_state_anew() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let sender = Sender::usual(&mut program);
    let (hello, noop, mail) = (text(ReplyId::Helo), text(ReplyId::Noop), text(ReplyId::Mail));
    let first = length(greeting());
    let second = first + length(&hello);
    let third = second + length(&noop);
    sender.go_through(
        &mut program,
        "before the loss",
        &[
            (line(0, first, b"HELO x\r\n"), replied(Stat::AnswerReply, first, 8, &hello)),
            (line(8, second, b"NOOP\r\n"), replied(Stat::AnswerReply, second, 14, &noop)),
            (line(14, third, b"M"), Observed::Dropped(Stat::DropIncomplete)),
            (line(14, third, b"M"), signalled(Stat::AnswerAck, ACK, third, 15)),
        ],
    );
    sender.forget(&mut program);
    sender.go_through(
        &mut program,
        "after it",
        &[
            // delivered twice by the network
            (line(8, second, b"NOOP\r\n"), replied(Stat::AnswerReply, second, 14, &noop)),
            // sent before the acknowledgement of its first octet came, and its reply is lost
            (line(14, third, b"MAIL FROM:<>\r\n"), replied(Stat::AnswerReply, third, 28, &mail)),
            // the sender has no reason to send the first octet again
            (line(15, third, b"AIL FROM:<>\r\n"), replied(Stat::AnswerAgain, third, 28, &mail)),
        ],
    );
}
