//! Frames with little headroom: drivers of Intel's cards leave the program 152 octets, Solarflare's
//! 88, some none.
//!
//! Whether real drivers leave as much is not claimed here.

use sixgate_common::{
    refuse::{Reason, ReplyId},
    settings::{REFUSE_AT_GREETING, REFUSE_AT_RCPT, REFUSE_AT_RESET, Settings},
    stat::Stat,
};
use sixgate_tests::{
    gate,
    packet::{
        Checksum, Vlan,
        tcp::{ACK, FIN, PSH},
    },
};

use super::{
    lines::long,
    lockstep::Lockstep,
    model::{Dialogue, Refusal},
    session::{
        ANSWERING, CLIENT, Observed, Sender, about, bare, configure, greeting, line, load, replied,
        signalled, text,
    },
};
use crate::program::{Fate, NEEDS, NO_PTR, OPTED_IN, OURS, Program};

/// Octets of headroom that the program can use; the first is what veth leaves.
const ROOMS: [u32; 5] = [216, 152, 88, 16, 0];

fn narrow(octets: u32) -> Program {
    let mut program = load();
    program.leave_head_room(octets);
    program
}

#[test]
fn every_reply_fits_however_little_head_room_there_is() {
    if !gate::require(NEEDS) {
        return;
    }
    let longest = format!("RCPT TO:<u@{}.example>\r\n", vec!["d".repeat(60); 3].join("."));
    let too_long = long("NOOP ", 600);
    let lines: Vec<&[u8]> = vec![
        b"EHLO mail.example\r\n",
        b"HELO x\r\n",
        b"EHLO\r\n",
        b"MAIL FROM:<a@b.example>\r\n",
        b"RCPT TO:<user@contoso.com>\r\n",
        longest.as_bytes(),
        b"RCPT TO:<postmaster>\r\n",
        b"RCPT TO:<a@later.example.>\r\n",
        b"DATA\r\n",
        b"MAIL\r\n",
        b"STARTTLS\r\n",
        b"VRFY x\r\n",
        b"HELP\r\n",
        b"x\r\n",
        &too_long,
        b"RSET\r\n",
        b"RCPT TO:<a@b>\r\n",
        b"NOOP\r\n",
        b"QUIT\r\n",
    ];
    for room in ROOMS {
        let mut program = narrow(room);
        let mut seen = [false; ReplyId::ALL.len()];
        for (reason, refuse_at) in [
            (Reason::NotOptedIn, REFUSE_AT_RCPT),
            (Reason::NotOptedIn, REFUSE_AT_GREETING),
            (Reason::NoPtr, REFUSE_AT_RCPT),
        ] {
            configure(&mut program, &Settings { refuse_at, ..ANSWERING });
            let (source, destination) = match reason {
                Reason::NotOptedIn => (CLIENT, OURS),
                Reason::NoPtr => (NO_PTR, OPTED_IN),
            };
            let refusal = Refusal { reason, refuse_at, source, destination };
            let dialogue = Dialogue::of(refusal, &lines.concat());
            let sent = String::from_utf8(dialogue.sent.clone()).unwrap();
            let mut lockstep =
                Lockstep::open(&mut program, source, destination, &sent[..dialogue.greeting()]);
            let mut at = dialogue.greeting();
            for (line, (_, end)) in lines.iter().zip(&dialogue.exchanges) {
                let wanted = &sent[at..*end];
                if *line == b"QUIT\r\n" {
                    lockstep.expect_last_reply(&mut program, line, wanted);
                } else {
                    lockstep.expect_reply(&mut program, line, wanted);
                }
                at = *end;
            }
            for id in ReplyId::ALL {
                seen[id as usize] |= sent.contains(&text(id)) || sent.contains(&about(id, "2001:db8:2::25"));
            }
            seen[ReplyId::NoPtr as usize] |= reason == Reason::NoPtr;
        }
        let missing: Vec<ReplyId> = ReplyId::ALL.into_iter().filter(|id| !seen[*id as usize]).collect();
        assert_eq!(missing, [ReplyId::TooManyCommands, ReplyId::BareLineEnd], "{room}");
        assert_eq!(program.counter(Stat::DropNoRoom) + program.counter(Stat::AnswerNoRoom), 0, "{room}");
    }
}

#[test]
fn handshakes_ends_and_odd_frames_fit_as_well() {
    if !gate::require(NEEDS) {
        return;
    }
    for room in ROOMS {
        for checksum in [Checksum::Full, Checksum::Partial] {
            let mut program = narrow(room);
            for vlans in [&[][..], &[Vlan::Customer], &[Vlan::Service, Vlan::Customer]] {
                // a SYN without options is shorter than its answer
                let syn = program
                    .next_connection()
                    .source(CLIENT)
                    .destination(OURS)
                    .checksum(checksum)
                    .options(&[]);
                let syn = vlans.iter().fold(syn, |syn, vlan| syn.vlan(*vlan));
                let sender = Sender::half_open_with(&mut program, &syn);
                let g = i32::try_from(greeting().len()).unwrap();
                let last = Observed::Answered {
                    stat: Stat::AnswerReply,
                    flags: PSH | ACK | FIN,
                    at: g,
                    ack: 2,
                    data: text(ReplyId::BareLineEnd),
                };
                sender.go_through(
                    &mut program,
                    &format!("{room} {checksum:?} {} tags", vlans.len()),
                    &[
                        (bare(ACK, 0, 0), replied(Stat::AnswerGreeting, 0, 0, &greeting())),
                        (line(0, g, b"x\n"), last),
                    ],
                );
                let syn = program.next_connection().source(CLIENT).destination(OURS).checksum(checksum);
                let syn = vlans.iter().fold(syn, |syn, vlan| syn.vlan(*vlan));
                let sender = Sender::half_open_with(&mut program, &syn);
                sender.go_through(
                    &mut program,
                    &format!("{room} {checksum:?} {} tags, FIN", vlans.len()),
                    &[
                        (bare(ACK, 0, 0), replied(Stat::AnswerGreeting, 0, 0, &greeting())),
                        (bare(ACK, 0, g), Observed::Dropped(Stat::DropSilent)),
                        (bare(FIN | ACK, 0, g), signalled(Stat::AnswerFin, FIN | ACK, g, 1)),
                    ],
                );
            }
            configure(&mut program, &Settings { refuse_at: REFUSE_AT_RESET, ..ANSWERING });
            let syn =
                program.next_connection().source(CLIENT).destination(OURS).checksum(checksum).options(&[]);
            assert!(
                matches!(program.send(&syn), Fate::Answered(Stat::AnswerReset, _)),
                "{room} {checksum:?}"
            );
            assert_eq!(program.counter(Stat::DropNoRoom) + program.counter(Stat::AnswerNoRoom), 0, "{room}");
        }
    }
}
