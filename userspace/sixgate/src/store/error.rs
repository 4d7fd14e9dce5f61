//! The errors of the opt-in store.
//!
//! Each text names the file and, where there is one, the command that is meant.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::store::database::{CHANGES_KEPT, CHANGES_KEPT_OF_ONE, REVISIONS_KEPT};

/// An operation on the store failed.
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
    /// There is none; a JSON file beside it may be older than what is lost.
    #[error(
        "no opt-in store at {}: is the volume mounted? There is {}, which may be out of date; to use that: `sixgate init`, \
         then `sixgate store import {}`",
        path.display(), json.display(), json.display()
    )]
    Lost {
        /// Where it should be.
        path: PathBuf,
        /// The JSON file, of an earlier version or exported.
        json: PathBuf,
    },
    /// There is none, but its backup is there.
    #[error(
        "no opt-in store at {}, only its backup {}: is the volume mounted? `sixgate store restore` puts it back; \
         `sixgate init --force` makes an empty store and keeps the backup as {}.1",
        path.display(), backup.display(), backup.display()
    )]
    OnlyBackup {
        /// Where it should be.
        path: PathBuf,
        /// The path of its backup.
        backup: PathBuf,
    },
    /// It is a symbolic link to what is not there.
    #[error(
        "the opt-in store {} is a symbolic link to {}, which is not there: is the volume mounted? To make a new store: \
         `rm {}`, then `sixgate init`",
        path.display(), target.display(), path.display()
    )]
    Dangling {
        /// Where the link is.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// There is no backup of it.
    #[error(
        "there is no backup {} to put back; {}",
        backup.display(), if *is_store_there { "nothing was changed" } else { "`sixgate init` makes a new store" }
    )]
    NoBackup {
        /// Where it should be.
        backup: PathBuf,
        /// Whether there is a file at the store's path.
        is_store_there: bool,
    },
    /// Its backup is damaged, too.
    #[error("the backup {} of the opt-in store cannot be put back", backup.display())]
    BadBackup {
        /// The path of the backup.
        backup: PathBuf,
        /// The error in the backup.
        source: Box<Self>,
    },
    /// No further store or backup is kept under this name.
    #[error("{kept} files {} are kept already, with numbers after it: move them away", path.display())]
    TooManyKept {
        /// The name that they begin with.
        path: PathBuf,
        /// How many are kept.
        kept: u32,
    },
    /// It can be read, but not changed.
    #[error("the opt-in store {} cannot be changed: {reason}; nothing was changed", path.display())]
    Unwritable {
        /// The path of the store.
        path: PathBuf,
        /// Why it cannot be changed.
        reason: String,
    },
    /// There is one already.
    #[error("there is an opt-in store at {} already; nothing was changed", path.display())]
    Exists {
        /// The path of the store.
        path: PathBuf,
    },
    /// There is a good one, which the backup is not to replace.
    #[error(
        "the opt-in store {} is good; nothing was changed. To go back to its backup {}: `sixgate store restore --force`",
        path.display(), backup.display()
    )]
    Good {
        /// The path of the store.
        path: PathBuf,
        /// The path of its backup.
        backup: PathBuf,
    },
    /// There is the JSON file of an earlier version.
    #[error(
        "there is an opt-in store of an earlier version, {}, which every other command and the daemon take over, such as \
         `sixgate status`; nothing was changed, `sixgate init --force` makes an empty store",
        json.display()
    )]
    Earlier {
        /// The path of that file.
        json: PathBuf,
    },
    /// A file could not be used.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// The operation that failed, as in "cannot make the directory".
        operation: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The JSON file of an earlier version, of which the store is to be made, is wrong.
    #[error(
        "{}:{line}: {reason}; this is the opt-in store of an earlier version, which is to be taken over: mend that line, or \
         make an empty store (`mv {} {}.bad`, then `sixgate init`)",
        path.display(), path.display(), path.display()
    )]
    Wrong {
        /// The path of the file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The error there, as text for the message.
        reason: String,
    },
    /// The database failed; nothing was changed.
    #[error("cannot {operation} the opt-in store {}", path.display())]
    Database {
        /// The operation that failed, as in "cannot read".
        operation: &'static str,
        /// The path of the store.
        path: PathBuf,
        /// The error of SQLite.
        source: rusqlite::Error,
    },
    /// Another process has written for too long.
    #[error("another process is writing to the opt-in store {}; nothing was changed, try again", path.display())]
    Busy {
        /// The path of the store.
        path: PathBuf,
    },
    /// It is damaged.
    #[error("the opt-in store {} is damaged: {reason}; {}", path.display(), way_out(path, *has_backup))]
    Damaged {
        /// The path of the store.
        path: PathBuf,
        /// How it is damaged.
        reason: String,
        /// Whether there is a backup.
        has_backup: bool,
    },
    /// It has a log that cannot be read where it is.
    #[error(
        "the opt-in store {path} cannot be read: its last changes are in {path}-wal, which SQLite carries over only where it \
         can write, and {reason}; mount the file system for writing (`mount -o remount,rw`) and run `sixgate status`, or \
         copy both files to another directory and name that store in the configuration",
        path = path.display()
    )]
    LogUnread {
        /// The path of the store.
        path: PathBuf,
        /// Why nothing can be written.
        reason: String,
    },
    /// It was made by a later version.
    #[error(
        "the opt-in store {} was written by another version of sixgate (schema {found}, this one reads {wanted}): install that \
         version again, or take its `sixgate store export` over with `sixgate store import` (\"Roll back\" in operating.md)",
        path.display()
    )]
    OtherForm {
        /// The path of the store.
        path: PathBuf,
        /// The form of the store, a number.
        found: i64,
        /// The form that this build uses.
        wanted: i64,
    },
    /// A list is empty.
    #[error("the list of {what} is empty; nothing was changed: `--allow-empty` if that is meant")]
    EmptyList {
        /// The kind of entries, in the plural.
        what: &'static str,
    },
    /// A change would leave nothing.
    #[error(
        "this would leave no {what}, so that {then}; nothing was changed: `--allow-empty` if that is meant"
    )]
    Empties {
        /// The kind of entry, in the singular.
        what: &'static str,
        /// The consequence, for the message.
        then: &'static str,
    },
    /// An undo would leave a list without entries.
    #[error("the undo would leave no {what}; nothing was changed: `--allow-empty` if that is meant")]
    UndoEmpties {
        /// The kind of entries, in the plural.
        what: &'static str,
    },
    /// No such change is in the history.
    #[error(
        "{}; `sixgate audit` lists the changes", no_change(*number, *is_old)
    )]
    NoChange {
        /// The number that was given.
        number: u64,
        /// Whether there was a change of that number.
        is_old: bool,
    },
    /// A change that concerned no entry.
    #[error("change {number} concerns no entry: there is nothing to undo")]
    NothingToUndo {
        /// The number of the change.
        number: u64,
    },
    /// A change whose entries are not kept.
    #[error(
        "change {number} cannot be undone: its entries are not kept any more (at most {CHANGES_KEPT_OF_ONE} of one change, \
         {CHANGES_KEPT} of all, and none of a store's first change); nothing was changed. `sixgate store restore --force` puts \
         the last backup back, `sixgate store import FILE` an export"
    )]
    EntriesNotKept {
        /// The number of the change.
        number: u64,
    },
    /// Later changes concern the same entries.
    #[error(
        "change {number} cannot be undone: its entries were changed later{}; nothing was changed. Undo the later changes \
         first, or `sixgate undo {number} --force` makes these entries as they were before change {number}",
        if later.is_empty() { String::new() } else { format!(", by {later}") }
    )]
    UndoConflicts {
        /// The number of the change.
        number: u64,
        /// The later changes, by number and command.
        later: String,
    },
    /// A list lacks more than half of what is there.
    #[error(
        "{by} would remove {removed} of {before} {what}{}; nothing was changed: `--allow-shrink` if that is meant",
        if *counts_out { ", or no longer opt them in" } else { "" }
    )]
    Shrinks {
        /// The cause: a list, or an undo.
        by: &'static str,
        /// The kind of entries, in the plural.
        what: &'static str,
        /// How many would go, or would no longer be opted in.
        removed: usize,
        /// How many there are.
        before: usize,
        /// Whether some would stay, not opted in.
        counts_out: bool,
    },
}

fn no_change(number: u64, is_old: bool) -> String {
    if is_old {
        format!("change {number} is not kept any more: the last {REVISIONS_KEPT} changes are")
    } else {
        format!("there is no change {number}")
    }
}

/// The command that leads from a damaged store to a good one.
fn way_out(path: &Path, has_backup: bool) -> String {
    let path = path.display();
    if has_backup {
        format!(
            "`sixgate store restore`, or a start of the daemon, puts its backup {path}.old back, if that is good"
        )
    } else {
        format!(
            "there is no backup {path}.old: move the store away with its logs (`mv {path} {path}-wal {path}-shm DIR`; the \
             logs may be missing), then `sixgate init` makes a new one, and `sixgate store import FILE` fills it with what \
             `sixgate store export` printed"
        )
    }
}

impl StoreError {
    /// That the store `path` is damaged, and whether there is a backup of it now.
    pub(super) fn damaged(path: &Path, reason: String) -> Self {
        let mut backup = path.as_os_str().to_owned();
        backup.push(".old");
        Self::Damaged { path: path.to_owned(), reason, has_backup: Path::new(&backup).exists() }
    }

    /// The error of SQLite about the store `path`.
    pub(super) fn sqlite(operation: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy) => Self::Busy { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::damaged(&path, source.to_string())
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
