//! The store's file: read whole, written aside, synced and renamed, under a lock beside it.
//!
//! It owns durability and locking. The form of the file is in `document`; what the contents mean is not
//! its business.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufWriter, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::{
    bounded,
    store::{Contents, document},
};

/// The store in a file. A file that is missing is an empty store; a missing directory is an error, since
/// then a mount or the configuration is wrong, and an empty store would refuse everything.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

/// The store while nobody may write it.
#[derive(Debug)]
pub struct Shared {
    store: Store,
    /// Holds the lock as long as it lives; none while nobody has ever written.
    _lock: Option<File>,
}

/// The store while nobody else may read or write it under a lock.
#[derive(Debug)]
pub struct Exclusive {
    store: Store,
    /// Holds the lock as long as it lives.
    _lock: File,
}

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory of the file is not there.
    #[error("the store's directory {} does not exist", path.display())]
    NoDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The file could not be read.
    #[error("cannot read the store {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What stands in the file is wrong.
    #[error("{}:{line}: {reason}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The file could not be written; it is what it was before.
    #[error("cannot {operation} {}", path.display())]
    Write {
        /// What failed.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The lock could not be used.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else had the lock for too long.
    #[error(
        "another process has held the lock {} for {} s: try again when it is done",
        path.display(),
        waited.as_secs()
    )]
    Held {
        /// The lock's file.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
    },
    /// The file cannot be watched.
    #[error("cannot watch the store {}", path.display())]
    Watch {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: notify::Error,
    },
}

impl Store {
    /// The store in the file `path`; nothing is opened yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The contents as they were at some instant: a change is never seen half.
    pub fn read(&self) -> Result<Contents, StoreError> {
        Ok(self.read_if_there()?.unwrap_or_default())
    }

    /// As [`Self::read`], but none if the file is missing.
    pub fn read_if_there(&self) -> Result<Option<Contents>, StoreError> {
        let fail = |source| StoreError::Read { path: self.path.clone(), source };
        let file = match bounded::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.check_directory()?;
                return Ok(None);
            }
            opened => opened.map_err(fail)?,
        };
        let octets = bounded::read_to_end(file, FILE_MAX).map_err(fail)?;
        let contents = document::parse(&octets).map_err(|problem| StoreError::Wrong {
            path: self.path.clone(),
            line: problem.line,
            reason: problem.reason,
        })?;
        Ok(Some(contents))
    }

    /// Waits at most [`LOCK_WAIT`] until nobody writes, and keeps it so. To read makes no file: where there
    /// is no lock, nobody has written yet.
    pub fn share(&self) -> Result<Shared, StoreError> {
        self.check_directory()?;
        let file = match open_lock(&self.lock_path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            opened => Some(opened.map_err(|source| self.lock_error(source))?),
        };
        if let Some(file) = &file {
            self.wait(file, File::try_lock_shared)?;
        }
        Ok(Shared { store: self.clone(), _lock: file })
    }

    /// Waits at most [`LOCK_WAIT`] until nobody else holds a lock, and keeps it so.
    pub fn own(&self) -> Result<Exclusive, StoreError> {
        self.check_directory()?;
        let file = self.make_lock().map_err(|source| self.lock_error(source))?;
        self.wait(&file, File::try_lock)?;
        Ok(Exclusive { store: self.clone(), _lock: file })
    }

    fn wait(&self, file: &File, try_lock: fn(&File) -> Result<(), TryLockError>) -> Result<(), StoreError> {
        let began = Instant::now();
        loop {
            match try_lock(file) {
                Ok(()) => return Ok(()),
                Err(TryLockError::Error(error)) => return Err(self.lock_error(error)),
                Err(TryLockError::WouldBlock) if began.elapsed() >= LOCK_WAIT => {
                    return Err(StoreError::Held { path: self.lock_path(), waited: LOCK_WAIT });
                }
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_POLL),
            }
        }
    }

    fn make_lock(&self) -> io::Result<File> {
        let path = self.lock_path();
        match open_lock(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        let file = options.custom_flags(libc::O_NOFOLLOW).open(path)?;
        self.adopt(&file)?;
        Ok(file)
    }

    fn lock_path(&self) -> PathBuf {
        beside(&self.path, ".lock")
    }

    fn lock_error(&self, source: io::Error) -> StoreError {
        StoreError::Lock { path: self.lock_path(), source }
    }

    fn check_directory(&self) -> Result<(), StoreError> {
        let directory = directory_of(&self.path);
        if directory.is_dir() { Ok(()) } else { Err(StoreError::NoDirectory { path: directory.to_owned() }) }
    }

    fn write(&self, contents: &Contents) -> Result<(), StoreError> {
        let aside = beside(&self.path, ".new");
        let written = self.write_aside(contents, &aside).and_then(|()| {
            fs::rename(&aside, &self.path).map_err(|source| StoreError::Write {
                operation: "replace the store",
                path: self.path.clone(),
                source,
            })
        });
        if written.is_err() {
            // what is left is overwritten by the next writer: only tidiness is at stake
            let _ = fs::remove_file(&aside);
        }
        written?;
        let directory = directory_of(&self.path);
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|source| StoreError::Write {
            operation: "sync the directory",
            path: directory.to_owned(),
            source,
        })
    }

    /// Only the holder of the lock writes, so that one name is enough; what a killed writer left is removed.
    fn write_aside(&self, contents: &Contents, aside: &Path) -> Result<(), StoreError> {
        let fail = |operation| move |source| StoreError::Write { operation, path: aside.to_owned(), source };
        match fs::remove_file(aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail("remove")(error)),
            _ => {}
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(aside)
            .map_err(fail("create"))?;
        self.adopt(&file).map_err(fail("set the rights of"))?;
        let mut buffer = BufWriter::new(&file);
        document::write(contents, &mut buffer).and_then(|()| buffer.flush()).map_err(fail("write"))?;
        file.sync_all().map_err(fail("sync"))
    }

    /// Gives `file` the owner of the store, or of its directory while there is none: a command that root
    /// runs must not lock the daemon out.
    fn adopt(&self, file: &File) -> io::Result<()> {
        file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
        let model = fs::metadata(&self.path).or_else(|_| fs::metadata(directory_of(&self.path)))?;
        match fchown(file, Some(model.uid()), Some(model.gid())) {
            // without root the file stays the writer's own
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            other => other,
        }
    }
}

impl Shared {
    /// The contents.
    pub fn read(&self) -> Result<Contents, StoreError> {
        self.store.read()
    }
}

impl Exclusive {
    /// The contents.
    pub fn read(&self) -> Result<Contents, StoreError> {
        self.store.read()
    }

    /// As [`Self::read`], but none if the file is missing.
    pub fn read_if_there(&self) -> Result<Option<Contents>, StoreError> {
        self.store.read_if_there()
    }

    /// Replaces the contents. An error leaves what was there, unless it says that the directory could not
    /// be synced: then the change may be lost with the power.
    pub fn write(&mut self, contents: &Contents) -> Result<(), StoreError> {
        self.store.write(contents)
    }
}

/// The directory of the store `path`.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// To read is enough for a lock, so that a daemon without the right to write can wait for writers.
fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// How long a lock is waited for.
pub const LOCK_WAIT: Duration = Duration::from_secs(10);
/// How often a lock that somebody holds is tried.
const LOCK_POLL: Duration = Duration::from_millis(20);
/// Largest file, in octets: about two million prefixes have 100 million.
const FILE_MAX: u64 = 512 << 20;
/// The operator's and the daemon's group's.
const FILE_MODE: u32 = 0o640;

#[cfg(test)]
mod tests;
