//! The time of day as a daemon of a test sees it: Debian's libfaketime, preloaded into it, unpacked
//! by `cargo xtask setup`.
//!
//! Only CLOCK_REALTIME differs, as when somebody sets the clock; what Linux never lets jump
//! (CLOCK_MONOTONIC and its kin) stays what it is. Everybody but the daemon keeps the right time.

use std::{
    env::consts::ARCH,
    ffi::OsString,
    fs,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::unpacked;

/// A clock that can be set while daemons run by it.
#[derive(Debug)]
pub struct WallClock {
    library: PathBuf,
    folder: TempDir,
}

impl WallClock {
    /// A clock that is right.
    ///
    /// # Errors
    /// If libfaketime is not unpacked.
    pub fn new() -> Result<Self> {
        let library = library().context("libfaketime is not below target/tools")?;
        let clock = Self { library, folder: tempfile::tempdir_in(FOLDERS).context("cannot make a folder")? };
        clock.jump(0)?;
        Ok(clock)
    }

    /// Sets it so many seconds ahead of the right time, or back.
    ///
    /// # Errors
    /// If the file that holds the offset cannot be written.
    pub fn jump(&self, seconds: i64) -> Result<()> {
        self.set(&format!("{seconds:+}"))
    }

    /// Stops it at this time, `YYYY-MM-DD hh:mm:ss` in UTC.
    ///
    /// # Errors
    /// As [`WallClock::jump`].
    pub fn stop_at(&self, time: &str) -> Result<()> {
        self.set(time)
    }

    /// The environment of a process that uses this clock.
    pub(crate) fn environment(&self) -> [(&'static str, OsString); 6] {
        [
            ("LD_PRELOAD", self.library.clone().into()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            // the times of files are the kernel's
            ("NO_FAKE_STAT", "1".into()),
            ("TZ", "UTC".into()),
        ]
    }

    /// The library reads the file each time that somebody asks for the time: it is replaced whole.
    fn set(&self, time: &str) -> Result<()> {
        let new = self.folder.path().join("new");
        fs::write(&new, time).and_then(|()| fs::rename(&new, self.file())).context("cannot set the clock")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("time")
    }
}

/// Where the library's file is: the daemon may read there, with its sandbox, too.
const FOLDERS: &str = "/var/tmp";

/// The right time, in seconds since 1970.
///
/// # Panics
/// If it is before 1970.
#[must_use]
pub fn seconds_since_1970() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    i64::try_from(since.as_secs()).expect("it is earlier than that")
}

/// Where the library is, if it is there.
pub(crate) fn library() -> Option<PathBuf> {
    // the one for programs with threads
    let path = format!("usr/lib/{ARCH}-linux-gnu/faketime/libfaketimeMT.so.1");
    unpacked::root("libfaketime", &path).map(|root| root.join(path))
}
