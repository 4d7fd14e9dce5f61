//! The reversal of one change: its entries become again as they were before it.
//!
//! Later changes of the same entries are conflicts. The transaction is `edit`'s, and makes a change
//! of its own of it.

use std::collections::BTreeMap;

use rusqlite::OptionalExtension as _;

use super::{
    Consent, Edit,
    audit::{RowRange, cut},
    history::{self, Logged, Row},
};
use crate::store::{EditOutcome, ListKind, StoreError};

/// How a change is undone.
#[derive(Clone, Copy, Debug)]
pub struct Undo {
    /// The number of the change.
    pub number: u64,
    /// Whether entries that later changes concern become as they were before this one, too.
    pub force: bool,
    /// Whether a list may become empty, or lose more than half of its entries.
    pub consent: Consent,
}

/// The states of an entry before and after a change.
type States = (Option<i64>, Option<i64>);

impl Edit<'_> {
    /// Undoes a change; returns the outcome for each entry that was not as before already.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoChange`], [`StoreError::NothingToUndo`], [`StoreError::EntriesNotKept`];
    /// [`StoreError::UndoConflicts`] without `force`; [`StoreError::Shrinks`] and
    /// [`StoreError::UndoEmpties`] without consent.
    pub fn undo(&mut self, undo: Undo) -> Result<Vec<EditOutcome>, StoreError> {
        let number = undo.number;
        let range = self.range_of(number)?;
        let wanted = self.reversal(range)?;
        let mut rows = Vec::new();
        for ((kind, key), (wanted, left)) in wanted {
            let kind = ListKind::of(kind).ok_or(StoreError::EntriesNotKept { number })?;
            let now = self.state(kind, &key)?;
            if now != wanted {
                rows.push((Row { kind, key, before: now, after: wanted }, left));
            }
        }
        if !undo.force {
            let later = self.later_changes(range.last, number, &rows)?;
            if !later.is_empty() || rows.iter().any(|(row, left)| row.before != *left) {
                return Err(StoreError::UndoConflicts { number, later: describe(&later) });
            }
        }
        let rows: Vec<Row> = rows.into_iter().map(|(row, _)| row).collect();
        self.check_loss(&rows, undo.consent)?;
        if let Some(progress) = &self.progress {
            progress.expect(rows.len());
        }
        let mut outcomes = Vec::with_capacity(rows.len());
        for row in rows {
            outcomes.extend(row.outcome());
            self.set(row.kind, row.key, row.before, row.after)?;
            if let Some(progress) = &self.progress {
                progress.step();
            }
        }
        Ok(outcomes)
    }

    /// The rows of a change that are still there.
    fn range_of(&self, number: u64) -> Result<RowRange, StoreError> {
        let fail = |source| self.error(source);
        let found: Option<(i64, i64)> = self
            .transaction
            .query_row(
                "SELECT added + changed + removed, last_change FROM revisions WHERE number = ?",
                (number.cast_signed(),),
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(fail)?;
        let Some((count, last)) = found else {
            let latest = history::latest(&self.transaction).map_err(fail)?.revision.number();
            return Err(StoreError::NoChange { number, is_old: (1..=latest).contains(&number) });
        };
        let range = RowRange::new(count, last, cut(&self.transaction).map_err(fail)?);
        match (count, range.is_kept) {
            (0, _) => Err(StoreError::NothingToUndo { number }),
            (_, false) => Err(StoreError::EntriesNotKept { number }),
            _ => Ok(range),
        }
    }

    /// The states of each entry of a change before and after it.
    fn reversal(&self, range: RowRange) -> Result<BTreeMap<(i64, Vec<u8>), States>, StoreError> {
        let read = || -> rusqlite::Result<_> {
            let mut select = self.transaction.prepare_cached(
                "SELECT kind, key, before, after FROM changes WHERE id > ? AND id <= ? ORDER BY id",
            )?;
            let mut rows = select.query((range.from, range.last))?;
            let mut found: BTreeMap<(i64, Vec<u8>), States> = BTreeMap::new();
            while let Some(row) = rows.next()? {
                let (kind, key, before, after): (i64, Vec<u8>, Option<i64>, Option<i64>) = row.try_into()?;
                // a change may concern an entry more than once: its first state and its last count
                found.entry((kind, key)).and_modify(|states| states.1 = after).or_insert((before, after));
            }
            Ok(found)
        };
        read().map_err(|source| self.error(source))
    }

    /// The changes after `number` that concern the entries of `rows`, the oldest first.
    fn later_changes(
        &self,
        last: i64,
        number: u64,
        rows: &[(Row, Option<i64>)],
    ) -> Result<Vec<Logged>, StoreError> {
        let ours: BTreeMap<(i64, &[u8]), ()> =
            rows.iter().map(|(row, _)| ((row.kind.number(), row.key.as_slice()), ())).collect();
        let read = || -> rusqlite::Result<Vec<Logged>> {
            let mut select = self
                .transaction
                .prepare_cached("SELECT id, kind, key FROM changes WHERE id > ? ORDER BY id")?;
            let mut found = select.query((last,))?;
            let mut concerned = Vec::new();
            while let Some(row) = found.next()? {
                let (id, kind, key): (i64, i64, Vec<u8>) = row.try_into()?;
                if ours.contains_key(&(kind, key.as_slice())) {
                    concerned.push(id);
                }
            }
            let mut ids = concerned.into_iter().peekable();
            let mut select = self.transaction.prepare_cached(
                "SELECT number, time, who, what, added, changed, removed, last_change FROM revisions
                 WHERE number > ? ORDER BY number",
            )?;
            let mut later = Vec::new();
            let mut revisions = select.query((number.cast_signed(),))?;
            while let Some(row) = revisions.next()? {
                let last: i64 = row.get(7)?;
                let mut is_concerned = false;
                while ids.next_if(|id| *id <= last).is_some() {
                    is_concerned = true;
                }
                if is_concerned {
                    later.push(history::logged(row)?);
                }
            }
            Ok(later)
        };
        read().map_err(|source| self.error(source))
    }

    /// The rule of lists that are loaded: no list becomes empty, or loses more than half of its
    /// entries, without consent. What concerns few entries is seen at a glance, as in a command
    /// that names them.
    fn check_loss(&self, rows: &[Row], consent: Consent) -> Result<(), StoreError> {
        if rows.len() <= SEEN_AT_A_GLANCE {
            return Ok(());
        }
        for kind in ListKind::ALL {
            let ours = || rows.iter().filter(|row| row.kind == kind);
            let gone = ours().filter(|row| row.after.is_none()).count();
            let out = ours().filter(|row| row.after.is_some() && row.loses_opt_in()).count();
            let new = ours().filter(|row| row.before.is_none()).count();
            let removed = gone + out;
            if removed == 0 {
                continue;
            }
            let before = self.count(kind)?;
            let total = before + new - gone;
            if total == 0 && !consent.empty {
                return Err(StoreError::UndoEmpties { what: kind.entries() });
            }
            if removed * 2 > before && !(consent.shrink || total == 0) {
                let (what, counts_out) = (kind.entries(), out > 0);
                return Err(StoreError::Shrinks { by: "the undo", what, removed, before, counts_out });
            }
        }
        Ok(())
    }

    fn count(&self, kind: ListKind) -> Result<usize, StoreError> {
        let count: rusqlite::Result<i64> = self.transaction.query_row(
            "SELECT count(*) FROM entries WHERE kind = ?",
            (kind.number(),),
            |row| row.get(0),
        );
        count.map(|count| usize::try_from(count).unwrap_or_default()).map_err(|source| self.error(source))
    }
}

/// The changes by number and command, as far as they are named in an error.
fn describe(later: &[Logged]) -> String {
    let named: Vec<String> = later
        .iter()
        .take(CONFLICTS_NAMED)
        .map(|Logged { number, what, .. }| format!("{number} ({what})"))
        .collect();
    match later.len().saturating_sub(CONFLICTS_NAMED) {
        0 => named.join(", "),
        more => format!("{}, and {more} more", named.join(", ")),
    }
}

/// Entries that an undo may concern without a look at the list's size.
const SEEN_AT_A_GLANCE: usize = 10;
/// Later changes that an error names.
const CONFLICTS_NAMED: usize = 5;
