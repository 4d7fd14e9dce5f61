//! How entries lie in the tables: a kind, a key and a state.
//!
//! A prefix's key is its address and its length, 17 octets, so that keys have the order of
//! prefixes; a domain's is its name.

use std::{collections::BTreeMap, net::Ipv6Addr};

use ipnet::Ipv6Net;
use sixgate_common::dest::OptIn;

use crate::store::{
    Contents, Domain, EntryKey, ListKind, Marks, PrefixMap, PrefixSet, StoreEntry, parse_listed_domain,
};

/// State of an opted-in destination, and of a member of GUARD or TRUST.
pub(super) const IN: i64 = 1;
const OUT: i64 = 2;
/// Bits of a domain's state.
pub(super) const OPTED_IN: i64 = 1;
pub(super) const TEMPORARY: i64 = 2;

pub(super) fn prefix_key(prefix: Ipv6Net) -> Vec<u8> {
    let mut key = Vec::with_capacity(PREFIX_KEY);
    key.extend(prefix.network().octets());
    key.push(prefix.prefix_len());
    key
}

pub(super) fn prefix(key: &[u8]) -> Option<Ipv6Net> {
    let (length, address) = key.split_last()?;
    let address: [u8; 16] = address.try_into().ok()?;
    Ipv6Net::new(Ipv6Addr::from(address), *length).ok()
}

pub(super) fn key_row(key: &EntryKey) -> (ListKind, Vec<u8>) {
    match key {
        EntryKey::OptIn(prefix) => (ListKind::OptIn, prefix_key(*prefix)),
        EntryKey::Guard(prefix) => (ListKind::Guard, prefix_key(*prefix)),
        EntryKey::Trust(prefix) => (ListKind::Trust, prefix_key(*prefix)),
        EntryKey::Domain(domain) => (ListKind::Domain, domain.as_str().as_bytes().to_vec()),
    }
}

pub(super) fn state(entry: &StoreEntry) -> i64 {
    match entry {
        StoreEntry::OptIn(_, optin) => optin_state(*optin),
        StoreEntry::Guard(_) | StoreEntry::Trust(_) => IN,
        StoreEntry::Domain(_, marks) => marks_state(*marks),
    }
}

pub(super) const fn optin_state(optin: OptIn) -> i64 {
    match optin {
        OptIn::In => IN,
        OptIn::Out => OUT,
    }
}

pub(super) fn marks_state(marks: Marks) -> i64 {
    i64::from(marks.opted_in) * OPTED_IN + i64::from(marks.temporary) * TEMPORARY
}

/// A state other than "in" is out.
pub(super) const fn optin(state: i64) -> OptIn {
    match state {
        IN => OptIn::In,
        _ => OptIn::Out,
    }
}

pub(super) const fn marks(state: i64) -> Marks {
    Marks { opted_in: state & OPTED_IN != 0, temporary: state & TEMPORARY != 0 }
}

/// The entry of a row; nothing for one that this version does not write.
pub(super) fn entry(kind: i64, key: &[u8], state: i64) -> Option<StoreEntry> {
    Some(match self::key(kind, key)? {
        EntryKey::OptIn(prefix) => StoreEntry::OptIn(prefix, optin(state)),
        EntryKey::Guard(prefix) => StoreEntry::Guard(prefix),
        EntryKey::Trust(prefix) => StoreEntry::Trust(prefix),
        EntryKey::Domain(domain) => StoreEntry::Domain(domain, marks(state)),
    })
}

pub(super) fn key(kind: i64, key: &[u8]) -> Option<EntryKey> {
    Some(match ListKind::of(kind)? {
        ListKind::OptIn => EntryKey::OptIn(prefix(key)?),
        ListKind::Guard => EntryKey::Guard(prefix(key)?),
        ListKind::Trust => EntryKey::Trust(prefix(key)?),
        ListKind::Domain => EntryKey::Domain(domain(key)?),
    })
}

pub(super) fn domain(key: &[u8]) -> Option<Domain> {
    parse_listed_domain(str::from_utf8(key).ok()?).ok()
}

/// Octets of a prefix's key.
const PREFIX_KEY: usize = 17;

/// All rows of `contents`.
pub(super) fn rows(contents: &Contents) -> impl Iterator<Item = (ListKind, Vec<u8>, i64)> {
    ListKind::ALL
        .into_iter()
        .flat_map(|kind| rows_of(kind, contents).map(move |(key, state)| (kind, key, state)))
}

/// Those of one list, in the order of their keys.
pub(super) fn rows_of(kind: ListKind, contents: &Contents) -> Box<dyn Iterator<Item = (Vec<u8>, i64)> + '_> {
    match kind {
        ListKind::OptIn => Box::new(optin_rows(&contents.optin)),
        ListKind::Guard => Box::new(member_rows(&contents.guard)),
        ListKind::Trust => Box::new(member_rows(&contents.trust)),
        ListKind::Domain => Box::new(domain_rows(&contents.domains)),
    }
}

fn optin_rows(optin: &PrefixMap<OptIn>) -> impl Iterator<Item = (Vec<u8>, i64)> {
    optin.entries().iter().map(|(prefix, optin)| (prefix_key(*prefix), optin_state(*optin)))
}

fn member_rows(set: &PrefixSet) -> impl Iterator<Item = (Vec<u8>, i64)> {
    set.entries().keys().map(|prefix| (prefix_key(*prefix), IN))
}

fn domain_rows(domains: &BTreeMap<Domain, Marks>) -> impl Iterator<Item = (Vec<u8>, i64)> {
    domains.iter().map(|(domain, marks)| (domain.as_str().as_bytes().to_vec(), marks_state(*marks)))
}
