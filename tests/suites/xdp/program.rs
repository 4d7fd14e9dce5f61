//! The program in the kernel, without an interface: frames go in by BPF_PROG_TEST_RUN.
//!
//! Its maps are pinned in a bpffs of its own, so that the dataplane's own handles fill and read
//! them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::Ipv6Addr,
    time::Duration,
};

use aya::{
    Ebpf, EbpfLoader, TestRunOptions,
    maps::{Array, HashMap, Map, MapData, RingBuf},
    programs::{TestRun as _, Xdp},
};
use ipnet::Ipv6Net;
use sixgate_common::{
    dest::OptIn,
    domain::domain_key,
    flow::{FlowKey, Tag},
    names,
    reply::GROWTH_MAX,
    settings::{ANSWER_DAEMON, MODE_ENFORCE, READY, REFUSE_AT_RCPT, Revision, Settings},
    slot::{Slot, SlotKey},
    stat::Stat,
};
use sixgate_dataplane::{
    Maps, Marks, Pins, Projection, PtrOrigin, PtrState, Station, StationUse, embedded_object,
};
use sixgate_smtp::policy::TemporaryDomains;
use sixgate_tests::{
    bpffs::Bpffs,
    gate::Need,
    packet::{self, Packet, answer::Answer},
    xdp_helper::Narrow,
};

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

/// The program's settings unless a test replaces them.
pub(crate) const ENFORCE: Settings = Settings {
    mode: MODE_ENFORCE,
    answer: ANSWER_DAEMON,
    refuse_at: REFUSE_AT_RCPT,
    ready: READY,
    generation: 0,
    cookie: 1,
    shown: Revision::NONE,
};

/// The loaded program with filled maps.
pub(crate) struct Program {
    object: Ebpf,
    pub(crate) maps: Maps,
    /// How many connections were asked for.
    connections: u32,
    /// Stands before the program, if frames are to have less headroom.
    narrow: Option<Narrow>,
    _bpffs: Bpffs,
}

/// The records of SETTINGS.
#[derive(Debug)]
pub(crate) struct Records {
    /// Which one counts.
    pub(crate) in_force: u32,
    pub(crate) records: [Settings; 2],
}

/// What became of one frame.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) action: u32,
    pub(crate) stat: Stat,
}

/// What became of one packet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// It goes on to the host as it was.
    Passed(Stat),
    /// Nothing more is seen of it.
    Dropped(Stat),
    /// This goes back.
    Answered(Stat, Answer),
}

impl Program {
    /// The program with the prefixes and addresses above, enforcing.
    pub(crate) fn load() -> Self {
        let bpffs = Bpffs::new().unwrap();
        let pins = Pins::new(&bpffs.pins());
        fs::create_dir_all(pins.directory()).unwrap();
        let mut loader = EbpfLoader::new();
        for name in [names::OPTIN, names::GUARD, names::TRUST, names::PTR, names::FLOWS] {
            loader.map_max_entries(name, ENTRIES);
        }
        for name in names::ALL {
            loader.map_pin_path(name, pins.directory().join(name));
        }
        let mut object = loader.load(embedded_object()).unwrap();
        program(&mut object).load().unwrap();
        let mut maps = Maps::open(&pins).unwrap().unwrap();
        fill(&mut maps);
        Self { object, maps, connections: 0, narrow: None, _bpffs: bpffs }
    }

    /// Leaves each frame from here on `octets` of headroom that the program can use.
    pub(crate) fn leave_head_room(&mut self, octets: u32) {
        let next = program(&mut self.object).fd().unwrap();
        self.narrow = Some(Narrow::before(next, GROWTH_MAX as u32 - octets).unwrap());
    }

    /// Hands one frame to the program, which leaves it as it is.
    ///
    /// # Panics
    /// Unless exactly one counter is raised by one, counters beside others left out.
    pub(crate) fn run(&mut self, frame: &[u8]) -> Outcome {
        let (outcome, after) = self.put(frame);
        assert_eq!(after, frame, "the frame is changed");
        outcome
    }

    /// Hands one packet to the program.
    ///
    /// # Panics
    /// As [`Self::run`]; if a packet that is passed on is changed; if an answer is not in the form
    /// that answers have.
    pub(crate) fn send(&mut self, packet: &Packet) -> Fate {
        let frame = packet.build();
        let (Outcome { action, stat }, after) = self.put(&frame);
        match action {
            XDP_PASS => {
                assert_eq!(after, frame, "a frame that is passed on is changed");
                Fate::Passed(stat)
            }
            XDP_DROP => Fate::Dropped(stat),
            XDP_TX => Fate::Answered(stat, Answer::read(&after, packet)),
            _ => panic!("action {action}"),
        }
    }

    /// The SYN of a connection that no other one here has the ports of.
    pub(crate) fn next_connection(&mut self) -> Packet {
        self.connections += 1;
        let port = u16::try_from(PORTS + self.connections).expect("no more connections than ports");
        // far apart, and close to the end now and then
        let sequence = self.connections.wrapping_mul(0x9e37_79b9);
        Packet::syn().source_port(port).sequence(sequence)
    }

    /// What became of a frame, and what it is now.
    fn put(&mut self, frame: &[u8]) -> (Outcome, Vec<u8>) {
        let before = self.counters();
        let (action, after) = match &mut self.narrow {
            Some(narrow) => run_once(narrow.xdp().unwrap(), frame),
            None => run_once(program(&mut self.object), frame),
        };
        let raised: Vec<(Stat, u64)> = self
            .counters()
            .into_iter()
            .zip(before)
            .filter(|((stat, _), _)| !is_beside(*stat))
            .map(|((stat, after), (_, before))| (stat, after - before))
            .filter(|(_, raised)| *raised != 0)
            .collect();
        match raised[..] {
            [(stat, 1)] => (Outcome { action, stat }, after),
            _ => panic!("not one counter raised by one: {raised:?}"),
        }
    }

    /// The value of one counter, summed over all CPUs.
    pub(crate) fn counter(&self, wanted: Stat) -> u64 {
        self.counters().into_iter().find(|(stat, _)| *stat == wanted).unwrap().1
    }

    /// The loaded program, for tests that run it without looking at the counters.
    pub(crate) fn xdp(&mut self) -> &Xdp {
        program(&mut self.object)
    }

    /// A map by its name in the object.
    pub(crate) fn map(&self, name: &str) -> &Map {
        self.object.map(name).unwrap()
    }

    /// The records that were made since the last call.
    pub(crate) fn events(&mut self) -> Vec<Vec<u8>> {
        let mut ring = RingBuf::try_from(self.object.map_mut(names::EVENTS).unwrap()).unwrap();
        std::iter::from_fn(|| ring.next().map(|record| record.to_vec())).collect()
    }

    /// The sum of the counters of which each packet raises one.
    pub(crate) fn packets_counted(&self) -> u64 {
        self.counters().into_iter().filter(|(stat, _)| !is_beside(*stat)).map(|(_, count)| count).sum()
    }

    /// Both records of SETTINGS, as the program reads them.
    pub(crate) fn settings_records(&self) -> Records {
        let index: Array<&MapData, u32> = self.object.map(names::IN_FORCE).unwrap().try_into().unwrap();
        let records: Array<&MapData, Settings> =
            self.object.map(names::SETTINGS).unwrap().try_into().unwrap();
        Records {
            in_force: index.get(&0, 0).unwrap(),
            records: [0, 1].map(|index| records.get(&index, 0).unwrap()),
        }
    }

    pub(crate) fn map_names(&self) -> Vec<&str> {
        self.object.maps().map(|(name, _)| name).collect()
    }

    pub(crate) fn write_tag(&mut self, key: FlowKey, tag: Tag) {
        self.flows().insert(key, tag, 0).unwrap();
    }

    pub(crate) fn tag(&mut self, key: &FlowKey) -> Option<Tag> {
        self.flows().get(key, 0).ok()
    }

    pub(crate) fn forget_tag(&mut self, key: &FlowKey) {
        self.flows().remove(key).unwrap();
    }

    fn flows(&mut self) -> HashMap<&mut MapData, FlowKey, Tag> {
        self.object.map_mut(names::FLOWS).unwrap().try_into().unwrap()
    }

    /// Puts a session's state into the slot that the connection has, or else may have.
    pub(crate) fn write_slot(&mut self, key: &FlowKey, slot: Slot) {
        let [first, _] = self.places(key);
        let index = self.place(key).unwrap_or(first);
        let (source, destination, source_port) = key_words(key);
        self.slots().set(index, Slot { source, destination, source_port, ..slot }, 0).unwrap();
    }

    /// The state of the connection's session.
    pub(crate) fn slot(&mut self, key: &FlowKey) -> Option<Slot> {
        let index = self.place(key)?;
        self.slots().get(&index, 0).ok()
    }

    /// Takes the state of the connection's session away; whether there was any.
    pub(crate) fn take_slot(&mut self, key: &FlowKey) -> bool {
        let Some(index) = self.place(key) else {
            return false;
        };
        self.slots().set(index, Slot::FREE, 0).unwrap();
        true
    }

    /// Where the connection's state is.
    fn place(&mut self, key: &FlowKey) -> Option<u32> {
        let places = self.places(key);
        let slots = self.slots();
        places.into_iter().find(|index| {
            let slot = slots.get(index, 0).unwrap();
            slot.state != 0 && slot.key() == *key
        })
    }

    fn places(&self, key: &FlowKey) -> [u32; 2] {
        let keys: Array<&MapData, SlotKey> = self.object.map(names::SLOT_KEY).unwrap().try_into().unwrap();
        keys.get(&0, 0).unwrap().places_of(key)
    }

    fn slots(&mut self) -> Array<&mut MapData, Slot> {
        self.object.map_mut(names::SLOTS).unwrap().try_into().unwrap()
    }

    fn counters(&self) -> Vec<(Stat, u64)> {
        self.maps.stats().unwrap()
    }
}

/// Both addresses and the sender's port, as a slot has them.
fn key_words(key: &FlowKey) -> ([u64; 2], [u64; 2], u16) {
    let words = |octets: &[u8; 16]| {
        let (halves, _) = octets.as_chunks::<8>();
        [u64::from_ne_bytes(halves[0]), u64::from_ne_bytes(halves[1])]
    };
    (words(&key.source), words(&key.destination), u16::from_ne_bytes(key.source_port))
}

/// Runs the program once on `frame`: its action, and the frame as it left it.
pub(crate) fn run_once(xdp: &Xdp, frame: &[u8]) -> (u32, Vec<u8>) {
    let mut after = vec![0; frame.len() + GROWTH_ROOM];
    let options = TestRunOptions { data_in: Some(frame), data_out: Some(&mut after), ..Default::default() };
    let result = xdp.test_run(options).unwrap();
    after.truncate(result.data_size_out as usize);
    (result.return_value, after)
}

/// Whether a counter is raised beside another one for the same packet.
fn is_beside(stat: Stat) -> bool {
    stat.name().starts_with("also_")
}

fn program(object: &mut Ebpf) -> &mut Xdp {
    object.program_mut(names::PROGRAM).unwrap().try_into().unwrap()
}

/// The content of the maps unless a test replaces it.
pub(crate) fn projection() -> Projection {
    let prefix = |text: &str| text.parse::<Ipv6Net>().unwrap();
    Projection {
        optin: BTreeMap::from([
            (prefix("2001:db8:1::/48"), OptIn::In),
            (prefix("2001:db8:1:dead::/64"), OptIn::Out),
        ]),
        guard: BTreeSet::from([prefix("2001:db8::/32")]),
        trust: BTreeSet::from([prefix("2001:db8:7::/48")]),
        temporary: temporary().keys().clone(),
    }
}

/// The recipients' domains whose refusal is temporary.
pub(crate) fn temporary() -> TemporaryDomains {
    let key = |name: &str| domain_key(name.as_bytes(), 0, name.len());
    ["later.example", "b\u{fc}cher.example"].into_iter().filter_map(key).collect()
}

fn fill(maps: &mut Maps) {
    maps.set_stations(&BTreeMap::from([(STATION, NATIVE)])).unwrap();
    maps.project(&projection()).unwrap();
    maps.ptr_set(NO_PTR, PtrState::Absent, PtrOrigin::Dns, HOUR).unwrap();
    maps.ptr_set(EXPIRED, PtrState::Absent, PtrOrigin::Dns, Duration::ZERO).unwrap();
    maps.ptr_set(HAS_PTR, PtrState::Exists, PtrOrigin::Dns, HOUR).unwrap();
    maps.draw_slot_key().unwrap();
    maps.set_cookie_key(Some(&COOKIE_KEY.into())).unwrap();
    maps.write_settings(&ENFORCE).unwrap();
}

/// Where frames of BPF_PROG_TEST_RUN arrive (net/bpf/test_run.c): the loopback interface.
pub(crate) const LOOPBACK: u32 = 1;
/// The station of [`Packet`]s.
pub(crate) const STATION: Station = Station { ifindex: LOOPBACK, mac: packet::GATE_MAC };
/// The program answers, and no mark of the kernel stays with its answers.
pub(crate) const NATIVE: StationUse = StationUse { answers: true, marks: Marks::Unknown, peer: None };
/// The key of cookies.
const COOKIE_KEY: [u8; 16] = *b"sixteen octets..";
/// Small maps are made fast.
const ENTRIES: u32 = 512;
/// Below the first port of a connection.
const PORTS: u32 = 1024;
/// As long as a test's answers hold.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
/// More than a frame can grow.
const GROWTH_ROOM: usize = 512;
/// The action that ends a frame's way (linux/bpf.h).
pub(crate) const XDP_DROP: u32 = 1;
/// The action that lets a frame go on to the host.
pub(crate) const XDP_PASS: u32 = 2;
/// The action that sends a frame back where it came from.
pub(crate) const XDP_TX: u32 = 3;
