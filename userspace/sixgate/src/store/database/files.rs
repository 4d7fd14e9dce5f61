//! The files of a store and beside it: their names, owners and rights.
//!
//! It knows no SQL.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use crate::store::StoreError;

/// SQLite's files beside a database.
pub(super) const LOGS: [&str; 2] = ["-wal", "-shm"];
/// The files beside a store that belong to it, by what is put after its name: SQLite's, the backup
/// and the first of those that are kept, stores that were set aside, and what becomes one of them.
pub(super) const BESIDE: [&str; 10] =
    [LOGS[0], LOGS[1], "-journal", ".old", ".old.new", ".old.1", ".new", ".restored", DAMAGED, REPLACED];
/// After the name of a store that was damaged, and is kept.
pub(super) const DAMAGED: &str = ".damaged";
/// After the name of a good store that a backup replaced.
pub(super) const REPLACED: &str = ".replaced";
/// After the name of the JSON file of an earlier version: it is not taken over.
pub(super) const TAKEN_OVER: &str = ".taken-over";
/// For the owner; members of the group may read.
const FILE_MODE: u32 = 0o640;

pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// `path` with `suffix` behind its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Removes a file that may be there.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// A file that other users may not open, since a process that may open the database may also lock
/// it. Members of the group may read a new one regardless of the umask; one that is there keeps its
/// mode.
pub(super) fn private(path: &Path) -> io::Result<File> {
    match OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path) {
        Ok(file) => file.set_permissions(Permissions::from_mode(FILE_MODE)).map(|()| file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().write(true).open(path)
        }
        Err(error) => Err(error),
    }
}

/// Gives `file` the owner of its directory: a command that root runs must not lock the daemon out.
pub(super) fn adopt(file: &File, path: &Path) -> io::Result<()> {
    let model = fs::metadata(directory_of(path))?;
    match fchown(file, Some(model.uid()), Some(model.gid())) {
        // without root the file stays the writer's own
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

pub(super) fn sync(directory: &Path) -> Result<(), StoreError> {
    let synced = File::open(directory).and_then(|opened| opened.sync_all());
    synced.map_err(failed("sync the directory", directory))
}

/// The directory of the file `path`.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

pub(super) fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::File { operation, path, source }
}
