//! The store as an SQLite database: where it is, how it is made and opened.
//!
//! Reading is `read`'s, changing `edit`'s and `replace`'s, what was changed
//! `history`'s and `audit`'s; checking
//! and the backup are `safety`'s, a store that cannot be written is `reading`'s.

mod access;
mod audit;
mod create;
mod edit;
mod files;
mod history;
mod read;
mod reading;
mod replace;
mod row;
mod safety;
mod undo;

use std::{
    fs, io, iter,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::store::StoreError;

use access::Access;
pub use audit::{AuditLog, AuditQuery, Audited, EntryDifference};
pub use create::TakenOver;
pub use edit::{Consent, Edit, Edited};
use files::{BESIDE, TAKEN_OVER, beside, is_missing};
pub(crate) use history::{CHANGES_KEPT, CHANGES_KEPT_OF_ONE, REVISIONS_KEPT};
pub use history::{Logged, Since};
pub use read::StoreCounts;
pub use replace::Replaced;
pub use safety::{Backup, StartNote};
pub use undo::Undo;

/// Where the store is. Nothing is open.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    /// The JSON file of earlier versions, from which the database is made once.
    json: PathBuf,
}

/// The store, open. It is the caller's alone; another thread or process has its own.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    path: PathBuf,
    access: Access,
}

impl Store {
    /// The store that the configuration names. Where it names the JSON file of an earlier version,
    /// the database is beside that.
    #[must_use]
    pub fn new(configured: impl Into<PathBuf>) -> Self {
        let configured = configured.into();
        Self { path: configured.with_extension("db"), json: configured.with_extension("json") }
            .unless_named(configured)
    }

    /// A file whose name ends otherwise is used as the configuration names it.
    fn unless_named(self, configured: PathBuf) -> Self {
        let is_json = configured.extension().is_some_and(|extension| extension == "json");
        if is_json { self } else { Self { path: configured, ..self } }
    }

    /// The database's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that sixgate or SQLite may make, replace or remove for it, its own first, and the
    /// JSON file of an earlier version.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let own = BESIDE.iter().map(|suffix| beside(&self.path, suffix));
        let json = [self.json.clone(), beside(&self.json, TAKEN_OVER)];
        iter::once(self.path.clone()).chain(own).chain(json).collect()
    }

    /// Opens it, for reading and changing; a JSON file of an earlier version becomes one first.
    /// Where the file system is read-only or full, it is opened for reading:
    /// [`Database::unwritable`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`] and [`StoreError::Lost`] if there is none; [`StoreError::Damaged`].
    pub fn open(&self) -> Result<Database, StoreError> {
        self.open_waiting(WRITE_WAIT)
    }

    /// As [`Self::open`]; another process is waited for as long as `wait`.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn open_waiting(&self, wait: Duration) -> Result<Database, StoreError> {
        self.take_over()?;
        let kind = match fs::metadata(&self.path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if is_missing(&error) => return Err(self.missing_or_dangling()),
            Err(source) => return Err(self.file_error(source)),
        };
        if kind.is_dir() {
            return Err(self.file_error(io::ErrorKind::IsADirectory.into()));
        }
        if !kind.is_file() {
            return Err(self.file_error(io::Error::other("it is not a regular file")));
        }
        Database::connect(&self.path, wait)
    }

    fn file_error(&self, source: io::Error) -> StoreError {
        StoreError::File { operation: "open the opt-in store", path: self.path.clone(), source }
    }
}

impl Database {
    fn connect(path: &Path, wait: Duration) -> Result<Self, StoreError> {
        match Self::connect_writing(path, wait) {
            Err(failure @ (StoreError::Database { .. } | StoreError::File { .. })) => {
                Self::connect_reading(path, wait, failure)
            }
            connected => connected,
        }
    }

    fn connect_writing(path: &Path, wait: Duration) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, flags).map_err(|source| open_error(path, source))?;
        let database = Self { connection, path: path.to_owned(), access: Access::Full };
        database.set_wait(wait)?;
        // before anything is written to a file that may be another one
        database.check_form()?;
        database.prepare().map_err(|source| open_error(path, source))?;
        database.limited()
    }

    /// Opens a database that nothing changes, and leaves no file beside it.
    fn look_at(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, flags).map_err(|source| open_error(path, source))?;
        let access = Access::Reading { reason: "it is a backup".to_owned() };
        let database = Self { connection, path: path.to_owned(), access };
        database.check_form()?;
        Ok(database)
    }

    fn prepare(&self) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        self.connection.pragma_update(None, "journal_size_limit", WAL_KEPT)?;
        self.set_caches()
    }

    fn set_caches(&self) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "cache_size", CACHE_KIBIBYTES)?;
        self.connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(())
    }

    /// How long another process is waited for.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn set_wait(&self, wait: Duration) -> Result<(), StoreError> {
        self.connection.busy_timeout(wait).map_err(self.error("use"))
    }

    fn check_form(&self) -> Result<(), StoreError> {
        let read = |pragma| {
            let value = self.connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
            value.map_err(|source| open_error(&self.path, source))
        };
        if read("application_id")? != APPLICATION {
            let is_empty = fs::metadata(&self.path).is_ok_and(|file| file.len() == 0);
            let reason = if is_empty { "it is empty" } else { "it is not a sixgate store" };
            return Err(StoreError::damaged(&self.path, reason.to_owned()));
        }
        let found = read("user_version")?;
        if found != FORM {
            return Err(StoreError::OtherForm { path: self.path.clone(), found, wanted: FORM });
        }
        Ok(())
    }

    fn error(&self, operation: &'static str) -> impl Fn(rusqlite::Error) -> StoreError + use<> {
        let path = self.path.clone();
        move |source| StoreError::sqlite(operation, &path, source)
    }
}

/// SQLite does not report why it could not open a file: mostly for want of rights, on it or on its
/// directory.
fn open_error(path: &Path, source: rusqlite::Error) -> StoreError {
    let is_denied = matches!(
        source.sqlite_error_code(),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied)
    );
    let is_root = nix::unistd::geteuid().is_root();
    if is_denied && !is_root {
        let source = io::ErrorKind::PermissionDenied.into();
        return StoreError::File { operation: "open the opt-in store", path: path.to_owned(), source };
    }
    StoreError::sqlite("open", path, source)
}

/// `6gat`: what `file` and `PRAGMA application_id` show.
const APPLICATION: i64 = 0x3667_6174;
/// Version of the tables.
const FORM: i64 = 1;
/// How long a command waits for another one that changes the store.
pub const WRITE_WAIT: Duration = Duration::from_secs(60);
/// Size to which the write-ahead log is cut back when it has been carried over into the database,
/// in octets.
const WAL_KEPT: i64 = 4 << 20;
/// Memory for pages of one connection. A negative number counts KiB.
const CACHE_KIBIBYTES: i64 = -8192;
/// Statements that a connection keeps prepared.
const STATEMENTS: usize = 32;

#[cfg(test)]
mod tests;
