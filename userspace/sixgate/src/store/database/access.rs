//! Whether a connection to a store can write and read, and why it cannot do more.
//!
//! It opens nothing.

use std::path::Path;

use nix::{
    errno::Errno,
    sys::statvfs::{FsFlags, statvfs},
    unistd::{AccessFlags, access},
};
use rusqlite::ErrorCode;

use super::files::directory_of;
use crate::store::StoreError;

/// The operations that a connection can do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Access {
    /// Read and change.
    Full,
    /// Read, and notice the changes of others.
    Reading {
        /// Why it cannot change anything.
        reason: String,
    },
    /// Read what the file holds, as if nothing ever changed it.
    Frozen {
        /// Why the file cannot be used otherwise.
        reason: String,
    },
}

/// The reason why SQLite cannot write to the file system of `path`; none if it can.
pub(super) fn read_only_reason(path: &Path) -> Option<String> {
    let directory = directory_of(path);
    let found = statvfs(directory).ok()?;
    if found.flags().contains(FsFlags::ST_RDONLY) {
        return Some(format!("the file system of {} is read-only", directory.display()));
    }
    let left = found.blocks_available().saturating_mul(found.fragment_size());
    let has_no_files = found.files() > 0 && found.files_free() == 0;
    (left < SPACE_NEEDED || has_no_files)
        .then(|| format!("no space is left on the file system of {}", directory.display()))
}

/// That this user may read the store and not write it; none if that is not so.
pub(super) fn reader_reason(path: &Path) -> Option<String> {
    let may = |mode| access(path, mode);
    let is_reader = may(AccessFlags::R_OK).is_ok() && may(AccessFlags::W_OK) == Err(Errno::EACCES);
    is_reader.then(|| format!("this user may only read {}", path.display()))
}

/// An error of writing for which the file system gives no reason, such as a quota or a failing
/// disk.
pub(super) fn unexplained(failure: &StoreError) -> Option<String> {
    let StoreError::Database { source, .. } = failure else { return None };
    let is_of_writing =
        matches!(source.sqlite_error_code(), Some(ErrorCode::SystemIoFailure | ErrorCode::DiskFull));
    is_of_writing.then(|| format!("SQLite cannot write beside it: {source}"))
}

/// Octets that SQLite needs beside a store to open it: its shared memory.
const SPACE_NEEDED: u64 = 64 << 10;
