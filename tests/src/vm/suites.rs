//! The project's own suites in a virtual machine: the dialogues over the cards, and the test binaries `dialogs` and `xdp`
//! as they run on any machine.
//!
//! It owns the list of what cannot run there.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::report::{Case, Report};
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
    command.args(["--test-threads", THREADS, "--show-output"]);
    for (test, _) in EXCEPT {
        command.args(["--skip", test]);
    }
    command.stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::piped());
    let output = command.output().with_context(|| format!("cannot start {}", binary.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    for line in text.lines() {
        let Some((test, result)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "))
        else {
            continue;
        };
        if test == "result:" {
            continue;
        }
        let case = Case { suite: name, path: "this machine", script: test, wanted: "passed" };
        match result {
            "ok" => report.outcome(case, "passed", "ok", "")?,
            _ => report.outcome(case, result, "failed", &output_of(&text, test))?,
        }
    }
    if !output.status.success() && !text.contains("test result: FAILED") {
        let errors = String::from_utf8_lossy(&output.stderr);
        report.problem(&format!("the suite {name} ended with {}\n{text}\n{errors}", output.status))?;
    }
    Ok(())
}

/// What the test printed, as libtest repeats it at the end.
fn output_of(text: &str, test: &str) -> String {
    let start = format!("---- {test} stdout ----");
    let Some((_, output)) = text.split_once(&start) else { return String::new() };
    output.split("\n---- ").next().unwrap_or_default().trim().to_owned()
}

/// As many tests at a time as the machine has processors.
const THREADS: &str = "2";
/// Tests that cannot run in a virtual machine, and why.
const EXCEPT: &[(&str, &str)] = &[];
