//! How the maps follow the store: by the changes since the revision that they show, or as a whole.
//!
//! The caller holds the lock on the maps. The store's guarded prefixes are joined with the
//! interfaces' addresses in `guard`.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv6Net;
use sixgate_common::settings;

use super::{Control, ControlError, MAPS_WAIT};
use sixgate_dataplane::{DataplaneError, MapChange, MapEntry, Maps, Projection, Sizes};

use crate::store::{Contents, Database, Domain, EntryChange, EntryKey, Since, StoreEntry};

impl Control {
    /// Brings the maps in line with the store, if the program is attached. `addresses`: those of
    /// the interfaces may have changed. Whether the maps were behind: a command ended between the
    /// store and the maps.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotProjected`]: `ready` is cleared. [`ControlError::Store`] leaves the maps
    /// as they are.
    pub fn reconcile(&self, addresses: bool) -> Result<bool, ControlError> {
        let Some(mut maps) = self.maps_of_store()? else {
            return Ok(false);
        };
        let mut database = self.store.open()?;
        let settings = maps.settings()?;
        if !addresses && settings.ready == settings::READY && settings.shown == database.revision()? {
            return Ok(false);
        }
        let _lock = self.pins.lock_maps(MAPS_WAIT)?;
        // the command that changes the store may have brought the maps along meanwhile
        let settings = maps.settings()?;
        let was_behind = settings.ready != settings::READY || settings.shown != database.revision()?;
        self.follow(&mut maps, &mut database)?;
        if addresses {
            self.project_guard(&mut maps, &database)?;
        }
        Ok(was_behind)
    }

    /// Brings the maps in line with the store.
    pub(super) fn follow(&self, maps: &mut Maps, database: &mut Database) -> Result<(), ControlError> {
        let settings = maps.settings()?;
        if settings.ready == settings::READY
            && let Since::Changes { changes, now, .. } = database.since(settings.shown, CHANGES_MOST)?
        {
            match self.apply(maps, changes, database) {
                Ok(()) => return Ok(maps.set_shown(now)?),
                // old and new entries together are too many: comparing all removes the old ones
                // first
                Err(ControlError::NotProjected { source: DataplaneError::MapFull { .. } }) => {}
                Err(error) => return Err(error),
            }
        }
        self.follow_whole(maps, database)
    }

    /// Compares maps and store as a whole, and makes them alike.
    pub(super) fn follow_whole(&self, maps: &mut Maps, database: &mut Database) -> Result<(), ControlError> {
        let (contents, revision) = database.contents()?;
        let done = self.try_project(maps, &contents).and_then(|()| maps.set_shown(revision));
        done.map_err(|source| not_projected(maps, source))
    }

    fn apply(
        &self,
        maps: &mut Maps,
        changes: Vec<EntryChange>,
        database: &Database,
    ) -> Result<(), ControlError> {
        let (changes, is_guard_changed) = for_maps(changes);
        maps.put_changes(&changes).map_err(|source| not_projected(maps, source))?;
        if is_guard_changed {
            self.project_guard(maps, database)?;
        }
        maps.take_out_changes(&changes).map_err(|source| not_projected(maps, source))
    }

    /// Makes GUARD equal to the store's guarded prefixes and the interfaces' addresses together.
    pub(super) fn project_guard(&self, maps: &mut Maps, database: &Database) -> Result<(), ControlError> {
        let stored = database.guard()?;
        let done = self.attached_interfaces().and_then(|interfaces| {
            let wanted = self.guarded(&stored, &interfaces)?;
            maps.project_guard(&wanted.into_keys().collect())
        });
        done.map_err(|source| not_projected(maps, source))
    }

    /// The entries that the maps have to hold.
    pub(super) fn projection(
        &self,
        contents: &Contents,
        interfaces: &BTreeSet<u32>,
    ) -> Result<Projection, DataplaneError> {
        let optin = contents.optin.entries().iter().map(|(prefix, optin)| (*prefix, *optin));
        Ok(Projection {
            optin: optin.collect(),
            guard: self.guarded(&contents.guard, interfaces)?.into_keys().collect(),
            trust: contents.trust.entries().keys().copied().collect(),
            temporary: contents.temporary_domains().keys().clone(),
        })
    }

    /// The program may refuse again only after the maps were read back.
    fn try_project(&self, maps: &mut Maps, contents: &Contents) -> Result<(), DataplaneError> {
        let wanted = self.projection(contents, &self.attached_interfaces()?)?;
        match maps.project(&wanted) {
            Err(DataplaneError::MapFull { .. }) if fits(&wanted, maps.sizes()) => {
                make_space(maps, &wanted)?;
                maps.project(&wanted)?
            }
            projected => projected?,
        };
        if maps.settings()?.ready != settings::READY {
            let left = maps.difference(&wanted)?;
            if !left.is_empty() {
                return Err(DataplaneError::NotProjected { differences: left.len() });
            }
        }
        Ok(())
    }
}

fn not_projected(maps: &mut Maps, source: DataplaneError) -> ControlError {
    // best effort, since something is wrong with the maps already: the first error is the one to
    // report
    let _ = maps.clear_ready();
    ControlError::NotProjected { source }
}

/// The last change of each entry of OPTIN, TRUST and DOMAINS, and whether GUARD changes. Of domains
/// only those are in a map whose refusal is temporary.
fn for_maps(changes: Vec<EntryChange>) -> (Vec<MapChange>, bool) {
    let mut last: BTreeMap<(bool, Ipv6Net), MapChange> = BTreeMap::new();
    let mut domains: BTreeMap<u64, MapChange> = BTreeMap::new();
    let mut mark = |domain: &Domain, is_temporary: bool| {
        domains.extend(domain.keys().into_iter().map(|key| (key, MapChange::Temporary(key, is_temporary))));
    };
    let mut is_guard_changed = false;
    for change in changes {
        let (key, change) = match change {
            EntryChange::Put(StoreEntry::OptIn(prefix, optin)) => {
                ((false, prefix), MapChange::OptIn(prefix, Some(optin)))
            }
            EntryChange::Gone(EntryKey::OptIn(prefix)) => ((false, prefix), MapChange::OptIn(prefix, None)),
            EntryChange::Put(StoreEntry::Trust(prefix)) => ((true, prefix), MapChange::Trust(prefix, true)),
            EntryChange::Gone(EntryKey::Trust(prefix)) => ((true, prefix), MapChange::Trust(prefix, false)),
            EntryChange::Put(StoreEntry::Guard(_)) | EntryChange::Gone(EntryKey::Guard(_)) => {
                is_guard_changed = true;
                continue;
            }
            EntryChange::Put(StoreEntry::Domain(domain, marks)) => {
                mark(&domain, marks.temporary);
                continue;
            }
            EntryChange::Gone(EntryKey::Domain(domain)) => {
                mark(&domain, false);
                continue;
            }
        };
        last.insert(key, change);
    }
    (last.into_values().chain(domains.into_values()).collect(), is_guard_changed)
}

/// Whether the maps can hold `wanted`, once what is not wanted is gone.
pub(super) fn fits(wanted: &Projection, sizes: Sizes) -> bool {
    let fits = |count: usize, bound: u32| u32::try_from(count).is_ok_and(|count| count <= bound);
    fits(wanted.optin.len(), sizes.optin)
        && fits(wanted.guard.len(), sizes.guard)
        && fits(wanted.trust.len(), sizes.trust)
}

/// Removes what is not wanted first, where old and new entries together are too many. Entries are
/// missing meanwhile, so that the program may refuse nothing until all are there.
pub(super) fn make_space(maps: &mut Maps, wanted: &Projection) -> Result<(), DataplaneError> {
    maps.clear_ready()?;
    let mut kept = wanted.clone();
    for entry in maps.difference(wanted)?.added {
        match entry {
            MapEntry::OptIn(prefix, _) => {
                kept.optin.remove(&prefix);
            }
            MapEntry::Guard(prefix) => {
                kept.guard.remove(&prefix);
            }
            MapEntry::Trust(prefix) => {
                kept.trust.remove(&prefix);
            }
            // DOMAINS frees slots by itself
            MapEntry::Temporary(_) => {}
        }
    }
    maps.project(&kept)?;
    Ok(())
}

/// Changes that are made one by one; beyond that, comparing all costs less.
const CHANGES_MOST: usize = 100_000;

#[cfg(test)]
mod tests {
    use sixgate_common::dest::OptIn;

    use super::*;
    use crate::store::Marks;

    #[test]
    fn the_last_change_of_an_entry_counts() {
        let prefix: Ipv6Net = "2001:db8::/32".parse().unwrap();
        let domain: Domain = "contoso.com".parse().unwrap();
        let changes = vec![
            EntryChange::Put(StoreEntry::OptIn(prefix, OptIn::In)),
            EntryChange::Gone(EntryKey::OptIn(prefix)),
            EntryChange::Put(StoreEntry::Trust(prefix)),
            EntryChange::Put(StoreEntry::OptIn(prefix, OptIn::Out)),
            EntryChange::Put(StoreEntry::Domain(domain.clone(), Marks::TEMPORARY)),
            EntryChange::Put(StoreEntry::Domain(domain.clone(), Marks::OPTED_IN)),
        ];
        let key = domain.keys().into_iter().next().unwrap();
        let wanted = vec![
            MapChange::OptIn(prefix, Some(OptIn::Out)),
            MapChange::Trust(prefix, true),
            MapChange::Temporary(key, false),
        ];
        assert_eq!(for_maps(changes), (wanted, false));
        assert_eq!(for_maps(vec![EntryChange::Gone(EntryKey::Guard(prefix))]), (Vec::new(), true));
    }
}
