//! The SQLite file of the shadow report: one row for each refusal that was passed on.
//!
//! It owns the layout, and that the file stays small. Rows are aggregated by `report`.

use std::{
    fs::{self, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, Row, params};

use super::Waived;
use crate::config::Shadow;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ShadowError {
    /// The file system refused something.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// The attempted operation.
        operation: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// SQLite refused something.
    #[error("cannot {operation} {}", path.display())]
    Database {
        /// The attempted operation.
        operation: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The error of SQLite.
        source: rusqlite::Error,
    },
}

/// An open file, to read from.
#[derive(Debug)]
pub(crate) struct ShadowDatabase {
    connection: Connection,
    path: PathBuf,
}

impl ShadowDatabase {
    /// Adds `batch`, and removes what is older than `settings.keep` before `now`, in seconds since
    /// 1970, or beyond `settings.entries`. If nothing is to be kept, the file is removed.
    ///
    /// # Errors
    /// [`ShadowError`]; then nothing of the batch was added.
    pub(crate) fn update(
        path: &Path,
        batch: &[Waived],
        settings: &Shadow,
        now: i64,
    ) -> Result<(), ShadowError> {
        let keep = i64::try_from(settings.keep.as_secs()).unwrap_or(i64::MAX);
        if keep == 0 {
            return remove(path);
        }
        if batch.is_empty() && !path.exists() {
            return Ok(());
        }
        let failed = database("write to", path);
        let mut connection = create(path)?;
        let transaction = connection.transaction().map_err(&failed)?;
        for waived in batch {
            insert(&transaction, waived).map_err(&failed)?;
        }
        transaction
            .execute("DELETE FROM waived WHERE at < ?1", [now.saturating_sub(keep)])
            .and_then(|_| {
                transaction.execute(
                    "DELETE FROM waived WHERE id <= (SELECT max(id) FROM waived) - ?1",
                    [i64::from(settings.entries.get())],
                )
            })
            .map_err(&failed)?;
        transaction.commit().map_err(&failed)
    }

    /// Opens the file to read from; none: there is none.
    ///
    /// # Errors
    /// [`ShadowError`].
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, ShadowError> {
        if !path.exists() {
            return Ok(None);
        }
        let failed = database("open", path);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(&failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(&failed)?;
        Ok(Some(Self { connection, path: path.to_owned() }))
    }

    /// The refusals from `since` on, seconds since 1970, the oldest first.
    ///
    /// # Errors
    /// [`ShadowError`].
    pub(crate) fn read(&self, since: i64) -> Result<Vec<Waived>, ShadowError> {
        let read = || {
            let mut select = self.connection.prepare(
                "SELECT at, session, source, client_name, destination, mail_from, recipient, message_id, command, \
                 reason, reply FROM waived WHERE at >= ?1 ORDER BY id",
            )?;
            let rows = select.query_map([since], waived)?;
            rows.collect::<Result<Vec<_>, _>>()
        };
        read().map_err(database("read", &self.path))
    }
}

fn insert(connection: &Connection, waived: &Waived) -> rusqlite::Result<usize> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO waived (at, session, source, client_name, destination, mail_from, recipient, message_id, \
         command, reason, reply) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    insert.execute(params![
        waived.at,
        waived.session,
        waived.source,
        waived.client_name,
        waived.destination,
        waived.mail_from,
        waived.recipient,
        waived.message_id,
        waived.command,
        waived.reason,
        waived.reply
    ])
}

fn waived(row: &Row<'_>) -> rusqlite::Result<Waived> {
    Ok(Waived {
        at: row.get(0)?,
        session: row.get(1)?,
        source: row.get(2)?,
        client_name: row.get(3)?,
        destination: row.get(4)?,
        mail_from: row.get(5)?,
        recipient: row.get(6)?,
        message_id: row.get(7)?,
        command: row.get(8)?,
        reason: row.get(9)?,
        reply: row.get(10)?,
    })
}

/// Opens the file to write to. As the opt-in store it can be read by its owner and the group, and
/// by no other user: it has addresses of people. One that is there keeps its mode.
fn create(path: &Path) -> Result<Connection, ShadowError> {
    let failed = |source| ShadowError::File { operation: "create", path: path.to_owned(), source };
    match OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path) {
        // regardless of the umask
        Ok(file) => file.set_permissions(Permissions::from_mode(FILE_MODE)).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let failed = database("open", path);
    let connection = Connection::open(path).map_err(&failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(&failed)?;
    connection.execute_batch(LAYOUT).map_err(&failed)?;
    Ok(connection)
}

fn remove(path: &Path) -> Result<(), ShadowError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ShadowError::File { operation: "remove", path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

fn database(operation: &'static str, path: &Path) -> impl Fn(rusqlite::Error) -> ShadowError + use<> {
    let path = path.to_owned();
    move |source| ShadowError::Database { operation, path: path.clone(), source }
}

/// A number is never given twice, so that those of rows beyond the bound are known without
/// counting.
const LAYOUT: &str = "
CREATE TABLE IF NOT EXISTS waived (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, session TEXT NOT NULL, source TEXT NOT NULL,
    client_name TEXT NOT NULL, destination TEXT NOT NULL, mail_from TEXT NOT NULL, recipient TEXT NOT NULL,
    message_id TEXT NOT NULL, command TEXT NOT NULL, reason TEXT NOT NULL, reply TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS waived_at ON waived (at);
";
/// For the owner; members of the group may read.
const FILE_MODE: u32 = 0o640;
/// Wait for another process that has the file locked, such as a report that is being made.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn settings(keep: u64, entries: u32) -> Shadow {
        Shadow { keep: Duration::from_secs(keep), entries: NonZeroU32::new(entries).unwrap() }
    }

    fn at(at: i64) -> Waived {
        Waived { at, reason: "no_ptr".to_owned(), ..Waived::default() }
    }

    fn ages(path: &Path) -> Vec<i64> {
        let rows = ShadowDatabase::open(path).unwrap().expect("a file").read(0).unwrap();
        rows.iter().map(|row| row.at).collect()
    }

    #[test]
    fn rows_are_bounded_by_age_and_by_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shadow.db");
        ShadowDatabase::update(&path, &[], &settings(100, 3), 1000).unwrap();
        assert!(!path.exists(), "without a refusal there is no file");
        ShadowDatabase::update(&path, &[at(899), at(900), at(901)], &settings(100, 3), 1000).unwrap();
        assert_eq!(ages(&path), [900, 901]);
        ShadowDatabase::update(&path, &[at(902), at(903)], &settings(100, 3), 1000).unwrap();
        assert_eq!(ages(&path), [901, 902, 903]);
        ShadowDatabase::update(&path, &[], &settings(100, 3), 2000).unwrap();
        assert_eq!(ages(&path), [] as [i64; 0]);
        ShadowDatabase::update(&path, &[at(1999)], &settings(0, 3), 2000).unwrap();
        assert!(!path.exists(), "nothing is to be kept");
    }

    #[test]
    fn owner_and_group_alone_may_read_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shadow.db");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        ShadowDatabase::update(&path, &[at(1)], &settings(100, 3), 1).unwrap();
        assert_eq!(mode(), 0o640);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        ShadowDatabase::update(&path, &[at(2)], &settings(100, 3), 2).unwrap();
        assert_eq!(mode(), 0o600, "as its administrator wants it");
    }
}
