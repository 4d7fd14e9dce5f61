//! Which files this process can use: Landlock (landlock(7)), and the same rules for a look at the
//! next configuration.
//!
//! A rule is about a directory and all below it, as it is when the rule is made. The kernel checks
//! opened files and changed directories; it does not check connections to Unix sockets.

use std::{
    fs,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, Scope, make_bitflags,
};

use super::{
    OutsideSandbox,
    needs::{self, Need, Use},
};
use crate::config::Config;

/// Why files are not restricted.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilesError {
    /// The kernel lacks it.
    #[error(
        "no Landlock: the kernel does not have it (`landlock` is not in /sys/kernel/security/lsm), or a container refuses it"
    )]
    Missing,
    /// The kernel refuses a rule, or the restriction.
    #[error("no Landlock: {0}")]
    Rules(#[from] RulesetError),
}

/// The directories that this process can use, until it ends.
#[derive(Debug)]
pub(super) struct Reach {
    allowed: Vec<(PathBuf, Use)>,
    no_xdp: bool,
}

impl Reach {
    /// Restricts this thread and what it starts to the files of `config`.
    ///
    /// # Errors
    /// Landlock is missing, or the kernel refuses a rule; then nothing is restricted.
    pub(super) fn restrict(config: &Config, no_xdp: bool) -> Result<Self, FilesError> {
        let this = Self::of(config, no_xdp);
        // without the right to rename between directories, which Linux 5.19 brought, there would be
        // no such renaming at all
        let rules = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::Refer)
            .map_err(|_| FilesError::Missing)?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(KNOWN))?
            .scope(Scope::Signal)?;
        let mut rules = rules.create()?;
        for (path, purpose) in &this.allowed {
            // one that has gone meanwhile is not needed, or the use of it reports that
            let (Ok(opened), Ok(metadata)) = (PathFd::new(path), fs::metadata(path)) else { continue };
            let mut access = access(*purpose);
            if !metadata.is_dir() {
                access &= AccessFs::from_file(KNOWN);
            }
            rules = rules.add_rule(PathBeneath::new(opened, access))?;
        }
        rules.restrict_self()?;
        Ok(this)
    }

    /// The directories for a daemon with `config`. Nothing is restricted.
    pub(super) fn of(config: &Config, no_xdp: bool) -> Self {
        Self { allowed: allowed(config, no_xdp), no_xdp }
    }

    /// Whether the files of `next` are among those that can be used.
    pub(super) fn check(&self, next: &Config) -> Result<(), OutsideSandbox> {
        // what is missing is reported by its use
        let is_missing = |need: &Need| need.must_exist && !need.path.exists();
        let needs = needs::of(next, self.no_xdp).into_iter().filter(|need| !is_missing(need));
        let outside = needs.into_iter().find(|need| {
            let mut directories = need.directories().into_iter();
            !directories.all(|directory| self.allows(&directory, need.purpose))
        });
        outside.map_or(Ok(()), |Need { setting, path, .. }| Err(OutsideSandbox { setting, path }))
    }

    fn allows(&self, directory: &Path, purpose: Use) -> bool {
        self.allowed.iter().any(|(above, allowed)| allowed.covers(purpose) && directory.starts_with(above))
    }
}

/// The directories for a daemon with `config`, without links.
fn allowed(config: &Config, no_xdp: bool) -> Vec<(PathBuf, Use)> {
    let needs = needs::of(config, no_xdp).into_iter().chain(needs::of_each());
    needs.flat_map(|need| need.directories().into_iter().map(move |path| (path, need.purpose))).collect()
}

fn access(purpose: Use) -> BitFlags<AccessFs> {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let write = make_bitflags!(AccessFs::{
        WriteFile | Truncate | MakeReg | MakeDir | MakeSock | RemoveFile | RemoveDir | Refer
    });
    match purpose {
        Use::Read => read,
        Use::Write => read | write,
        Use::Pin => make_bitflags!(AccessFs::{ReadDir | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer}),
    }
}

/// The rights that are taken away where no rule gives them: those of Linux 6.10, of which a kernel
/// takes those that it knows. Later ones, such as that to connect to a Unix socket, are left alone.
const KNOWN: ABI = ABI::V5;
