//! Debian's Prometheus, unpacked by `cargo xtask setup`, never installed: promtool, and a server
//! that scrapes the daemon.
//!
//! It knows no metric of ours.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::unpacked;

/// Where Prometheus is unpacked, if it is.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    unpacked::root("prometheus", PROGRAM)
}

/// Runs promtool with `input`; whether it succeeded, and all that it printed.
///
/// # Errors
/// If it is not there.
pub fn promtool(arguments: &[&str], input: &str) -> Result<(bool, String)> {
    let root = folder().context("Prometheus is not unpacked: use `cargo xtask setup`")?;
    let mut command = Command::new(root.join("usr/bin/promtool"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start promtool")?;
    let mut stdin = child.stdin.take().context("its input is a pipe")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

const PROGRAM: &str = "usr/bin/prometheus";
