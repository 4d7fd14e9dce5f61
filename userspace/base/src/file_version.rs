//! What tells one version of a file from another, by one stat(2).
//!
//! It reads no file.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

/// A version of a file. Each change by renaming makes a new file, so that the inode alone nearly
/// always tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FileVersion {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

/// The version of the file that `path` leads to now, through any links; `None` if there is no file.
///
/// # Errors
/// As stat(2), a missing file apart.
pub fn file_version(path: &Path) -> io::Result<Option<FileVersion>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(FileVersion {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The file's identity, independent of its contents.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
}

/// Which file `path` leads to now.
///
/// # Errors
/// As stat(2).
pub fn file_identity(path: &Path) -> io::Result<FileIdentity> {
    let metadata = fs::metadata(path)?;
    Ok(FileIdentity { device: metadata.dev(), inode: metadata.ino() })
}
