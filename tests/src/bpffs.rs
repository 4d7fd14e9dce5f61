//! A bpffs of a test's own, gone with the test.
//!
//! It is mounted below a temporary directory; no pin of the machine's own bpffs is touched.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

/// A mounted bpffs. Dropping it removes all pins, and so detaches what only they hold.
#[derive(Debug)]
pub struct Bpffs {
    directory: TempDir,
}

impl Bpffs {
    /// Mounts a new one.
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN, or on a kernel without bpffs.
    pub fn new() -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        mount(Some("bpf"), directory.path(), Some("bpf"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("cannot mount a bpffs at {}", directory.path().display()))?;
        Ok(Self { directory })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A directory inside, as the setting `xdp.bpffs` names one. It does not exist yet.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        self.path().join("sixgate")
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        // Lazily: a handle that is still open somewhere must not keep the mount.
        if let Err(error) = umount2(self.path(), MntFlags::MNT_DETACH) {
            eprintln!("cannot unmount {}: {error}", self.path().display());
        }
    }
}
