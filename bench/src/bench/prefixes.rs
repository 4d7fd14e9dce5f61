//! The cost of the number of opted-in prefixes: looking one up, loading them, keeping them.
//!
//! First the program is in shadow mode, so that a refused destination costs its lookups and no
//! answer; then it answers, and whole sessions are played. How prefixes are spread is an
//! assumption: a quarter /48, half /64, a quarter /128, at random.

use std::{
    fmt::Write as _,
    fs,
    net::Ipv6Addr,
    os::fd::{AsFd as _, AsRawFd as _},
    time::Instant,
};

use anyhow::{Context as _, Result};
use aya::maps::MapInfo;
use aya::programs::XdpMode;
use ipnet::Ipv6Net;
use sixgate_common::names;
use sixgate_dataplane::Pins;

use super::{
    Scale, interleaved,
    numbers::Numbers,
    report::{Report, Row, Section, Verdict, median},
    rig::{Rig, Subject},
};
use sixgate_tests::{
    packet::Packet,
    site::{INTERFACE, PEER, Site},
    xdp_helper::Pass,
};

/// Measures each of the scale's sizes and adds a table.
///
/// # Errors
/// If something cannot be set up, or a packet does not take the path that it should.
pub(super) fn measure(scale: Scale, report: &mut Report) -> Result<()> {
    let sizes = scale.prefixes.iter();
    let mut gates = sizes.map(|size| Gate::set_up(*size)).collect::<Result<Vec<_>>>()?;
    for _ in 0..scale.rounds {
        gates.iter_mut().try_for_each(|gate| gate.measure(scale.repeat))?;
    }
    let base = gates.first().and_then(|gate| median(gate.in_many.iter().copied())).unwrap_or(f64::NAN);
    report.sections.push(Section {
        title: "Opted-in prefixes: a SYN's way through the program in shadow mode, by their number",
        columns: COLUMNS.to_vec(),
        rows: gates.iter().map(|gate| gate.row(base)).collect(),
        notes: NOTES.map(str::to_owned).to_vec(),
    });
    let mut gates = gates.into_iter().map(Gate::answering).collect::<Result<Vec<_>>>()?;
    for _ in 0..scale.rounds {
        gates.iter_mut().try_for_each(|gate| gate.play(scale.repeat))?;
    }
    report.verdicts.extend(verdict(&gates));
    report.sections.push(sessions(&gates));
    Ok(())
}

/// Whole sessions by the number of prefixes.
fn sessions(gates: &[Gate]) -> Section {
    let rows = gates.iter().map(|gate| {
        let name = gate.prefixes.len().to_string();
        let more = gate.more_than(&gates[0]);
        let lookup =
            middle(&gate.out_many).zip(middle(&gates[0].out_many)).map(|(ns, few)| (ns - few) / 1000.0);
        // few prefixes cost nothing more than few prefixes
        let lookups =
            more.zip(lookup).filter(|(_, lookup)| *lookup > 0.0).map(|(more, lookup)| more / lookup);
        Row::numbers(name, [middle(&gate.session), more, lookup, lookups])
    });
    Section {
        title: "A refused session, by the number of opted-in prefixes (BPF_PROG_TEST_RUN)",
        columns: vec![
            "prefixes",
            "us a session",
            "us more than the fewest",
            "us more, its lookup",
            "lookups",
        ],
        rows: rows.collect(),
        notes: SESSION_NOTES.map(str::to_owned).to_vec(),
    }
}

/// Of the largest number of prefixes.
fn verdict(gates: &[Gate]) -> Option<Verdict> {
    let (few, most) = (gates.first()?, gates.last()?);
    Some(Verdict {
        what: "what the most prefixes add to a session to 0.7 us",
        ratio: most.more_than(few).map(|more| more / ADDED_MAX),
        target: 1.0,
    })
}

/// A gate with so many prefixes, and what was measured on it.
struct Gate {
    rig: Rig,
    prefixes: Vec<Ipv6Net>,
    numbers: Numbers,
    /// Seconds of `sixgate optin load`, and of `sixgate attach` with the loaded store.
    load: f64,
    attach: f64,
    /// Octets of OPTIN in the kernel.
    memory: f64,
    /// Nanoseconds by round: always the same opted-in destination, many of them, many that have not
    /// opted in.
    in_one: Vec<f64>,
    in_many: Vec<f64>,
    out_many: Vec<f64>,
    /// Microseconds of a whole session, by round.
    session: Vec<f64>,
    site: Site,
    _pass: Pass,
}

impl Gate {
    fn set_up(size: usize) -> Result<Self> {
        let mut numbers = Numbers::new(size as u64);
        let prefixes: Vec<Ipv6Net> = (0..size).map(|at| prefix(at, &mut numbers)).collect();
        let mut list = String::new();
        prefixes.iter().try_for_each(|prefix| writeln!(list, "{prefix}"))?;
        let site = Site::new("", "answer = \"kernel\"\nmode = \"shadow\"");
        // without it, the program would leave the answers to the daemon
        let pass = Pass::attach(&site.outside, PEER, XdpMode::Driver)?;
        let file = site.folder().join("prefixes");
        fs::write(&file, list).with_context(|| format!("cannot write {}", file.display()))?;
        let attach = format!("attach --iface {INTERFACE}");
        site.sixgate(&format!("guard add {OURS}"));
        site.sixgate(&attach);
        let load = seconds(|| site.sixgate(&format!("optin load {}", file.display())));
        site.sixgate("detach");
        let attach = seconds(|| site.sixgate(&attach));
        let pins = Pins::new(&site.pins());
        Ok(Self {
            rig: Rig::open(&pins)?,
            memory: memory(&pins)?,
            prefixes,
            numbers,
            load,
            attach,
            in_one: Vec::new(),
            in_many: Vec::new(),
            out_many: Vec::new(),
            session: Vec::new(),
            site,
            _pass: pass,
        })
    }

    /// The same gate, which refuses from now on.
    fn answering(self) -> Result<Self> {
        self.site.write("mode = \"enforce\"");
        self.site.sixgate("attach");
        Ok(Self { rig: Rig::open(&Pins::new(&self.site.pins()))?, ..self })
    }

    /// Sessions to as many destinations that have not opted in.
    fn play(&mut self, repeat: u32) -> Result<()> {
        let Self { rig, numbers, .. } = self;
        let sessions = interleaved::play(rig, SESSIONS, |_| ours(random(numbers)))?;
        let packet = interleaved::packet(rig, &sessions, repeat)?;
        self.session.push(packet * interleaved::PACKETS as f64 / 1000.0);
        Ok(())
    }

    /// Microseconds that a session takes more than with the prefixes of `other`.
    fn more_than(&self, other: &Self) -> Option<f64> {
        // both in the same round
        median(self.session.iter().zip(&other.session).map(|(session, other)| session - other))
    }

    fn measure(&mut self, repeat: u32) -> Result<()> {
        let Self { rig, prefixes, numbers, .. } = self;
        let mut opted_in = || {
            let prefix = prefixes[numbers.below(prefixes.len())];
            Ipv6Addr::from_bits(prefix.addr().to_bits() | random(numbers) & prefix.hostmask().to_bits())
        };
        let frame = Packet::syn().destination(opted_in()).build();
        let empty = rig.repeat(Subject::Empty, &frame, repeat)?;
        self.in_one.push(rig.repeat(Subject::Tested, &frame, repeat)?);
        rig.set_destinations(|| opted_in().octets())?;
        self.in_many.push(empty + scattered(rig, &frame, repeat)?);
        rig.set_destinations(|| ours(random(numbers)).octets())?;
        self.out_many.push(empty + scattered(rig, &frame, repeat)?);
        Ok(())
    }

    fn row(&self, base: f64) -> Row {
        let size = self.prefixes.len();
        let in_many = middle(&self.in_many);
        Row::numbers(
            size.to_string(),
            [
                middle(&self.in_one),
                in_many,
                middle(&self.out_many),
                in_many.map(|time| time / base),
                Some(self.load),
                Some(self.attach),
                Some(self.memory / MIB),
                Some(self.memory / size as f64),
            ],
        )
    }
}

fn middle(times: &[f64]) -> Option<f64> {
    median(times.iter().copied())
}

/// The cost of a packet above the empty program's, both with another destination in each run.
fn scattered(rig: &mut Rig, frame: &[u8], repeat: u32) -> Result<f64> {
    let empty = rig.scattered(Subject::Empty, frame, repeat)?;
    Ok(rig.scattered(Subject::Tested, frame, repeat)? - empty)
}

/// The prefix number `at`.
fn prefix(at: usize, numbers: &mut Numbers) -> Ipv6Net {
    let length = [48, 64, 128, 64][at % 4];
    Ipv6Net::new(ours(random(numbers)), length).expect("a length of at most 128").trunc()
}

/// An address of [`OURS`].
fn ours(bits: u128) -> Ipv6Addr {
    let ours: Ipv6Net = OURS.parse().expect("a prefix");
    Ipv6Addr::from_bits(ours.addr().to_bits() | bits & ours.hostmask().to_bits())
}

fn random(numbers: &mut Numbers) -> u128 {
    u128::from(numbers.next()) << 64 | u128::from(numbers.next())
}

fn seconds<T>(task: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    task();
    start.elapsed().as_secs_f64()
}

/// Octets that the kernel holds for OPTIN, by its own account (`memlock` in proc_pid_fdinfo(5)).
fn memory(pins: &Pins) -> Result<f64> {
    let info = MapInfo::from_pin(pins.directory().join(names::OPTIN))?;
    let descriptor = info.fd()?;
    let file = format!("/proc/self/fdinfo/{}", descriptor.as_fd().as_raw_fd());
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let octets = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    octets.and_then(|octets| octets.trim().parse().ok()).with_context(|| format!("no memlock in {file}"))
}

/// The destinations that are ours (RFC 9637 gives these to documentation).
const OURS: &str = "3fff::/20";
const MIB: f64 = 1024.0 * 1024.0;

const COLUMNS: [&str; 9] = [
    "prefixes",
    "ns, 1 in",
    "ns, 65536 in",
    "ns, 65536 refused",
    "x 1 prefix",
    "load s",
    "attach s",
    "MiB",
    "octets each",
];

const NOTES: [&str; 4] = [
    "in: the same opted-in destination in every run, or another of 65,536 in each, so that a lookup misses the caches \
     as it would in the field. refused: destinations that are ours and have not opted in, which costs two lookups.",
    "x 1 prefix compares `ns, 65536 in` with the first row.",
    "load: `sixgate optin load` of all of them into store and map, once. attach: `sixgate attach` with that store, once.",
    "MiB: the map OPTIN, as the kernel says; the store is a file besides.",
];

const SESSION_NOTES: [&str; 2] = [
    "1,024 sessions, their packets interleaved, each to another destination that is ours and has not opted in. Only a SYN \
     is looked up: in TRUST, OPTIN and GUARD, once in each; all that grows is OPTIN.",
    "its lookup: what a SYN to such a destination takes more in shadow mode (above), with 65,536 destinations. \
     lookups: the session's difference in such lookups; 1 is expected, and less where fewer destinations stay in the \
     caches.",
];
/// Sessions that are played: as many as there is space for.
const SESSIONS: usize = 1024;
/// Target of this part, in microseconds.
const ADDED_MAX: f64 = 0.7;
