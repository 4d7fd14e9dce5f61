//! A headless Chromium that loads a page and hands over what a person would see, and the
//! lines of its console.
//!
//! It clicks nothing.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::netns::Netns;

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Whether the user prefers dark colours.
    pub is_dark: bool,
    /// Width and height of the window, in pixels.
    pub size: (u32, u32),
}

/// A page after it was loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The document as it is then, as HTML.
    pub document: String,
    /// The lines of the console: errors, and violations of the Content-Security-Policy.
    pub console: Vec<String>,
}

/// Debian's program, in PATH.
pub const BROWSER: &str = "chromium-headless-shell";

/// Loads `url` from `netns`.
///
/// # Errors
/// If there is no browser, or it fails; with its output.
pub fn load(netns: &Netns, url: &str) -> Result<Loaded> {
    let output = run(netns, url, View { is_dark: false, size: (1280, 1600) }, "--dump-dom".to_owned())?;
    let log = String::from_utf8_lossy(&output.stderr);
    let console = log.lines().filter(|line| line.contains(":CONSOLE:")).map(str::to_owned).collect();
    Ok(Loaded { document: String::from_utf8_lossy(&output.stdout).into_owned(), console })
}

/// Draws `url` into the PNG file `picture`.
///
/// # Errors
/// As [`load`].
pub fn draw(netns: &Netns, url: &str, view: View, picture: &Path) -> Result<()> {
    run(netns, url, view, format!("--screenshot={}", picture.display()))?;
    ensure!(picture.is_file(), "there is no picture of {url}");
    Ok(())
}

fn run(netns: &Netns, url: &str, view: View, task: String) -> Result<Output> {
    let profile = tempfile::tempdir().context("cannot make a folder")?;
    let View { is_dark, size: (width, height) } = view;
    let mut command = Command::new(BROWSER);
    // root has no other sandbox to give it, and a container little shared memory
    command.args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]);
    command.args(["--enable-logging=stderr", "--log-level=0", "--timeout=20000"]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.arg(format!("--window-size={width},{height}"));
    if is_dark {
        // as Blink numbers it
        command.arg("--blink-settings=preferredColorScheme=0");
    }
    command.arg(task).arg(url).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = netns.spawn(&mut command).context("cannot start the browser")?;
    let output = child.wait_with_output().context("cannot wait for the browser")?;
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the browser failed: {}\n{log}", output.status);
    Ok(output)
}
