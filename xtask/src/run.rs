//! `run`: the gate at work, in the demo's namespace or on this machine's own interfaces.
//!
//! It owns no session and attaches nothing itself: the demo and the binary do.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{
    exec,
    setup::{self, Set},
};

/// Options of `run`.
#[derive(Args)]
pub(crate) struct RunOptions {
    /// End the demo after its sessions
    #[arg(long, conflicts_with_all = ["iface", "config"])]
    once: bool,
    /// Stand on this interface instead of playing the demo; may be given several times
    #[arg(long, value_name = "INTERFACE", requires = "config")]
    iface: Vec<String>,
    /// The configuration for real interfaces
    #[arg(long, value_name = "FILE", requires = "iface")]
    config: Option<PathBuf>,
}

/// Sets the machine up, builds, and starts what was asked for.
pub(crate) fn run(options: &RunOptions) -> Result<()> {
    setup::run(Set::Build)?;
    match &options.config {
        Some(config) => on_interfaces(&options.iface, config),
        None => demo(options.once),
    }
}

fn demo(once: bool) -> Result<()> {
    exec::run(&mut exec::build_binaries())?;
    let mut demo = Command::new(exec::target().join("debug/demo"));
    demo.args(once.then_some("--once"));
    exec::become_it(&mut demo)
}

fn on_interfaces(interfaces: &[String], config: &PathBuf) -> Result<()> {
    // commands run in the workspace's root, which need not be where we were called
    let config = fs::canonicalize(config).with_context(|| format!("cannot find {}", config.display()))?;
    ensure!(nix::unistd::geteuid().is_root(), "attaching an XDP program needs root");
    let mut build = exec::cargo();
    exec::run(build.args(["build", "--release", "--package", "sixgate"]))?;
    let binary = exec::target().join("release/sixgate");
    let sixgate = || {
        let mut command = Command::new(&binary);
        command.arg("--config").arg(&config);
        command
    };
    exec::run(sixgate().args(["config", "check"]))?;
    advise(&config, &mut sixgate())?;
    let chosen: Vec<&str> = interfaces.iter().flat_map(|interface| ["--iface", interface]).collect();
    exec::run(sixgate().arg("attach").args(&chosen))?;
    eprintln!(
        "Ctrl-C ends the daemon only: the program stays attached and goes on refusing. To take it away:"
    );
    eprintln!("  {}", exec::shown(sixgate().arg("detach").args(&chosen)));
    exec::become_it(sixgate().arg("serve"))
}

/// What to think of before enforcing.
fn advise(config: &PathBuf, sixgate: &mut Command) -> Result<()> {
    let text = fs::read_to_string(config).with_context(|| format!("cannot read {}", config.display()))?;
    if is_shadow(&text) {
        return Ok(());
    }
    eprintln!(
        "mode is enforce: with `mode = \"shadow\"` sixgate passes messages on, and counts what it would refuse"
    );
    // exit code 1: nothing found
    let listed = sixgate.args(["optin", "list"]).output().context("cannot start sixgate")?;
    if listed.stdout.iter().all(u8::is_ascii_whitespace) {
        eprintln!(
            "WARNING: nothing has opted in, so all mail over IPv6 from sources that are not trusted will be refused"
        );
    }
    Ok(())
}

/// Whether the file, which was checked before, has `mode = "shadow"` before its first section.
fn is_shadow(config: &str) -> bool {
    let top = config.lines().map(str::trim).take_while(|line| !line.starts_with('['));
    let mut modes = top.filter_map(|line| line.strip_prefix("mode")?.trim_start().strip_prefix('='));
    modes.any(|value| {
        value.trim_start().starts_with("\"shadow\"") || value.trim_start().starts_with("'shadow'")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shadow_is_found_at_the_top_only() {
        for (text, wanted) in [
            ("mode = \"shadow\" # for now\n", true),
            ("mode='shadow'", true),
            ("# mode = \"shadow\"\n", false),
            ("hostname = \"a\"\nmode = \"enforce\"\n", false),
            ("[xdp]\nmode = \"shadow\"\n", false),
        ] {
            assert_eq!(is_shadow(text), wanted, "{text}");
        }
    }
}
