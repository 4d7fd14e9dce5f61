//! What attaching and the maps refuse: each names the thing that is wrong, and leaves the rest as
//! it was.

use std::fs;

use aya::{maps::HashMap, programs::XdpMode};
use ipnet::Ipv6Net;
use sixgate_common::{
    dest::OptIn,
    names,
    settings::{READY, Revision},
};
use sixgate_dataplane::{
    AttachMode, Attached, DataplaneError, Maps, Pins, RunMode, attach, attached, detach,
};
use sixgate_tests::{gate, xdp_helper::Pass};

use crate::{
    host::{Host, NEEDS, SIZES},
    program::projection,
};

/// Attaching in our namespace.
fn attempt(host: &Host, interfaces: &[&str], mode: AttachMode) -> Result<Vec<Attached>, DataplaneError> {
    let mut plan = host.plan(interfaces);
    plan.mode = mode;
    host.ours.run(|| attach(&plan))
}

fn prefixes(count: u16) -> impl Iterator<Item = Ipv6Net> {
    (0..count).map(|number| format!("2001:db8:{number:x}::/48").parse().unwrap())
}

#[test]
fn a_missing_interface_leaves_nothing_behind() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    let error = attempt(&host, &["gate0", "gate9"], AttachMode::Auto).unwrap_err();
    assert_eq!(error.to_string(), "no network interface named \"gate9\"");
    assert!(!host.has_xdp("gate0"));
    assert!(!host.bpffs.pins().exists());
}

#[test]
fn a_driver_that_cannot_is_named_when_native_is_demanded() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    let error = attempt(&host, &["lo"], AttachMode::Native).unwrap_err();
    assert_eq!(error.to_string(), "lo does not take the XDP program: its driver has no native XDP");
    assert!(Maps::open(&host.pins()).unwrap().is_none());
}

#[test]
fn another_program_stays_and_is_named() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    let other = Pass::attach(&host.ours, "gate0", XdpMode::Driver).unwrap();
    let id = other.info().unwrap().id();
    for mode in [AttachMode::Auto, AttachMode::Native, AttachMode::Generic] {
        let error = attempt(&host, &["gate0"], mode).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("another XDP program (id {id}) is attached to gate0")),
            "{error}"
        );
    }
    assert!(Maps::open(&host.pins()).unwrap().is_none());
    assert!(host.has_xdp("gate0"));
}

#[test]
fn one_interface_that_fails_takes_the_new_ones_along_and_leaves_the_old() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    host.ours.join("gate1", &host.theirs, "peer1").unwrap();
    attempt(&host, &["gate0"], AttachMode::Auto).unwrap();
    let error = attempt(&host, &["gate1", "lo"], AttachMode::Native).unwrap_err();
    assert!(matches!(error, DataplaneError::NotTaken { .. }), "{error}");
    assert!(host.has_xdp("gate0") && !host.has_xdp("gate1"));
    assert_eq!(host.maps().settings().unwrap().ready, READY);
}

#[test]
fn the_mode_of_a_running_program_is_not_changed_in_passing() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    attempt(&host, &["gate0"], AttachMode::Generic).unwrap();
    let error = attempt(&host, &["gate0"], AttachMode::Native).unwrap_err();
    assert!(
        matches!(&error, DataplaneError::OtherMode { interface, running: RunMode::Generic } if interface == "gate0"),
        "{error}"
    );
    assert_eq!(attempt(&host, &["gate0"], AttachMode::Auto).unwrap()[0].mode, RunMode::Generic);
}

#[test]
fn a_map_of_another_shape_is_refused_by_name() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    attempt(&host, &["gate0"], AttachMode::Auto).unwrap();
    let file = host.pins().directory().join(names::TRUST);
    fs::remove_file(&file).unwrap();
    let refused = |beginning: &str, difference: &str| {
        for error in [
            Maps::open(&host.pins()).map(|_| ()).unwrap_err(),
            attempt(&host, &["gate0"], AttachMode::Auto).unwrap_err(),
        ] {
            let error = error.to_string();
            assert!(error.starts_with(beginning) && error.contains(difference), "{error}");
        }
        assert!(host.has_xdp("gate0"));
    };
    refused("the pin of the map TRUST is missing in ", "`sixgate detach` removes what is left");
    let other = HashMap::<_, [u8; 20], u32>::create(8, 0).unwrap();
    other.pin(&file).unwrap();
    refused("the pinned map TRUST in ", "its kind is Some(Hash), not LpmTrie");
    // what cannot be opened can be removed
    assert_eq!(detach(&host.pins(), &[]).unwrap(), ["gate0"]);
    assert!(!host.has_xdp("gate0"));
}

#[test]
fn pins_of_another_layout_are_refused_by_name() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    let other = host.bpffs.pins().join("v7");
    fs::create_dir_all(&other).unwrap();
    let error = attempt(&host, &["gate0"], AttachMode::Auto).unwrap_err();
    assert!(error.to_string().contains(&format!("{}", other.display())), "{error}");
    assert!(!host.has_xdp("gate0"));
}

#[test]
fn a_link_of_another_namespace_is_not_taken_for_ours() {
    if !gate::require(NEEDS) {
        return;
    }
    let (host, neighbour) = (Host::new(), Host::new());
    attempt(&host, &["gate0"], AttachMode::Auto).unwrap();
    let links = neighbour.ours.run(|| attached(&host.pins())).unwrap();
    assert_eq!(links[0].running, None);
    let error = neighbour.ours.run(|| attach(&host.plan(&["gate0"]))).unwrap_err();
    assert!(matches!(error, DataplaneError::OtherNamespace { .. }), "{error}");
    assert!(host.has_xdp("gate0") && !neighbour.has_xdp("gate0"));
}

#[test]
fn detaching_what_is_not_attached_changes_nothing() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    let unknown = ["gate0".to_owned(), "gate9".to_owned()];
    attempt(&host, &["gate0"], AttachMode::Auto).unwrap();
    let error = detach(&host.pins(), &unknown).unwrap_err();
    assert_eq!(error.to_string(), "the XDP program is not attached to \"gate9\"");
    assert!(host.has_xdp("gate0"));
    assert!(detach(&Pins::new(&host.bpffs.path().join("none")), &unknown).is_err());
}

#[test]
fn a_full_map_is_named_with_the_prefix_and_clears_ready() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    let count = u16::try_from(SIZES.optin).unwrap();
    let mut plan = host.plan(&["gate0"]);
    plan.projection.optin = prefixes(count).map(|prefix| (prefix, OptIn::In)).collect();
    host.ours.run(|| attach(&plan)).unwrap();
    let mut maps = host.maps();
    let last = prefixes(count + 1).last().unwrap();
    plan.projection.optin.insert(last, OptIn::In);
    let error = maps.project(&plan.projection).unwrap_err();
    assert_eq!(error.to_string(), format!("the map OPTIN is full (16 entries): {last} does not fit"));
    assert_ne!(maps.settings().unwrap().ready, READY);
    maps.set_shown(Revision::new(1, 1)).unwrap();
    let error = host.ours.run(|| attach(&plan)).unwrap_err();
    assert!(matches!(error, DataplaneError::MapFull { map: names::OPTIN, .. }), "{error}");
    assert_ne!(maps.settings().unwrap().ready, READY);

    // what fits repairs it, although it does not fit beside what is there
    plan.projection = projection();
    host.ours.run(|| attach(&plan)).unwrap();
    assert_eq!(maps.settings().unwrap().ready, READY);
    plan.projection.optin = prefixes(count).map(|prefix| (prefix, OptIn::In)).collect();
    maps.project(&plan.projection).unwrap();
    for decided in plan.projection.optin.values_mut() {
        *decided = OptIn::Out;
    }
    maps.project(&plan.projection).unwrap();
    assert!(maps.difference(&plan.projection).unwrap().is_empty());
    assert_eq!(maps.settings().unwrap().ready, READY);
}
