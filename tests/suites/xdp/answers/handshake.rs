//! The beginning: which SYN is answered and with what, and which acknowledgement completes a
//! handshake.

use std::net::Ipv6Addr;

use sixgate_common::{
    flow::Tag,
    refuse::{Phase, REASON_NO_PTR, REASON_NOT_OPTED_IN, Reason, ReplyId},
    settings::{ANSWER_DAEMON, MODE_SHADOW, REFUSE_AT_GREETING, REFUSE_AT_RESET, Settings},
    slot::Slot,
    stat::Stat,
};
use sixgate_dataplane::{PtrOrigin, PtrState};
use sixgate_tests::{
    gate,
    packet::{
        Checksum, Extension, Packet, Vlan,
        answer::Answer,
        tcp::{ACK, CWR, ECE, FIN, PSH, RST, SYN},
    },
};

use super::session::{
    ANSWERING, CLIENT, Observed, Segment, Sender, about, bare, configure, greeting, line, load, replied,
    signalled,
};
use crate::program::{Fate, HAS_PTR, HOUR, NEEDS, NO_PTR, OPTED_IN, OURS, Program, projection};

/// State that an earlier connection of the same 4-tuple may have left.
const OLD: Slot = Slot { state: Slot::state_of(REASON_NO_PTR, Phase::Mail as u8), commands: 3, ..Slot::FREE };

/// Ways to write an opening SYN that all mean the same.
fn syns() -> Vec<(&'static str, Packet)> {
    let syn = || Packet::syn().source(CLIENT).destination(OURS);
    let flags = |flags| syn().flags(flags);
    let options = |octets: &[u8]| syn().options(octets);
    vec![
        ("plain", syn()),
        ("without options", flags(SYN)),
        ("asking for ECN", flags(SYN | ECE | CWR)),
        ("with PSH", flags(SYN | PSH)),
        ("with URG", flags(SYN | 0x20)),
        ("with one octet", flags(SYN).data(b"x")),
        ("with a command", syn().data(b"EHLO mail.example\r\n")),
        ("with 1220 octets", syn().payload(1220)),
        (
            "with all that Linux offers",
            options(b"\x02\x04\x05\xa0\x04\x02\x08\x0a\0\0\0\x07\0\0\0\0\x01\x03\x03\x07"),
        ),
        ("with forty octets of no operation", options(&[1; 40])),
        ("with an option that nobody knows", options(&[254, 8, 1, 2, 3, 4, 5, 6])),
        ("with an option of length 0", options(&[8, 0, 0, 0])),
        ("with an option that is longer than the header", options(&[2, 200, 5, 160])),
        ("with Fast Open", options(&[34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1])),
        ("with the last sequence number", syn().sequence(u32::MAX)),
        ("with sequence number 0", syn().sequence(0)),
        ("with window 0", syn().window(0)),
        ("with an acknowledgement number", syn().acknowledgment(77)),
        ("with a flow label and a traffic class", syn().flow_label(0xff_ffff)),
        ("from a sender on this machine", syn().checksum(Checksum::Partial)),
        ("from port 25", syn().source_port(25)),
        ("from port 65535", syn().source_port(u16::MAX)),
        ("in a VLAN", syn().vlan(Vlan::Customer)),
        ("in a service VLAN", syn().vlan(Vlan::Service)),
        ("in two VLANs", syn().vlan(Vlan::Service).vlan(Vlan::Customer)),
        ("behind hop-by-hop options", syn().extension(Extension::HopByHop(0))),
        ("behind a routing header", syn().extension(Extension::Routing(0))),
        ("behind the longest options", syn().extension(Extension::Destination(255))),
        (
            "behind three headers in a VLAN, with data",
            syn()
                .vlan(Vlan::Customer)
                .extension(Extension::HopByHop(1))
                .extension(Extension::Routing(0))
                .extension(Extension::Destination(2))
                .data(b"HELO x\r\n"),
        ),
    ]
}

#[test]
fn each_syn_is_answered_with_a_cookie_and_leaves_no_trace() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    for (name, packet) in syns() {
        // the answer's form is checked by the function that reads it
        let sender = Sender::half_open_with(&mut program, &packet);
        assert_eq!(sender.entry(&mut program), None, "{name}");
        program.write_slot(sender.key(), OLD);
        let old = sender.entry(&mut program);
        Sender::half_open_with(&mut program, &packet);
        assert_eq!(sender.entry(&mut program), old, "{name}");
        sender.forget(&mut program);
    }
    assert_eq!(program.events(), Vec::<Vec<u8>>::new());
}

#[test]
fn the_cookie_of_each_syn_completes_its_handshake() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    for (name, packet) in syns() {
        let sender = Sender::half_open_with(&mut program, &packet);
        sender.go_through(
            &mut program,
            name,
            &[(bare(ACK, 0, 0), replied(Stat::AnswerGreeting, 0, 0, &greeting()))],
        );
        let entry = sender.entry(&mut program).unwrap();
        assert_eq!(
            (entry.reason(), entry.phase(), entry.commands),
            (Some(Reason::NotOptedIn), Some(Phase::Connected), 0)
        );
        sender.forget(&mut program);
    }
    assert_eq!(program.counter(Stat::AlsoBegunNotOptedIn), syns().len() as u64);
}

#[test]
fn what_is_no_plain_syn_is_the_hosts() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let syn = || Packet::syn().source(CLIENT).destination(OURS);
    for flags in [SYN | FIN, SYN | RST, SYN | ACK, SYN | FIN | ACK, SYN | RST | ACK, FIN, RST, PSH, 0, 0xff] {
        let fate = program.send(&syn().flags(flags));
        assert_eq!(fate, Fate::Passed(Stat::PassSegment), "flags {flags:#x}");
    }
    let wrong = || syn().checksum(Checksum::Wrong);
    assert_eq!(program.send(&wrong()), Fate::Passed(Stat::PassChecksum));
    assert_eq!(program.send(&wrong().payload(3)), Fate::Passed(Stat::PassChecksum));
    assert_eq!(program.send(&wrong().destination(OPTED_IN)), Fate::Passed(Stat::PassOptedIn));
    for source in ["::", "::1", "ff02::1", "ff0e::1", "::ffff:192.0.2.1"] {
        let source: Ipv6Addr = source.parse().unwrap();
        for flags in [SYN, ACK] {
            let fate = program.send(&syn().source(source).flags(flags));
            assert_eq!(fate, Fate::Passed(Stat::PassSource), "{source}");
        }
    }
}

#[test]
fn a_destination_can_be_refused_with_a_reset() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    configure(&mut program, &Settings { refuse_at: REFUSE_AT_RESET, ..ANSWERING });
    for (name, packet) in syns() {
        let taken = 1 + u32::try_from(packet.payload_length()).unwrap();
        let reset = Answer {
            flags: RST | ACK,
            sequence: 0,
            acknowledgment: packet.sequence_number().wrapping_add(taken),
            data: Vec::new(),
        };
        assert_eq!(program.send(&packet), Fate::Answered(Stat::AnswerReset, reset), "{name}");
    }
    // a client without a PTR record gets 450 in every style
    let sender = Sender::open(&mut program, NO_PTR, OPTED_IN, &greeting());
    assert_eq!(sender.entry(&mut program).unwrap().reason(), Some(Reason::NoPtr));
    // the style changed between SYN and acknowledgement: it holds for the next SYN
    configure(&mut program, &ANSWERING);
    let sender = Sender::half_open(&mut program, CLIENT, OURS);
    configure(&mut program, &Settings { refuse_at: REFUSE_AT_RESET, ..ANSWERING });
    let observed = sender.send(&mut program, bare(ACK, 0, 0));
    assert_eq!(observed, replied(Stat::AnswerGreeting, 0, 0, &greeting()));
}

#[test]
fn a_handshake_may_end_with_data_which_is_left_for_later() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let long = vec![b'x'; 601];
    let rows: [(&str, Segment<'_>, bool); 7] = [
        ("nothing", bare(ACK, 0, 0), true),
        ("PSH", bare(ACK | PSH, 0, 0), true),
        ("ECN", bare(ACK | ECE | CWR, 0, 0), true),
        ("one octet", line(0, 0, b"E"), true),
        ("a command", line(0, 0, b"EHLO mail.example\r\n"), true),
        ("600 octets", line(0, 0, &long[..600]), true),
        ("601 octets", line(0, 0, &long), false),
    ];
    for (name, sent, completes) in rows {
        let sender = Sender::half_open(&mut program, CLIENT, OURS);
        let wanted = if completes {
            replied(Stat::AnswerGreeting, 0, 0, &greeting())
        } else {
            Observed::Passed(Stat::PassSegment)
        };
        assert_eq!(sender.send(&mut program, sent), wanted, "{name}");
        assert_eq!(sender.entry(&mut program).is_some(), completes, "{name}");
    }
}

#[test]
fn each_greeting_fits_reason_and_style() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let rows = [
        ("not opted in", CLIENT, OURS, Reason::NotOptedIn, Some(OURS)),
        ("no PTR", NO_PTR, OPTED_IN, Reason::NoPtr, None),
        ("neither", NO_PTR, OURS, Reason::NotOptedIn, Some(OURS)),
        ("a PTR", HAS_PTR, OURS, Reason::NotOptedIn, Some(OURS)),
    ];
    for (name, source, destination, reason, observed) in rows {
        configure(&mut program, &ANSWERING);
        let sender = Sender::open(&mut program, source, destination, &greeting());
        let entry = sender.entry(&mut program).unwrap();
        assert_eq!((entry.reason(), entry.phase()), (Some(reason), Some(Phase::Connected)), "{name}");
        configure(&mut program, &Settings { refuse_at: REFUSE_AT_GREETING, ..ANSWERING });
        let (text, phase) = match observed {
            Some(about_it) => (about(ReplyId::GreetingRefused, &about_it.to_string()), Phase::Rejected),
            None => (greeting(), Phase::Connected),
        };
        let sender = Sender::open(&mut program, source, destination, &text);
        let entry = sender.entry(&mut program).unwrap();
        assert_eq!((entry.reason(), entry.phase()), (Some(reason), Some(phase)), "{name}");
    }
}

#[test]
fn only_the_right_cookie_completes_a_handshake() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let sender = Sender::half_open(&mut program, CLIENT, OURS);
    let right = sender.packet(bare(ACK, 0, 0));
    let other: Ipv6Addr = "2001:db8:f::9a".parse().unwrap();
    let next_door: Ipv6Addr = "2001:db8:2::26".parse().unwrap();
    let rows = [
        ("too many more", sender.packet(bare(ACK, 0, 20_000))),
        ("too many less", sender.packet(bare(ACK, 0, -20_000))),
        ("many more", sender.packet(bare(ACK, 0, 100_000))),
        ("no decision", sender.packet(bare(ACK, 0, i32::MIN / 2))),
        ("a sequence number far before the SYN's", sender.packet(bare(ACK, -20_000, 0))),
        ("another port", right.clone().source_port(9)),
        ("another sender", right.clone().source(other)),
        ("another destination", right.clone().destination(next_door)),
        ("no acknowledgement", sender.packet(bare(ACK, 0, 0)).acknowledgment(0)),
    ];
    for (name, packet) in rows {
        assert_eq!(program.send(&packet), Fate::Passed(Stat::PassSegment), "{name}");
        assert_eq!(program.slot(sender.key()), None, "{name}");
    }
    // numbers that a session may have come to: it needs no answer to an acknowledgement
    for (at, ack) in [(0, -1), (0, 1), (0, 3), (0, 4), (0, 8191), (1, 0), (-1, 0), (-6, 0)] {
        let observed = sender.send(&mut program, bare(ACK, at, ack));
        assert_eq!(observed, Observed::Dropped(Stat::DropSilent), "{at} {ack}");
        assert_eq!(program.slot(sender.key()), None, "{at} {ack}");
    }
    for flags in [ACK | SYN, ACK | RST, 0, PSH] {
        let packet = right.clone().flags(flags);
        assert_eq!(program.send(&packet), Fate::Passed(Stat::PassSegment), "flags {flags:#x}");
    }
    let wrong = right.clone().checksum(Checksum::Wrong);
    assert_eq!(program.send(&wrong), Fate::Passed(Stat::PassChecksum));
    assert_eq!(program.counter(Stat::AlsoBegunNotOptedIn), 0);
    let partial = right.checksum(Checksum::Partial);
    let fate = program.send(&partial);
    assert_eq!(sender.read(fate), replied(Stat::AnswerGreeting, 0, 0, &greeting()));
}

#[test]
fn a_cookie_is_worth_nothing_while_the_program_refuses_nothing() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let rows = [
        ("not ready", Settings { ready: 0, ..ANSWERING }),
        ("shadow", Settings { mode: MODE_SHADOW, ..ANSWERING }),
        ("the daemon is to answer", Settings { answer: ANSWER_DAEMON, ..ANSWERING }),
        ("an unknown way to answer", Settings { answer: 9, ..ANSWERING }),
    ];
    for (name, settings) in rows {
        let sender = Sender::half_open(&mut program, CLIENT, OURS);
        configure(&mut program, &settings);
        for sent in [bare(ACK, 0, 0), line(0, 0, b"NOOP\r\n")] {
            assert_eq!(sender.send(&mut program, sent), Observed::Passed(Stat::PassSegment), "{name}");
            assert_eq!(sender.entry(&mut program), None, "{name}");
        }
        configure(&mut program, &ANSWERING);
        // and everything is as before
        let observed = sender.send(&mut program, bare(ACK, 0, 0));
        assert_eq!(observed, replied(Stat::AnswerGreeting, 0, 0, &greeting()), "{name}");
    }
}

#[test]
fn a_change_of_the_maps_holds_for_the_next_syn() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let mut trusting = projection();
    trusting.trust.insert(CLIENT.into());
    let mut opted_in = projection();
    opted_in.optin.insert(OURS.into(), sixgate_common::dest::OptIn::In);
    let mut unguarded = projection();
    unguarded.guard.clear();
    for (name, maps, stat) in [
        ("opted in meanwhile", opted_in, Stat::PassOptedIn),
        ("trusted meanwhile", trusting, Stat::PassTrusted),
        ("no longer ours", unguarded, Stat::PassNotOurs),
    ] {
        let sender = Sender::half_open(&mut program, CLIENT, OURS);
        program.maps.project(&maps).unwrap();
        let observed = sender.send(&mut program, bare(ACK, 0, 0));
        assert_eq!(observed, replied(Stat::AnswerGreeting, 0, 0, &greeting()), "{name}");
        let syn = program.next_connection().source(CLIENT).destination(OURS);
        assert_eq!(program.send(&syn), Fate::Passed(stat), "{name}");
        program.maps.project(&projection()).unwrap();
    }
}

#[test]
fn a_source_that_gets_a_ptr_record_is_let_through_from_the_next_syn_on() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let sender = Sender::half_open(&mut program, NO_PTR, OPTED_IN);
    program.maps.ptr_set(NO_PTR, PtrState::Exists, PtrOrigin::Dns, HOUR).unwrap();
    let observed = sender.send(&mut program, bare(ACK, 0, 0));
    assert_eq!(observed, replied(Stat::AnswerGreeting, 0, 0, &greeting()));
    let syn = Packet::syn().source(NO_PTR).destination(OPTED_IN);
    assert_eq!(program.send(&syn), Fate::Passed(Stat::PassOptedIn));
}

#[test]
fn an_acknowledgement_that_comes_twice_begins_one_session() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let sender = Sender::usual(&mut program);
    let before = sender.entry(&mut program);
    for _ in 0..3 {
        assert_eq!(sender.send(&mut program, bare(ACK, 0, 0)), Observed::Dropped(Stat::DropSilent));
        assert_eq!(sender.entry(&mut program), before);
    }
    assert_eq!(program.counter(Stat::AlsoBegunNotOptedIn), 1);
}

#[test]
fn a_new_connection_from_the_same_port_replaces_the_session() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let first = Packet::syn().source(CLIENT).destination(OURS).sequence(1_000_000);
    for sequence in [3_000_000_000, 500_000, 1_000_000_000] {
        let old = Sender::half_open_with(&mut program, &first);
        let _ = old.send(&mut program, bare(ACK, 0, 0));
        let g = i32::try_from(greeting().len()).unwrap();
        let ehlo = old.send(&mut program, line(0, g, b"EHLO x\r\n"));
        assert!(matches!(ehlo, Observed::Answered { stat: Stat::AnswerReply, .. }), "{ehlo:?}");
        let new = Sender::half_open_with(&mut program, &first.clone().sequence(sequence));
        // the SYN alone changes nothing
        let observed = old.send(&mut program, line(0, g, b"EHLO x\r\n"));
        assert!(matches!(observed, Observed::Answered { stat: Stat::AnswerAgain, .. }), "{observed:?}");
        let greeted = new.send(&mut program, bare(ACK, 0, 0));
        assert_eq!(greeted, replied(Stat::AnswerGreeting, 0, 0, &greeting()), "{sequence}");
        let entry = new.entry(&mut program).unwrap();
        assert_eq!((entry.commands, entry.phase()), (0, Some(Phase::Connected)));
        // the old one's segments belong to no session
        let observed = old.send(&mut program, line(8, g, b"NOOP\r\n"));
        assert_eq!(observed, Observed::Dropped(Stat::DropSilent));
        new.forget(&mut program);
    }
}

#[test]
fn what_was_a_tag_for_the_daemon_becomes_a_session() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program: Program = load();
    let sender = Sender::half_open(&mut program, CLIENT, OURS);
    program.write_tag(*sender.key(), Tag::new(REASON_NOT_OPTED_IN, 1));
    sender.go_through(
        &mut program,
        "tag",
        &[
            (bare(ACK, 0, 0), replied(Stat::AnswerGreeting, 0, 0, &greeting())),
            (bare(ACK, -1, 0), signalled(Stat::AnswerAck, ACK, i32::try_from(greeting().len()).unwrap(), 0)),
        ],
    );
}
