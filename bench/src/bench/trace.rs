//! The cost of `sixgate trace`: packets without it, while it runs, and after it.
//!
//! Nothing reads the traced program's records here: what is measured is the program's own work.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use ipnet::Ipv6Net;
use sixgate_dataplane::{Loader, Pins, Trace, attached};

use super::{
    Scale,
    attached::Attached,
    dialogue,
    dialogue::Scored,
    paths::{ACCEPTED, MEAN, NOT_TCP, OPTED_IN, ends, passing, restored},
    report::{Report, Row, Section, Verdict, median},
    rig::{Rig, Subject},
};

/// Measures with and without a trace, and adds a table.
///
/// # Errors
/// If something cannot be set up, a packet does not take the path that it should, or the interfaces
/// run another program after a trace than before.
pub(super) fn measure(scale: Scale, report: &mut Report) -> Result<()> {
    let attached = Attached::new()?;
    let (site, pins) = (&attached.site, &attached.pins);
    let mut rig = Rig::open(pins)?;
    rig.load_traced(pins)?;
    let loader = Loader::default();
    let mut samples = Samples::default();
    for round in 0..scale.rounds {
        let packets = dialogue::play(&mut rig, ends(round)?)?;
        for (column, subject) in COLUMNS {
            if column == AFTER {
                site.gate.run(|| trace_once(pins, &loader))?;
            }
            samples.add(&mut rig, column, subject, &packets, scale.repeat)?;
        }
    }
    let codes = [rig.machine_code(Subject::Attached)?, rig.machine_code(Subject::TracedAll)?];
    report.verdicts.push(samples.verdict());
    report.sections.push(samples.section(codes));
    Ok(())
}

/// Gives the interfaces the traced program and takes it back, as `sixgate trace` does.
fn trace_once(pins: &Pins, loader: &Loader) -> Result<()> {
    let programs = || anyhow::Ok(attached(pins)?.into_iter().map(|link| link.program).collect::<Vec<_>>());
    let before = programs()?;
    let mut trace = Trace::load(pins, loader, Ipv6Net::default(), Ipv6Net::default())?;
    trace.start()?;
    ensure!(programs()? != before, "the interfaces do not run the traced program");
    trace.stop()?;
    let after = programs()?;
    ensure!(after == before, "the interfaces ran the programs {before:?} before the trace, now {after:?}");
    Ok(())
}

/// Nanoseconds by packet and column, one for each round.
#[derive(Debug, Default)]
struct Samples(BTreeMap<(&'static str, &'static str), Vec<f64>>);

impl Samples {
    fn add(
        &mut self,
        rig: &mut Rig,
        column: &'static str,
        subject: Subject,
        packets: &[Scored],
        repeat: u32,
    ) -> Result<()> {
        for (name, frame) in passing().iter().filter(|(name, _)| ROWS.contains(name)) {
            let time = rig.repeat(subject, frame, repeat)?;
            self.0.entry((name, column)).or_default().push(time);
        }
        let mut sum = 0.0;
        for packet in packets {
            sum += restored(rig, subject, packet, repeat)?;
        }
        self.0.entry((MEAN, column)).or_default().push(sum / packets.len() as f64);
        Ok(())
    }

    fn time(&self, row: &'static str, column: &'static str) -> Option<f64> {
        median(self.0.get(&(row, column))?.iter().copied())
    }

    /// The median of the rounds' ratios of `column` to the program before a trace.
    fn ratio(&self, row: &'static str, column: &'static str) -> Option<f64> {
        let (times, before) = (self.0.get(&(row, column))?, self.0.get(&(row, BEFORE))?);
        median(times.iter().zip(before).map(|(time, before)| time / before))
    }

    fn verdict(&self) -> Verdict {
        Verdict {
            what: "a packet after a trace to the same before it",
            ratio: ROWS.iter().filter_map(|row| self.ratio(row, AFTER)).max_by(f64::total_cmp),
            target: AFTER_MAX,
        }
    }

    fn section(&self, [ordinary, traced]: [u32; 2]) -> Section {
        let cells = |row| {
            let times = COLUMNS.map(|(column, _)| self.time(row, column));
            [times.as_slice(), &[self.ratio(row, AFTER), self.ratio(row, OTHERS), self.ratio(row, ALL)]]
                .concat()
        };
        let mut notes = NOTES.map(str::to_owned).to_vec();
        notes.push(format!(
            "The ordinary program is {ordinary} octets of machine code, the traced one {traced}."
        ));
        let ratios = ["x after", "x others", "x all"];
        Section {
            title: "A packet with and without a trace (BPF_PROG_TEST_RUN)",
            columns: ["path"].into_iter().chain(COLUMNS.map(|(column, _)| column)).chain(ratios).collect(),
            rows: ROWS.iter().map(|row| Row::numbers(*row, cells(row))).collect(),
            notes,
        }
    }
}

const BEFORE: &str = "before, ns";
const AFTER: &str = "after, ns";
const OTHERS: &str = "others traced, ns";
const ALL: &str = "all traced, ns";
/// In the order in which they are measured.
const COLUMNS: [(&str, Subject); 4] = [
    (BEFORE, Subject::Attached),
    (OTHERS, Subject::TracedOthers),
    (ALL, Subject::TracedAll),
    (AFTER, Subject::Attached),
];
const ROWS: [&str; 4] = [NOT_TCP, OPTED_IN, ACCEPTED, MEAN];
/// Target of this part: the same program ran, so what is above 1 is the machine's noise.
const AFTER_MAX: f64 = 1.1;

const NOTES: [&str; 3] = [
    "Before and after a trace the interfaces run the ordinary program, which has no instruction of the trace: it \
     costs nothing while no trace runs. Between the two columns a trace really ran on the interfaces.",
    "Others traced: the packets do not lie in the trace's prefixes. All traced: they do; 1000 of them in a second \
     on each CPU are written to the ring buffer, the others are counted.",
    "The session's mean is above the empty program's time, which is not in it.",
];
