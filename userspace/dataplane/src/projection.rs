//! OPTIN, GUARD, TRUST and DOMAINS as one set of entries: what the store wants them to hold, and
//! how they get there.
//!
//! It decides no entry: the wanted set is the caller's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use ipnet::Ipv6Net;
use sixgate_common::{
    dest::{DestEntry, MEMBER, MemberEntry, OptIn},
    names,
    settings::Settings,
};

use super::{
    domains::{self, DomainSteps},
    error::DataplaneError,
    maps::Maps,
    trie::{Difference, compare, entries, put, remove, take_out, write},
};

/// The contents that the four maps are to have. Prefixes are truncated to their network.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Projection {
    /// Destinations and what was decided about them.
    pub optin: BTreeMap<Ipv6Net, OptIn>,
    /// Destinations that are ours.
    pub guard: BTreeSet<Ipv6Net>,
    /// Sources that are exempt.
    pub trust: BTreeSet<Ipv6Net>,
    /// Recipients' domains whose refusal is temporary, each spelling by its
    /// [`domain_key`](sixgate_common::domain::domain_key).
    pub temporary: BTreeSet<u64>,
}

/// One entry of one of the four maps.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum MapEntry {
    /// An entry of OPTIN.
    OptIn(Ipv6Net, OptIn),
    /// An entry of GUARD.
    Guard(Ipv6Net),
    /// An entry of TRUST.
    Trust(Ipv6Net),
    /// An entry of DOMAINS, by hash.
    Temporary(u64),
}

impl fmt::Display for MapEntry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OptIn(prefix, OptIn::In) => write!(formatter, "optin {prefix}"),
            Self::OptIn(prefix, OptIn::Out) => write!(formatter, "optin {prefix} out"),
            Self::Guard(prefix) => write!(formatter, "guard {prefix}"),
            Self::Trust(prefix) => write!(formatter, "trust {prefix}"),
            Self::Temporary(key) => write!(formatter, "temporary domain, key {key:016x}"),
        }
    }
}

/// A change of one entry of OPTIN, TRUST or DOMAINS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MapChange {
    /// The value that OPTIN is to have for the prefix; `None` deletes the entry.
    OptIn(Ipv6Net, Option<OptIn>),
    /// Whether the prefix is to be in TRUST.
    Trust(Ipv6Net, bool),
    /// Whether the spelling of this number is to be in DOMAINS.
    Temporary(u64, bool),
}

/// How the maps became, or would become, what is wanted. A changed entry is in both lists.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MapDifferences {
    /// Entries that were missing.
    pub added: Vec<MapEntry>,
    /// Entries that were too many.
    pub removed: Vec<MapEntry>,
}

impl MapDifferences {
    /// Whether the maps are as wanted already.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }

    /// Number of entries that differ.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.added.len() + self.removed.len()
    }
}

impl Maps {
    /// Makes the four maps hold exactly what is wanted: adds and changes before it removes, so that
    /// no entry is missing meanwhile that is there before and after. Where a map has no space for
    /// both, the program refuses nothing meanwhile (`ready` is cleared and set again). If a write
    /// fails, `ready` stays cleared; another call with a projection that fits repairs the maps.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::MapFull`] with the prefix that did not fit;
    /// [`DataplaneError::DomainsFull`]; [`DataplaneError::Map`].
    pub fn project(&mut self, wanted: &Projection) -> Result<MapDifferences, DataplaneError> {
        let steps = self.steps(wanted)?;
        let taken = if steps.is_cramped() { self.take_cramped(&steps) } else { self.take(&steps) };
        self.not_ready_after_failure(taken)?;
        Ok(steps.changes())
    }

    /// Writes those of these changes that put something in. Costs in proportion to their number. If
    /// a write fails, `ready` is cleared.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::MapFull`] with the prefix that did not fit;
    /// [`DataplaneError::DomainsFull`]; [`DataplaneError::Map`].
    pub fn put_changes(&mut self, changes: &[MapChange]) -> Result<(), DataplaneError> {
        let sizes = self.sizes();
        let member = MemberEntry { flags: MEMBER };
        let done = changes.iter().try_for_each(|change| match *change {
            MapChange::OptIn(prefix, Some(decided)) => {
                put(&mut self.optin, prefix, decided.entry(), sizes.optin, names::OPTIN)
            }
            MapChange::Trust(prefix, true) => put(&mut self.trust, prefix, member, sizes.trust, names::TRUST),
            MapChange::Temporary(key, true) => domains::put(&mut self.domains, key),
            MapChange::OptIn(_, None) | MapChange::Trust(_, false) | MapChange::Temporary(_, false) => Ok(()),
        });
        self.not_ready_after_failure(done)
    }

    /// Makes those of these changes that take something out.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`], as [`Self::put_changes`].
    pub fn take_out_changes(&mut self, changes: &[MapChange]) -> Result<(), DataplaneError> {
        let done = changes.iter().try_for_each(|change| match *change {
            MapChange::OptIn(prefix, None) => take_out(&mut self.optin, prefix, names::OPTIN),
            MapChange::Trust(prefix, false) => take_out(&mut self.trust, prefix, names::TRUST),
            MapChange::Temporary(key, false) => domains::take_out(&mut self.domains, key),
            MapChange::OptIn(_, Some(_)) | MapChange::Trust(_, true) | MapChange::Temporary(_, true) => {
                Ok(())
            }
        });
        self.not_ready_after_failure(done)
    }

    /// Whether OPTIN has any entry.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn holds_optin(&self) -> Result<bool, DataplaneError> {
        Ok(!entries(&self.optin, 1, names::OPTIN)?.is_empty())
    }

    /// Makes GUARD alone hold exactly what is wanted.
    ///
    /// # Errors
    ///
    /// As [`Self::project`].
    pub fn project_guard(&mut self, wanted: &BTreeSet<Ipv6Net>) -> Result<(), DataplaneError> {
        let bound = self.sizes().guard;
        let steps = compare(entries(&self.guard, bound, names::GUARD)?, members(wanted), bound);
        let taken = write(&mut self.guard, &steps, names::GUARD)
            .and_then(|()| remove(&mut self.guard, &steps.surplus, names::GUARD));
        self.not_ready_after_failure(taken)
    }

    /// What [`Self::project`] would change.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn difference(&self, wanted: &Projection) -> Result<MapDifferences, DataplaneError> {
        Ok(self.steps(wanted)?.changes())
    }

    fn steps(&self, wanted: &Projection) -> Result<Steps, DataplaneError> {
        let sizes = self.sizes();
        let optin = wanted.optin.iter().map(|(prefix, decided)| (*prefix, decided.entry()));
        Ok(Steps {
            optin: compare(entries(&self.optin, sizes.optin, names::OPTIN)?, optin, sizes.optin),
            trust: compare(
                entries(&self.trust, sizes.trust, names::TRUST)?,
                members(&wanted.trust),
                sizes.trust,
            ),
            guard: compare(
                entries(&self.guard, sizes.guard, names::GUARD)?,
                members(&wanted.guard),
                sizes.guard,
            ),
            domains: domains::steps(&self.domains, &wanted.temporary)?,
        })
    }

    fn take(&mut self, steps: &Steps) -> Result<(), DataplaneError> {
        self.write_all(steps)?;
        remove(&mut self.guard, &steps.guard.surplus, names::GUARD)?;
        remove(&mut self.trust, &steps.trust.surplus, names::TRUST)?;
        remove(&mut self.optin, &steps.optin.surplus, names::OPTIN)
    }

    /// Deletes before it writes. An entry whose value changes is deleted, too: before Linux 6.13 a
    /// full trie takes no new value for an entry that it holds.
    fn take_cramped(&mut self, steps: &Steps) -> Result<(), DataplaneError> {
        let settings = self.settings()?;
        self.write_settings(&Settings { ready: 0, ..settings })?;
        for old in [&steps.guard.surplus, &steps.guard.replaced] {
            remove(&mut self.guard, old, names::GUARD)?;
        }
        for old in [&steps.trust.surplus, &steps.trust.replaced] {
            remove(&mut self.trust, old, names::TRUST)?;
        }
        for old in [&steps.optin.surplus, &steps.optin.replaced] {
            remove(&mut self.optin, old, names::OPTIN)?;
        }
        self.write_all(steps)?;
        self.write_settings(&settings)
    }

    /// Keeps the program from refusing while the maps are only half written.
    fn not_ready_after_failure(&mut self, taken: Result<(), DataplaneError>) -> Result<(), DataplaneError> {
        if taken.is_err() {
            // The first error is the one to tell.
            let _ = self.clear_ready();
        }
        taken
    }

    /// Entries that spare senders come before those that refuse them.
    fn write_all(&mut self, steps: &Steps) -> Result<(), DataplaneError> {
        domains::take(&mut self.domains, &steps.domains)?;
        write(&mut self.optin, &steps.optin, names::OPTIN)?;
        write(&mut self.trust, &steps.trust, names::TRUST)?;
        write(&mut self.guard, &steps.guard, names::GUARD)
    }
}

/// The changes that the four maps need.
struct Steps {
    optin: Difference<DestEntry>,
    trust: Difference<MemberEntry>,
    guard: Difference<MemberEntry>,
    domains: DomainSteps,
}

impl Steps {
    /// Whether a map has space for the wanted entries, but not for them and the entries to be
    /// deleted at the same time.
    const fn is_cramped(&self) -> bool {
        self.optin.is_cramped() || self.trust.is_cramped() || self.guard.is_cramped()
    }

    fn changes(&self) -> MapDifferences {
        let optin = |(prefix, entry): &(Ipv6Net, DestEntry)| MapEntry::OptIn(*prefix, entry.decision());
        let trust = |(prefix, _): &(Ipv6Net, MemberEntry)| MapEntry::Trust(*prefix);
        let guard = |(prefix, _): &(Ipv6Net, MemberEntry)| MapEntry::Guard(*prefix);
        MapDifferences {
            added: (self.optin.missing.iter().map(optin))
                .chain(self.trust.missing.iter().map(trust))
                .chain(self.guard.missing.iter().map(guard))
                .chain(self.domains.missing.iter().copied().map(MapEntry::Temporary))
                .collect(),
            removed: (self.optin.replaced.iter().chain(&self.optin.surplus).map(optin))
                .chain(self.trust.replaced.iter().chain(&self.trust.surplus).map(trust))
                .chain(self.guard.replaced.iter().chain(&self.guard.surplus).map(guard))
                .chain(self.domains.surplus.iter().copied().map(MapEntry::Temporary))
                .collect(),
        }
    }
}

fn members(prefixes: &BTreeSet<Ipv6Net>) -> impl Iterator<Item = (Ipv6Net, MemberEntry)> {
    prefixes.iter().map(|prefix| (*prefix, MemberEntry { flags: MEMBER }))
}
