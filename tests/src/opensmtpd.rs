//! A real OpenSMTPD as a sender: Debian's package, unpacked by `cargo xtask setup`, never
//! installed.
//!
//! It runs with mounts of its own, where its users, its socket and its queue are in their
//! compiled-in locations.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    mounts::Mounts,
    netns::Netns,
    sender::{Attempt, HOSTNAME, Outcome, SUBMISSION, Sender, count_files},
    unpacked::{self, Running},
};

/// A running OpenSMTPD. Dropping it stops it.
#[derive(Debug)]
pub struct OpenSmtpd {
    running: Running,
    version: String,
}

impl OpenSmtpd {
    /// Starts OpenSMTPD in `netns`. It takes messages as [`Sender`] describes, and looks every
    /// domain up in the DNS.
    ///
    /// # Errors
    /// If OpenSMTPD is not unpacked, without root's rights, or if it does not start; with its log.
    pub fn start(netns: &Netns) -> Result<Self> {
        let root = folder().context("OpenSMTPD is not unpacked: use `cargo xtask setup`")?;
        let folder = unpacked::open_folder()?;
        let here = folder.path();
        unpacked::make_directory(&here.join("run"), 0o755, None, None)?;
        unpacked::make_directory(&here.join("spool/smtpd"), 0o711, None, None)?;
        unpacked::make_directory(&here.join("lib/opensmtpd/empty"), 0o755, None, None)?;
        let config = here.join("smtpd.conf");
        fs::write(&config, configuration()).context("cannot configure OpenSMTPD")?;
        let mounts = Mounts::new(here)
            .users(&[("opensmtpd", USER), ("opensmtpq", QUEUE)])?
            .resolver("::1")?
            .lay(&here.join("run"), "/run")
            .lay(&here.join("spool"), "/var/spool")
            .lay(&here.join("lib"), "/var/lib");
        let mut command = Command::new(root.join(PROGRAM));
        // verbose: else it does not log that it listens
        command.args(["-d", "-v", "-f"]).arg(config);
        let running = Running::start("OpenSMTPD", netns, folder, &mounts, &mut command, None)?;
        let version = running.log().wait_for(" starting")?;
        running.log().wait_for(LISTENS)?;
        Ok(Self { running, version })
    }
}

impl Sender for OpenSmtpd {
    fn version(&self) -> &str {
        &self.version
    }

    fn attempt(&self, recipient: &str) -> Result<Attempt> {
        let (wanted, to) = (format!("what became of <{recipient}>"), format!(" to=<{recipient}> "));
        self.running.log().wait_for_match(&wanted, |line| {
            let (_, result) = line.split_once(&to)?.1.split_once(" result=\"")?;
            let outcome = match result.split_once('"')?.0 {
                "Ok" => Outcome::Sent,
                "TempFail" => Outcome::Deferred,
                "PermFail" => Outcome::Bounced,
                _ => return None,
            };
            Some(Attempt { outcome, line: line.to_owned() })
        })
    }

    fn queued(&self) -> Result<usize> {
        // a message's folder has the message and an envelope for each recipient, whose name is
        // longer
        count_files(&self.running.folder().join("spool/smtpd/queue"), |name| name.len() == ENVELOPE_NAME)
    }

    fn log(&self) -> String {
        self.running.log().text()
    }
}

/// Where OpenSMTPD is unpacked, if it is.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    unpacked::root("opensmtpd", PROGRAM)
}

fn configuration() -> String {
    let (address, port) = (SUBMISSION.ip(), SUBMISSION.port());
    format!(
        "listen on {address} port {port} hostname {HOSTNAME}\n\
         action \"out\" relay helo {HOSTNAME}\n\
         match from any for any action \"out\"\n"
    )
}

const PROGRAM: &str = "usr/sbin/smtpd";
/// What it logs behind listen(2).
const LISTENS: &str = "debug: smtp: will accept at most ";
/// Numbers that no user or group of Debian has by default.
const USER: u32 = 64_028;
const QUEUE: u32 = 64_029;
/// 64 bits in hexadecimal.
const ENVELOPE_NAME: usize = 16;
