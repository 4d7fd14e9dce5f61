//! OPTIN, GUARD and TRUST as one set of prefixes: what the store wants them to hold, and how they get there.
//!
//! It decides no prefix: the wanted set is the caller's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use aya::{
    Pod,
    maps::{LpmTrie, MapData, MapError, lpm_trie::Key},
};
use ipnet::Ipv6Net;
use nix::libc;
use sixgate_common::{
    dest::{DestEntry, MEMBER, MemberEntry, OPTED_IN, OPTED_OUT},
    map,
};

use super::{
    error::{DataplaneError, system_error},
    maps::Maps,
};

/// What the owner of a destination prefix decided.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum OptIn {
    /// It takes mail over IPv6.
    In,
    /// It does not, although a shorter prefix does.
    Out,
}

/// What the three prefix maps are to hold. Prefixes are truncated to their network.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Projection {
    /// Destinations and what was decided about them.
    pub optin: BTreeMap<Ipv6Net, OptIn>,
    /// Destinations that are ours.
    pub guard: BTreeSet<Ipv6Net>,
    /// Sources that are exempt.
    pub trust: BTreeSet<Ipv6Net>,
}

/// One entry of one of the three maps.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Entry {
    /// In OPTIN.
    OptIn(Ipv6Net, OptIn),
    /// In GUARD.
    Guard(Ipv6Net),
    /// In TRUST.
    Trust(Ipv6Net),
}

impl fmt::Display for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OptIn(prefix, OptIn::In) => write!(formatter, "optin {prefix}"),
            Self::OptIn(prefix, OptIn::Out) => write!(formatter, "optin {prefix} out"),
            Self::Guard(prefix) => write!(formatter, "guard {prefix}"),
            Self::Trust(prefix) => write!(formatter, "trust {prefix}"),
        }
    }
}

/// How the maps became, or would become, what is wanted. A changed entry is in both lists.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// Entries that were missing.
    pub added: Vec<Entry>,
    /// Entries that were too many.
    pub removed: Vec<Entry>,
}

impl Changes {
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
    /// Makes the three maps hold exactly what is wanted: adds and changes before it removes, so that no entry is
    /// missing meanwhile that is there before and after. If a write fails, the program is told to refuse nothing
    /// (`ready` is cleared); another call with the same projection repairs.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::MapFull`] with the prefix that did not fit; [`DataplaneError::Map`].
    pub fn project(&mut self, wanted: &Projection) -> Result<Changes, DataplaneError> {
        let steps = self.steps(wanted)?;
        if let Err(error) = self.apply(&steps) {
            self.clear_ready()?;
            return Err(error);
        }
        Ok(steps.changes())
    }

    /// What [`Self::project`] would change.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn difference(&self, wanted: &Projection) -> Result<Changes, DataplaneError> {
        Ok(self.steps(wanted)?.changes())
    }

    fn steps(&self, wanted: &Projection) -> Result<Steps, DataplaneError> {
        let sizes = self.sizes();
        let optin = wanted.optin.iter().map(|(prefix, decided)| (*prefix, destination(*decided)));
        Ok(Steps {
            optin: compare(entries(&self.optin, sizes.optin, map::OPTIN)?, optin),
            trust: compare(entries(&self.trust, sizes.trust, map::TRUST)?, members(&wanted.trust)),
            guard: compare(entries(&self.guard, sizes.guard, map::GUARD)?, members(&wanted.guard)),
        })
    }

    /// Entries that spare senders come before those that refuse them, and go after them.
    fn apply(&mut self, steps: &Steps) -> Result<(), DataplaneError> {
        let sizes = self.sizes();
        write(&mut self.optin, &steps.optin, sizes.optin, map::OPTIN)?;
        write(&mut self.trust, &steps.trust, sizes.trust, map::TRUST)?;
        write(&mut self.guard, &steps.guard, sizes.guard, map::GUARD)?;
        remove(&mut self.guard, &steps.guard, map::GUARD)?;
        remove(&mut self.trust, &steps.trust, map::TRUST)?;
        remove(&mut self.optin, &steps.optin, map::OPTIN)
    }
}

/// What is to be done to the three maps.
struct Steps {
    optin: Difference<DestEntry>,
    trust: Difference<MemberEntry>,
    guard: Difference<MemberEntry>,
}

impl Steps {
    fn changes(&self) -> Changes {
        let optin = |(prefix, entry): &(Ipv6Net, DestEntry)| Entry::OptIn(*prefix, decision(*entry));
        let trust = |(prefix, _): &(Ipv6Net, MemberEntry)| Entry::Trust(*prefix);
        let guard = |(prefix, _): &(Ipv6Net, MemberEntry)| Entry::Guard(*prefix);
        Changes {
            added: (self.optin.missing.iter().map(optin))
                .chain(self.trust.missing.iter().map(trust))
                .chain(self.guard.missing.iter().map(guard))
                .collect(),
            removed: (self.optin.replaced.iter().chain(&self.optin.surplus).map(optin))
                .chain(self.trust.replaced.iter().chain(&self.trust.surplus).map(trust))
                .chain(self.guard.replaced.iter().chain(&self.guard.surplus).map(guard))
                .collect(),
        }
    }
}

/// How one map differs from what is wanted.
struct Difference<V> {
    /// To be written: new entries, and new values of those in `replaced`.
    missing: Vec<(Ipv6Net, V)>,
    /// The values that are written over.
    replaced: Vec<(Ipv6Net, V)>,
    /// To be deleted.
    surplus: Vec<(Ipv6Net, V)>,
}

fn compare<V: Copy + Eq>(
    mut found: BTreeMap<Ipv6Net, V>,
    wanted: impl Iterator<Item = (Ipv6Net, V)>,
) -> Difference<V> {
    let (mut missing, mut replaced) = (Vec::new(), Vec::new());
    for (prefix, value) in wanted {
        match found.remove(&prefix) {
            Some(old) if old == value => continue,
            Some(old) => replaced.push((prefix, old)),
            None => {}
        }
        missing.push((prefix, value));
    }
    Difference { missing, replaced, surplus: found.into_iter().collect() }
}

fn members(prefixes: &BTreeSet<Ipv6Net>) -> impl Iterator<Item = (Ipv6Net, MemberEntry)> {
    prefixes.iter().map(|prefix| (*prefix, MemberEntry { flags: MEMBER }))
}

const fn destination(decided: OptIn) -> DestEntry {
    DestEntry {
        flags: match decided {
            OptIn::In => OPTED_IN,
            OptIn::Out => OPTED_OUT,
        },
    }
}

/// How the program takes an entry: what is not opted in is out.
const fn decision(entry: DestEntry) -> OptIn {
    match entry.flags {
        OPTED_IN => OptIn::In,
        _ => OptIn::Out,
    }
}

type Trie<V> = LpmTrie<MapData, [u8; 16], V>;

/// All entries of a trie; `bound` ends a walk that another process keeps confusing.
fn entries<V: Pod>(
    trie: &Trie<V>,
    bound: u32,
    name: &'static str,
) -> Result<BTreeMap<Ipv6Net, V>, DataplaneError> {
    let mut found = BTreeMap::new();
    for entry in trie.iter().take(bound as usize) {
        let (key, value) = entry.map_err(|error| DataplaneError::map("read", name, error))?;
        // The kernel takes no longer prefix than the address is (kernel/bpf/lpm_trie.c).
        let prefix = u8::try_from(key.prefix_len())
            .ok()
            .and_then(|length| Ipv6Net::new(key.data().into(), length).ok());
        found.extend(prefix.map(|prefix| (prefix, value)));
    }
    Ok(found)
}

fn write<V: Pod>(
    trie: &mut Trie<V>,
    difference: &Difference<V>,
    bound: u32,
    name: &'static str,
) -> Result<(), DataplaneError> {
    for (prefix, value) in &difference.missing {
        trie.insert(&key(*prefix), value, 0).map_err(|error| {
            let error = system_error(error);
            match error.raw_os_error() {
                Some(libc::ENOSPC) => DataplaneError::MapFull { map: name, entries: bound, prefix: *prefix },
                _ => DataplaneError::map("write", name, error.into()),
            }
        })?;
    }
    Ok(())
}

fn remove<V: Pod>(
    trie: &mut Trie<V>,
    difference: &Difference<V>,
    name: &'static str,
) -> Result<(), DataplaneError> {
    for (prefix, _) in &difference.surplus {
        match trie.remove(&key(*prefix)) {
            Ok(()) | Err(MapError::KeyNotFound) => {}
            Err(error) => return Err(DataplaneError::map("delete from", name, error)),
        }
    }
    Ok(())
}

fn key(prefix: Ipv6Net) -> Key<[u8; 16]> {
    Key::new(u32::from(prefix.prefix_len()), prefix.network().octets())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written() {
        let prefix = |text: &str| text.parse::<Ipv6Net>().unwrap();
        let found = BTreeMap::from([
            (prefix("2001:db8:1::/48"), 1),
            (prefix("2001:db8:2::/48"), 1),
            (prefix("2001:db8:3::/48"), 1),
        ]);
        let wanted =
            [(prefix("2001:db8:1::/48"), 1), (prefix("2001:db8:2::/48"), 2), (prefix("2001:db8:4::/48"), 1)];
        let difference = compare(found, wanted.into_iter());
        assert_eq!(difference.missing, [(prefix("2001:db8:2::/48"), 2), (prefix("2001:db8:4::/48"), 1)]);
        assert_eq!(difference.replaced, [(prefix("2001:db8:2::/48"), 1)]);
        assert_eq!(difference.surplus, [(prefix("2001:db8:3::/48"), 1)]);
    }
}
