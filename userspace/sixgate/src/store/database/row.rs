//! How entries lie in the tables: a kind, a key and a state.
//!
//! A prefix's key is its address and its length, 17 octets, so that keys have the order of
//! prefixes; a domain's is its name.

use std::{collections::BTreeMap, net::Ipv6Addr};

use ipnet::Ipv6Net;
use sixgate_common::dest::OptIn;

use crate::store::{
    Contents, Domain, EntryKey, Marks, PrefixMap, PrefixSet, StoreEntry, parse_listed_domain,
};

/// Which set an entry is in. The numbers are those of the tables.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum EntryKind {
    OptIn = 1,
    Guard = 2,
    Trust = 3,
    Domain = 4,
}

impl EntryKind {
    pub(super) const fn number(self) -> i64 {
        self as i64
    }

    fn of(number: i64) -> Option<Self> {
        [Self::OptIn, Self::Guard, Self::Trust, Self::Domain].into_iter().find(|kind| kind.number() == number)
    }

    /// Its entries, for people.
    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::OptIn => "opt-in prefixes",
            Self::Guard => "guarded prefixes",
            Self::Trust => "trusted prefixes",
            Self::Domain => "domains",
        }
    }
}

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

pub(super) fn key_row(key: &EntryKey) -> (EntryKind, Vec<u8>) {
    match key {
        EntryKey::OptIn(prefix) => (EntryKind::OptIn, prefix_key(*prefix)),
        EntryKey::Guard(prefix) => (EntryKind::Guard, prefix_key(*prefix)),
        EntryKey::Trust(prefix) => (EntryKind::Trust, prefix_key(*prefix)),
        EntryKey::Domain(domain) => (EntryKind::Domain, domain.as_str().as_bytes().to_vec()),
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
    Some(match EntryKind::of(kind)? {
        EntryKind::OptIn => EntryKey::OptIn(prefix(key)?),
        EntryKind::Guard => EntryKey::Guard(prefix(key)?),
        EntryKind::Trust => EntryKey::Trust(prefix(key)?),
        EntryKind::Domain => EntryKey::Domain(domain(key)?),
    })
}

pub(super) fn domain(key: &[u8]) -> Option<Domain> {
    parse_listed_domain(str::from_utf8(key).ok()?).ok()
}

/// Octets of a prefix's key.
const PREFIX_KEY: usize = 17;

/// All rows of `contents`.
pub(super) fn rows(contents: &Contents) -> impl Iterator<Item = (EntryKind, Vec<u8>, i64)> {
    optin_rows(&contents.optin)
        .map(|(key, state)| (EntryKind::OptIn, key, state))
        .chain(member_rows(&contents.guard).map(|(key, state)| (EntryKind::Guard, key, state)))
        .chain(member_rows(&contents.trust).map(|(key, state)| (EntryKind::Trust, key, state)))
        .chain(domain_rows(&contents.domains).map(|(key, state)| (EntryKind::Domain, key, state)))
}

/// The rows of an opt-in set, in the order of their keys.
pub(super) fn optin_rows(optin: &PrefixMap<OptIn>) -> impl Iterator<Item = (Vec<u8>, i64)> {
    optin.entries().iter().map(|(prefix, optin)| (prefix_key(*prefix), optin_state(*optin)))
}

/// Those of a set of prefixes.
pub(super) fn member_rows(set: &PrefixSet) -> impl Iterator<Item = (Vec<u8>, i64)> {
    set.entries().keys().map(|prefix| (prefix_key(*prefix), IN))
}

/// Those of domains.
pub(super) fn domain_rows(domains: &BTreeMap<Domain, Marks>) -> impl Iterator<Item = (Vec<u8>, i64)> {
    domains.iter().map(|(domain, marks)| (domain.as_str().as_bytes().to_vec(), marks_state(*marks)))
}
