//! The same packets with cold caches: one run at a time, the caches filled with something else
//! before each.
//!
//! That is how a packet finds the machine that has other things to do. Time is the kernel's own
//! count of the program's runs, so counting is in every figure.

use anyhow::{Result, ensure};
use aya::sys::{Stats, enable_stats};
use sixgate_common::slot::Slot;
use sixgate_dataplane::flow_key;

use super::{
    dialogue::Scored,
    paths::{MEAN, Samples, passing},
    report::Section,
    rig::{Rig, Scene, Subject},
    segment::Ends,
};

/// Measures the packets that are passed on, and the `packets` of a session between `ends`, once.
///
/// # Errors
/// If a packet does not take the path that it should.
pub(super) fn measure(rig: &mut Rig, ends: Ends, packets: &[Scored], samples: &mut Samples) -> Result<()> {
    // the kernel counts as long as this is open
    let _counting = enable_stats(Stats::RunTime)?;
    let mut caches = vec![0; CACHES];
    let key = flow_key(&ends.source, &ends.destination);
    for (at, (name, frame)) in passing().iter().enumerate() {
        let scene = Scene { frame, key, slot: Slot::FREE };
        if at == 0 {
            samples.empty.push(rig.cold(Subject::Empty, &scene, RUNS, &mut caches)?.0);
        }
        samples.add(name, rig.cold(Subject::Tested, &scene, RUNS, &mut caches)?.0);
    }
    let mut sum = 0.0;
    for packet in packets {
        let (time, outcome) = rig.cold(Subject::Tested, &packet.scene(), RUNS, &mut caches)?;
        ensure!(outcome.action == packet.outcome.action, "{}: another action", packet.name);
        samples.add(packet.name, time);
        sum += time;
    }
    samples.add(MEAN, sum / packets.len() as f64);
    Ok(())
}

/// The table of this part.
pub(super) fn section(samples: &Samples) -> Section {
    Section {
        title: "The same with cold caches (one run at a time, bpf_stats_enabled)",
        columns: vec!["path", "ns", "x empty"],
        rows: samples.rows(),
        notes: NOTES.map(str::to_owned).to_vec(),
    }
}

/// Runs of each packet in a round.
const RUNS: u32 = 100;
/// More octets than a core has caches of its own.
const CACHES: usize = 8 << 20;

const NOTES: [&str; 1] = [
    "Before each run a buffer of 8 MiB is written. What a program takes from memory, its own code \
                           for one thing, costs here what it costs a machine that is busy with something else. \
                           Counting, by two clocks read, is in every figure.",
];
