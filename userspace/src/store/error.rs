//! What can go wrong with the opt-in store.
//!
//! Each text names the file and, where there is one, the command that is meant.

use std::{
    io,
    path::{Path, PathBuf},
};

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is none.
    #[error(
        "no opt-in store at {}: is the volume mounted? `sixgate init` makes a new one",
        path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// There is none; the file that one was made from once is older than what is lost.
    #[error(
        "no opt-in store at {}: is the volume mounted? It was made from {} once, which may be out of date; to use that \
         again: `sixgate init`, then `sixgate store import {}`",
        path.display(), json.display(), json.display()
    )]
    Lost {
        /// Where it should be.
        path: PathBuf,
        /// What it was made from.
        json: PathBuf,
    },
    /// There is none, but its backup is there.
    #[error(
        "no opt-in store at {}; its backup {} is there: `sixgate store restore` puts it back, `sixgate init` makes a new \
         store",
        path.display(), backup.display()
    )]
    OnlyBackup {
        /// Where it should be.
        path: PathBuf,
        /// Its backup.
        backup: PathBuf,
    },
    /// There is one already.
    #[error("there is an opt-in store at {} already; nothing was changed", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// There is the JSON file of an earlier version.
    #[error(
        "there is an opt-in store of an earlier version, {}, which every other command and the daemon take over, such as \
         `sixgate status`; nothing was changed, `sixgate init --force` makes an empty store",
        json.display()
    )]
    Earlier {
        /// Which.
        json: PathBuf,
    },
    /// A file could not be used.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What failed.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What stands in a JSON file is wrong.
    #[error("{}:{line}: {reason}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The database failed; nothing was changed.
    #[error("cannot {operation} the opt-in store {}", path.display())]
    Database {
        /// What failed.
        operation: &'static str,
        /// Which store.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Another process has written for too long.
    #[error("another process is writing to the opt-in store {}; nothing was changed, try again", path.display())]
    Busy {
        /// Which store.
        path: PathBuf,
    },
    /// It is damaged.
    #[error(
        "the opt-in store {} is damaged: {reason}; `sixgate store restore`, or a start of the daemon, puts the backup \
         {}.old back, if that is there",
        path.display(), path.display()
    )]
    Damaged {
        /// Which store.
        path: PathBuf,
        /// How.
        reason: String,
    },
    /// It was made by a later version.
    #[error("the opt-in store {} has form {found}: this sixgate reads form {wanted}", path.display())]
    OtherForm {
        /// Which store.
        path: PathBuf,
        /// Its form.
        found: i64,
        /// This build's.
        wanted: i64,
    },
    /// A list is empty.
    #[error("the list of {what} is empty; nothing was changed: `--allow-empty` if that is meant")]
    EmptyList {
        /// Of what.
        what: &'static str,
    },
    /// A change would leave nothing.
    #[error(
        "this would leave no {what}, so that {then}; nothing was changed: `--allow-empty` if that is meant"
    )]
    Empties {
        /// Of what.
        what: &'static str,
        /// What follows.
        then: &'static str,
    },
    /// A list lacks more than half of what is there.
    #[error(
        "the list would remove {removed} of {before} {what}; nothing was changed: `--allow-shrink` if that is meant"
    )]
    Shrinks {
        /// Of what.
        what: &'static str,
        /// How many would go.
        removed: usize,
        /// How many there are.
        before: usize,
    },
}

impl StoreError {
    /// What SQLite said about the store `path`.
    pub(super) fn sqlite(operation: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy) => Self::Busy { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { path, reason: source.to_string() }
            }
            _ => Self::Database { operation, path, source },
        }
    }

    /// Whether there is no store.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Lost { .. } | Self::OnlyBackup { .. })
    }
}
