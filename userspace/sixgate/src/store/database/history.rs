//! Revisions: which changes there were, when, by whom, and which entries they concerned.
//!
//! Both tables are bounded: of what is gone from them a follower reads the store as a whole.

use rusqlite::{Connection, OptionalExtension as _, Transaction};

use super::{Database, row};
use crate::store::{Author, EntryChange, ListKind, Revision, StoreError};

/// A row of the table of changes.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) kind: ListKind,
    pub(super) key: Vec<u8>,
    pub(super) before: Option<i64>,
    pub(super) after: Option<i64>,
}

/// The last revision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latest {
    pub(super) revision: Revision,
    last_change: i64,
}

/// A revision, as it is shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Logged {
    /// The revision's number.
    pub number: u64,
    /// Seconds since 1970.
    pub time: i64,
    /// Who made it.
    pub who: String,
    /// By which command.
    pub what: String,
    /// How many entries it added.
    pub added: u64,
    /// How many it gave another state.
    pub changed: u64,
    /// How many it removed.
    pub removed: u64,
}

/// The work of a follower that has seen the store at some revision.
#[derive(Debug)]
pub enum Since {
    /// Make these changes, in this order.
    Changes {
        /// None if there is nothing new.
        changes: Vec<EntryChange>,
        /// The revisions that made them.
        revisions: Vec<Logged>,
        /// Which revision is seen then.
        now: Revision,
    },
    /// Read the whole: there are too many changes, or they are not known any more.
    Whole {
        /// The revisions since, if the one that was seen is known.
        revisions: Vec<Logged>,
    },
}

pub(super) fn latest(connection: &Connection) -> rusqlite::Result<Latest> {
    connection
        .prepare_cached("SELECT number, stamp, last_change FROM revisions ORDER BY number DESC LIMIT 1")?
        .query_row((), |row| {
            Ok(Latest { revision: revision(row.get(0)?, row.get(1)?), last_change: row.get(2)? })
        })
}

/// Writes the revision that made `rows`, and trims both tables.
pub(super) fn record(
    transaction: &Transaction<'_>,
    before: &Latest,
    rows: &[Row],
    author: &Author,
) -> rusqlite::Result<Revision> {
    let count = |which: fn(&Row) -> bool| rows.iter().filter(|row| which(row)).count();
    let added = count(|row| row.before.is_none());
    let removed = count(|row| row.after.is_none());
    let changed = rows.len() - added - removed;
    // lossless: a usize has at most 64 bits, and no machine has 2^63 rows
    let last_change = before.last_change + rows.len() as i64;
    if !has_origins(transaction)? {
        transaction.execute_batch(ADD_ORIGINS)?;
    }
    let lists = rows.iter().fold(0, |lists, row| lists | list_bit(row.kind));
    let (number, stamp) = transaction.query_row(
        "INSERT INTO revisions
             (number, stamp, time, who, what, added, changed, removed, last_change, uid, login, host, lists)
         VALUES (?, random(), unixepoch(), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number, stamp",
        (
            before.revision.number().cast_signed() + 1,
            &author.who,
            &author.what,
            added as i64,
            changed as i64,
            removed as i64,
            last_change,
            author.origin.uid,
            &author.origin.login,
            &author.origin.host,
            lists,
        ),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let mut cut = last_change - CHANGES_KEPT;
    if rows.len() as i64 > CHANGES_KEPT_OF_ONE {
        cut = last_change;
    } else {
        let mut insert = transaction
            .prepare_cached("INSERT INTO changes (id, kind, key, before, after) VALUES (?, ?, ?, ?, ?)")?;
        for (id, row) in (before.last_change + 1..).zip(rows) {
            insert.execute((id, row.kind.number(), &row.key, row.before, row.after))?;
        }
    }
    transaction.execute("DELETE FROM changes WHERE id <= ?", (cut,))?;
    transaction.execute("UPDATE meta SET value = max(value, ?) WHERE name = 'cut'", (cut,))?;
    transaction.execute("DELETE FROM revisions WHERE number <= ?", (number - REVISIONS_KEPT,))?;
    Ok(revision(number, stamp))
}

/// Whether revisions have columns for origin and lists: those of earlier versions have none.
pub(super) fn has_origins(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM pragma_table_info('revisions') WHERE name = 'lists')")?
        .query_row((), |row| row.get(0))
}

/// The bit of a list in the column of the lists that a revision changed.
pub(super) const fn list_bit(kind: ListKind) -> i64 {
    1 << kind.number()
}

impl Database {
    /// The last revision.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn revision(&self) -> Result<Revision, StoreError> {
        Ok(latest(&self.connection).map_err(self.error("read"))?.revision)
    }

    /// A number that is another one whenever another connection has changed the store. It costs
    /// little.
    ///
    /// # Errors
    ///
    /// As [`Self::revision`].
    pub fn version(&self) -> Result<i64, StoreError> {
        self.connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut pragma| pragma.query_row((), |row| row.get(0)))
            .map_err(self.error("read"))
    }

    /// The work of a follower that has seen the store at `seen`: changes, if they are known and at
    /// most `most`.
    ///
    /// # Errors
    ///
    /// As [`Self::revision`].
    pub fn since(&mut self, seen: Revision, most: usize) -> Result<Since, StoreError> {
        let fail = self.error("read");
        let transaction = self.connection.transaction().map_err(&fail)?;
        since(&transaction, seen, most).map_err(fail)
    }

    /// The last revisions, the newest first, at most `most`.
    ///
    /// # Errors
    ///
    /// As [`Self::revision`].
    pub fn log(&self, most: usize) -> Result<Vec<Logged>, StoreError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let read = || -> rusqlite::Result<Vec<Logged>> {
            let mut select =
                self.connection.prepare(&format!("{SELECT_LOGGED} ORDER BY number DESC LIMIT ?"))?;
            select.query_map((most,), logged)?.collect()
        };
        read().map_err(self.error("read"))
    }
}

fn since(connection: &Connection, seen: Revision, most: usize) -> rusqlite::Result<Since> {
    let latest = latest(connection)?;
    if latest.revision == seen {
        return Ok(Since::Changes { changes: Vec::new(), revisions: Vec::new(), now: seen });
    }
    let from: Option<i64> = connection
        .prepare_cached("SELECT last_change FROM revisions WHERE number = ? AND stamp = ?")?
        .query_row((seen.number().cast_signed(), seen.stamp().cast_signed()), |row| row.get(0))
        .optional()?;
    let Some(from) = from else {
        return Ok(Since::Whole { revisions: Vec::new() });
    };
    let revisions = connection
        .prepare_cached(&format!("{SELECT_LOGGED} WHERE number > ? ORDER BY number LIMIT ?"))?
        .query_map((seen.number().cast_signed(), LOGGED_AT_ONCE), logged)?
        .collect::<rusqlite::Result<_>>()?;
    let cut: i64 = connection
        .prepare_cached("SELECT value FROM meta WHERE name = 'cut'")?
        .query_row((), |row| row.get(0))?;
    if from < cut || usize::try_from(latest.last_change - from).is_ok_and(|count| count > most) {
        return Ok(Since::Whole { revisions });
    }
    let mut select = connection
        .prepare_cached("SELECT kind, key, after FROM changes WHERE id > ? AND id <= ? ORDER BY id")?;
    let mut rows = select.query((from, latest.last_change))?;
    let mut changes = Vec::new();
    while let Some(found) = rows.next()? {
        let (kind, key, after): (i64, Vec<u8>, Option<i64>) = found.try_into()?;
        let change = match after {
            Some(after) => row::entry(kind, &key, after).map(EntryChange::Put),
            None => row::key(kind, &key).map(EntryChange::Gone),
        };
        changes.extend(change);
    }
    Ok(Since::Changes { changes, revisions, now: latest.revision })
}

pub(super) fn logged(row: &rusqlite::Row<'_>) -> rusqlite::Result<Logged> {
    let count = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
    Ok(Logged {
        number: count(0)?,
        time: row.get(1)?,
        who: row.get(2)?,
        what: row.get(3)?,
        added: count(4)?,
        changed: count(5)?,
        removed: count(6)?,
    })
}

const fn revision(number: i64, stamp: i64) -> Revision {
    Revision::new(number.cast_unsigned(), stamp.cast_unsigned())
}

const SELECT_LOGGED: &str = "SELECT number, time, who, what, added, changed, removed FROM revisions";

/// Nullable columns, which earlier versions neither read nor write.
const ADD_ORIGINS: &str = "
ALTER TABLE revisions ADD COLUMN uid INTEGER;
ALTER TABLE revisions ADD COLUMN login TEXT;
ALTER TABLE revisions ADD COLUMN host TEXT;
ALTER TABLE revisions ADD COLUMN lists INTEGER;
";
/// Revisions that are kept.
pub(crate) const REVISIONS_KEPT: i64 = 10_000;
/// Changed entries that are kept, of all revisions.
pub(crate) const CHANGES_KEPT: i64 = 200_000;
/// Those of one revision; of a larger one none is kept.
pub(crate) const CHANGES_KEPT_OF_ONE: i64 = 100_000;
/// Revisions that are described to a follower at once, at most.
const LOGGED_AT_ONCE: i64 = 10;
