//! Attaching, replacing and detaching on real interfaces: what runs where afterwards, and what is
//! kept.

use std::{
    net::Ipv6Addr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use sixgate_common::{
    names::LAYOUT,
    refuse::ReplyId,
    reply,
    settings::{MODE_ENFORCE, READY},
};
use sixgate_dataplane::{
    AttachMode, Attached, Loader, Maps, ProgramChange, PtrOrigin, PtrState, RunMode, Sizes, Trace, VlanTags,
    attach, attached, detach,
};
use sixgate_tests::{gate, packet::SENDER};

use crate::{
    host::{Host, NEEDS},
    older::run_another_program,
};

#[test]
fn a_veth_is_attached_natively_and_detached_without_a_trace() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    // named twice, it is still one
    let plan = host.plan(&["gate0", "gate0"]);
    host.ours.run(|| {
        let wanted = Attached {
            interface: "gate0".to_owned(),
            mode: RunMode::Native,
            fallback: None,
            change: ProgramChange::New,
            tags: VlanTags::Untouched,
            taken_from: None,
        };
        assert_eq!(attach(&plan).unwrap(), [wanted]);
        let links = attached(&plan.pins).unwrap();
        assert_eq!(links[0].interface, "gate0");
        assert_eq!(links[0].running.unwrap().mode, RunMode::Native);
        assert_eq!(links[0].tag, Some(Loader::default().embedded().unwrap().tag));
        let maps = host.maps();
        assert_eq!(maps.settings().unwrap().ready, READY);
        assert!(maps.difference(&plan.projection).unwrap().is_empty());
        assert!(host.has_xdp("gate0"));
        assert_eq!(detach(&plan.pins, &[]).unwrap(), ["gate0"]);
        assert!(Maps::open(&plan.pins).unwrap().is_none());
        assert!(attached(&plan.pins).unwrap().is_empty());
        assert!(detach(&plan.pins, &[]).unwrap().is_empty());
    });
    assert!(!host.has_xdp("gate0"));
    assert_eq!(host.bpffs.pins().read_dir().unwrap().count(), 0);
}

#[test]
fn an_interface_without_native_xdp_is_attached_generically_and_says_why() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    host.ours.run(|| {
        let done = attach(&host.plan(&["lo"])).unwrap();
        assert_eq!(done[0].mode, RunMode::Generic);
        assert_eq!(done[0].fallback.as_deref(), Some("its driver has no native XDP"));
        assert_eq!(attached(&host.pins()).unwrap()[0].running.unwrap().mode, RunMode::Generic);
        detach(&host.pins(), &[]).unwrap();
        let mut plan = host.plan(&["gate0"]);
        plan.mode = AttachMode::Generic;
        let done = attach(&plan).unwrap();
        assert_eq!((done[0].mode, &done[0].fallback), (RunMode::Generic, &None));
    });
}

#[test]
fn a_jumbo_interface_is_attached_natively() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    host.ours.ip("link set gate0 mtu 9000").unwrap();
    host.theirs.ip("link set peer0 mtu 9000").unwrap();
    host.ours.run(|| {
        assert_eq!(attach(&host.plan(&["gate0"])).unwrap()[0].mode, RunMode::Native);
    });
}

#[test]
fn another_interface_shares_program_and_maps() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    host.ours.join("gate.1", &host.theirs, "peer1").unwrap();
    host.ours.run(|| {
        attach(&host.plan(&["gate0"])).unwrap();
        host.maps().ptr_set(SENDER, PtrState::Absent, PtrOrigin::Dns, HOUR).unwrap();
        let done = attach(&host.plan(&["gate.1"])).unwrap();
        assert_eq!((done.len(), done[0].change), (1, ProgramChange::New));
        let links = attached(&host.pins()).unwrap();
        let names: Vec<&str> = links.iter().map(|link| link.interface.as_str()).collect();
        assert_eq!(names, ["gate.1", "gate0"]);
        assert_eq!(links[0].program, links[1].program);
        assert_eq!(host.maps().ptr_get(SENDER).unwrap().unwrap().state, PtrState::Absent);

        assert_eq!(detach(&host.pins(), &["gate0".to_owned()]).unwrap(), ["gate0"]);
        assert!(!host.has_xdp("gate0") && host.has_xdp("gate.1"));
        assert!(host.maps().ptr_get(SENDER).unwrap().is_some());
        assert_eq!(detach(&host.pins(), &["gate.1".to_owned()]).unwrap(), ["gate.1"]);
        assert!(Maps::open(&host.pins()).unwrap().is_none());
    });
}

#[test]
fn attaching_again_keeps_the_maps_and_brings_them_in_line() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    host.ours.run(|| {
        attach(&host.plan(&["gate0"])).unwrap();
        host.maps().ptr_set(SENDER, PtrState::Exists, PtrOrigin::Dns, HOUR).unwrap();
        let mut plan = host.plan(&["gate0"]);
        plan.projection.trust.insert(SENDER.into());
        plan.sizes = Sizes { ptr: 1024, ..plan.sizes };
        let done = attach(&plan).unwrap();
        assert_eq!((done[0].change, done[0].mode), (ProgramChange::Unchanged, RunMode::Native));
        let maps = host.maps();
        assert!(maps.difference(&plan.projection).unwrap().is_empty());
        assert!(maps.ptr_get(SENDER).unwrap().is_some());
        assert_eq!(maps.sizes(), host.plan(&[]).sizes, "an existing map keeps its size");
        assert_eq!(maps.settings().unwrap().ready, READY);
    });
}

#[test]
fn attaching_again_leaves_no_moment_without_refusing() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    let reply = |octet| reply::Reply { length: 1, insert_at: 1, sum: 0, text: [octet; reply::REPLY_MAX] };
    let plan = |round: u8| {
        let mut plan = host.plan(&["gate0"]);
        // other replies, another prefix
        plan.replies = ReplyId::ALL.map(|id| (id, reply(round))).into();
        plan.projection.trust.insert(Ipv6Addr::from([round + 1; 16]).into());
        plan
    };
    host.ours.run(|| attach(&plan(0)).unwrap());
    let maps = host.maps();
    let is_over = AtomicBool::new(false);
    let (looks, gaps) = thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let (mut looks, mut gaps) = (0_u64, 0_u64);
            while !is_over.load(Ordering::Relaxed) {
                let settings = maps.settings().unwrap();
                looks += 1;
                gaps += u64::from(settings.ready != READY || settings.mode != MODE_ENFORCE);
            }
            (looks, gaps)
        });
        for round in 1..=3 {
            run_another_program(&host.pins(), "gate0");
            let done = host.ours.run(|| attach(&plan(round)).unwrap());
            assert_eq!(done[0].change, ProgramChange::Replaced);
        }
        is_over.store(true, Ordering::Relaxed);
        watching.join().unwrap()
    });
    assert!(looks > 1000, "{looks} looks tell nothing");
    assert_eq!(gaps, 0, "of {looks} looks");
}

#[test]
fn a_differing_program_is_seen_and_replaced() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    host.ours.run(|| {
        let plan = host.plan(&["gate0"]);
        attach(&plan).unwrap();
        let ours = Loader::default().embedded().unwrap().tag;
        run_another_program(&plan.pins, "gate0");
        let links = attached(&plan.pins).unwrap();
        assert!(links[0].tag.is_some_and(|tag| tag != ours), "{links:?}");
        let done = attach(&plan).unwrap();
        assert_eq!((done[0].change, done[0].mode), (ProgramChange::Replaced, RunMode::Native));
        assert_eq!(attached(&plan.pins).unwrap()[0].tag, Some(ours));
        assert_eq!(attach(&plan).unwrap()[0].change, ProgramChange::Unchanged);
    });
}

#[test]
fn an_interface_that_was_made_anew_is_attached_anew() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    host.ours.join("gate1", &host.theirs, "peer1").unwrap();
    host.ours.run(|| {
        attach(&host.plan(&["gate0", "gate1"])).unwrap();
        host.ours.ip("link delete gate0").unwrap();
        let links = attached(&host.pins()).unwrap();
        assert_eq!((links.len(), links[0].running), (2, None));
        host.ours.join("gate0", &host.theirs, "peer0").unwrap();
        let done = attach(&host.plan(&["gate0", "gate1"])).unwrap();
        assert_eq!((done[0].change, done[1].change), (ProgramChange::New, ProgramChange::Unchanged));
        assert!(host.has_xdp("gate0"));
    });
}

#[test]
fn what_a_killed_attach_left_is_removed() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    host.ours.run(|| {
        attach(&host.plan(&["gate0"])).unwrap();
        let pins = host.bpffs.pins();
        std::fs::rename(pins.join(LAYOUT), pins.join(format!("{LAYOUT}_new"))).unwrap();
        assert!(Maps::open(&host.pins()).unwrap().is_none());
        assert_eq!(attach(&host.plan(&["gate0"])).unwrap()[0].change, ProgramChange::New);
        assert_eq!(pins.read_dir().unwrap().count(), 1);
    });
}

#[test]
fn the_maps_have_their_default_sizes_and_hold_the_replies() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    let reply = reply::Reply { length: 3, insert_at: 3, sum: 7, text: [b'x'; reply::REPLY_MAX] };
    host.ours.run(|| {
        let mut plan = host.plan(&["gate0"]);
        plan.sizes = Sizes::default();
        plan.replies = ReplyId::ALL.map(|id| (id, reply)).into();
        attach(&plan).unwrap();
        assert_eq!(host.maps().sizes(), Sizes::default());
    });
}

#[test]
fn a_program_that_is_replaced_meanwhile_is_attached_all_the_same() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    let is_over = AtomicBool::new(false);
    host.ours.run(|| {
        let (pins, everywhere) = (host.pins(), "::/0".parse().unwrap());
        attach(&host.plan(&["gate0"])).unwrap();
        let mut trace = Trace::load(&pins, &Loader::default(), everywhere, everywhere).unwrap();
        thread::scope(|scope| {
            // a new thread begins in the namespace of the one that starts it
            scope.spawn(|| {
                for _ in 0..REPLACED {
                    trace.start().unwrap();
                    trace.stop().unwrap();
                }
                is_over.store(true, Ordering::Relaxed);
            });
            while !is_over.load(Ordering::Relaxed) {
                let links = attached(&pins).unwrap();
                assert!(links.iter().all(|link| link.running.is_some()), "{links:?}");
            }
        });
    });
}

/// Enough for a look between the two halves of a replacement.
const REPLACED: usize = 500;
const HOUR: Duration = Duration::from_secs(3600);
