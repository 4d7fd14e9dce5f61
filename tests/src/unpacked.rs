//! What Debian has for tests, below target/tools: unpacked by `cargo xtask setup`, never installed.
//! Mail servers run with mounts of their own.
//!
//! It knows no server: users, locations and configuration are their modules' business.

use std::{
    fs::{self, File, Permissions},
    io::Read,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{daemon::Log, mounts::Mounts, netns::Netns};

/// Where `name` is unpacked, if `program`, a path below that, is there.
pub(crate) fn root(name: &str, program: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let mut roots = own.ancestors().skip(1).map(|folder| folder.join("tools").join(name));
    roots.find(|root| root.join(program).is_file())
}

/// Where Exim with the PROXY protocol and Debian's configuration is unpacked, if it is.
#[must_use]
pub fn exim_heavy() -> Option<PathBuf> {
    root("exim-heavy", "usr/sbin/exim4")
}

/// Where rspamd is unpacked, if it is.
#[must_use]
pub fn rspamd() -> Option<PathBuf> {
    root("rspamd", "usr/bin/rspamd")
}

/// A folder that processes of other users may enter.
pub(crate) fn open_folder() -> Result<TempDir> {
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).context("cannot open the folder")?;
    Ok(folder)
}

/// Makes a directory that belongs to `owner`, and those above it, which belong to root.
pub(crate) fn make_directory(path: &Path, mode: u32, owner: Option<u32>, group: Option<u32>) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
    fs::set_permissions(path, Permissions::from_mode(mode))
        .and_then(|()| chown(path, owner, group))
        .with_context(|| format!("cannot give {} away", path.display()))
}

/// A server that runs; dropping it kills it and every process that it started.
#[derive(Debug)]
pub(crate) struct Running {
    name: &'static str,
    child: Child,
    log: Log,
    // Its queue is in there; kept until nothing runs any more.
    folder: TempDir,
}

impl Running {
    /// Starts `command` in `netns` with `mounts`, and reads its log from `log`, or, without one,
    /// from what it prints.
    pub(crate) fn start(
        name: &'static str,
        netns: &Netns,
        folder: TempDir,
        mounts: &Mounts,
        command: &mut Command,
        log: Option<File>,
    ) -> Result<Self> {
        let log: Box<dyn Read + Send> = match log {
            Some(log) => {
                command.stdout(Stdio::null()).stderr(Stdio::null());
                Box::new(log)
            }
            None => {
                let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
                command.stdout(writer.try_clone()?).stderr(writer);
                Box::new(reader)
            }
        };
        command.stdin(Stdio::null()).process_group(0);
        let start = || command.spawn().with_context(|| format!("cannot start {name}"));
        let child = netns.run(|| mounts.run_init(start))?;
        // our ends of the pipe would keep the log open
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { name, child, log: Log::collect(log), folder })
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // both fail only if it has ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of {}\n{}---", self.name, self.log.text());
        }
    }
}
