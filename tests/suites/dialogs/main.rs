//! Dialogues letter by letter, as each row and rule of the promise requires: over a socket, against
//! the real daemon without its XDP program; those that are refused from the first packet against
//! the program, too.
//!
//! The scripts lie in this folder, one subfolder for each area; their notation is that of
//! `sixgate_tests::dialog`. The suite `netns` tests what else the XDP program changes.

mod explain;
mod floods;
mod kernel;
mod loss;
mod memory;
mod million;
mod session;
mod undisturbed;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use sixgate_tests::{
    dialog::{
        Script,
        play::{folder, for_each, play, scripts},
    },
    gate::{self, Need},
    site::Site,
};

#[test]
fn what_is_promised() {
    run_all("promise");
}

#[test]
fn refusal_styles() {
    run_all("styles");
}

#[test]
fn the_protocol() {
    run_all("protocol");
}

#[test]
fn messages() {
    run_all("messages");
}

#[test]
fn what_is_refused() {
    run_all("refused");
}

#[test]
fn in_memory_as_over_a_socket() {
    // the kernel sends a reset, not the session
    let tells = |path: &PathBuf| !path.ends_with("reset.dialog");
    let folders = ["styles", "protocol", "messages", "refused"].map(folder);
    let scripts: Vec<PathBuf> = folders.iter().flat_map(|folder| scripts(folder)).filter(tells).collect();
    let failed: Vec<String> = scripts
        .iter()
        .filter_map(|path| memory::run(path).with_context(|| path.display().to_string()).err())
        .map(|error| format!("{error:#}"))
        .collect();
    assert!(failed.is_empty(), "{} of {} failed:\n\n{}", failed.len(), scripts.len(), failed.join("\n\n"));
}

/// Runs every script of `folder`, and names those that did not go as written.
fn run_all(name: &str) {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let scripts = scripts(&folder(name));
    let failed = for_each(&scripts, |path| run(path).with_context(|| path.display().to_string()));
    assert!(failed.is_empty(), "{} of {} failed:\n\n{}", failed.len(), scripts.len(), failed.join("\n\n"));
}

fn run(path: &Path) -> Result<()> {
    let script = Script::read(path)?;
    let site = Site::new(&script.zone, &script.settings);
    for command in &script.setup {
        site.sixgate(command);
    }
    let daemon = site.try_serve(&["--no-xdp"])?;
    play(&script, &|source, destination| site.try_connect(source, destination))
        .with_context(|| format!("--- log\n{}---", daemon.log()))?;
    daemon.stop()?;
    check_delivered(&script, &site.delivered())
}

fn check_delivered(script: &Script, messages: &[String]) -> Result<()> {
    let (wanted, found) = (script.delivered.len(), messages.len());
    ensure!(found == wanted, "{found} message(s) delivered, {wanted} expected");
    for (wanted, message) in script.delivered.iter().zip(messages) {
        let mut lines = message.split("\r\n");
        for start in wanted {
            if let Some(text) = start.strip_prefix("! ") {
                ensure!(!message.contains(text), "delivered with {text:?} in it:\n{message}");
            } else if !lines.any(|line| line.starts_with(start)) {
                bail!("delivered without a line {start:?}, or not in this order:\n{message}");
            }
        }
    }
    Ok(())
}
