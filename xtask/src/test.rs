//! `test`: every test there is, the privileged ones included.
//!
//! It owns no decision about skipping: tests that lack something report it themselves, and fail
//! under CI=true.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::{
    exec,
    setup::{self, Set},
    vm::{self, Suite},
};

/// Options of `test`.
#[derive(Args)]
pub(crate) struct TestOptions {
    /// Only tests whose name contains this
    filter: Option<String>,
    /// Also those that take minutes: a million sessions, floods, many more random cases, and
    /// virtual machines with other kernels
    #[arg(long)]
    long: bool,
}

impl TestOptions {
    /// Every test, with those that take minutes if `long`.
    pub(crate) fn of_length(long: bool) -> Self {
        Self { filter: None, long }
    }
}

/// Sets the machine up, builds, and becomes the test runner.
pub(crate) fn run(options: &TestOptions) -> Result<()> {
    setup::run(Set::Test)?;
    exec::run(&mut exec::build_binaries())?;
    // the documents' examples first, so that the last line is the summary of a suite
    exec::run(test(&["--doc"]).args(&options.filter))?;
    let mut suites = test(&["--lib", "--bins", "--tests"]);
    if options.long {
        // a name is one of this machine's tests
        if options.filter.is_none() {
            vm::run(&vm::VmOptions::on_all_kernels(&[Suite::Networks, Suite::Dialogs, Suite::Xdp]))?;
        }
        suites.env(LONG, "1");
    }
    exec::become_it(suites.args(&options.filter))
}

fn test(kinds: &[&str]) -> Command {
    let mut test = exec::cargo_for_host("test");
    test.arg("--no-fail-fast").args(kinds);
    test
}

/// The environment variable that `sixgate_tests::gate::long` reads.
const LONG: &str = "SIXGATE_TEST_LONG";
