//! DOMAINS: the recipients' domains whose refusal is temporary, each by its number.
//!
//! It knows no name: which numbers a domain has is the caller's.

use std::collections::BTreeSet;

use aya::maps::{HashMap, MapData};
use nix::libc;
use sixgate_common::{
    dest::{MEMBER, MemberEntry},
    names,
};

use super::error::{DataplaneError, is_absent, system_error};

/// The open map DOMAINS, by hash.
pub(super) type DomainMap = HashMap<MapData, u64, MemberEntry>;

/// The changes that the map needs.
#[derive(Debug, Default)]
pub(super) struct DomainSteps {
    pub(super) missing: Vec<u64>,
    pub(super) surplus: Vec<u64>,
}

/// What makes the map hold `wanted` and nothing else.
pub(super) fn steps(domains: &DomainMap, wanted: &BTreeSet<u64>) -> Result<DomainSteps, DataplaneError> {
    // the bound ends a walk that another process keeps confusing
    let found: BTreeSet<u64> = domains
        .keys()
        .take(names::DOMAINS_ENTRIES as usize)
        .collect::<Result<_, _>>()
        .map_err(|error| DataplaneError::map("read", names::DOMAINS, error))?;
    Ok(DomainSteps {
        missing: wanted.difference(&found).copied().collect(),
        surplus: found.difference(wanted).copied().collect(),
    })
}

/// Frees space, then writes: an entry that stays is never missing meanwhile.
///
/// # Errors
///
/// [`DataplaneError::DomainsFull`], [`DataplaneError::Map`].
pub(super) fn take(domains: &mut DomainMap, steps: &DomainSteps) -> Result<(), DataplaneError> {
    steps.surplus.iter().try_for_each(|key| take_out(domains, *key))?;
    steps.missing.iter().try_for_each(|key| put(domains, *key))
}

/// Writes an entry.
///
/// # Errors
///
/// As [`take`].
pub(super) fn put(domains: &mut DomainMap, key: u64) -> Result<(), DataplaneError> {
    domains.insert(key, MemberEntry { flags: MEMBER }, 0).map_err(|error| {
        let error = system_error(error);
        match error.raw_os_error() {
            Some(libc::E2BIG) => DataplaneError::DomainsFull,
            _ => DataplaneError::map("write", names::DOMAINS, error.into()),
        }
    })
}

/// Deletes an entry; an entry that is gone already is not an error.
///
/// # Errors
///
/// [`DataplaneError::Map`].
pub(super) fn take_out(domains: &mut DomainMap, key: u64) -> Result<(), DataplaneError> {
    match domains.remove(&key) {
        Err(error) if !is_absent(&error) => Err(DataplaneError::map("delete from", names::DOMAINS, error)),
        _ => Ok(()),
    }
}
