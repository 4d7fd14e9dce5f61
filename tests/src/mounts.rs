//! Files and folders of a test's own that lie over the machine's, for the programs that it starts:
//! users, the resolver's servers, locations that are compiled in.
//!
//! It starts nothing: what a task starts inside inherits the view.

use std::{
    fs,
    panic::resume_unwind,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// What lies over what.
#[derive(Debug)]
pub(crate) struct Mounts {
    folder: PathBuf,
    binds: Vec<(PathBuf, &'static str)>,
    merged: Vec<(PathBuf, &'static str)>,
}

impl Mounts {
    /// None yet; `folder` is where files for them are written.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), binds: Vec::new(), merged: Vec::new() }
    }

    /// Lets `users`, each with a group of its name and number, exist beside the machine's. They win
    /// over others of the same name.
    pub(crate) fn users(self, users: &[(&str, u32)]) -> Result<Self> {
        let passwd: Vec<String> =
            users.iter().map(|(name, id)| format!("{name}:x:{id}:{id}::/:/bin/false\n")).collect();
        let group: Vec<String> = users.iter().map(|(name, id)| format!("{name}:x:{id}:\n")).collect();
        self.in_front("/etc/passwd", &passwd.concat())?.in_front("/etc/group", &group.concat())
    }

    /// Lets the C library's resolver ask only `server`.
    pub(crate) fn resolver(self, server: &str) -> Result<Self> {
        self.file("/etc/resolv.conf", &format!("nameserver {server}\n"))
    }

    /// Lays a file with `text` over `target`, which exists.
    pub(crate) fn file(self, target: &'static str, text: &str) -> Result<Self> {
        let copy = self.folder.join(Path::new(target).file_name().context("a path has a name")?);
        fs::write(&copy, text).with_context(|| format!("cannot write {}", copy.display()))?;
        Ok(self.lay(&copy, target))
    }

    /// Lays `source` over `target`, which exists and is of the same kind.
    pub(crate) fn lay(mut self, source: &Path, target: &'static str) -> Self {
        self.binds.push((source.to_owned(), target));
        self
    }

    /// Lets what is below `source` be seen below `target`, too, and win there. Nothing can be
    /// written below it then.
    pub(crate) fn merge(mut self, source: &Path, target: &'static str) -> Self {
        self.merged.push((source.to_owned(), target));
        self
    }

    /// Runs `task` on a thread that sees this; what it starts sees it too.
    pub(crate) fn run<T: Send>(&self, task: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.enter(CloneFlags::CLONE_NEWNS, task)
    }

    /// The same; and the first process that `task` starts takes all its descendants with it when it
    /// ends, those that left its group and session too.
    pub(crate) fn run_init<T: Send>(&self, task: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.enter(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID, task)
    }

    fn enter<T: Send>(&self, namespaces: CloneFlags, task: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                unshare(namespaces).context("cannot make a mount namespace")?;
                bind(None, "/", MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
                for (source, target) in &self.merged {
                    overlay(source, target)?;
                }
                for (source, target) in &self.binds {
                    bind(Some(source), target, MsFlags::MS_BIND)?;
                }
                task()
            });
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Lays a copy of `list` with `ours` in front over it, without other lines for the same names.
    fn in_front(self, list: &'static str, ours: &str) -> Result<Self> {
        let name = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
        let names: Vec<String> = ours.lines().map(name).collect();
        let theirs = fs::read_to_string(list).with_context(|| format!("cannot read {list}"))?;
        let others = theirs.lines().filter(|line| !names.contains(&name(line)));
        let others: String = others.map(|line| format!("{line}\n")).collect();
        self.file(list, &format!("{ours}{others}"))
    }
}

/// Runs `task` on a thread that sees an empty disk of `octets` at `target`, a folder that exists;
/// what it starts sees it too. The disk is gone with the last of them.
///
/// # Errors
/// Without the right to mount.
pub fn with_small_disk<T: Send>(target: &Path, octets: usize, task: impl FnOnce() -> T + Send) -> Result<T> {
    Mounts::new(target).run(|| {
        let size = format!("size={octets}");
        mount(Some("tmpfs"), target, Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))
            .with_context(|| format!("cannot mount a small disk at {}", target.display()))?;
        Ok(task())
    })
}

/// Makes the small disk at `target` one that can only be read, or be written again. It keeps what
/// it holds.
///
/// # Errors
/// Outside of the task of [`with_small_disk`], and while a file on it is open for writing.
pub fn set_read_only(target: &Path, is_read_only: bool) -> Result<()> {
    let flags = if is_read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
    let none = None::<&str>;
    mount(none, target, none, MsFlags::MS_REMOUNT | flags, none)
        .with_context(|| format!("cannot mount {} again", target.display()))
}

/// Runs `task` on a thread that sees `folder` at `target`; what it starts sees it too.
///
/// # Errors
/// Without the right to mount.
pub fn with_folder<T: Send>(
    folder: &Path,
    target: &'static str,
    task: impl FnOnce() -> T + Send,
) -> Result<T> {
    Mounts::new(folder).lay(folder, target).run(|| Ok(task()))
}

/// As [`with_folder`], and the C library's resolver asks only `server`.
///
/// # Errors
/// Without the right to mount.
pub fn with_folder_and_resolver<T: Send>(
    folder: &Path,
    target: &'static str,
    server: &str,
    task: impl FnOnce() -> T + Send,
) -> Result<T> {
    Mounts::new(folder).lay(folder, target).resolver(server)?.run(|| Ok(task()))
}

fn bind(source: Option<&Path>, target: &str, flags: MsFlags) -> Result<()> {
    let none = None::<&str>;
    mount(source, target, none, flags, none).with_context(|| format!("cannot change the mount of {target}"))
}

fn overlay(source: &Path, target: &str) -> Result<()> {
    let layers = format!("lowerdir={}:{target}", source.display());
    mount(Some("overlay"), target, Some("overlay"), MsFlags::empty(), Some(layers.as_str()))
        .with_context(|| format!("cannot merge {} into {target}", source.display()))
}
