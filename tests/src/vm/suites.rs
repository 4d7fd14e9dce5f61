//! The project's own suites in a virtual machine: the dialogues over the cards, and the test
//! binaries `dialogs` and `xdp` as they run on any machine.
//!
//! It owns the list of what cannot run there.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use super::{
    FILTER,
    report::{Case, Report},
    running_release,
};
use crate::{
    daemon,
    scene::{Link, Responder, refused_scripts},
};

/// Every script whose sessions are all refused, over the cards; then the suite `dialogs`.
pub(super) fn dialogs(report: &Report) -> Result<()> {
    let kernel = Responder::Kernel.to_string();
    for (link, path) in [(Link::Card, "card auto"), (Link::CardGeneric, "card generic")] {
        for refused in refused_scripts() {
            let script = refused.path.file_stem().unwrap_or_default().to_string_lossy();
            let case = Case { suite: "dialogs", path, script: &script, wanted: &kernel };
            report.case(case, || refused.play(link).map(|()| kernel.clone()))?;
        }
    }
    own_binary(report, "dialogs")
}

/// The tests of the suite `name`, one case each, as its binary prints them.
pub(super) fn own_binary(report: &Report, name: &str) -> Result<()> {
    let binary = daemon::binary().with_file_name(name);
    let mut command = Command::new(&binary);
    command.args(["--test-threads", THREADS, "--nocapture"]);
    command.args(std::env::var_os(FILTER));
    let release = running_release()?;
    for Except { test, kernel, reason } in EXCEPT {
        if release.starts_with(kernel) {
            eprintln!("not run: {test}: {reason}");
            command.args(["--skip", test]);
        }
    }
    // what a test prints goes to the console
    let failed = || format!("cannot start {}", binary.display());
    let mut running = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(failed)?;
    let stdout = running.stdout.take().with_context(failed)?;
    let mut cases = 0;
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read what the suite prints")?;
        eprintln!("{line}");
        let Some((test, result)) = outcome(&line) else { continue };
        cases += 1;
        let case = Case { suite: name, path: "this machine", script: test, wanted: "passed" };
        if result == "ok" {
            report.outcome(case, "passed", "ok", "")?;
        } else {
            report.outcome(case, "failed", "failed", "its messages are on the console")?;
        }
    }
    let status = running.wait().context("cannot wait for the suite")?;
    if !status.success() || cases == 0 && std::env::var_os(FILTER).is_none() {
        report.problem(&format!("the suite {name} ended with {status} after {cases} tests"))?;
    }
    Ok(())
}

/// A test and what became of it, out of a line of libtest's.
fn outcome(line: &str) -> Option<(&str, &str)> {
    let (test, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
    matches!(result, "ok" | "FAILED").then_some((test, result))
}

/// As many tests at a time as the machine has processors.
const THREADS: &str = "2";
/// A test that cannot run in a virtual machine.
struct Except {
    test: &'static str,
    /// The kernels that it is about, by the beginning of their release; all if that is empty.
    kernel: &'static str,
    /// Why; printed on the console.
    reason: &'static str,
}

const EXCEPT: &[Except] = &[
    Except {
        test: "segments_that_bring_nothing_new_are_acknowledged_ten_times",
        kernel: "",
        reason: "an emulated processor takes longer for ten than it takes until they count anew",
    },
    Except {
        test: "where_a_reply_has_no_room_the_session_is_reset",
        kernel: "6.1.",
        reason: "behind a frame on veth this kernel always leaves room for the longest reply",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_a_test_is_read() {
        for (line, wanted) in [
            ("test a::b ... ok", Some(("a::b", "ok"))),
            ("test a::b ... FAILED", Some(("a::b", "FAILED"))),
            ("test a::b has been running for over 60 seconds", None),
            ("test result: ok. 2 passed; 0 failed", None),
            ("running 2 tests", None),
        ] {
            assert_eq!(outcome(line), wanted, "{line}");
        }
    }
}
