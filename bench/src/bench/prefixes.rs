//! The cost of the number of opted-in prefixes: looking one up, loading them, keeping them.
//!
//! The program is in shadow mode, so that a refused destination costs its lookups and no answer.
//! How prefixes are spread is an assumption: a quarter /48, half /64, a quarter /128, at random.

use std::{
    fmt::Write as _,
    fs,
    net::Ipv6Addr,
    os::fd::{AsFd as _, AsRawFd as _},
    time::Instant,
};

use anyhow::{Context as _, Result};
use aya::maps::MapInfo;
use ipnet::Ipv6Net;
use sixgate_common::names;
use sixgate_dataplane::Pins;

use super::{
    Scale,
    numbers::Numbers,
    report::{Report, Row, Section, median},
    rig::{Rig, Subject},
};
use sixgate_tests::{
    packet::Packet,
    site::{INTERFACE, Site},
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
    Ok(())
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
    _site: Site,
}

impl Gate {
    fn set_up(size: usize) -> Result<Self> {
        let mut numbers = Numbers::new(size as u64);
        let prefixes: Vec<Ipv6Net> = (0..size).map(|at| prefix(at, &mut numbers)).collect();
        let mut list = String::new();
        prefixes.iter().try_for_each(|prefix| writeln!(list, "{prefix}"))?;
        let site = Site::new("", "mode = \"shadow\"");
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
            _site: site,
        })
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
        let middle = |times: &[f64]| median(times.iter().copied());
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
