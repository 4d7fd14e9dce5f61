//! The bench: what refusing costs, beside its peers, in one run on one machine.
//!
//! It measures and compares; it asserts nothing about time, and changes nothing that is not its
//! own.

mod against;
mod attached;
mod cold;
mod dialogue;
mod edits;
mod interleaved;
mod load;
mod machine;
mod numbers;
mod parts;
mod paths;
mod peers;
mod prefixes;
mod report;
mod rig;
mod segment;
mod sessions;
mod trace;
mod usage;

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use report::Report;

/// How much is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scale {
    /// Rounds; every figure is the median of one in each.
    pub rounds: usize,
    /// Sessions with each server in a round.
    pub sessions: usize,
    /// Runs of a program in one measurement.
    pub repeat: u32,
    /// Numbers of prefixes that have opted in.
    pub prefixes: &'static [usize],
}

impl Scale {
    /// A first impression, in less than a minute.
    pub const QUICK: Self =
        Self { rounds: 3, sessions: 500, repeat: 100_000, prefixes: &[1, 1_000, 100_000] };
    /// The scale of published results.
    pub const FULL: Self =
        Self { rounds: 9, sessions: 5_000, repeat: 200_000, prefixes: &[1, 1_000, 100_000, 1_000_000] };
}

/// A part of the bench, with tables of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Part {
    /// One packet, by its path through the XDP program.
    Paths,
    /// Sessions, the packets of many of them interleaved.
    Interleaved,
    /// One packet while `sixgate trace` runs, and after it.
    Trace,
    /// The building blocks of an answer.
    Blocks,
    /// Whole sessions, beside those of Postfix.
    Sessions,
    /// Lookups among many prefixes.
    Prefixes,
    /// Changes of one prefix among many.
    Edits,
}

impl Part {
    fn measure(self, scale: Scale, report: &mut Report) -> Result<()> {
        match self {
            Self::Paths => paths::measure(scale, report),
            Self::Interleaved => interleaved::measure(scale, report),
            Self::Trace => trace::measure(scale, report),
            Self::Blocks => parts::measure(scale, report),
            Self::Sessions => sessions::measure(scale, report),
            Self::Prefixes => prefixes::measure(scale, report),
            Self::Edits => edits::measure(scale, report),
        }
    }
}

/// Measures `parts`, or everything if there are none; prints the tables, and writes them to `json`
/// too, if there is one. A part that fails ends the run, and the tables of those before it are
/// printed.
///
/// # Errors
/// Without root's rights, or if something cannot be set up or does not answer as promised. A target
/// that is missed is shown, and is not an error.
pub fn run(scale: Scale, parts: &[Part], json: Option<&Path>) -> Result<()> {
    let parts = if parts.is_empty() { Part::value_variants() } else { parts };
    finish(json, |report| {
        parts
            .iter()
            .try_for_each(|part| part.measure(scale, report).with_context(|| format!("part {part:?}")))
    })
}

/// Measures `parts` with this bench and with that of another commit, alternating, each with
/// `options` for it, and prints the ratios; to `json`, too, if there is one. Without `parts` these
/// are the packets and the sessions.
///
/// # Errors
/// As [`run`], or if the other bench fails.
pub fn run_against(other: &Path, parts: &[Part], options: &[String], json: Option<&Path>) -> Result<()> {
    let parts = if parts.is_empty() { &[Part::Paths, Part::Sessions] } else { parts };
    finish(json, |report| against::measure(other, parts, options, report))
}

fn finish(json: Option<&Path>, measure: impl FnOnce(&mut Report) -> Result<()>) -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the bench makes network namespaces and loads XDP programs: run it as root"
    );
    let mut report = Report::default();
    machine::tell(&mut report);
    let measured = measure(&mut report);
    println!("{report}");
    measured?;
    if let Some(file) = json {
        let text = format!("{:#}\n", report.json());
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
