//! The request by which a daemon that may not attach the XDP program has another process do it:
//! sixgate-attach.path watches for the file, and starts sixgate-attach.service, which removes it
//! before it looks at the interfaces.
//!
//! The file has no content: what is attached, and where, is in the configuration, which the
//! daemon cannot write.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

/// Where the file is.
#[derive(Clone, Debug)]
pub(super) struct AttachRequest(PathBuf);

impl AttachRequest {
    /// Beside the control socket of the daemon.
    pub(super) fn of(control_socket: &Path) -> Self {
        let mut path = control_socket.as_os_str().to_owned();
        path.push(SUFFIX);
        Self(path.into())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the request; nothing changes where it waits already.
    pub(super) fn make(&self) -> io::Result<()> {
        match File::create_new(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made.map(drop),
        }
    }

    /// Whether no process has removed it yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.0.exists()
    }
}

/// After the name of the control socket; sixgate-attach.path has the whole name.
const SUFFIX: &str = ".attach-request";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_waits_until_it_is_removed_and_may_be_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let request = AttachRequest::of(&directory.path().join("control"));
        assert_eq!(request.path(), directory.path().join("control.attach-request"));
        assert!(!request.is_waiting());
        for _ in 0..2 {
            request.make().unwrap();
            assert!(request.is_waiting());
        }
        std::fs::remove_file(request.path()).unwrap();
        assert!(!request.is_waiting());
    }
}
