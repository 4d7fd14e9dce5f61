//! `ci`: everything that has to hold before a change lands.
//!
//! It owns the order only: cheap checks first, the README's test command last.

use anyhow::Result;
use clap::Args;

use crate::{
    dist, exec, fuzz,
    setup::{self, Set},
    test, tidy,
    vm::{self, Suite},
};

/// Options of `ci`.
#[derive(Args)]
pub(crate) struct CiOptions {
    /// Also the tests that take minutes, and the packages, which are installed in a system of their
    /// own
    #[arg(long)]
    long: bool,
}

/// Runs every check; the first failure ends it.
pub(crate) fn run(options: &CiOptions) -> Result<()> {
    exec::run(exec::cargo().args(["fmt", "--all", "--check"]))?;
    exec::run(exec::cargo().args(["fmt", "--check", "--manifest-path", "userspace/fuzz/Cargo.toml"]))?;
    tidy::run(&tidy::TidyOptions::default())?;
    setup::run(Set::Test)?;
    // the BPF programs are linted for this machine, apart from the others: they have features of
    // their own
    let mut clippy = exec::cargo();
    clippy.arg("clippy").args(exec::BPF_PACKAGES.iter().flat_map(|package| ["--package", package]));
    exec::run(clippy.args(["--", "-D", "warnings"]))?;
    exec::run(exec::cargo_for_host("clippy").args(["--all-targets", "--", "-D", "warnings"]))?;
    let mut doc = exec::cargo_for_host("doc");
    doc.args(["--no-deps", "--document-private-items"]);
    exec::run(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    fuzz::run(&fuzz::FuzzOptions::all_for(FUZZ_SECONDS, (!options.long).then_some(FUZZ_SEED)))?;
    vm::run(&vm::VmOptions::on_all_kernels(&[Suite::Smoke]))?;
    if options.long {
        dist::run(&dist::DistOptions::checked())?;
    }
    test::run(&test::TestOptions::of_length(options.long))
}

/// How long each fuzz target runs: long enough to replay what it knows and to try some tens of
/// thousands of inputs.
const FUZZ_SECONDS: u32 = 10;

/// The seed of the short run, which tries the same inputs each time; `--long` tries others.
const FUZZ_SEED: u32 = 1;
