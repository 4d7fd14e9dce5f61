//! How a store is opened that cannot be written: its file system is read-only or full, or this user
//! may only read it.
//!
//! It reads what is there and makes no file. `edit` reports what such a store cannot do.

use std::{os::unix::ffi::OsStrExt as _, path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

use super::{
    Database,
    access::{Access, read_only_reason, reader_reason, unexplained},
    files::{beside, is_missing},
    open_error,
};
use crate::store::StoreError;

impl Database {
    /// Why the store cannot be changed; none if it can.
    #[must_use]
    pub fn unwritable(&self) -> Option<&str> {
        match &self.access {
            Access::Full => None,
            Access::Reading { reason } | Access::Frozen { reason } => Some(reason),
        }
    }

    /// Whether this connection must not be kept: what changes the file is not noticed by it.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        matches!(self.access, Access::Frozen { .. })
    }

    /// Opens the store for reading, after `failure` to open it for changes; `failure` if that has
    /// another cause.
    pub(super) fn connect_reading(
        path: &Path,
        wait: Duration,
        failure: StoreError,
    ) -> Result<Self, StoreError> {
        let Some(reason) =
            read_only_reason(path).or_else(|| unexplained(&failure)).or_else(|| reader_reason(path))
        else {
            return Err(failure);
        };
        // SQLite needs its files beside a store that has a write-ahead log, but does not have to
        // write to them
        let followed = Self::open_as(path, "readonly_shm=1", Access::Reading { reason: reason.clone() });
        let has_log = !is_log_empty(path);
        let unread = || StoreError::LogUnread { path: path.to_owned(), reason: reason.clone() };
        let failure = if has_log { unread() } else { failure };
        let opened = match followed {
            Err(_) if !has_log => Self::open_as(path, "immutable=1", Access::Frozen { reason }),
            followed => followed,
        };
        match opened {
            Ok(database) => {
                database.set_wait(wait)?;
                Ok(database)
            }
            Err(error @ (StoreError::Damaged { .. } | StoreError::OtherForm { .. })) => Err(error),
            Err(_) => Err(failure),
        }
    }

    fn open_as(path: &Path, how: &str, access: Access) -> Result<Self, StoreError> {
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let connection =
            Connection::open_with_flags(uri(path, how), flags).map_err(|source| open_error(path, source))?;
        let database = Self { connection, path: path.to_owned(), access };
        database.check_form()?;
        database.set_caches().map_err(|source| open_error(path, source))?;
        Ok(database)
    }

    /// What `self` can do although it was opened for changes: SQLite falls back to reading by
    /// itself.
    pub(super) fn limited(mut self) -> Result<Self, StoreError> {
        if self.connection.is_readonly("main").map_err(self.error("open"))? {
            let reason = read_only_reason(&self.path).or_else(|| reader_reason(&self.path));
            let reason = reason.unwrap_or_else(|| "it can only be read".to_owned());
            self.access = Access::Reading { reason };
        }
        Ok(self)
    }
}

/// Whether the write-ahead log of the store `path` has nothing that the store lacks.
fn is_log_empty(path: &Path) -> bool {
    match std::fs::metadata(beside(path, "-wal")) {
        Ok(log) => log.len() == 0,
        Err(error) => is_missing(&error),
    }
}

fn uri(path: &Path, how: &str) -> String {
    let mut uri = "file:".to_owned();
    for octet in path.as_os_str().as_bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*octet))
            }
            _ => uri.push_str(&format!("%{octet:02x}")),
        }
    }
    uri + "?" + how
}
