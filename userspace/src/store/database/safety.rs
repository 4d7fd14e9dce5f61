//! The store when the daemon starts: checked, put back from its backup if it is damaged, backed up if it has changed.
//!
//! It decides nothing about contents.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Database, LOGS, Store, beside,
    create::{adopt, directory_of, failed, private, sync},
    is_missing, remove,
};
use crate::store::StoreError;

/// What a start found out about the store, to be logged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StartNote {
    /// It was damaged.
    PutBack {
        /// How.
        reason: String,
        /// Where the damaged one lies now.
        aside: PathBuf,
        /// What took its place.
        backup: PathBuf,
        /// At which revision that is.
        revision: u64,
    },
}

impl Store {
    /// Opens the store and checks it as a whole. A damaged one is kept aside, and its backup takes its place.
    ///
    /// # Errors
    ///
    /// As [`Self::open`]; [`StoreError::Damaged`] where there is no good backup.
    pub fn open_checked(&self) -> Result<(Database, Option<StartNote>), StoreError> {
        let checked = self.open().and_then(|database| {
            database.check()?;
            Ok(database)
        });
        match checked {
            Ok(database) => Ok((database, None)),
            Err(StoreError::Damaged { path, reason }) => {
                let damaged = |_| StoreError::Damaged { path, reason: reason.clone() };
                let (backup, revision) = self.good_backup().map_err(damaged)?;
                let aside = self.put_back(&backup)?;
                let database = self.open()?;
                Ok((database, Some(StartNote::PutBack { reason, aside, backup, revision })))
            }
            Err(error) => Err(error),
        }
    }

    /// Puts the backup in the place of a store that is missing or damaged; which revision that is. A damaged one is kept
    /// aside.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`] if there is a good one; what is wrong with the backup.
    pub fn restore(&self) -> Result<u64, StoreError> {
        match self.open().and_then(|database| database.check()) {
            Ok(()) => return Err(StoreError::Exists { path: self.path.clone() }),
            Err(error) if error.is_missing() || matches!(error, StoreError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        let (backup, revision) = self.good_backup()?;
        self.put_back(&backup)?;
        Ok(revision)
    }

    /// The backup, which is good, and its revision.
    fn good_backup(&self) -> Result<(PathBuf, u64), StoreError> {
        let backup = self.backup_path();
        if !backup.exists() {
            return Err(self.missing());
        }
        let found = Database::look_at(&backup)?;
        found.check()?;
        Ok((backup, found.revision()?.number()))
    }

    /// Makes the backup that of the store's present revision; whether there was anything to do.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the backup of before stays then.
    pub fn back_up(&self) -> Result<bool, StoreError> {
        let database = self.open()?;
        let (path, new) = (self.backup_path(), beside(&self.path, ".old.new"));
        let known = Database::look_at(&path).and_then(|backup| backup.revision());
        if known.is_ok_and(|known| database.revision().is_ok_and(|now| now == known)) {
            return Ok(false);
        }
        remove(&new)?;
        let file = private(&new).map_err(failed("make", &new))?;
        adopt(&file, &new).map_err(failed("set the owner of", &new))?;
        let copied = database.connection.execute("VACUUM INTO ?", (new.to_string_lossy(),));
        copied.map_err(database.error("back up"))?;
        file.sync_all().map_err(failed("sync", &new))?;
        fs::rename(&new, &path).map_err(failed("replace", &path))?;
        sync(directory_of(&path))?;
        Ok(true)
    }

    /// Where the backup is.
    #[must_use]
    pub fn backup_path(&self) -> PathBuf {
        beside(&self.path, ".old")
    }

    /// Sets the damaged store aside, with its logs, and puts a copy of the backup in its place; where the damaged one is.
    fn put_back(&self, backup: &Path) -> Result<PathBuf, StoreError> {
        let aside = beside(&self.path, ".damaged");
        let new = beside(&self.path, ".restored");
        fs::copy(backup, &new).map_err(failed("copy", backup))?;
        let file = private(&new).map_err(failed("open", &new))?;
        adopt(&file, &new).map_err(failed("set the owner of", &new))?;
        file.sync_all().map_err(failed("sync", &new))?;
        for suffix in LOGS {
            let (from, to) = (beside(&self.path, suffix), beside(&aside, suffix));
            match fs::rename(&from, &to) {
                Err(error) if !is_missing(&error) => return Err(failed("set aside", &from)(error)),
                _ => {}
            }
        }
        match fs::rename(&self.path, &aside) {
            Err(error) if !is_missing(&error) => return Err(failed("set aside", &self.path)(error)),
            _ => {}
        }
        fs::rename(&new, &self.path).map_err(failed("put back", &self.path))?;
        sync(directory_of(&self.path))?;
        Ok(aside)
    }
}

impl Database {
    fn check(&self) -> Result<(), StoreError> {
        let said: String = self
            .connection
            .query_row("PRAGMA quick_check(1)", (), |row| row.get(0))
            .map_err(self.error("check"))?;
        if said == "ok" {
            // a store without a revision is none
            return self
                .revision()
                .map(drop)
                .map_err(|error| StoreError::Damaged { path: self.path.clone(), reason: error.to_string() });
        }
        Err(StoreError::Damaged { path: self.path.clone(), reason: said.replace('\n', " ") })
    }
}
