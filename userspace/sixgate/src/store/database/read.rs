//! Reads the store: the whole, one set, or the entry that decides.
//!
//! It changes nothing.

use std::{collections::BTreeMap, net::Ipv6Addr};

use ipnet::Ipv6Net;
use rusqlite::{Connection, OptionalExtension as _};
use sixgate_common::dest::OptIn;

use super::{Database, history::latest, row};
use crate::store::{
    Contents, Domain, EntryKey, ListKind, Marks, PrefixMap, PrefixSet, Revision, StoreEntry, StoreError,
};

/// How many entries there are, and whether the two sets that mail needs have any that opted in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StoreCounts {
    /// Destinations, in or out.
    pub optin: usize,
    /// How many prefixes are guarded.
    pub guard: usize,
    /// How many prefixes are trusted.
    pub trust: usize,
    /// Domains that take mail here.
    pub domains: usize,
    /// Domains whose refusals are temporary.
    pub temporary: usize,
    /// Whether any destination has opted in.
    pub opts_anything_in: bool,
}

impl Database {
    /// Everything, as it is at some revision.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn contents(&mut self) -> Result<(Contents, Revision), StoreError> {
        let fail = self.error("read");
        let transaction = self.connection.transaction().map_err(&fail)?;
        let read = || {
            let revision = latest(&transaction)?.revision;
            let contents = Contents {
                optin: optin(&transaction)?,
                guard: members(&transaction, ListKind::Guard)?,
                trust: members(&transaction, ListKind::Trust)?,
                domains: domains(&transaction)?,
            };
            Ok((contents, revision))
        };
        read().map_err(fail)
    }

    /// The opt-in set.
    ///
    /// # Errors
    ///
    /// As [`Self::contents`].
    pub fn optin(&self) -> Result<PrefixMap<OptIn>, StoreError> {
        optin(&self.connection).map_err(self.error("read"))
    }

    /// The guarded prefixes.
    ///
    /// # Errors
    ///
    /// As [`Self::contents`].
    pub fn guard(&self) -> Result<PrefixSet, StoreError> {
        members(&self.connection, ListKind::Guard).map_err(self.error("read"))
    }

    /// The exempt prefixes.
    ///
    /// # Errors
    ///
    /// As [`Self::contents`].
    pub fn trust(&self) -> Result<PrefixSet, StoreError> {
        members(&self.connection, ListKind::Trust).map_err(self.error("read"))
    }

    /// The domains.
    ///
    /// # Errors
    ///
    /// As [`Self::contents`].
    pub fn domains(&self) -> Result<BTreeMap<Domain, Marks>, StoreError> {
        domains(&self.connection).map_err(self.error("read"))
    }

    /// The prefix that decides about the destination `address`, if there is one.
    ///
    /// # Errors
    ///
    /// As [`Self::contents`].
    pub fn optin_rule(&self, address: Ipv6Addr) -> Result<Option<(Ipv6Net, OptIn)>, StoreError> {
        let found = longest_match(&self.connection, ListKind::OptIn, address).map_err(self.error("read"))?;
        Ok(found.map(|(prefix, state)| (prefix, row::optin(state))))
    }

    /// The prefix by which the source `address` is exempt, if there is one.
    ///
    /// # Errors
    ///
    /// As [`Self::contents`].
    pub fn trust_rule(&self, address: Ipv6Addr) -> Result<Option<Ipv6Net>, StoreError> {
        let found = longest_match(&self.connection, ListKind::Trust, address).map_err(self.error("read"))?;
        Ok(found.map(|(prefix, _)| prefix))
    }

    /// The marks of the domain `name`, in any case of letters; none for one that is not listed.
    ///
    /// # Errors
    ///
    /// As [`Self::contents`].
    pub fn marks(&self, name: &str) -> Result<Marks, StoreError> {
        let name = name.to_ascii_lowercase();
        let found = self
            .connection
            .prepare_cached("SELECT state FROM entries WHERE kind = ? AND key = ?")
            .and_then(|mut select| {
                select.query_row((ListKind::Domain.number(), name.as_bytes()), |row| row.get(0)).optional()
            });
        Ok(found.map_err(self.error("read"))?.map(row::marks).unwrap_or_default())
    }

    /// The entry that `key` names, if it is there.
    ///
    /// # Errors
    ///
    /// As [`Self::contents`].
    pub fn entry(&self, key: &EntryKey) -> Result<Option<StoreEntry>, StoreError> {
        let (kind, key) = row::key_row(key);
        let found: rusqlite::Result<Option<i64>> = self
            .connection
            .prepare_cached("SELECT state FROM entries WHERE kind = ? AND key = ?")
            .and_then(|mut select| select.query_row((kind.number(), &key), |row| row.get(0)).optional());
        let state = found.map_err(self.error("read"))?;
        Ok(state.and_then(|state| row::entry(kind.number(), &key, state)))
    }

    /// How many entries there are.
    ///
    /// # Errors
    ///
    /// As [`Self::contents`].
    pub fn counts(&self) -> Result<StoreCounts, StoreError> {
        counts(&self.connection).map_err(self.error("read"))
    }
}

pub(super) fn counts(connection: &Connection) -> rusqlite::Result<StoreCounts> {
    let count = |kind: ListKind, bits: i64| {
        connection
            .prepare_cached("SELECT count(*) FROM entries WHERE kind = ? AND state & ?")?
            .query_row((kind.number(), bits), |row| row.get::<_, i64>(0))
            .map(|count| usize::try_from(count).unwrap_or_default())
    };
    let opts_anything_in = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM entries WHERE kind = ? AND state = ?)")?
        .query_row((ListKind::OptIn.number(), row::IN), |row| row.get(0))?;
    Ok(StoreCounts {
        optin: count(ListKind::OptIn, ANY)?,
        guard: count(ListKind::Guard, ANY)?,
        trust: count(ListKind::Trust, ANY)?,
        domains: count(ListKind::Domain, row::OPTED_IN)?,
        temporary: count(ListKind::Domain, row::TEMPORARY)?,
        opts_anything_in,
    })
}

fn optin(connection: &Connection) -> rusqlite::Result<PrefixMap<OptIn>> {
    let mut found = PrefixMap::default();
    for_each(connection, ListKind::OptIn, |key, state| {
        if let Some(prefix) = row::prefix(key) {
            found.insert(prefix, row::optin(state));
        }
    })?;
    Ok(found)
}

pub(super) fn members(connection: &Connection, kind: ListKind) -> rusqlite::Result<PrefixSet> {
    let mut found = PrefixSet::default();
    for_each(connection, kind, |key, _| {
        if let Some(prefix) = row::prefix(key) {
            found.insert(prefix, ());
        }
    })?;
    Ok(found)
}

fn domains(connection: &Connection) -> rusqlite::Result<BTreeMap<Domain, Marks>> {
    let mut found = BTreeMap::new();
    for_each(connection, ListKind::Domain, |key, state| {
        found.extend(row::domain(key).map(|domain| (domain, row::marks(state))));
    })?;
    Ok(found)
}

fn for_each(
    connection: &Connection,
    kind: ListKind,
    mut each: impl FnMut(&[u8], i64),
) -> rusqlite::Result<()> {
    let mut select =
        connection.prepare_cached("SELECT key, state FROM entries WHERE kind = ? ORDER BY key")?;
    let mut rows = select.query((kind.number(),))?;
    while let Some(row) = rows.next()? {
        let key = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        each(key, row.get(1)?);
    }
    Ok(())
}

/// The longest prefix that holds `address`, in a few steps. The greatest key that is not above the
/// address is it, if it holds the address. Else both have so many leading bits in common, and no
/// prefix that holds the address is longer than that: one that were would have a key between the
/// two.
fn longest_match(
    connection: &Connection,
    kind: ListKind,
    address: Ipv6Addr,
) -> rusqlite::Result<Option<(Ipv6Net, i64)>> {
    let mut select = connection.prepare_cached(
        "SELECT key, state FROM entries WHERE kind = ? AND key <= ? ORDER BY key DESC LIMIT 1",
    )?;
    let mut bound = Ipv6Net::from(address);
    loop {
        let found = select
            .query_row((kind.number(), row::prefix_key(bound)), |row| {
                Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
            })
            .optional()?;
        let Some((key, state)) = found else {
            return Ok(None);
        };
        let Some(prefix) = row::prefix(&key) else {
            return Ok(None);
        };
        if prefix.contains(&address) {
            return Ok(Some((prefix, state)));
        }
        let common = (prefix.network().to_bits() ^ address.to_bits()).leading_zeros();
        let shorter = u8::try_from(common).ok().and_then(|length| Ipv6Net::new(address, length).ok());
        match shorter {
            Some(shorter) => bound = shorter.trunc(),
            None => return Ok(None),
        }
    }
}

/// Any state has one of these bits.
const ANY: i64 = 3;
