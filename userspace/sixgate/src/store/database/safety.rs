//! The store when the daemon starts: checked, put back from its backup if it is damaged, backed up
//! if it has changed.
//!
//! It decides nothing about contents.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use jiff::Timestamp;

use super::{
    Database, Store,
    files::{
        DAMAGED, LOGS, REPLACED, adopt, beside, directory_of, failed, is_missing, private, remove, sync,
    },
};
use crate::store::StoreError;

/// A finding about the store at the daemon's start, to be logged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StartNote {
    /// It was damaged.
    PutBack {
        /// How it was damaged.
        reason: String,
        /// Where the damaged one lies now.
        aside: PathBuf,
        /// The backup that replaced it.
        backup: Backup,
    },
}

impl Backup {
    /// Describes it, and the revisions that it lacks, where `shown` is the revision that the BPF
    /// maps show.
    #[must_use]
    pub fn describe(&self, shown: Option<u64>) -> String {
        let made = Timestamp::try_from(self.made).map(|made| format!("{made:.0}"));
        let made = made.unwrap_or_else(|_| "an unknown time".to_owned());
        let what = format!("revision {}, backup of {made}", self.revision);
        match shown.map(|shown| (shown, shown.saturating_sub(self.revision))) {
            None => format!("{what}; what was changed after that is lost"),
            Some((shown, 0)) => format!("{what}; the BPF maps show revision {shown}, nothing is lost"),
            Some((shown, 1)) => format!("{what}; the BPF maps show revision {shown}: 1 revision is lost"),
            Some((shown, lost)) => {
                format!("{what}; the BPF maps show revision {shown}: {lost} revisions are lost")
            }
        }
    }
}

/// A good backup.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Backup {
    /// Where it is.
    pub path: PathBuf,
    /// The revision of its contents.
    pub revision: u64,
    /// When it was made.
    pub made: SystemTime,
}

impl Store {
    /// Opens the store and checks it as a whole. A damaged one is kept aside, and its backup takes
    /// its place.
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
            Err(StoreError::Damaged { path, reason, has_backup }) => {
                let damaged = |_| StoreError::Damaged { path, reason: reason.clone(), has_backup };
                let backup = self.good_backup().map_err(damaged)?;
                let aside = self.put_back(&backup.path, DAMAGED)?;
                let database = self.open()?;
                Ok((database, Some(StartNote::PutBack { reason, aside, backup })))
            }
            Err(error) => Err(error),
        }
    }

    /// Replaces a store that is missing or damaged by the backup, with `force` a good one, too;
    /// returns which backup that is, and where the store of before is kept, if there was one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Good`] if there is a good one; [`StoreError::NoBackup`],
    /// [`StoreError::BadBackup`].
    pub fn restore(&self, force: bool) -> Result<(Backup, Option<PathBuf>), StoreError> {
        let kept = self.check_replaceable(force)?;
        let backup = self.good_backup()?;
        let aside = self.put_back(&backup.path, kept.unwrap_or(DAMAGED))?;
        Ok((backup, kept.map(|_| aside)))
    }

    /// Makes the checks of [`Self::restore`], and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Self::restore`].
    pub fn try_restore(&self, force: bool) -> Result<(Backup, Option<PathBuf>), StoreError> {
        let kept = self.check_replaceable(force)?;
        let backup = self.good_backup()?;
        let aside = self.free_name(kept.unwrap_or(DAMAGED))?;
        Ok((backup, kept.map(|_| aside)))
    }

    /// The suffix of the name under which the present store is kept when a backup replaces it; none
    /// where there is no store.
    fn check_replaceable(&self, force: bool) -> Result<Option<&'static str>, StoreError> {
        match self.open().and_then(|database| database.check()) {
            Ok(()) if force => Ok(Some(REPLACED)),
            Ok(()) => Err(StoreError::Good { path: self.path.clone(), backup: self.backup_path() }),
            Err(StoreError::Damaged { .. }) => Ok(Some(DAMAGED)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The backup, which is good.
    fn good_backup(&self) -> Result<Backup, StoreError> {
        let path = self.backup_path();
        let made = match fs::metadata(&path).and_then(|metadata| metadata.modified()) {
            Ok(made) => made,
            Err(error) if is_missing(&error) => {
                return Err(StoreError::NoBackup { backup: path, is_store_there: self.path.exists() });
            }
            Err(source) => return Err(failed("look at the backup", &path)(source)),
        };
        let checked = Database::look_at(&path).and_then(|found| {
            found.check()?;
            Ok(found.revision()?.number())
        });
        match checked {
            Ok(revision) => Ok(Backup { path, revision, made }),
            Err(source) => Err(StoreError::BadBackup { backup: path, source: Box::new(source) }),
        }
    }

    /// Whether there is no backup that was made within `interval`.
    #[must_use]
    pub fn is_backup_older_than(&self, interval: Duration) -> bool {
        let made = fs::metadata(self.backup_path()).and_then(|metadata| metadata.modified());
        // the age of one from the future is unknown
        made.map_or(true, |made| made.elapsed().map_or(true, |age| age >= interval))
    }

    /// Makes the backup that of the store's present revision; which that is, if there was anything
    /// to do. A store that cannot be written has none made.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the backup of before stays then.
    pub fn back_up(&self) -> Result<Option<u64>, StoreError> {
        let database = self.open()?;
        if database.unwritable().is_some() {
            return Ok(None);
        }
        let (path, new) = (self.backup_path(), beside(&self.path, ".old.new"));
        let known = Database::look_at(&path).and_then(|backup| backup.revision());
        if known.is_ok_and(|known| database.revision().is_ok_and(|now| now == known)) {
            return Ok(None);
        }
        remove(&new)?;
        let file = private(&new).map_err(failed("make", &new))?;
        adopt(&file, &new).map_err(failed("set the owner of", &new))?;
        let copied = database.connection.execute("VACUUM INTO ?", (new.to_string_lossy(),));
        copied.map_err(database.error("back up")).inspect_err(|_| {
            let _ = fs::remove_file(&new);
        })?;
        file.sync_all().map_err(failed("sync", &new))?;
        fs::rename(&new, &path).map_err(failed("replace", &path))?;
        sync(directory_of(&path))?;
        let made = Database::look_at(&path)?.revision()?;
        Ok(Some(made.number()))
    }

    /// Where the backup is.
    #[must_use]
    pub fn backup_path(&self) -> PathBuf {
        beside(&self.path, ".old")
    }

    /// Gives the backup a name under which no other one replaces it, if there is one.
    pub(super) fn keep_backup(&self) -> Result<(), StoreError> {
        let backup = self.backup_path();
        let Some(kept) = self.backup_name()? else {
            return Ok(());
        };
        fs::rename(&backup, &kept).map_err(failed("rename", &backup))?;
        sync(directory_of(&backup))
    }

    /// The name under which the backup is kept, if there is one.
    pub(super) fn backup_name(&self) -> Result<Option<PathBuf>, StoreError> {
        let backup = self.backup_path();
        if fs::symlink_metadata(&backup).is_err() {
            return Ok(None);
        }
        let mut candidates = (1..=ASIDE_MAX).map(|number| beside(&backup, &format!(".{number}")));
        candidates
            .find(|kept| fs::symlink_metadata(kept).is_err_and(|error| is_missing(&error)))
            .map(Some)
            .ok_or_else(|| StoreError::TooManyKept { path: backup.clone(), kept: ASIDE_MAX })
    }

    /// Where a store is kept with its logs, beside those of before; `suffix` tells what it was.
    fn free_name(&self, suffix: &str) -> Result<PathBuf, StoreError> {
        let names =
            |aside: &Path| LOGS.map(|suffix| beside(aside, suffix)).into_iter().chain([aside.to_owned()]);
        let is_free = |aside: &PathBuf| {
            names(aside).all(|name| fs::symlink_metadata(name).is_err_and(|error| is_missing(&error)))
        };
        let mut candidates = (1..=ASIDE_MAX).map(|number| match number {
            1 => beside(&self.path, suffix),
            _ => beside(&self.path, &format!("{suffix}.{number}")),
        });
        candidates
            .find(is_free)
            .ok_or_else(|| StoreError::TooManyKept { path: beside(&self.path, suffix), kept: ASIDE_MAX })
    }

    /// Sets the store aside, with its logs, and replaces it by a copy of the backup; returns where
    /// it is kept.
    fn put_back(&self, backup: &Path, suffix: &str) -> Result<PathBuf, StoreError> {
        let aside = self.free_name(suffix)?;
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
    /// Looks through all of it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`]; [`StoreError::Database`] if it cannot be read.
    pub fn check(&self) -> Result<(), StoreError> {
        let said: String = self
            .connection
            .query_row("PRAGMA quick_check(1)", (), |row| row.get(0))
            .map_err(self.error("check"))?;
        if said == "ok" {
            // a store without a revision is none
            return self
                .revision()
                .map(drop)
                .map_err(|error| StoreError::damaged(&self.path, error.to_string()));
        }
        Err(StoreError::damaged(&self.path, said.replace('\n', " ")))
    }
}

/// Damaged stores that are kept beside the store, replaced ones, and backups of lost ones: of each
/// so many.
const ASIDE_MAX: u32 = 1000;
