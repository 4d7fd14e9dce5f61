//! The program in the kernel, without an interface: frames go in by BPF_PROG_TEST_RUN.
//!
//! Its maps are pinned in a bpffs of its own, so that the dataplane's own handles fill and read them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::Ipv6Addr,
    time::Duration,
};

use aya::{
    Ebpf, EbpfLoader, TestRunOptions,
    maps::HashMap,
    programs::{TestRun as _, Xdp},
};
use ipnet::Ipv6Net;
use sixgate::dataplane::{Maps, OptIn, Pins, Projection, PtrState, embedded_object};
use sixgate_common::{
    flow::{Flow, FlowKey},
    map,
    settings::{ANSWER_DAEMON, MODE_ENFORCE, READY, REFUSE_AT_RCPT, Settings},
    stat::Stat,
};
use sixgate_tests::{bpffs::Bpffs, gate::Need};

/// What each test of this kind needs.
pub(crate) const NEEDS: &[Need] = &[Need::Root, Need::Bpffs, Need::Xdp];

/// A destination that has opted in.
pub(crate) const OPTED_IN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x25);
/// A destination that is out, inside of a prefix that has opted in.
pub(crate) const OPTED_OUT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0xdead, 0, 0, 0, 0x25);
/// A destination that is ours and has not opted in.
pub(crate) const OURS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x25);
/// A destination that is not ours.
pub(crate) const NOT_OURS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb9, 0, 0, 0, 0, 0, 0x25);
/// A sender that is trusted.
pub(crate) const TRUSTED: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 1);
/// A sender that has no PTR record.
pub(crate) const NO_PTR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 8, 0, 0, 0, 0, 1);
/// A sender that had no PTR record, as long as that answer held.
pub(crate) const EXPIRED: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 8, 0, 0, 0, 0, 2);
/// A sender that has a PTR record.
pub(crate) const HAS_PTR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 8, 0, 0, 0, 0, 3);

/// What the program is told unless a test says otherwise.
pub(crate) const ENFORCE: Settings = Settings {
    mode: MODE_ENFORCE,
    answer: ANSWER_DAEMON,
    refuse_at: REFUSE_AT_RCPT,
    ready: READY,
    generation: 0,
};

/// The loaded program with filled maps.
pub(crate) struct Program {
    object: Ebpf,
    pub(crate) maps: Maps,
    _bpffs: Bpffs,
}

/// What became of one frame.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) action: u32,
    pub(crate) stat: Stat,
}

impl Program {
    /// The program with the prefixes and addresses above, enforcing.
    pub(crate) fn load() -> Self {
        let bpffs = Bpffs::new().unwrap();
        let pins = Pins::new(&bpffs.pins());
        fs::create_dir_all(pins.directory()).unwrap();
        let mut loader = EbpfLoader::new();
        for name in [map::OPTIN, map::GUARD, map::TRUST, map::PTR, map::FLOWS] {
            loader.map_max_entries(name, ENTRIES);
        }
        for name in map::ALL {
            loader.map_pin_path(name, pins.directory().join(name));
        }
        let mut object = loader.load(embedded_object()).unwrap();
        program(&mut object).load().unwrap();
        let mut maps = Maps::open(&pins).unwrap().unwrap();
        fill(&mut maps);
        Self { object, maps, _bpffs: bpffs }
    }

    /// Hands one frame to the program.
    ///
    /// # Panics
    /// Unless exactly one counter is raised by one, counters beside others left out.
    pub(crate) fn run(&mut self, frame: &[u8]) -> Outcome {
        let before = self.counters();
        let mut out = vec![0; frame.len() + 256];
        let result = program(&mut self.object)
            .test_run(TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..Default::default() })
            .unwrap();
        assert_eq!(&out[..result.data_size_out as usize], frame, "the frame is changed");
        let raised: Vec<(Stat, u64)> = self
            .counters()
            .into_iter()
            .zip(before)
            .filter(|((stat, _), _)| !stat.is_beside())
            .map(|((stat, after), (_, before))| (stat, after - before))
            .filter(|(_, raised)| *raised != 0)
            .collect();
        match raised[..] {
            [(stat, 1)] => Outcome { action: result.return_value, stat },
            _ => panic!("not one counter raised by one: {raised:?}"),
        }
    }

    /// The sum of the counters of which each packet raises one.
    pub(crate) fn packets_counted(&self) -> u64 {
        self.counters().into_iter().filter(|(stat, _)| !stat.is_beside()).map(|(_, count)| count).sum()
    }

    pub(crate) fn map_names(&self) -> Vec<&str> {
        self.object.maps().map(|(name, _)| name).collect()
    }

    pub(crate) fn write_flow(&mut self, key: FlowKey, flow: Flow) {
        self.flows().insert(key, flow, 0).unwrap();
    }

    pub(crate) fn flow(&mut self, key: &FlowKey) -> Option<Flow> {
        self.flows().get(key, 0).ok()
    }

    pub(crate) fn forget_flow(&mut self, key: &FlowKey) {
        self.flows().remove(key).unwrap();
    }

    fn flows(&mut self) -> HashMap<&mut aya::maps::MapData, FlowKey, Flow> {
        self.object.map_mut(map::FLOWS).unwrap().try_into().unwrap()
    }

    fn counters(&self) -> Vec<(Stat, u64)> {
        self.maps.stats().unwrap()
    }
}

fn program(object: &mut Ebpf) -> &mut Xdp {
    object.program_mut(map::PROGRAM).unwrap().try_into().unwrap()
}

/// What the maps hold unless a test says otherwise.
pub(crate) fn projection() -> Projection {
    let prefix = |text: &str| text.parse::<Ipv6Net>().unwrap();
    Projection {
        optin: BTreeMap::from([
            (prefix("2001:db8:1::/48"), OptIn::In),
            (prefix("2001:db8:1:dead::/64"), OptIn::Out),
        ]),
        guard: BTreeSet::from([prefix("2001:db8::/32")]),
        trust: BTreeSet::from([prefix("2001:db8:7::/48")]),
    }
}

fn fill(maps: &mut Maps) {
    maps.project(&projection()).unwrap();
    maps.ptr_set(NO_PTR, PtrState::Absent, HOUR).unwrap();
    maps.ptr_set(EXPIRED, PtrState::Absent, Duration::ZERO).unwrap();
    maps.ptr_set(HAS_PTR, PtrState::Exists, HOUR).unwrap();
    maps.write_settings(&ENFORCE).unwrap();
}

/// Small maps are made fast.
const ENTRIES: u32 = 512;
const HOUR: Duration = Duration::from_secs(3600);
/// The action that lets a frame go on to the host (linux/bpf.h).
pub(crate) const XDP_PASS: u32 = 2;
