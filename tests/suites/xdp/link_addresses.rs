//! For whom a frame is: those of other hosts and of groups are passed on with all they carry; and
//! what the program may do with those for this host.

use std::collections::BTreeMap;

use sixgate_common::{
    names::STATIONS_ENTRIES,
    refuse::{Phase, REASON_NOT_OPTED_IN},
    settings::{ANSWER_KERNEL, Settings},
    slot::Slot,
    stat::Stat,
};
use sixgate_dataplane::{Marks, Station, StationUse, flow_key};
use sixgate_tests::{
    gate,
    packet::{
        Checksum, GATE_MAC, Packet, SENDER_MAC,
        tcp::{ACK, FIN, PSH, RST},
    },
};

use crate::program::{ENFORCE, Fate, LOOPBACK, NATIVE, NEEDS, OURS, Program, STATION};

const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 9];

fn answering() -> Program {
    let mut program = Program::load();
    program.maps.write_settings(&Settings { answer: ANSWER_KERNEL, ..ENFORCE }).unwrap();
    program
}

fn set(program: &mut Program, stations: &[(Station, StationUse)]) {
    program.maps.set_stations(&stations.iter().copied().collect::<BTreeMap<_, _>>()).unwrap();
}

#[test]
fn frames_for_other_hosts_and_for_groups_are_passed_on() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = answering();
    for (mac, wanted) in [
        (OTHER, Stat::PassOtherMac),
        ([0; 6], Stat::PassOtherMac),
        // a router's that several hosts take over from each other (RFC 9568 7.3)
        ([0, 0, 0x5e, 0, 2, 7], Stat::PassOtherMac),
        ([0xff; 6], Stat::PassGroupMac),
        ([0x33, 0x33, 0, 0, 0, 1], Stat::PassGroupMac),
        ([3, 0, 0, 0, 0, 1], Stat::PassGroupMac),
    ] {
        for flags in [None, Some(ACK), Some(PSH | ACK), Some(FIN | ACK), Some(RST)] {
            let packet = program.next_connection().destination(OURS).to_mac(mac);
            let packet = flags.into_iter().fold(packet, Packet::flags);
            assert_eq!(program.send(&packet), Fate::Passed(wanted), "{mac:02x?} {flags:?}");
        }
    }
}

#[test]
fn a_station_counts_on_its_own_interface_only() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = answering();
    set(&mut program, &[(Station { ifindex: LOOPBACK + 1, mac: GATE_MAC }, NATIVE)]);
    let syn = program.next_connection().destination(OURS);
    assert_eq!(program.send(&syn), Fate::Passed(Stat::PassOtherMac));
    // a bridge's or a bond's address beside the interface's own
    set(&mut program, &[(STATION, NATIVE), (Station { mac: OTHER, ..STATION }, NATIVE)]);
    for mac in [GATE_MAC, OTHER] {
        let syn = program.next_connection().destination(OURS).to_mac(mac);
        assert!(matches!(program.send(&syn), Fate::Answered(Stat::AnswerSyn, _)), "{mac:02x?}");
    }
}

#[test]
fn where_the_program_may_not_answer_it_tags() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = answering();
    set(&mut program, &[(STATION, StationUse { answers: false, ..NATIVE })]);
    let syn = program.next_connection().destination(OURS);
    assert_eq!(program.send(&syn), Fate::Passed(Stat::TagNotOptedIn));
    set(&mut program, &[(STATION, NATIVE)]);
    let syn = program.next_connection().destination(OURS);
    assert!(matches!(program.send(&syn), Fate::Answered(Stat::AnswerSyn, _)));
}

#[test]
fn generic_mode_answers_unfinished_checksums_only_at_the_far_end() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = answering();
    let generic = StationUse { marks: Marks::Kept, ..NATIVE };
    let rows = [
        (NATIVE, Checksum::Partial, true),
        (generic, Checksum::Full, true),
        (generic, Checksum::Partial, false),
        (StationUse { peer: Some(OTHER), ..generic }, Checksum::Partial, false),
        (StationUse { peer: Some(SENDER_MAC), ..generic }, Checksum::Partial, true),
    ];
    for (what, checksum, is_answered) in rows {
        set(&mut program, &[(STATION, what)]);
        let syn = program.next_connection().destination(OURS).checksum(checksum);
        let key = flow_key(&syn.sender(), &syn.receiver());
        let state = Slot::state_of(REASON_NOT_OPTED_IN, Phase::Mail as u8);
        program.write_slot(&key, Slot { state, ..Slot::FREE });
        let fate = program.send(&syn);
        assert_eq!(program.slot(&key).is_some(), is_answered, "what is passed on leaves no entry behind");
        match fate {
            Fate::Answered(Stat::AnswerSyn, _) if is_answered => {}
            Fate::Passed(Stat::PassUnfinished) if !is_answered => {}
            fate => panic!("{what:?} {checksum:?}: {fate:?}"),
        }
    }
}

#[test]
fn the_map_holds_what_is_set_and_a_set_that_does_not_fit_changes_nothing() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = Program::load();
    let station = |index: u32| {
        let [a, b, c, d] = index.to_be_bytes();
        (Station { ifindex: index, mac: [2, 0, a, b, c, d] }, StationUse { peer: Some(OTHER), ..NATIVE })
    };
    let all = |range: std::ops::Range<u32>| range.map(station).collect::<BTreeMap<_, _>>();
    for wanted in
        [all(0..STATIONS_ENTRIES), all(1000..1000 + STATIONS_ENTRIES), all(5..9), BTreeMap::new(), all(7..11)]
    {
        program.maps.set_stations(&wanted).unwrap();
        assert_eq!(program.maps.stations().unwrap(), wanted);
    }
    let error = program.maps.set_stations(&all(0..STATIONS_ENTRIES + 1)).unwrap_err();
    assert!(error.to_string().contains("1025 Ethernet addresses"), "{error}");
    assert_eq!(program.maps.stations().unwrap(), all(7..11));
}
