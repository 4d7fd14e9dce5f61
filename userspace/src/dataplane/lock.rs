//! The lock by which one daemon at most works on a pin directory.
//!
//! It is the daemon's alone: commands work beside it, under the store's lock.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::PathBuf,
};

use super::{error::DataplaneError, pins::Pins};

/// A lock on the pins (flock(2)), gone with the process. A bpffs has no plain files, so that it is one on a directory beside
/// them, which only their owner may open: who may look at the pins cannot lock them.
#[derive(Debug)]
pub struct PinLock {
    directory: File,
    path: PathBuf,
}

impl Pins {
    /// Locks the pins; their directory is made where it is missing.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::PinsInUse`] while another process holds the lock; [`DataplaneError::NoBpffs`],
    /// [`DataplaneError::NoRights`], [`DataplaneError::System`].
    pub fn lock(&self) -> Result<PinLock, DataplaneError> {
        self.make_base()?;
        let path = self.base().join("lock");
        DirBuilder::new()
            .recursive(true)
            .mode(MODE)
            .create(&path)
            .map_err(|error| DataplaneError::file("make the directory", &path, error))?;
        let directory = File::open(&path).map_err(|error| DataplaneError::file("open", &path, error))?;
        match directory.try_lock() {
            Ok(()) => Ok(PinLock { directory, path }),
            Err(TryLockError::WouldBlock) => Err(DataplaneError::PinsInUse { path: self.base().to_owned() }),
            Err(TryLockError::Error(error)) => Err(DataplaneError::file("lock", &path, error)),
        }
    }
}

impl PinLock {
    /// Whether the directory that it locks is still the one at that place.
    #[must_use]
    pub fn holds(&self) -> bool {
        let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        match (self.directory.metadata(), fs::metadata(&self.path)) {
            (Ok(locked), Ok(there)) => place(locked) == place(there),
            _ => false,
        }
    }
}

/// For the owner only.
const MODE: u32 = 0o700;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_holds_while_its_directory_is_at_its_place() {
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
