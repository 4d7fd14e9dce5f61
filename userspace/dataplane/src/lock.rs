//! The locks on a pin directory: one by which one daemon at most works on it, and one by which one
//! process at a time changes the maps.
//!
//! The first is the daemon's for its life; the second is held by command or daemon, for one change.

use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use nix::sys::stat::{major, minor};

use super::{
    error::DataplaneError,
    pins::{Pins, make_directory_of_mode},
};

/// A lock on the pins (flock(2)), gone with the process. A bpffs has no plain files, so that it is
/// one on a directory beside them, which only their owner may open: who may look at the pins cannot
/// lock them.
#[derive(Debug)]
pub struct PinLock {
    directory: File,
    path: PathBuf,
}

/// The lock on the maps, gone when it is dropped.
#[derive(Debug)]
pub struct MapsLock {
    _directory: File,
}

impl Pins {
    /// Waits until no other process changes the maps, at most `wait`, and keeps it so.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::MapsInUse`] after that time; else as [`Self::lock`].
    pub fn lock_maps(&self, wait: Duration) -> Result<MapsLock, DataplaneError> {
        self.make_base()?;
        let (path, directory) = self.lock_directory("changing")?;
        match lock_within(&directory, wait) {
            Ok(()) => Ok(MapsLock { _directory: directory }),
            Err(TryLockError::WouldBlock) => Err(DataplaneError::MapsInUse { path: self.base().to_owned() }),
            Err(TryLockError::Error(error)) => Err(DataplaneError::file("lock", &path, error)),
        }
    }

    /// As [`Self::lock_maps`]; nothing where there is no directory of pins.
    ///
    /// # Errors
    ///
    /// As [`Self::lock_maps`].
    pub fn lock_maps_if_any(&self, wait: Duration) -> Result<Option<MapsLock>, DataplaneError> {
        if self.base().exists() { self.lock_maps(wait).map(Some) } else { Ok(None) }
    }

    fn lock_directory(&self, name: &str) -> Result<(PathBuf, File), DataplaneError> {
        let path = self.base().join(name);
        make_directory_of_mode(&path, MODE)?;
        let directory = File::open(&path).map_err(|error| DataplaneError::file("open", &path, error))?;
        Ok((path, directory))
    }

    /// Locks the pins; their directory is made where it is missing. Waits for processes that only
    /// look whether they are locked ([`Self::are_in_use`]), at most 100 ms.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::PinsInUse`] while another process holds the lock;
    /// [`DataplaneError::NoBpffs`], [`DataplaneError::NoRights`], [`DataplaneError::System`].
    pub fn lock(&self) -> Result<PinLock, DataplaneError> {
        self.make_base()?;
        let (path, directory) = self.lock_directory("lock")?;
        match lock_within(&directory, LOOKS) {
            Ok(()) => Ok(PinLock { directory, path }),
            Err(TryLockError::WouldBlock) => {
                Err(DataplaneError::PinsInUse { path: self.base().to_owned(), pid: self.holder() })
            }
            Err(TryLockError::Error(error)) => Err(DataplaneError::file("lock", &path, error)),
        }
    }

    /// The process that has locked the pins, by /proc/locks (proc_locks(5)). Nothing is made.
    #[must_use]
    pub fn holder(&self) -> Option<u32> {
        let metadata = fs::metadata(self.base().join("lock")).ok()?;
        let file = format!("{:02x}:{:02x}:{}", major(metadata.dev()), minor(metadata.dev()), metadata.ino());
        let locks = fs::read_to_string(LOCKS).ok()?;
        locks.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            match fields[..] {
                [_, "FLOCK", _, "WRITE", pid, of, ..] if of == file => pid.parse().ok(),
                _ => None,
            }
        })
    }

    /// Whether a daemon has locked the pins, whose process may be in another PID namespace. Locks
    /// them for a moment. Nothing is made.
    #[must_use]
    pub fn are_in_use(&self) -> bool {
        let directory = File::open(self.base().join("lock"));
        directory.is_ok_and(|directory| matches!(directory.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}

impl PinLock {
    /// Whether the locked directory is still the one at that path.
    #[must_use]
    pub fn holds(&self) -> bool {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        match (self.directory.metadata(), fs::metadata(&self.path)) {
            (Ok(locked), Ok(there)) => identity(locked) == identity(there),
            _ => false,
        }
    }
}

/// Locks `directory`, and waits for it at most `wait`.
fn lock_within(directory: &File, wait: Duration) -> Result<(), TryLockError> {
    let began = Instant::now();
    loop {
        match directory.try_lock() {
            Err(TryLockError::WouldBlock) if began.elapsed() < wait => thread::sleep(POLL),
            result => return result,
        }
    }
}

/// The kernel's list of the locks on files.
const LOCKS: &str = "/proc/locks";
/// For the owner only.
const MODE: u32 = 0o700;
/// How long a lock may be held by a process that only looks whether it is held.
const LOOKS: Duration = Duration::from_millis(100);
/// How often a lock is tried that another process holds.
const POLL: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt as _};

    use super::*;

    #[test]
    fn a_look_at_the_lock_does_not_keep_a_daemon_from_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        DirBuilder::new().mode(MODE).create(&path).unwrap();
        let look = File::open(&path).unwrap();
        look.try_lock_shared().unwrap();
        let daemon = File::open(&path).unwrap();
        assert!(matches!(lock_within(&daemon, Duration::ZERO), Err(TryLockError::WouldBlock)));
        let lock = thread::spawn(move || lock_within(&daemon, Duration::from_secs(60)));
        drop(look);
        lock.join().unwrap().unwrap();
    }

    #[test]
    fn a_lock_holds_while_its_directory_is_in_position() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        DirBuilder::new().mode(MODE).create(&path).unwrap();
        let lock = PinLock { directory: File::open(&path).unwrap(), path: path.clone() };
        assert!(lock.holds());
        fs::rename(&path, directory.path().join("aside")).unwrap();
        assert!(!lock.holds());
        DirBuilder::new().mode(MODE).create(&path).unwrap();
        assert!(!lock.holds());
    }
}
