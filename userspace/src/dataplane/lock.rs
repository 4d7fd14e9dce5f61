//! The lock by which one daemon at most works on a pin directory.
//!
//! It is the daemon's alone: commands work beside it, under the store's lock.

use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
};

use super::{error::DataplaneError, pins::Pins};

/// A lock on the directory of the pins (flock(2)), gone with the process. It takes no file of its own.
#[derive(Debug)]
pub struct PinLock {
    directory: File,
    path: PathBuf,
}

impl Pins {
    /// Locks the directory, which is made where it is missing.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::PinsInUse`] while another process holds the lock; [`DataplaneError::NoBpffs`],
    /// [`DataplaneError::NoRights`], [`DataplaneError::System`].
    pub fn lock(&self) -> Result<PinLock, DataplaneError> {
        self.make_base()?;
        let path = self.base().to_owned();
        let directory = File::open(&path).map_err(|error| DataplaneError::file("open", &path, error))?;
        match directory.try_lock() {
            Ok(()) => Ok(PinLock { directory, path }),
            Err(TryLockError::WouldBlock) => Err(DataplaneError::PinsInUse { path }),
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
