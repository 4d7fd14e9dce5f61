//! The audit log: each change with its author, and its entries before and after.
//!
//! Both are bounded by `history`: a large change keeps no entries, an old one is removed.

use rusqlite::{Connection, OptionalExtension as _};

use super::{
    Database,
    history::{self, Logged, list_bit},
    row,
};
use crate::store::{EntryKey, ListKind, Origin, StoreEntry, StoreError};

/// The changes that are asked for.
#[derive(Clone, Copy, Debug)]
pub struct AuditQuery {
    /// This change alone.
    pub number: Option<u64>,
    /// Changes at this time or later, in seconds since 1970.
    pub since: Option<i64>,
    /// Changes of this list.
    pub list: Option<ListKind>,
    /// How many changes, at most.
    pub changes: usize,
    /// How many entries of each, at most.
    pub entries: usize,
}

/// Changes, the newest first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditLog {
    /// The changes, the newest first.
    pub changes: Vec<Audited>,
    /// Whether there are more that fit the question.
    pub has_more: bool,
    /// The oldest change that is kept.
    pub oldest: u64,
}

/// A change, as the audit log shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Audited {
    /// Number, time, user, command and counts.
    pub logged: Logged,
    /// The user, the login and the host.
    pub origin: Origin,
    /// Its entries in the order of the change, at most as many as were asked for.
    pub entries: Vec<EntryDifference>,
    /// How many entries it has beyond these.
    pub left_out: u64,
    /// Whether its entries are kept, so that it can be undone.
    pub is_kept: bool,
}

/// An entry before and after a change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EntryDifference {
    /// The list that it is in.
    pub list: ListKind,
    /// Its prefix or domain.
    pub key: EntryKey,
    /// The entry of before; none if it was not listed.
    pub before: Option<StoreEntry>,
    /// The entry that the change left; none if it removed it.
    pub after: Option<StoreEntry>,
}

/// The rows of a change in the table of changed entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowRange {
    /// The first row is the one after it.
    pub(super) from: i64,
    pub(super) last: i64,
    pub(super) is_kept: bool,
}

impl RowRange {
    /// The rows of a change of `count` entries, the last of which is `last`; those up to `cut` are
    /// gone.
    pub(super) const fn new(count: i64, last: i64, cut: i64) -> Self {
        let from = last - count;
        Self { from, last, is_kept: count == 0 || (from >= 0 && from >= cut) }
    }
}

impl Database {
    /// The audit log.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn audit(&mut self, query: &AuditQuery) -> Result<AuditLog, StoreError> {
        let fail = self.error("read");
        let transaction = self.connection.transaction().map_err(&fail)?;
        audit(&transaction, query).map_err(fail)
    }
}

fn audit(connection: &Connection, query: &AuditQuery) -> rusqlite::Result<AuditLog> {
    let cut = cut(connection)?;
    let origins = match history::has_origins(connection)? {
        true => "uid, login, host, lists",
        false => "NULL AS uid, NULL AS login, NULL AS host, NULL AS lists",
    };
    // of a change without its entries it may not be known which lists it concerns: it is shown
    let mut select = connection.prepare(&format!(
        "SELECT number, time, who, what, added, changed, removed, last_change, uid, login, host FROM (
             SELECT number, time, who, what, added, changed, removed, last_change,
                 last_change - added - changed - removed AS first, {origins} FROM revisions
         ) WHERE (?1 IS NULL OR number = ?1) AND (?2 IS NULL OR time >= ?2) AND (
             ?3 IS NULL OR lists & ?3 OR (lists IS NULL AND added + changed + removed > 0 AND (
                 first < ?5
                 OR EXISTS (SELECT 1 FROM changes WHERE id > first AND id <= last_change AND kind = ?4)
             ))
         ) ORDER BY number DESC LIMIT ?6"
    ))?;
    let most = i64::try_from(query.changes).unwrap_or(i64::MAX);
    let parameters = (
        query.number.map(u64::cast_signed),
        query.since,
        query.list.map(list_bit),
        query.list.map(ListKind::number),
        // the first revision of a store has rows of none
        cut.max(0),
        most.saturating_add(1),
    );
    let rows = select.query_map(parameters, |row| {
        let logged = history::logged(row)?;
        let origin = Origin { uid: row.get(8)?, login: row.get(9)?, host: row.get(10)? };
        let count = logged.added + logged.changed + logged.removed;
        Ok((logged, origin, RowRange::new(count.cast_signed(), row.get(7)?, cut)))
    })?;
    let mut changes = Vec::new();
    let mut has_more = false;
    for row in rows {
        let (logged, origin, range) = row?;
        if changes.len() == query.changes {
            has_more = true;
            break;
        }
        let entries = entries(connection, range, query)?;
        let count = match (range.is_kept, query.list) {
            (true, Some(kind)) => count(connection, range, kind)?,
            _ => logged.added + logged.changed + logged.removed,
        };
        let left_out = count.saturating_sub(entries.len() as u64);
        changes.push(Audited { logged, origin, entries, left_out, is_kept: range.is_kept });
    }
    let oldest: Option<i64> =
        connection.query_row("SELECT min(number) FROM revisions", (), |row| row.get(0))?;
    Ok(AuditLog { changes, has_more, oldest: oldest.unwrap_or_default().cast_unsigned() })
}

/// The last row of the table of changed entries that is gone, or was never kept.
pub(super) fn cut(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE name = 'cut'")?
        .query_row((), |row| row.get(0))
        .optional()
        .map(Option::unwrap_or_default)
}

fn entries(
    connection: &Connection,
    range: RowRange,
    query: &AuditQuery,
) -> rusqlite::Result<Vec<EntryDifference>> {
    if !range.is_kept {
        return Ok(Vec::new());
    }
    let mut select = connection.prepare_cached(
        "SELECT kind, key, before, after FROM changes WHERE id > ? AND id <= ? AND (?3 IS NULL OR kind = ?3)
         ORDER BY id LIMIT ?4",
    )?;
    let most = i64::try_from(query.entries).unwrap_or(i64::MAX);
    let parameters = (range.from, range.last, query.list.map(ListKind::number), most);
    let mut rows = select.query(parameters)?;
    let mut found = Vec::new();
    while let Some(next) = rows.next()? {
        let (kind, key, before, after): (i64, Vec<u8>, Option<i64>, Option<i64>) = next.try_into()?;
        let entry = |state: Option<i64>| state.and_then(|state| row::entry(kind, &key, state));
        let named = ListKind::of(kind).zip(row::key(kind, &key));
        found.extend(named.map(|(list, name)| EntryDifference {
            list,
            key: name,
            before: entry(before),
            after: entry(after),
        }));
    }
    Ok(found)
}

fn count(connection: &Connection, range: RowRange, kind: ListKind) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT count(*) FROM changes WHERE id > ? AND id <= ? AND kind = ?")?
        .query_row((range.from, range.last, kind.number()), |row| row.get::<_, i64>(0))
        .map(i64::cast_unsigned)
}
