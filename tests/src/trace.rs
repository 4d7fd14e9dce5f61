//! A running `sixgate trace`, and the XDP program that an interface runs.
//!
//! It makes no claim about what is shown.

use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::{
    daemon::{Log, binary},
    netns::Netns,
    site::Site,
    timeouts::patience,
};

/// The command. Dropping it kills it.
#[derive(Debug)]
pub struct Trace {
    child: Child,
    shown: Log,
    notes: Log,
}

impl Trace {
    /// Starts `sixgate trace ARGUMENTS` on the gate, and waits until it traces.
    ///
    /// # Errors
    /// If it does not, with its messages.
    pub fn start(site: &Site, arguments: &str) -> Result<Self> {
        let mut command = Command::new(binary());
        command.arg("--config").arg(site.config()).arg("trace").args(arguments.split_whitespace());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = site.gate.spawn(&mut command)?;
        let (shown, notes) = child.stdout.take().zip(child.stderr.take()).context("both are pipes")?;
        let trace = Self { child, shown: Log::collect(shown), notes: Log::collect(notes) };
        trace.notes.wait_for("tracing on ")?;
        Ok(trace)
    }

    /// Waits until a line is shown that contains `text`, and returns that line.
    ///
    /// # Errors
    /// If none is in time.
    pub fn wait_for(&self, text: &str) -> Result<String> {
        self.shown.wait_for(text)
    }

    /// Waits until it prints `text` beside the lines.
    ///
    /// # Errors
    /// If it does not in time.
    pub fn wait_for_note(&self, text: &str) -> Result<String> {
        self.notes.wait_for(text)
    }

    /// The lines so far.
    #[must_use]
    pub fn shown(&self) -> String {
        self.shown.text()
    }

    /// Kills it (SIGKILL).
    ///
    /// # Errors
    /// If it is gone already.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits until it ends by itself; its lines and its messages.
    ///
    /// # Errors
    /// If it does not in time.
    pub fn end(mut self) -> Result<(ExitStatus, String, String)> {
        let is_closed = self.shown.wait_until_closed(patience()) && self.notes.wait_until_closed(patience());
        ensure!(is_closed, "the trace did not end:\n{}{}", self.shown.text(), self.notes.text());
        Ok((self.child.wait()?, self.shown.text(), self.notes.text()))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // both fail only if it has ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The kernel's id of the XDP program that `interface` runs; none without.
///
/// # Panics
/// If `ip` fails.
#[must_use]
pub fn program(netns: &Netns, interface: &str) -> Option<u32> {
    let shown = netns.ip(&format!("link show dev {interface}")).unwrap();
    let (_, rest) = shown.split_once("prog/xdp id ")?;
    rest.split_whitespace().next()?.parse().ok()
}
