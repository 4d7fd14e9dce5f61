//! The cost of a packet, by the path that it takes through the XDP program.
//!
//! Frames are warm in the caches: this is the program's own work, not a network card's. Every
//! number is compared with the empty program of the same round.

use std::{collections::BTreeMap, net::SocketAddrV6};

use anyhow::{Result, ensure};

use super::{
    Scale,
    attached::Attached,
    cold, dialogue,
    dialogue::Scored,
    report::{Report, Row, Section, Verdict, median},
    rig::{Outcome, Rig, Subject},
    segment::Ends,
};
use sixgate_tests::{
    packet::{Packet, SMTP, tcp},
    site::{GATE, OTHER, SENDER},
};

/// Measures every path and adds a table.
///
/// # Errors
/// If something cannot be set up, or a packet does not take the path that it should.
pub(super) fn measure(scale: Scale, report: &mut Report) -> Result<()> {
    let attached = Attached::new()?;
    let mut rig = Rig::open(&attached.pins)?;
    let (mut samples, mut cold) = (Samples::default(), Samples::default());
    for round in 0..scale.rounds {
        let ends = ends(round)?;
        let packets = dialogue::play(&mut rig, ends)?;
        passed(&mut rig, scale.repeat, &mut samples)?;
        answered(&mut rig, &packets, scale.repeat, &mut samples)?;
        cold::measure(&mut rig, ends, &packets, &mut cold)?;
    }
    report.verdicts.extend(samples.verdicts());
    report.sections.push(samples.section(rig.machine_code(Subject::Tested)?));
    report.sections.push(cold::section(&cold));
    Ok(())
}

/// Nanoseconds by path, one for each round, and the same as ratios to the empty program of the
/// round.
#[derive(Debug, Default)]
pub(super) struct Samples {
    order: Vec<&'static str>,
    times: BTreeMap<&'static str, Vec<f64>>,
    pub(super) empty: Vec<f64>,
}

/// Packets that the program passes on: it leaves them as they are, so nothing has to be put back.
fn passed(rig: &mut Rig, repeat: u32, samples: &mut Samples) -> Result<()> {
    let frames = passing();
    let empty = rig.repeat(Subject::Empty, &frames[0].1, repeat)?;
    samples.empty.push(empty);
    for (name, frame) in frames {
        let time = rig.repeat(Subject::Tested, &frame, repeat)?;
        samples.add(name, time);
    }
    Ok(())
}

/// Packets that the program passes on, and why.
pub(super) fn passing() -> Vec<(&'static str, Vec<u8>)> {
    let gate = || {
        Packet::syn()
            .source(SENDER.parse().expect("an address"))
            .destination(GATE.parse().expect("an address"))
    };
    vec![
        (NOT_TCP, Packet::udp().payload(64).build()),
        (OTHER_PORT, gate().destination_port(443).flags(tcp::ACK).payload(1000).build()),
        ("IPv4", gate().ether_type(0x0800).build()),
        (OPTED_IN, gate().build()),
        (ACCEPTED, gate().flags(tcp::ACK).payload(1000).build()),
    ]
}

/// The packets of a refused session.
fn answered(rig: &mut Rig, packets: &[Scored], repeat: u32, samples: &mut Samples) -> Result<()> {
    let empty = *samples.empty.last().unwrap_or(&0.0);
    let mut sum = 0.0;
    for packet in packets {
        let time = restored(rig, Subject::Tested, packet, repeat)? + empty;
        samples.add(packet.name, time);
        sum += time;
    }
    samples.add(MEAN, sum / packets.len() as f64);
    Ok(())
}

/// The cost of a packet above the empty program's, both behind the program that restores the scene.
pub(super) fn restored(rig: &mut Rig, subject: Subject, packet: &Scored, repeat: u32) -> Result<f64> {
    let (empty, _) = rig.restored(Subject::Empty, &packet.scene(), repeat)?;
    let (tested, outcome) = rig.restored(subject, &packet.scene(), repeat)?;
    let same = outcome.action == packet.outcome.action && outcome.frame.len() == packet.outcome.frame.len();
    let shown = |outcome: &Outcome| format!("action {}, {} octets", outcome.action, outcome.frame.len());
    let (last, first) = (shown(&outcome), shown(&packet.outcome));
    ensure!(same, "{}: {last} after {repeat} runs, {first} after one", packet.name);
    Ok(tested - empty)
}

/// The ends of a round's session: a connection that never was.
pub(super) fn ends(round: usize) -> Result<Ends> {
    let port = FIRST_PORT + u16::try_from(round)?;
    Ok(Ends {
        source: SocketAddrV6::new(SENDER.parse()?, port, 0, 0),
        destination: SocketAddrV6::new(OTHER.parse()?, SMTP, 0, 0),
    })
}

impl Samples {
    pub(super) fn add(&mut self, name: &'static str, time: f64) {
        if !self.order.contains(&name) {
            self.order.push(name);
        }
        self.times.entry(name).or_default().push(time);
    }

    fn time(&self, name: &str) -> Option<f64> {
        median(self.times.get(name)?.iter().copied())
    }

    /// The median of the rounds' ratios to the empty program.
    fn ratio(&self, name: &str) -> Option<f64> {
        median(self.times.get(name)?.iter().zip(&self.empty).map(|(time, empty)| time / empty))
    }

    fn verdicts(&self) -> [Verdict; 2] {
        let none_of_ours = [NOT_TCP, OTHER_PORT].into_iter().filter_map(|name| self.ratio(name));
        [
            Verdict {
                what: "a packet that is none of our business to the empty program",
                ratio: none_of_ours.max_by(f64::total_cmp),
                target: NONE_OF_OURS_MAX,
            },
            Verdict {
                what: "the mean packet of a refused session to the empty program",
                ratio: self.ratio(MEAN),
                target: MEAN_MAX,
            },
        ]
    }

    /// The empty program, then the paths in the order in which they were measured first.
    pub(super) fn rows(&self) -> Vec<Row> {
        let empty = Row::numbers("empty program", [median(self.empty.iter().copied()), Some(1.0)]);
        let paths = self.order.iter().map(|name| Row::numbers(*name, [self.time(name), self.ratio(name)]));
        std::iter::once(empty).chain(paths).collect()
    }

    fn section(&self, machine_code: u32) -> Section {
        let mut notes = NOTES.map(str::to_owned).to_vec();
        notes.push(format!("The program is {machine_code} octets of machine code."));
        Section {
            title: "A packet, by its path (BPF_PROG_TEST_RUN)",
            columns: vec!["path", "ns", "x empty"],
            rows: self.rows(),
            notes,
        }
    }
}

pub(super) const NOT_TCP: &str = "not TCP (UDP)";
pub(super) const OPTED_IN: &str = "SYN, opted in";
pub(super) const ACCEPTED: &str = "segment of an accepted session";
const OTHER_PORT: &str = "TCP, another port";
pub(super) const MEAN: &str = "mean of the refused session";
const FIRST_PORT: u16 = 40_000;
/// Targets of this part.
const NONE_OF_OURS_MAX: f64 = 2.0;
const MEAN_MAX: f64 = 12.0;

const NOTES: [&str; 3] = [
    "The empty program is XDP_PASS alone; what it takes is the loop of BPF_PROG_TEST_RUN, which is in every number.",
    "Frames, maps and code are in the CPU's caches. Only the ratios of one run mean something.",
    "Answers rewrite the frame: it is put back before each run, and what that takes with the empty program is \
     subtracted. Making or removing the entry of FLOWS, where the packet undoes it, is not: handshake ACK and FIN \
     are upper bounds.",
];
