//! A list that replaces a whole set: the entries that it adds, changes and removes, and the consent
//! that it needs.
//!
//! The transaction is `edit`'s.

use super::{Consent, Edit, history::Row, row};
use crate::store::{Contents, EditOutcome, ListKind, StoreError};

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

impl Edit<'_> {
    /// Replaces the whole list `kind` by that of `wanted`.
    ///
    /// # Errors
    ///
    /// [`StoreError::EmptyList`], [`StoreError::Shrinks`] without consent.
    pub fn replace_list(
        &mut self,
        kind: ListKind,
        wanted: &Contents,
        consent: Consent,
    ) -> Result<Replaced, StoreError> {
        self.replace(kind, row::rows_of(kind, wanted), consent)
    }

    /// Replaces everything. A set that is empty in `wanted` and here needs no consent.
    ///
    /// # Errors
    ///
    /// As [`Self::replace_list`].
    pub fn replace_all(&mut self, wanted: &Contents, consent: Consent) -> Result<Replaced, StoreError> {
        let mut all = Replaced::default();
        for kind in ListKind::ALL {
            let empty = consent.empty || !self.has_any(kind, None)?;
            let replaced = self.replace_list(kind, wanted, Consent { empty, ..consent })?;
            all.outcomes.extend(replaced.outcomes);
            all.unchanged += replaced.unchanged;
            all.total += replaced.total;
        }
        Ok(all)
    }

    /// Makes the set of `kind` equal to `wanted`, which is in the order of the keys.
    fn replace(
        &mut self,
        kind: ListKind,
        wanted: impl Iterator<Item = (Vec<u8>, i64)>,
        consent: Consent,
    ) -> Result<Replaced, StoreError> {
        let Plan { put, gone, unchanged } = self.plan(kind, wanted)?;
        let before = unchanged + gone.len() + put.iter().filter(|row| row.before.is_some()).count();
        let total = unchanged + put.len();
        if total == 0 && !consent.empty {
            return Err(StoreError::EmptyList { what: kind.entries() });
        }
        // an entry that stays and no longer takes mail is as much of a loss
        let out = put.iter().filter(|row| row.loses_opt_in()).count();
        let removed = gone.len() + out;
        if removed * 2 > before && !(consent.shrink || total == 0) {
            return Err(StoreError::Shrinks {
                by: "the list",
                what: kind.entries(),
                removed,
                before,
                counts_out: out > 0,
            });
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

    fn plan(&self, kind: ListKind, wanted: impl Iterator<Item = (Vec<u8>, i64)>) -> Result<Plan, StoreError> {
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
    pub(super) fn loses_opt_in(&self) -> bool {
        let is_in = |state: Option<i64>| state.is_some_and(|state| state & row::OPTED_IN != 0);
        is_in(self.before) && !is_in(self.after)
    }

    /// The outcome for its entry; nothing for a row that this version does not write.
    pub(super) fn outcome(&self) -> Option<EditOutcome> {
        let kind = self.kind.number();
        Some(match (self.before, self.after) {
            (None, Some(after)) => EditOutcome::Added(row::entry(kind, &self.key, after)?),
            (Some(_), Some(after)) => EditOutcome::Changed(row::entry(kind, &self.key, after)?),
            (before, None) => EditOutcome::Removed(row::entry(kind, &self.key, before?)?),
        })
    }
}
