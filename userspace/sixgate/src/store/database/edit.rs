//! A change of the store: one transaction, with the revision that records it.
//!
//! The caller decides what to change; nothing is kept of a change that fails.

use std::{path::Path, time::Duration};

use rusqlite::{OptionalExtension as _, Transaction, TransactionBehavior};

use super::{
    Database, StoreCounts, WRITE_WAIT,
    history::{self, Row},
    read, row,
};
use crate::store::{
    Author, Domain, EditOutcome, EntryKey, ListKind, Marks, PrefixSet, Revision, StoreEntry, StoreError,
    StoreProgress,
};

/// The store while it is changed; no other process changes it meanwhile.
#[derive(Debug)]
pub struct Edit<'a> {
    pub(super) transaction: Transaction<'a>,
    pub(super) rows: Vec<Row>,
    path: &'a Path,
    pub(super) progress: Option<StoreProgress>,
}

/// The result of a change.
#[derive(Debug)]
pub struct Edited<T> {
    /// The value that the caller's function returned.
    pub value: T,
    /// The revision that it found.
    pub before: Revision,
    /// The one that it made; the same if it changed nothing.
    pub after: Revision,
}

/// Changes that are seldom meant, and that a command may make all the same.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Consent {
    /// Leave a set without entries.
    pub empty: bool,
    /// Remove more than half of a set.
    pub shrink: bool,
}

impl Database {
    /// Changes the store by `edit`, which must have no other effect: an error leaves the store as
    /// it was.
    ///
    /// # Errors
    ///
    /// The error that `edit` returned; [`StoreError::Unwritable`], [`StoreError::Busy`],
    /// [`StoreError::Database`].
    pub fn edit<T, E: From<StoreError>>(
        &mut self,
        author: &Author,
        edit: impl FnOnce(&mut Edit<'_>) -> Result<T, E>,
    ) -> Result<Edited<T>, E> {
        let fail = self.error("change");
        let mut editing = self.begin()?;
        let before = history::latest(&editing.transaction).map_err(&fail)?;
        let value = edit(&mut editing)?;
        let Edit { transaction, rows, .. } = editing;
        if rows.is_empty() {
            return Ok(Edited { value, before: before.revision, after: before.revision });
        }
        let is_large = rows.len() > CHECKPOINTED;
        let after = history::record(&transaction, &before, &rows, author).map_err(&fail)?;
        transaction.commit().map_err(&fail)?;
        if is_large {
            // what cannot be carried over now, since a reader is at work, is at the next change
            let _ = self.set_wait(CHECKPOINT_WAIT);
            let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()));
            let _ = self.set_wait(WRITE_WAIT);
        }
        Ok(Edited { value, before: before.revision, after })
    }

    /// Records that a command ran which changed no entry by itself.
    ///
    /// # Errors
    ///
    /// As [`Self::edit`].
    pub fn record(&mut self, author: &Author) -> Result<(), StoreError> {
        let fail = self.error("change");
        let Edit { transaction, .. } = self.begin()?;
        let before = history::latest(&transaction).map_err(&fail)?;
        history::record(&transaction, &before, &[], author).map_err(&fail)?;
        transaction.commit().map_err(fail)
    }

    /// Makes the same change as [`Self::edit`] would, and takes all of it back.
    ///
    /// # Errors
    ///
    /// As [`Self::edit`].
    pub fn rehearse<T, E: From<StoreError>>(
        &mut self,
        edit: impl FnOnce(&mut Edit<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let fail = self.error("change");
        let mut editing = self.begin()?;
        let value = edit(&mut editing)?;
        editing.transaction.rollback().map_err(&fail)?;
        Ok(value)
    }

    /// Whether this process may change the store.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`].
    pub fn check_writable(&self) -> Result<(), StoreError> {
        match self.unwritable() {
            Some(reason) => {
                Err(StoreError::Unwritable { path: self.path.clone(), reason: reason.to_owned() })
            }
            None => Ok(()),
        }
    }

    fn begin(&self) -> Result<Edit<'_>, StoreError> {
        self.check_writable()?;
        // one at a time: the callers have `self` for as long as it lives
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)
            .map_err(self.error("change"))?;
        Ok(Edit { transaction, rows: Vec::new(), path: &self.path, progress: None })
    }
}

impl Edit<'_> {
    /// Lets sets that are replaced from now on count in `progress`.
    pub fn report_to(&mut self, progress: &StoreProgress) {
        self.progress = Some(progress.clone());
    }

    /// Puts `entry` in. Marks of a domain come to those that it has.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn add(&mut self, entry: StoreEntry) -> Result<EditOutcome, StoreError> {
        let (kind, key) = row::key_row(&entry.key());
        let before = self.state(kind, &key)?;
        let entry = match (entry, before) {
            (StoreEntry::Domain(domain, marks), Some(before)) => {
                StoreEntry::Domain(domain, row::marks(before).with(marks))
            }
            (entry, _) => entry,
        };
        let after = row::state(&entry);
        self.set(kind, key, before, Some(after))?;
        Ok(match before {
            None => EditOutcome::Added(entry),
            Some(before) if before != after => EditOutcome::Changed(entry),
            Some(_) => EditOutcome::Unchanged(entry),
        })
    }

    /// Takes the entry of `key` out.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn remove(&mut self, key: EntryKey) -> Result<EditOutcome, StoreError> {
        let (kind, octets) = row::key_row(&key);
        let before = self.state(kind, &octets)?;
        let removed = before.and_then(|state| row::entry(kind.number(), &octets, state));
        self.set(kind, octets, before, None)?;
        Ok(removed.map_or(EditOutcome::Missing(key), EditOutcome::Removed))
    }

    /// Lets refusals that name `domain` be permanent again; an entry without another mark goes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn unmark_temporary(&mut self, domain: Domain) -> Result<EditOutcome, StoreError> {
        let (kind, octets) = row::key_row(&EntryKey::Domain(domain.clone()));
        let before = self.state(kind, &octets)?;
        let marks = before.map(row::marks).unwrap_or_default();
        if !marks.temporary {
            return Ok(EditOutcome::Missing(EntryKey::Domain(domain)));
        }
        if !marks.opted_in {
            return self.remove(EntryKey::Domain(domain));
        }
        self.set(kind, octets, before, Some(row::marks_state(Marks::OPTED_IN)))?;
        Ok(EditOutcome::Changed(StoreEntry::Domain(domain, Marks::OPTED_IN)))
    }

    /// Whether any destination has opted in.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn opts_anything_in(&self) -> Result<bool, StoreError> {
        self.has_any(ListKind::OptIn, Some(row::IN))
    }

    /// How many entries there are now.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn counts(&self) -> Result<StoreCounts, StoreError> {
        read::counts(&self.transaction).map_err(|source| self.error(source))
    }

    /// The guarded prefixes, as they are now.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn guard(&self) -> Result<PrefixSet, StoreError> {
        read::members(&self.transaction, ListKind::Guard).map_err(|source| self.error(source))
    }

    /// Whether anything was changed so far.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        !self.rows.is_empty()
    }

    /// Whether any domain takes mail here.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn opts_any_domain_in(&self) -> Result<bool, StoreError> {
        self.has_any(ListKind::Domain, Some(row::OPTED_IN))
    }

    /// Whether this change takes away from the opt-in set, or from the domains that take mail here.
    #[must_use]
    pub fn takes_away(&self) -> bool {
        let loses =
            |row: &Row| row.before.is_some_and(|before| row.after.is_none_or(|after| after != before));
        self.rows.iter().any(|row| matches!(row.kind, ListKind::OptIn | ListKind::Domain) && loses(row))
    }

    /// Whether the set has any entry, with this bit in its state if that is asked.
    pub(super) fn has_any(&self, kind: ListKind, bit: Option<i64>) -> Result<bool, StoreError> {
        let found = self.transaction.query_row(
            "SELECT EXISTS (SELECT 1 FROM entries WHERE kind = ?1 AND (?2 IS NULL OR state & ?2))",
            (kind.number(), bit),
            |row| row.get(0),
        );
        found.map_err(|source| self.error(source))
    }

    pub(super) fn error(&self, source: rusqlite::Error) -> StoreError {
        StoreError::sqlite("change", self.path, source)
    }

    pub(super) fn state(&self, kind: ListKind, key: &[u8]) -> Result<Option<i64>, StoreError> {
        let read = self
            .transaction
            .prepare_cached("SELECT state FROM entries WHERE kind = ? AND key = ?")
            .and_then(|mut select| select.query_row((kind.number(), key), |row| row.get(0)).optional());
        read.map_err(|source| self.error(source))
    }

    pub(super) fn set(
        &mut self,
        kind: ListKind,
        key: Vec<u8>,
        before: Option<i64>,
        after: Option<i64>,
    ) -> Result<(), StoreError> {
        if before == after {
            return Ok(());
        }
        let written = match after {
            Some(after) => self
                .transaction
                .prepare_cached("INSERT OR REPLACE INTO entries (kind, key, state) VALUES (?, ?, ?)")
                .and_then(|mut insert| insert.execute((kind.number(), &key, after))),
            None => self
                .transaction
                .prepare_cached("DELETE FROM entries WHERE kind = ? AND key = ?")
                .and_then(|mut delete| delete.execute((kind.number(), &key))),
        };
        written.map_err(|source| self.error(source))?;
        self.rows.push(Row { kind, key, before, after });
        Ok(())
    }
}

/// Changes of one revision from which on the write-ahead log is carried over into the database at
/// once, and cut back.
const CHECKPOINTED: usize = 10_000;
/// How long readers are waited for then; other commands wait, too.
const CHECKPOINT_WAIT: Duration = Duration::from_secs(1);
