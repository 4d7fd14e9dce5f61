//! Segments that lie in several buffers: what a sender on the same machine, or one behind a driver
//! that joins segments, hands over in one piece.

use sixgate_common::{refuse::ReplyId, stat::Stat};
use sixgate_tests::{
    gate,
    packet::{
        Checksum, Packet, Vlan,
        tcp::{ACK, FIN, PSH},
    },
};

use super::session::{CLIENT, Observed, Segment, Sender, bare, greeting, line, load, replied, text};
use crate::program::{NEEDS, OURS, Program};

/// The SYN of a sender that leaves checksums to the device, as all its packets: no other's are that
/// long.
fn local(program: &mut Program) -> Packet {
    program.next_connection().source(CLIENT).destination(OURS).checksum(Checksum::Partial)
}

fn length(text: &str) -> i32 {
    i32::try_from(text.len()).unwrap()
}

#[test]
fn a_command_is_answered_however_much_follows_it() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let g = length(&greeting());
    for junk in [3000, 3500, 4000, 8000, 20_000, 60_000] {
        for vlans in [&[][..], &[Vlan::Customer], &[Vlan::Service, Vlan::Customer]] {
            let syn = local(&mut program);
            let syn = vlans.iter().fold(syn, |syn, vlan| syn.vlan(*vlan));
            let sender = Sender::half_open_with(&mut program, &syn);
            let observed = sender.send(&mut program, bare(ACK, 0, 0));
            assert_eq!(observed, replied(Stat::AnswerGreeting, 0, 0, &greeting()));
            let octets = [&b"NOOP\r\n"[..], &vec![b'x'; junk]].concat();
            let noop = |stat| replied(stat, g, 6, &text(ReplyId::Noop));
            sender.go_through(
                &mut program,
                &format!("{junk} octets of junk, {} tags", vlans.len()),
                &[
                    (line(0, g, &octets), noop(Stat::AnswerReply)),
                    (line(0, g, &octets), noop(Stat::AnswerAgain)),
                    (Segment { flags: FIN | PSH | ACK, ..line(0, g, &octets) }, noop(Stat::AnswerAgain)),
                    (line(0, g, b"NOOP\r\n"), noop(Stat::AnswerAgain)),
                ],
            );
        }
    }
}

#[test]
fn a_long_line_is_taken_piece_by_piece() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let g = length(&greeting());
    for total in [3500, 4096, 8000, 30_000, 60_000] {
        let syn = local(&mut program);
        let sender = Sender::half_open_with(&mut program, &syn);
        let observed = sender.send(&mut program, bare(ACK, 0, 0));
        assert_eq!(observed, replied(Stat::AnswerGreeting, 0, 0, &greeting()));
        let mut octets = vec![b'x'; total];
        octets[total - 2..].copy_from_slice(b"\r\n");
        let mut at = 0;
        let end = loop {
            let rest = &octets[usize::try_from(at).unwrap()..];
            match sender.send(&mut program, line(at, g, rest)) {
                Observed::Answered { stat: Stat::AnswerAck, flags: ACK, at: sent, ack, data } => {
                    assert_eq!((sent, &data[..]), (g, ""));
                    assert!(ack > at && ack < length(&String::from_utf8_lossy(&octets)), "{ack} after {at}");
                    at = ack;
                }
                observed => break observed,
            }
        };
        let all = i32::try_from(total).unwrap();
        assert_eq!(end, replied(Stat::AnswerReply, g, all, &text(ReplyId::TooLong)));
    }
}

#[test]
fn what_is_no_session_yet_is_judged_by_its_headers() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    // data in a SYN is not taken, however much there is
    for octets in [3000, 4000, 10_000] {
        let syn = local(&mut program).payload(octets);
        let sender = Sender::half_open_with(&mut program, &syn);
        let observed = sender.send(&mut program, line(0, 0, &[b'x'; 4000]));
        assert_eq!(observed, Observed::Passed(Stat::PassSegment));
        assert_eq!(sender.entry(&mut program), None);
    }
    let syn = local(&mut program);
    let sender = Sender::half_open_with(&mut program, &syn);
    let observed = sender.send(&mut program, bare(ACK, 0, 0));
    assert_eq!(observed, replied(Stat::AnswerGreeting, 0, 0, &greeting()));
    let observed = sender.send(&mut program, line(1, length(&greeting()), &[b'x'; 4000]));
    assert_eq!(
        observed,
        Observed::Answered {
            stat: Stat::AnswerAck,
            flags: ACK,
            at: length(&greeting()),
            ack: 0,
            data: String::new(),
        }
    );
}
