//! The guest of `cargo xtask vm`: what is tried inside a virtual machine, with other kernels and
//! real drivers.
//!
//! It runs what the machine's command line names and reports each case; whether that is right is
//! judged on the host.

mod networks;
mod report;
mod session;
mod smoke;
mod suites;

use std::{env, fs};

use anyhow::{Context as _, Result, anyhow, bail};

use report::Report;

/// Runs the suites that the environment variable `SIXGATE_VM_SUITES` names, separated by commas,
/// and reports to the second serial port.
///
/// # Errors
/// If the report cannot be written, or there is no suite of a name; a case that fails is reported.
pub fn run() -> Result<()> {
    let report = Report::open(REPORT)?;
    report.begin(&running_release()?)?;
    let suites = env::var(SUITES).with_context(|| format!("{SUITES} is not set"))?;
    for suite in suites.split(',') {
        match suite {
            "smoke" => smoke::run(&report)?,
            "networks" => networks::run(&report)?,
            "dialogs" => suites::dialogs(&report)?,
            "xdp" => suites::own_binary(&report, suite)?,
            _ => bail!("there is no suite {suite}"),
        }
    }
    report.end()
}

/// The kernel's release, as `uname -r` reports it.
fn running_release() -> Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    Ok(release.context("cannot read the kernel's release")?.trim().to_owned())
}

/// An error's own text first, then the result of `explain`: counters and logs.
fn explained<T>(result: Result<T>, explain: impl FnOnce() -> String) -> Result<T> {
    result.map_err(|error| anyhow!("{error:#}\n{}", explain()))
}

/// The environment variable that names the suites.
const SUITES: &str = "SIXGATE_VM_SUITES";
/// The environment variable that chooses among tests and networks: those whose name contains it.
const FILTER: &str = "SIXGATE_VM_FILTER";
/// The second serial port, which nothing else writes to.
const REPORT: &str = "/dev/ttyS1";
