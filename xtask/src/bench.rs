//! `bench`: what refusing costs, beside the peers of the same run.
//!
//! It builds with optimization and starts; measuring is the business of the binary `bench`.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    exec,
    setup::{self, Set},
};

/// Options of `bench`.
#[derive(Args)]
pub(crate) struct BenchOptions {
    /// A first impression: few rounds, few sessions
    #[arg(long)]
    quick: bool,
    /// Sessions with each server in each round
    #[arg(long, value_name = "N")]
    sessions: Option<u32>,
    /// Measure this part only; may be given several times: paths, interleaved, trace, blocks,
    /// sessions, prefixes, edits
    #[arg(long = "part", value_name = "PART")]
    parts: Vec<String>,
    /// Run the parts with the bench of another commit, too, alternating, and print the ratios
    #[arg(long, value_name = "PATH")]
    against_bench: Option<PathBuf>,
    /// Write the tables to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Sets the machine up, builds, and becomes the bench.
pub(crate) fn run(options: &BenchOptions) -> Result<()> {
    setup::run(Set::Test)?;
    exec::run(exec::build_binaries().arg("--release"))?;
    let mut bench = Command::new(exec::target().join("release/bench"));
    bench.args(options.quick.then_some("--quick"));
    if let Some(sessions) = options.sessions {
        bench.arg("--sessions").arg(sessions.to_string());
    }
    bench.args(options.parts.iter().flat_map(|part| ["--part", part]));
    if let Some(other) = &options.against_bench {
        bench.arg("--against-bench").arg(std::path::absolute(other).context(NO_FOLDER)?);
    }
    if let Some(file) = &options.json {
        bench.arg("--json").arg(std::path::absolute(file).context(NO_FOLDER)?);
    }
    exec::become_it(&mut bench)
}

const NO_FOLDER: &str = "cannot find the working directory";
