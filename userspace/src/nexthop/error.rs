//! What can go wrong on the way to the next hop: for the log, and for nobody else.
//!
//! It owns the mapping of errors to our own replies; it holds no text that a stranger ever sees.

use std::{io, path::PathBuf};

use crate::smtp::reply::Say;

/// Why the next hop did not take a message, or could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum NextHopError {
    /// A file operation of the Maildir failed.
    #[error("cannot {action} {}", path.display())]
    Maildir {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// There is something at a place of the Maildir that is no directory.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// The place.
        path: PathBuf,
    },
}

impl NextHopError {
    /// What the sender hears.
    pub(super) fn say(&self) -> Say {
        match self {
            Self::Maildir { .. } | Self::NotADirectory { .. } => Say::StorageFailed,
        }
    }
}
