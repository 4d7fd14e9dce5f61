//! The restrictions of the daemon from its start on: files outside the directories that its
//! configuration names (Landlock), and system calls that it never makes (seccomp).
//!
//! It restricts this process and remembers what is left. Rights of the user, and what the service
//! manager takes away, are not its business.

mod files;
mod needs;
mod system_calls;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{config::Config, rights};

use files::Reach;

/// The restrictions in force, as status and log show them.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct SandboxReport {
    /// Whether files are restricted by Landlock.
    pub landlock: bool,
    /// Whether system calls are restricted by seccomp.
    pub seccomp: bool,
    /// Why one of the two is missing; none: both are in force.
    pub missing: Option<String>,
}

impl std::fmt::Display for SandboxReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = match (self.landlock, self.seccomp) {
            (true, true) => "files by Landlock, system calls by seccomp",
            (true, false) => "files by Landlock",
            (false, true) => "system calls by seccomp",
            (false, false) => "none",
        };
        f.write_str(parts)?;
        self.missing.as_ref().map_or(Ok(()), |missing| write!(f, "; {missing}"))
    }
}

/// A setting of a reload that the sandbox of this process does not allow.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{setting}: {} is outside the directories that the running daemon may use (`sandbox`): `systemctl restart sixgate`",
    path.display()
)]
pub struct OutsideSandbox {
    /// The key of the setting, as the configuration has it.
    pub setting: &'static str,
    /// The file or directory that it names.
    pub path: PathBuf,
}

/// The restrictions of this process.
#[derive(Debug, Default)]
pub struct Sandbox {
    report: SandboxReport,
    /// `None`: files are not restricted.
    reach: Option<Reach>,
}

impl Sandbox {
    /// Restricts this thread and all threads and processes that it starts from now on, for good.
    /// To be called while the process has one thread. Restrictions that the kernel does not offer
    /// are left out and reported: mail does not depend on it.
    #[must_use]
    pub fn enter(config: &Config, no_xdp: bool) -> Self {
        if !config.sandbox {
            let missing = Some(SWITCHED_OFF.to_owned());
            return Self { report: SandboxReport { missing, ..SandboxReport::default() }, reach: None };
        }
        let mut missing = Vec::new();
        // Landlock first: its system calls are left alone by the other, and may be refused one day
        let reach = Reach::restrict(config, no_xdp).map_err(|error| missing.push(error.to_string())).ok();
        let bpf = match (no_xdp, rights::can_attach()) {
            (true, _) => system_calls::Bpf::Unused,
            (false, true) => system_calls::Bpf::Attaching,
            (false, false) => system_calls::Bpf::Maps,
        };
        let calls = system_calls::restrict(bpf).map_err(|error| missing.push(error.to_string()));
        let report = SandboxReport {
            landlock: reach.is_some(),
            seccomp: calls.is_ok(),
            missing: (!missing.is_empty()).then(|| missing.join("; ")),
        };
        Self { report, reach }
    }

    /// The restrictions in force, and the reason for a missing one.
    #[must_use]
    pub const fn report(&self) -> &SandboxReport {
        &self.report
    }

    /// Checks that all files of `next` can be used by this process as far as the sandbox goes.
    ///
    /// # Errors
    /// The first setting that names another file.
    pub fn check(&self, next: &Config) -> Result<(), OutsideSandbox> {
        self.reach.as_ref().map_or(Ok(()), |reach| reach.check(next))
    }
}

#[cfg(test)]
mod tests;

const SWITCHED_OFF: &str = "`sandbox = false` in the configuration";
