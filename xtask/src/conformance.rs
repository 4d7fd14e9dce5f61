//! `conformance`: a foreign test suite against our checks.
//!
//! It builds and starts; comparing is the business of the binary `conformance`.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use clap::Subcommand;

use crate::{
    exec,
    setup::{self, Set},
};

/// A suite, and the check that it is run against.
#[derive(Subcommand)]
pub(crate) enum Suite {
    /// SPF with a file in the format of the openspf suites, such as rfc7208-tests.yml
    Spf {
        /// The file of cases
        file: PathBuf,
    },
}

/// Sets the machine up, builds, and becomes the comparison.
pub(crate) fn run(suite: &Suite) -> Result<()> {
    let Suite::Spf { file } = suite;
    // commands run in the workspace's root, which need not be where we were called
    let file = std::path::absolute(file).context("cannot find the working directory")?;
    setup::run(Set::Build)?;
    exec::run(exec::cargo().args(["build", "--package", "sixgate-tests", "--bin", "conformance"]))?;
    let mut conformance = Command::new(exec::target().join("debug/conformance"));
    exec::become_it(conformance.arg("spf").arg(file))
}
