//! `differential`: our checks beside those of others, over generated cases.
//!
//! It installs the others below target/, builds and starts; comparing is the business of the binary
//! `differential`.

use std::{path::PathBuf, process::Command};

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::{
    exec,
    setup::{self, Set},
};

/// A check of ours, and the implementation that it is compared with.
#[derive(Subcommand)]
pub(crate) enum Pair {
    /// DKIM, compared with dkimpy
    Dkim(Cases),
    /// SPF, compared with pyspf
    Spf(Cases),
}

/// The number of cases, and their beginning.
#[derive(Args)]
pub(crate) struct Cases {
    /// Number of cases
    #[arg(long, default_value_t = 2000)]
    cases: u32,
    /// Where the random cases begin; the same number gives the same cases
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Sets the machine up, builds, and becomes the comparison.
pub(crate) fn run(pair: &Pair) -> Result<()> {
    let (name, packages, Cases { cases, seed }) = match pair {
        Pair::Dkim(cases) => {
            ("dkim", ["dkimpy==1.1.8", "pynacl==1.6.2", "dnspython==2.9.2"].as_slice(), cases)
        }
        Pair::Spf(cases) => ("spf", ["pyspf==2.0.14", "dnspython==2.9.2"].as_slice(), cases),
    };
    setup::run(Set::Build)?;
    let python = python_with(packages)?;
    exec::run(exec::cargo().args(["build", "--package", "sixgate-bench", "--bin", "differential"]))?;
    let mut differential = Command::new(exec::target().join("debug/differential"));
    differential.arg(name).arg("--python").arg(python);
    differential.args(["--cases", &cases.to_string(), "--seed", &seed.to_string()]);
    exec::become_it(&mut differential)
}

/// A Python of our own with these packages.
fn python_with(packages: &[&str]) -> Result<PathBuf> {
    let folder = exec::target().join("differential");
    let python = folder.join("bin/python3");
    if !python.exists() {
        exec::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    exec::run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages))?;
    Ok(python)
}
