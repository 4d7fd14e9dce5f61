//! `fuzz`: runs the fuzz targets, each for some seconds, after everything that once failed.
//!
//! It owns no target: those are in userspace/fuzz, a workspace of its own.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{
    exec,
    setup::{self, Set},
};

/// Options of `fuzz`.
#[derive(Args)]
pub(crate) struct FuzzOptions {
    /// How long each target runs, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Makes the inputs of the run with this seed again
    #[arg(long)]
    seed: Option<u32>,
    /// The target to run; all of them if none is named
    target: Option<String>,
}

impl FuzzOptions {
    /// All targets, each for so many seconds. With a `seed` a second run tries the same inputs, so
    /// that a finding belongs to the change at hand.
    pub(crate) fn all_for(seconds: u32, seed: Option<u32>) -> Self {
        Self { seconds, seed, target: None }
    }
}

/// Builds the targets and runs them one after another; the first finding ends it.
pub(crate) fn run(options: &FuzzOptions) -> Result<()> {
    setup::run(Set::Fuzz)?;
    let all = targets()?;
    let chosen: Vec<&String> =
        all.iter().filter(|name| options.target.as_ref().is_none_or(|wanted| wanted == *name)).collect();
    ensure!(!chosen.is_empty(), "there is no such target; there are {}", all.join(", "));
    exec::run(cargo_fuzz("build").args(&options.target))?;
    for name in chosen {
        run_one(name, options)?;
    }
    Ok(())
}

/// The names of the targets, in order.
fn targets() -> Result<Vec<String>> {
    let folder = folder().join("fuzz_targets");
    let mut names = Vec::new();
    for file in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = file?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn run_one(name: &str, options: &FuzzOptions) -> Result<()> {
    let corpus = products().join("corpus").join(name);
    let findings = products().join("findings").join(name);
    for made in [&corpus, &findings] {
        fs::create_dir_all(made).with_context(|| format!("cannot make {}", made.display()))?;
    }
    let mut run = cargo_fuzz("run");
    // what is new goes to the first folder, the others are read only
    run.arg(name).arg(corpus).arg(folder().join("seeds").join(name)).arg("--");
    run.arg(format!("-max_total_time={}", options.seconds));
    run.args(options.seed.map(|seed| format!("-seed={seed}")));
    run.arg(format!("-artifact_prefix={}/", findings.display()));
    run.args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]);
    exec::run(&mut run).with_context(|| {
        format!(
            "`{name}` found something: see {}; repair it, and keep the input in userspace/fuzz/seeds/{name}",
            findings.display()
        )
    })
}

/// `cargo-fuzz TASK` on nightly, which sanitizers need. `cfg(fuzzing)` is not set: what is tried is
/// what ships.
fn cargo_fuzz(task: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly"]).arg(exec::target().join("tools/bin/cargo-fuzz")).arg(task);
    // several units: one would be faster to run, and take twice as long to build
    command.args(["--no-cfg-fuzzing", "--codegen-units=16", "--target-dir"]).arg(products());
    // by itself it looks for a package in the folders above
    command.arg("--fuzz-dir").arg(folder());
    // the outer cargo is another toolchain's
    command.current_dir(folder()).env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
    command
}

fn folder() -> PathBuf {
    exec::root().join("userspace/fuzz")
}

fn products() -> PathBuf {
    exec::target().join("fuzz")
}
