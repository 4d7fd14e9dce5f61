//! The pinned maps through the dataplane's handles: prefixes, PTR entries, counters.

use std::{net::Ipv6Addr, time::Duration};

use ipnet::Ipv6Net;
use sixgate_common::{
    dest::OptIn,
    names,
    settings::{REFUSE_AT_GREETING, Settings},
    stat::Stat,
};
use sixgate_dataplane::{MapDifferences, MapEntry, Projection, PtrOrigin, PtrState};
use sixgate_tests::gate;

use crate::program::{ENFORCE, EXPIRED, HAS_PTR, NEEDS, NO_PTR, Program, projection};

fn prefix(text: &str) -> Ipv6Net {
    text.parse().unwrap()
}

#[test]
fn the_object_holds_every_map_by_its_name_and_no_other() {
    if !gate::require(NEEDS) {
        return;
    }
    let program = Program::load();
    let mut names = program.map_names();
    names.sort();
    // the program's constants, and its memory for the frame at hand: no other program uses them
    let mut wanted = [&names::ALL[..], &[".rodata", "SCRATCH"]].concat();
    wanted.sort_unstable();
    assert_eq!(names, wanted);
}

#[test]
fn settings_change_as_a_whole_and_the_record_in_force_is_never_written() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = Program::load();
    for number in 0..5 {
        let before = program.settings_records();
        let wanted = Settings { generation: number, refuse_at: REFUSE_AT_GREETING, ..ENFORCE };
        program.maps.write_settings(&wanted).unwrap();
        assert_eq!(program.maps.settings().unwrap(), wanted);
        let after = program.settings_records();
        assert_ne!(after.in_force, before.in_force);
        assert_eq!(after.records[before.in_force as usize], before.records[before.in_force as usize]);
        assert_eq!(after.records[after.in_force as usize], wanted);
    }
}

#[test]
fn a_projection_changes_what_differs_and_tells_it() {
    if !gate::require(NEEDS) {
        return;
    }
    let maps = &mut Program::load().maps;
    let mut wanted = projection();
    assert!(maps.difference(&wanted).unwrap().is_empty());
    wanted.optin.insert(prefix("2001:db8:1:dead::/64"), OptIn::In);
    wanted.optin.insert(prefix("2001:db8:3::/48"), OptIn::Out);
    wanted.guard.insert(prefix("2001:db8::25/128"));
    wanted.trust.clear();
    let expected = MapDifferences {
        added: vec![
            MapEntry::OptIn(prefix("2001:db8:1:dead::/64"), OptIn::In),
            MapEntry::OptIn(prefix("2001:db8:3::/48"), OptIn::Out),
            MapEntry::Guard(prefix("2001:db8::25/128")),
        ],
        removed: vec![
            MapEntry::OptIn(prefix("2001:db8:1:dead::/64"), OptIn::Out),
            MapEntry::Trust(prefix("2001:db8:7::/48")),
        ],
    };
    assert_eq!(maps.difference(&wanted).unwrap(), expected);
    assert_eq!(maps.project(&wanted).unwrap(), expected);
    assert!(maps.project(&wanted).unwrap().is_empty());
}

#[test]
fn prefixes_of_any_length_are_kept_apart() {
    if !gate::require(NEEDS) {
        return;
    }
    let maps = &mut Program::load().maps;
    let nested = ["::/0", "2001:db8::/32", "2001:db8::/33", "2001:db8::/127", "2001:db8::/128"];
    let wanted = Projection { guard: nested.into_iter().map(prefix).collect(), ..Projection::default() };
    maps.project(&wanted).unwrap();
    assert!(maps.difference(&wanted).unwrap().is_empty());
    let changes = maps.project(&Projection::default()).unwrap();
    assert_eq!(changes.removed.len(), nested.len());
    assert!(maps.difference(&Projection::default()).unwrap().is_empty());
}

#[test]
fn ptr_entries_are_listed_replaced_and_removed() {
    if !gate::require(NEEDS) {
        return;
    }
    let maps = &mut Program::load().maps;
    let listed = |maps: &sixgate_dataplane::Maps| -> Vec<(Ipv6Addr, PtrState)> {
        maps.ptr_list().unwrap().iter().map(|record| (record.address, record.state)).collect()
    };
    assert_eq!(listed(maps), [(NO_PTR, PtrState::Absent), (HAS_PTR, PtrState::Exists)]);
    assert_eq!(maps.ptr_get(EXPIRED).unwrap(), None);
    let minute = Duration::from_secs(60);
    maps.ptr_set(NO_PTR, PtrState::Exists, PtrOrigin::Dns, minute).unwrap();
    let record = maps.ptr_get(NO_PTR).unwrap().unwrap();
    assert_eq!(record.state, PtrState::Exists);
    assert!(record.remaining <= minute && record.remaining > minute / 2, "{record:?}");
    maps.ptr_set(NO_PTR, PtrState::Absent, PtrOrigin::Dns, Duration::MAX).unwrap();
    assert_eq!(maps.ptr_get(NO_PTR).unwrap().unwrap().state, PtrState::Absent);
    assert!(maps.ptr_remove(NO_PTR).unwrap());
    assert!(!maps.ptr_remove(NO_PTR).unwrap());
    assert_eq!(listed(maps), [(HAS_PTR, PtrState::Exists)]);
    // the expired one is still there
    assert_eq!(maps.ptr_flush().unwrap(), 2);
    assert_eq!(listed(maps), []);
}

#[test]
fn every_counter_is_read_in_its_order() {
    if !gate::require(NEEDS) {
        return;
    }
    let counters = Program::load().maps.stats().unwrap();
    let stats: Vec<Stat> = counters.iter().map(|(stat, _)| *stat).collect();
    assert_eq!(stats, Stat::ALL);
    assert!(counters.iter().all(|(_, count)| *count == 0));
}
