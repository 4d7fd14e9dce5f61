//! A new store: empty, or with the contents of a JSON file of an earlier version.
//!
//! It is made aside and linked to its path, so that a half-made one is never found and none is ever
//! written over.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use nix::unistd::{AccessFlags, access};
use rusqlite::Connection;

use super::{
    APPLICATION, Database, FORM, Store,
    access::Access,
    files::{LOGS, TAKEN_OVER, adopt, beside, directory_of, failed, is_missing, private, remove, sync},
    row,
};
use sixgate_base::bounded;

use crate::store::{Author, Contents, StoreError, document};

/// The file of an earlier version from which a new store was made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TakenOver {
    /// The file, which stays as it is.
    pub json: PathBuf,
    /// The database that was made.
    pub path: PathBuf,
    /// How many entries it had.
    pub entries: usize,
}

impl Store {
    /// Makes a new, empty store. A backup that is there is kept under another name: the next one
    /// would replace it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`] if there is one.
    pub fn create(&self) -> Result<(), StoreError> {
        self.check_free()?;
        let directory = directory_of(&self.path);
        match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("make the directory", directory)(error));
            }
            _ => {}
        }
        self.keep_backup()?;
        if self.make(&Contents::default(), &Author::of_this_process())? {
            // a JSON file of an earlier version, or one that is exported later, does not come back
            // by itself when this store is lost
            self.mark_taken_over()
        } else {
            Err(StoreError::Exists { path: self.path.clone() })
        }
    }

    /// Makes the checks of [`Self::create`], and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Self::create`].
    pub fn check_create(&self) -> Result<(), StoreError> {
        self.check_free()?;
        let directory = directory_of(&self.path);
        let (operation, writable) = match directory.exists() {
            true => ("write to the directory", directory),
            false => ("make the directory", directory_of(directory)),
        };
        access(writable, AccessFlags::W_OK | AccessFlags::X_OK)
            .map_err(|error| failed(operation, directory)(error.into()))?;
        self.backup_name().map(drop)
    }

    /// Whether nothing is at the store's path.
    fn check_free(&self) -> Result<(), StoreError> {
        if let Some(error) = self.dangling() {
            return Err(error);
        }
        if fs::symlink_metadata(&self.path).is_ok() {
            return Err(match self.open() {
                Err(error @ StoreError::Damaged { .. }) => error,
                _ => StoreError::Exists { path: self.path.clone() },
            });
        }
        Ok(())
    }

    /// Makes the store of the JSON file of an earlier version, if there is no store and this was
    /// not done before. The file stays as it is.
    ///
    /// # Errors
    ///
    /// [`StoreError::Wrong`] with the bad line.
    pub fn take_over(&self) -> Result<Option<TakenOver>, StoreError> {
        if !self.will_take_over() {
            return Ok(None);
        }
        let contents = read_document(&self.json)?;
        let what = format!("taken over from {}", self.json.display());
        if !self.make(&contents, &Author { what, ..Author::of_this_process() })? {
            return Ok(None);
        }
        self.mark_taken_over()?;
        let entries = contents.optin.entries().len()
            + contents.guard.entries().len()
            + contents.trust.entries().len()
            + contents.domains.len();
        Ok(Some(TakenOver { json: self.json.clone(), path: self.path.clone(), entries }))
    }

    /// Whether the JSON file of an earlier version can be taken over, if that is to be done.
    ///
    /// # Errors
    ///
    /// As [`Self::take_over`].
    pub fn check_earlier(&self) -> Result<(), StoreError> {
        if self.will_take_over() { read_document(&self.json).map(drop) } else { Ok(()) }
    }

    /// Whether the next command or start makes it of the JSON file of an earlier version. With a
    /// backup there was a store already, which is newer than that file.
    #[must_use]
    pub fn will_take_over(&self) -> bool {
        self.is_absent()
            && self.json.exists()
            && !self.taken_over_mark().exists()
            && !self.backup_path().exists()
    }

    /// That there is only a backup, as an error.
    #[must_use]
    pub fn only_backup(&self) -> Option<StoreError> {
        let backup = self.backup_path();
        let is_alone = self.is_absent() && backup.exists();
        is_alone.then(|| StoreError::OnlyBackup { path: self.path.clone(), backup })
    }

    /// That there is the JSON file of an earlier version, as an error.
    #[must_use]
    pub fn earlier(&self) -> StoreError {
        StoreError::Earlier { json: self.json.clone() }
    }

    /// That there is no store, as an error.
    pub(super) fn missing(&self) -> StoreError {
        let path = self.path.clone();
        match self.only_backup() {
            Some(error) => error,
            None if self.json.exists() => StoreError::Lost { path, json: self.json.clone() },
            None => StoreError::Missing { path },
        }
    }

    /// The same, where the store may be a symbolic link to what is not there.
    pub(super) fn missing_or_dangling(&self) -> StoreError {
        self.dangling().unwrap_or_else(|| self.missing())
    }

    /// That the store is a symbolic link to what is not there, as an error.
    fn dangling(&self) -> Option<StoreError> {
        let target = fs::read_link(&self.path).ok()?;
        let path = self.path.clone();
        (!self.path.exists()).then_some(StoreError::Dangling { path, target })
    }

    fn is_absent(&self) -> bool {
        fs::symlink_metadata(&self.path).is_err_and(|error| is_missing(&error))
    }

    fn taken_over_mark(&self) -> PathBuf {
        beside(&self.json, TAKEN_OVER)
    }

    fn mark_taken_over(&self) -> Result<(), StoreError> {
        let mark = self.taken_over_mark();
        private(&mark).and_then(|file| adopt(&file, &mark)).map_err(failed("make", &mark))
    }

    /// Makes the database with these contents; whether it was this call that made it.
    fn make(&self, contents: &Contents, author: &Author) -> Result<bool, StoreError> {
        let aside = beside(&self.path, ".new");
        let file = private(&aside).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => self.missing(),
            _ => failed("make", &aside)(source),
        })?;
        // one process at a time
        file.lock().map_err(failed("lock", &aside))?;
        let made = if self.is_absent() {
            self.fill(&file, &aside, contents, author).and_then(|()| self.link(&aside)).map(|()| true)
        } else {
            Ok(false)
        };
        let _ = fs::remove_file(&aside);
        made
    }

    /// Makes the database that was made aside the store.
    fn link(&self, aside: &Path) -> Result<(), StoreError> {
        // those of a store that is lost: SQLite would carry them over into this one
        for suffix in LOGS {
            remove(&beside(&self.path, suffix))?;
        }
        fs::hard_link(aside, &self.path).map_err(failed("make the opt-in store", &self.path))?;
        sync(directory_of(&self.path))
    }

    /// Fills the new database `file` at `path`, which nothing else has open.
    fn fill(&self, file: &File, path: &Path, contents: &Contents, author: &Author) -> Result<(), StoreError> {
        // what a killed process left
        file.set_len(0).map_err(failed("empty", path))?;
        adopt(file, path).map_err(failed("set the owner of", path))?;
        let connection = Connection::open(path).map_err(|source| StoreError::sqlite("make", path, source))?;
        let mut database = Database { connection, path: self.path.clone(), access: Access::Full };
        let schema = format!(
            "PRAGMA synchronous = FULL; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORM}; {SCHEMA}"
        );
        database.connection.execute_batch(&schema).map_err(database.error("make"))?;
        database.begin_history(contents, author)?;
        database.connection.close().map_err(|(_, source)| StoreError::sqlite("make", path, source))?;
        file.sync_all().map_err(failed("sync", path))
    }
}

/// Reads a store in the JSON form.
pub(super) fn read_document(path: &Path) -> Result<Contents, StoreError> {
    let octets = bounded::open(path).and_then(|file| bounded::read_to_end(file, DOCUMENT_MAX));
    let octets = octets.map_err(failed("read", path))?;
    document::parse(&octets).map_err(|problem| StoreError::Wrong {
        path: path.to_owned(),
        line: problem.line,
        reason: problem.reason,
    })
}

impl Database {
    /// Records the first revision: it has all entries, and no follower has to be informed of them.
    fn begin_history(&mut self, contents: &Contents, author: &Author) -> Result<(), StoreError> {
        let fail = self.error("fill");
        let transaction = self.connection.transaction().map_err(&fail)?;
        let mut entries = 0;
        {
            let mut insert = transaction
                .prepare("INSERT INTO entries (kind, key, state) VALUES (?, ?, ?)")
                .map_err(&fail)?;
            for (kind, key, state) in row::rows(contents) {
                insert.execute((kind.number(), key, state)).map_err(&fail)?;
                entries += 1;
            }
        }
        transaction
            .execute("INSERT INTO meta (name, value) VALUES ('store', random()), ('cut', 0)", ())
            .map_err(&fail)?;
        transaction
            .execute(
                "INSERT INTO revisions
                     (stamp, time, who, what, added, changed, removed, last_change, uid, login, host)
                 VALUES (random(), unixepoch(), ?, ?, ?, 0, 0, 0, ?, ?, ?)",
                (
                    &author.who,
                    &author.what,
                    entries,
                    author.origin.uid,
                    &author.origin.login,
                    &author.origin.host,
                ),
            )
            .map_err(&fail)?;
        transaction.commit().map_err(&fail)
    }
}

const SCHEMA: &str = "
CREATE TABLE entries (
    kind INTEGER NOT NULL,  -- 1 opt-in, 2 guard, 3 trust, 4 domain
    key BLOB NOT NULL,      -- a prefix: 16 octets of address, 1 of length; a domain: its name
    state INTEGER NOT NULL, -- opt-in: 1 in, 2 out; guard, trust: 1; domain: 1 opted in + 2 temporary refusals
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE revisions (
    number INTEGER PRIMARY KEY,
    stamp INTEGER NOT NULL, -- random: tells revisions of one number apart
    time INTEGER NOT NULL,  -- seconds since 1970
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    added INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    last_change INTEGER NOT NULL,
    uid INTEGER,            -- this and the rest: not in stores of earlier versions, which ignore them
    login TEXT,
    host TEXT,
    lists INTEGER           -- the bit 1 << kind for each kind with changed entries
) STRICT;
CREATE TABLE changes (
    id INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    key BLOB NOT NULL,
    before INTEGER,         -- the state; nothing for one that was not there
    after INTEGER
) STRICT;
CREATE TABLE meta (
    name TEXT PRIMARY KEY,  -- store: a random number; cut: the last row of changes that is gone, or was never kept
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Largest JSON file, in octets: about two million prefixes have 100 million.
const DOCUMENT_MAX: u64 = 512 << 20;
const DIRECTORY_MODE: u32 = 0o750;
