//! A change of the store: one transaction, with the revision that records it.
//!
//! The caller decides what to change; nothing is kept of a change that fails.

use std::{collections::BTreeMap, path::Path, time::Duration};

use rusqlite::{OptionalExtension as _, Transaction, TransactionBehavior};
use sixgate_common::dest::OptIn;

use super::{
    Database, WRITE_WAIT,
    history::{self, Row},
    row::{self, EntryKind},
};
use crate::store::{
    Author, Contents, Domain, EditOutcome, EntryKey, Marks, PrefixMap, PrefixSet, Revision, StoreEntry,
    StoreError, StoreProgress,
};

/// The store while it is changed; no other process changes it meanwhile.
#[derive(Debug)]
pub struct Edit<'a> {
    transaction: Transaction<'a>,
    rows: Vec<Row>,
    path: &'a Path,
    progress: Option<StoreProgress>,
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

/// The result for a set that was replaced as a whole.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Replaced {
    /// The entries that were not so before: additions and changes first.
    pub outcomes: Vec<EditOutcome>,
    /// How many entries stayed as they were.
    pub unchanged: usize,
    /// How many there are.
    pub total: usize,
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
        if let Some(reason) = self.unwritable() {
            let (path, reason) = (self.path.clone(), reason.to_owned());
            return Err(StoreError::Unwritable { path, reason }.into());
        }
        let fail = self.error("change");
        // one at a time: `self` is borrowed for as long as it lives
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate).map_err(&fail)?;
        let before = history::latest(&transaction).map_err(&fail)?;
        let mut editing = Edit { transaction, rows: Vec::new(), path: &self.path, progress: None };
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

    /// Replaces the whole opt-in set.
    ///
    /// # Errors
    ///
    /// [`StoreError::EmptyList`], [`StoreError::Shrinks`] without consent.
    pub fn replace_optin(
        &mut self,
        wanted: &PrefixMap<OptIn>,
        consent: Consent,
    ) -> Result<Replaced, StoreError> {
        self.replace(EntryKind::OptIn, row::optin_rows(wanted), consent)
    }

    /// Replaces all that is guarded.
    ///
    /// # Errors
    ///
    /// As [`Self::replace_optin`].
    pub fn replace_guard(&mut self, wanted: &PrefixSet, consent: Consent) -> Result<Replaced, StoreError> {
        self.replace(EntryKind::Guard, row::member_rows(wanted), consent)
    }

    /// Replaces all that is exempt.
    ///
    /// # Errors
    ///
    /// As [`Self::replace_optin`].
    pub fn replace_trust(&mut self, wanted: &PrefixSet, consent: Consent) -> Result<Replaced, StoreError> {
        self.replace(EntryKind::Trust, row::member_rows(wanted), consent)
    }

    /// Replaces all domains.
    ///
    /// # Errors
    ///
    /// As [`Self::replace_optin`].
    pub fn replace_domains(
        &mut self,
        wanted: &BTreeMap<Domain, Marks>,
        consent: Consent,
    ) -> Result<Replaced, StoreError> {
        self.replace(EntryKind::Domain, row::domain_rows(wanted), consent)
    }

    /// Replaces everything. A set that is empty in `wanted` and here needs no consent.
    ///
    /// # Errors
    ///
    /// As [`Self::replace_optin`].
    pub fn replace_all(&mut self, wanted: &Contents, consent: Consent) -> Result<Replaced, StoreError> {
        let mut all = Replaced::default();
        for kind in [EntryKind::OptIn, EntryKind::Guard, EntryKind::Trust, EntryKind::Domain] {
            let rows: Box<dyn Iterator<Item = (Vec<u8>, i64)>> = match kind {
                EntryKind::OptIn => Box::new(row::optin_rows(&wanted.optin)),
                EntryKind::Guard => Box::new(row::member_rows(&wanted.guard)),
                EntryKind::Trust => Box::new(row::member_rows(&wanted.trust)),
                EntryKind::Domain => Box::new(row::domain_rows(&wanted.domains)),
            };
            let empty = consent.empty || !self.has_any(kind, None)?;
            let replaced = self.replace(kind, rows, Consent { empty, ..consent })?;
            all.outcomes.extend(replaced.outcomes);
            all.unchanged += replaced.unchanged;
            all.total += replaced.total;
        }
        Ok(all)
    }

    /// Whether any destination has opted in.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn opts_anything_in(&self) -> Result<bool, StoreError> {
        self.has_any(EntryKind::OptIn, Some(row::IN))
    }

    /// Whether any domain takes mail here.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub fn opts_any_domain_in(&self) -> Result<bool, StoreError> {
        self.has_any(EntryKind::Domain, Some(row::OPTED_IN))
    }

    /// Whether this change takes away from the opt-in set, or from the domains that take mail here.
    #[must_use]
    pub fn takes_away(&self) -> bool {
        let loses =
            |row: &Row| row.before.is_some_and(|before| row.after.is_none_or(|after| after != before));
        self.rows.iter().any(|row| matches!(row.kind, EntryKind::OptIn | EntryKind::Domain) && loses(row))
    }

    /// Whether the set has any entry, with this bit in its state if that is asked.
    fn has_any(&self, kind: EntryKind, bit: Option<i64>) -> Result<bool, StoreError> {
        let found = self.transaction.query_row(
            "SELECT EXISTS (SELECT 1 FROM entries WHERE kind = ?1 AND (?2 IS NULL OR state & ?2))",
            (kind.number(), bit),
            |row| row.get(0),
        );
        found.map_err(|source| self.error(source))
    }

    fn error(&self, source: rusqlite::Error) -> StoreError {
        StoreError::sqlite("change", self.path, source)
    }

    fn state(&self, kind: EntryKind, key: &[u8]) -> Result<Option<i64>, StoreError> {
        let read = self
            .transaction
            .prepare_cached("SELECT state FROM entries WHERE kind = ? AND key = ?")
            .and_then(|mut select| select.query_row((kind.number(), key), |row| row.get(0)).optional());
        read.map_err(|source| self.error(source))
    }

    fn set(
        &mut self,
        kind: EntryKind,
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

    /// Makes the set of `kind` equal to `wanted`, which is in the order of the keys.
    fn replace(
        &mut self,
        kind: EntryKind,
        wanted: impl Iterator<Item = (Vec<u8>, i64)>,
        consent: Consent,
    ) -> Result<Replaced, StoreError> {
        let Plan { put, gone, unchanged } = self.plan(kind, wanted)?;
        let before = unchanged + gone.len() + put.iter().filter(|row| row.before.is_some()).count();
        let total = unchanged + put.len();
        if total == 0 && !consent.empty {
            return Err(StoreError::EmptyList { what: kind.what() });
        }
        // an entry that stays and no longer takes mail is as much of a loss
        let out = put.iter().filter(|row| row.loses_opt_in()).count();
        let removed = gone.len() + out;
        if removed * 2 > before && !(consent.shrink || total == 0) {
            return Err(StoreError::Shrinks { what: kind.what(), removed, before, counts_out: out > 0 });
        }
        if let Some(progress) = &self.progress {
            progress.expect(put.len() + gone.len());
        }
        let mut outcomes = Vec::with_capacity(put.len() + gone.len());
        for row in put.into_iter().chain(gone) {
            outcomes.extend(row.outcome());
            self.set(row.kind, row.key, row.before, row.after)?;
            if let Some(progress) = &self.progress {
                progress.step();
            }
        }
        Ok(Replaced { outcomes, unchanged, total })
    }

    fn plan(
        &self,
        kind: EntryKind,
        wanted: impl Iterator<Item = (Vec<u8>, i64)>,
    ) -> Result<Plan, StoreError> {
        let mut plan = Plan::default();
        let mut wanted = wanted.peekable();
        let fail = |source| self.error(source);
        let mut select = self
            .transaction
            .prepare("SELECT key, state FROM entries WHERE kind = ? ORDER BY key")
            .map_err(fail)?;
        let mut found = select.query((kind.number(),)).map_err(fail)?;
        while let Some(row) = found.next().map_err(fail)? {
            let (key, before): (Vec<u8>, i64) = row.try_into().map_err(fail)?;
            while let Some((key, after)) = wanted.next_if(|(wanted, _)| *wanted < key) {
                plan.put.push(Row { kind, key, before: None, after: Some(after) });
            }
            let before = Some(before);
            match wanted.next_if(|(wanted, _)| *wanted == key) {
                Some((_, after)) if before == Some(after) => plan.unchanged += 1,
                Some((key, after)) => plan.put.push(Row { kind, key, before, after: Some(after) }),
                None => plan.gone.push(Row { kind, key, before, after: None }),
            }
        }
        plan.put.extend(wanted.map(|(key, after)| Row { kind, key, before: None, after: Some(after) }));
        Ok(plan)
    }
}

/// How a set becomes what is wanted.
#[derive(Debug, Default)]
struct Plan {
    put: Vec<Row>,
    gone: Vec<Row>,
    unchanged: usize,
}

impl Row {
    /// Whether its entry is opted in before, and not after.
    fn loses_opt_in(&self) -> bool {
        let is_in = |state: Option<i64>| state.is_some_and(|state| state & row::OPTED_IN != 0);
        is_in(self.before) && !is_in(self.after)
    }

    /// The outcome for its entry; nothing for a row that this version does not write.
    fn outcome(&self) -> Option<EditOutcome> {
        let kind = self.kind.number();
        Some(match (self.before, self.after) {
            (None, Some(after)) => EditOutcome::Added(row::entry(kind, &self.key, after)?),
            (Some(_), Some(after)) => EditOutcome::Changed(row::entry(kind, &self.key, after)?),
            (before, None) => EditOutcome::Removed(row::entry(kind, &self.key, before?)?),
        })
    }
}

/// Changes of one revision from which on the write-ahead log is carried over into the database at
/// once, and cut back.
const CHECKPOINTED: usize = 10_000;
/// How long readers are waited for then; other commands wait, too.
const CHECKPOINT_WAIT: Duration = Duration::from_secs(1);
