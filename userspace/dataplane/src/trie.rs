//! One prefix trie (BPF_MAP_TYPE_LPM_TRIE): its entries, what is to change, and the writing of it.
//!
//! Which trie holds what is `projection`'s business.

use std::collections::BTreeMap;

use aya::{
    Pod,
    maps::{LpmTrie, MapData, lpm_trie::Key},
};
use ipnet::Ipv6Net;
use nix::libc;

use super::error::{DataplaneError, is_absent, system_error};

/// A trie whose keys are prefixes of IPv6 addresses.
pub(super) type Trie<V> = LpmTrie<MapData, [u8; 16], V>;

/// How one trie differs from what is wanted.
pub(super) struct Difference<V> {
    /// To be written: new entries, and new values of those in `replaced`.
    pub(super) missing: Vec<(Ipv6Net, V)>,
    /// The values that are written over.
    pub(super) replaced: Vec<(Ipv6Net, V)>,
    /// To be deleted.
    pub(super) surplus: Vec<(Ipv6Net, V)>,
    /// Entries that stay as they are.
    kept: usize,
    /// The trie's bound, in entries.
    bound: u32,
}

impl<V> Difference<V> {
    /// Whether everything that is wanted fits, but not beside what is to be deleted or written
    /// over.
    pub(super) const fn is_cramped(&self) -> bool {
        let wanted = self.kept + self.missing.len();
        let meanwhile = wanted + self.surplus.len() + self.replaced.len();
        wanted <= self.bound as usize && meanwhile > self.bound as usize
    }
}

/// How `found` differs from `wanted`.
pub(super) fn compare<V: Copy + Eq>(
    mut found: BTreeMap<Ipv6Net, V>,
    wanted: impl Iterator<Item = (Ipv6Net, V)>,
    bound: u32,
) -> Difference<V> {
    let (mut missing, mut replaced, mut kept) = (Vec::new(), Vec::new(), 0);
    for (prefix, value) in wanted {
        match found.remove(&prefix) {
            Some(old) if old == value => {
                kept += 1;
                continue;
            }
            Some(old) => replaced.push((prefix, old)),
            None => {}
        }
        missing.push((prefix, value));
    }
    Difference { missing, replaced, surplus: found.into_iter().collect(), kept, bound }
}

/// All entries of a trie; `bound` ends a walk that another process keeps confusing.
pub(super) fn entries<V: Pod>(
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

/// Writes what is missing.
///
/// # Errors
///
/// [`DataplaneError::MapFull`] with the first prefix that does not fit.
pub(super) fn write<V: Pod>(
    trie: &mut Trie<V>,
    difference: &Difference<V>,
    name: &'static str,
) -> Result<(), DataplaneError> {
    for (prefix, value) in &difference.missing {
        put(trie, *prefix, *value, difference.bound, name)?;
    }
    Ok(())
}

/// Writes one entry of a trie of `bound` entries.
///
/// # Errors
///
/// [`DataplaneError::MapFull`].
pub(super) fn put<V: Pod>(
    trie: &mut Trie<V>,
    prefix: Ipv6Net,
    value: V,
    bound: u32,
    name: &'static str,
) -> Result<(), DataplaneError> {
    trie.insert(&key(prefix), value, 0).map_err(|error| {
        let error = system_error(error);
        match error.raw_os_error() {
            Some(libc::ENOSPC) => DataplaneError::MapFull { map: name, entries: bound, prefix },
            _ => DataplaneError::map("write", name, error.into()),
        }
    })
}

/// Deletes entries; entries that are gone already are not an error.
pub(super) fn remove<V: Pod>(
    trie: &mut Trie<V>,
    entries: &[(Ipv6Net, V)],
    name: &'static str,
) -> Result<(), DataplaneError> {
    entries.iter().try_for_each(|(prefix, _)| take_out(trie, *prefix, name))
}

/// Deletes one entry; an entry that is gone already is not an error.
pub(super) fn take_out<V: Pod>(
    trie: &mut Trie<V>,
    prefix: Ipv6Net,
    name: &'static str,
) -> Result<(), DataplaneError> {
    match trie.remove(&key(prefix)) {
        Err(error) if !is_absent(&error) => Err(DataplaneError::map("delete from", name, error)),
        _ => Ok(()),
    }
}

fn key(prefix: Ipv6Net) -> Key<[u8; 16]> {
    Key::new(u32::from(prefix.prefix_len()), prefix.network().octets())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(number: u16) -> Ipv6Net {
        format!("2001:db8:{number:x}::/48").parse().unwrap()
    }

    #[test]
    fn only_what_differs_is_written() {
        let found = BTreeMap::from([(prefix(1), 1), (prefix(2), 1), (prefix(3), 1)]);
        let wanted = [(prefix(1), 1), (prefix(2), 2), (prefix(4), 1)];
        let difference = compare(found, wanted.into_iter(), 8);
        assert_eq!(difference.missing, [(prefix(2), 2), (prefix(4), 1)]);
        assert_eq!(difference.replaced, [(prefix(2), 1)]);
        assert_eq!(difference.surplus, [(prefix(3), 1)]);
    }

    #[test]
    fn a_trie_is_cramped_only_if_what_is_wanted_fits_alone() {
        for (found, wanted, cramped) in [
            (0..0, 0..4, false),
            (0..4, 0..4, false),
            (0..2, 2..4, false),
            (0..3, 2..4, false),
            (0..3, 3..5, true),
            (0..4, 4..8, true),
            (0..4, 0..5, false),
            (0..4, 4..9, false),
        ] {
            let held = found.clone().map(|number| (prefix(number), 1)).collect();
            let rows = wanted.clone().map(|number| (prefix(number), 1));
            assert_eq!(compare(held, rows, 4).is_cramped(), cramped, "{found:?} to {wanted:?}");
        }
        let full = (0..4).map(|number| (prefix(number), 1)).collect();
        let changed = (0..4).map(|number| (prefix(number), if number == 3 { 2 } else { 1 }));
        assert!(compare(full, changed, 4).is_cramped(), "a changed value in a full trie");
    }
}
