//! What becomes of an opening SYN: each rule of the maps, in each mode, with the tag that it leaves
//! or deletes.

use std::net::Ipv6Addr;

use sixgate_common::{
    flow::{FlowKey, Tag},
    refuse::{Phase, REASON_NO_PTR, REASON_NOT_OPTED_IN},
    settings::{MODE_SHADOW, Revision, Settings},
    slot::Slot,
    stat::Stat,
};
use sixgate_dataplane::{Maps, flow_key, monotonic_nanoseconds};
use sixgate_tests::{
    gate,
    packet::{Packet, SENDER, SENDER_PORT, SMTP, tcp},
};

use crate::program::{
    ENFORCE, EXPIRED, HAS_PTR, NEEDS, NO_PTR, NOT_OURS, OPTED_IN, OPTED_OUT, OURS, Outcome, Program, TRUSTED,
    XDP_PASS, projection,
};

/// Source, destination, and what enforce makes of them: the counter, and the reason in the tag.
type Row = (&'static str, Ipv6Addr, Ipv6Addr, Stat, Option<u8>);

const ROWS: [Row; 11] = [
    ("opted in, nothing known of the sender", SENDER, OPTED_IN, Stat::PassOptedIn, None),
    ("opted in, the sender has a PTR", HAS_PTR, OPTED_IN, Stat::PassOptedIn, None),
    ("opted in, the sender's entry expired", EXPIRED, OPTED_IN, Stat::PassOptedIn, None),
    ("opted in, the sender has no PTR", NO_PTR, OPTED_IN, Stat::TagNoPtr, Some(REASON_NO_PTR)),
    ("ours, not opted in", SENDER, OURS, Stat::TagNotOptedIn, Some(REASON_NOT_OPTED_IN)),
    ("ours, not opted in, no PTR either", NO_PTR, OURS, Stat::TagNotOptedIn, Some(REASON_NOT_OPTED_IN)),
    ("out, inside of a prefix that is in", SENDER, OPTED_OUT, Stat::TagNotOptedIn, Some(REASON_NOT_OPTED_IN)),
    ("not ours", SENDER, NOT_OURS, Stat::PassNotOurs, None),
    ("trusted, to one that opted in", TRUSTED, OPTED_IN, Stat::PassTrusted, None),
    ("trusted, to one that has not", TRUSTED, OURS, Stat::PassTrusted, None),
    ("trusted, to one that is not ours", TRUSTED, NOT_OURS, Stat::PassTrusted, None),
];

fn key(source: Ipv6Addr, destination: Ipv6Addr) -> FlowKey {
    FlowKey {
        source: source.octets(),
        destination: destination.octets(),
        source_port: SENDER_PORT.to_be_bytes(),
        destination_port: SMTP.to_be_bytes(),
    }
}

fn syn(source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    Packet::syn().source(source).destination(destination).build()
}

/// The tag that an earlier connection of the same 4-tuple may have left.
const OLD: Tag = Tag::new(REASON_NO_PTR, 1);
/// The state that one may have left.
const OLD_SLOT: Slot = Slot {
    state: Slot::state_of(REASON_NO_PTR, Phase::Mail as u8),
    commands: 3,
    receive_next: 1 << 31,
    ..Slot::FREE
};

#[test]
fn each_rule_passes_or_tags() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = Program::load();
    for (name, source, destination, stat, reason) in ROWS {
        let key = key(source, destination);
        program.write_tag(key, OLD);
        program.write_slot(&key, OLD_SLOT);
        let before = monotonic_nanoseconds();
        let outcome = program.run(&syn(source, destination));
        let after = monotonic_nanoseconds();
        assert_eq!(outcome, Outcome { action: XDP_PASS, stat }, "{name}");
        match (program.tag(&key), reason) {
            (None, None) => {}
            (Some(tag), Some(reason)) => {
                assert_eq!(tag, Tag::new(reason, tag.opened), "{name}");
                let tick = 10_000_000;
                assert!((before - tick..=after).contains(&tag.opened), "{name}: {tag:?}");
            }
            (found, wanted) => panic!("{name}: {found:?} instead of reason {wanted:?}"),
        }
        assert_eq!(program.slot(&key), None, "{name}");
    }
    assert_eq!(program.packets_counted(), ROWS.len() as u64);
}

#[test]
fn shadow_counts_what_enforce_would_refuse_and_tags_nothing() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = Program::load();
    // a mode that this build does not know is shadow, too
    for mode in [MODE_SHADOW, 77] {
        program.maps.write_settings(&Settings { mode, ..ENFORCE }).unwrap();
        for (name, source, destination, stat, reason) in ROWS {
            let stat = match reason {
                Some(REASON_NO_PTR) => Stat::ShadowNoPtr,
                Some(_) => Stat::ShadowNotOptedIn,
                None => stat,
            };
            let key = key(source, destination);
            program.write_tag(key, OLD);
            program.write_slot(&key, OLD_SLOT);
            let outcome = program.run(&syn(source, destination));
            assert_eq!(outcome, Outcome { action: XDP_PASS, stat }, "{name}");
            assert_eq!((program.tag(&key), program.slot(&key)), (None, None), "{name}");
        }
    }
}

#[test]
fn nothing_is_refused_while_the_maps_are_not_ready() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = Program::load();
    for ready in [0, 2] {
        program.maps.write_settings(&Settings { ready, ..ENFORCE }).unwrap();
        for (name, source, destination, ..) in ROWS {
            let key = key(source, destination);
            program.write_tag(key, OLD);
            program.write_slot(&key, OLD_SLOT);
            let outcome = program.run(&syn(source, destination));
            assert_eq!(outcome, Outcome { action: XDP_PASS, stat: Stat::PassNotReady }, "{name}");
            assert_eq!((program.tag(&key), program.slot(&key)), (None, None), "{name}");
        }
    }
    program.maps.set_shown(Revision::new(1, 1)).unwrap();
    assert_eq!(program.run(&syn(SENDER, OURS)).stat, Stat::TagNotOptedIn);
    program.maps.clear_ready().unwrap();
    assert_eq!(program.run(&syn(SENDER, OURS)).stat, Stat::PassNotReady);
}

#[test]
fn a_segment_of_a_connection_changes_no_entry() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = Program::load();
    let key = key(SENDER, OURS);
    for flags in [tcp::ACK, tcp::SYN | tcp::ACK, tcp::FIN | tcp::ACK, tcp::RST, tcp::SYN | tcp::FIN] {
        let frame = Packet::syn().destination(OURS).flags(flags).build();
        assert_eq!(program.run(&frame).stat, Stat::PassSegment);
        assert_eq!(program.tag(&key), None);
        program.write_tag(key, OLD);
        program.write_slot(&key, OLD_SLOT);
        assert_eq!(program.run(&frame).stat, Stat::PassSegment);
        assert_eq!(program.tag(&key), Some(OLD));
        assert!(program.take_slot(&key));
        program.forget_tag(&key);
    }
}

#[test]
fn a_change_of_the_maps_holds_for_the_next_syn() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = Program::load();
    let seen = |program: &mut Program| program.run(&syn(SENDER, OURS)).stat;
    assert_eq!(seen(&mut program), Stat::TagNotOptedIn);
    let mut wanted = projection();
    wanted.trust.insert(SENDER.into());
    program.maps.project(&wanted).unwrap();
    assert_eq!(seen(&mut program), Stat::PassTrusted);
    wanted.trust.clear();
    wanted.guard.clear();
    program.maps.project(&wanted).unwrap();
    assert_eq!(seen(&mut program), Stat::PassNotOurs);
}

#[test]
fn a_tag_is_taken_once_and_found_by_the_sockets_addresses() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = Program::load();
    program.run(&syn(SENDER, OURS));
    let socket = |address, port| std::net::SocketAddrV6::new(address, port, 0, 0);
    let key = flow_key(&socket(SENDER, SENDER_PORT), &socket(OURS, SMTP));
    let take = |maps: &mut Maps| maps.take_tag(&key).unwrap();
    let tag = take(&mut program.maps).unwrap();
    assert_eq!(tag, Tag::new(REASON_NOT_OPTED_IN, tag.opened));
    assert_eq!(take(&mut program.maps), None);
    program.write_slot(&key, OLD_SLOT);
    assert_eq!(take(&mut program.maps), None, "a session that the kernel answers has no tag");
}
