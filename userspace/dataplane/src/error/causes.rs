//! The causes at the bottom of the errors of libraries: the system's error, or the lack of a key.

use std::{error::Error, io};

use aya::maps::MapError;
use nix::libc;

/// The system's error at the end of a chain of library errors; else the chain's text.
pub(crate) fn system_error(error: impl Error + Send + Sync + 'static) -> io::Error {
    let mut next: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(cause) = next {
        if let Some(code) = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return io::Error::from_raw_os_error(code);
        }
        next = cause.source();
    }
    io::Error::other(error)
}

/// Whether a map operation failed because there is no such key: aya tells it in one way for
/// reading, in another for deleting.
pub(crate) fn is_absent(error: &MapError) -> bool {
    match error {
        MapError::KeyNotFound => true,
        MapError::SyscallError(error) => error.io_error.raw_os_error() == Some(libc::ENOENT),
        _ => false,
    }
}
