//! Commands that only try what they would do: every check is made, and nothing is kept.
//!
//! What would change is the callers' to print.

use std::path::PathBuf;

use super::{Control, ControlError, MAPS_WAIT, attach::index_of};
use sixgate_dataplane::{self as dataplane, AttachMode, AttachTrial, DataplaneError, Maps, Sizes};

use crate::{
    config::InterfaceName,
    store::{Backup, Edit},
};

/// A store that would be replaced by its backup.
#[derive(Debug)]
pub struct Restoring {
    /// The backup that would replace it.
    pub backup: Backup,
    /// Where the store of before would be kept, if there is one.
    pub aside: Option<PathBuf>,
    /// The revision that the maps show.
    pub shown: Option<u64>,
}

impl Control {
    /// Lets changes be tried only, from now on.
    pub fn set_dry_run(&mut self) {
        self.is_dry_run = true;
    }

    /// Whether changes are tried only.
    #[must_use]
    pub const fn is_dry_run(&self) -> bool {
        self.is_dry_run
    }

    /// Makes the checks of [`Self::restore`], and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Self::restore`].
    pub fn try_restore(&self, force: bool) -> Result<Restoring, ControlError> {
        let (backup, aside) = self.store.try_restore(force)?;
        Ok(Restoring { backup, aside, shown: self.shown() })
    }

    /// Makes the checks of [`Self::attach`], and changes nothing. Without an interface it looks at
    /// what is attached; nothing if nothing is.
    ///
    /// # Errors
    ///
    /// As [`Self::attach`]; [`ControlError::NoSpace`].
    pub fn try_attach(
        &self,
        interfaces: &[InterfaceName],
        mode: AttachMode,
    ) -> Result<Option<AttachTrial>, ControlError> {
        let mut database = self.store.open()?;
        let _lock = self.pins.lock_maps_if_any(MAPS_WAIT)?;
        let Some(plan) = self.plan(&mut database, interfaces, mode)? else {
            return Ok(None);
        };
        let mut trial = dataplane::try_attach(&plan, &self.loader)?;
        trial.fallback_reason = trial.fallback_reason.filter(|_| self.expects_kernel());
        let projection = &plan.projection;
        demand_space(trial.sizes, projection.optin.len(), projection.guard.len(), projection.trust.len())?;
        Ok(Some(trial))
    }

    /// The interfaces that [`Self::detach`] would take the program off.
    ///
    /// # Errors
    ///
    /// As [`Self::detach`].
    pub fn try_detach(&self, interfaces: &[InterfaceName]) -> Result<Vec<String>, ControlError> {
        let links = dataplane::attached(&self.pins)?;
        if interfaces.is_empty() {
            return Ok(links.into_iter().map(|link| link.interface).collect());
        }
        let mut found = Vec::new();
        for name in interfaces {
            let index = index_of(name.as_str())?;
            let is_called = |link: &&dataplane::AttachedLink| match link.running {
                Some(running) => Some(running.index) == index,
                None => link.interface == name.as_str(),
            };
            let Some(link) = links.iter().find(is_called) else {
                let interface = name.as_str().to_owned();
                return Err(DataplaneError::NotAttached { interface }.into());
            };
            if !found.contains(&link.interface) {
                found.push(link.interface.clone());
            }
        }
        found.sort();
        Ok(found)
    }

    /// What [`Self::detach_elsewhere`] would take off.
    ///
    /// # Errors
    ///
    /// As [`Self::detach_elsewhere`].
    pub fn try_detach_elsewhere(
        &self,
        interfaces: &[InterfaceName],
    ) -> Result<Vec<(String, PathBuf)>, ControlError> {
        let configured = self.configured();
        let named = if interfaces.is_empty() { &configured.interfaces } else { interfaces };
        let mut found = Vec::new();
        for interface in named {
            let taken = dataplane::try_detach_elsewhere(&self.pins, interface.as_str())?;
            found.extend(taken.map(|path| (interface.as_str().to_owned(), path)));
        }
        Ok(found)
    }

    /// The interfaces that [`Self::detach_others`] would take other versions' program off; nothing
    /// if other versions have pinned nothing.
    ///
    /// # Errors
    ///
    /// As [`Self::detach_others`].
    pub fn try_detach_others(&self) -> Result<Option<Vec<String>>, ControlError> {
        let has_others = self.pins.has_other_layouts()?;
        Ok(has_others.then(|| dataplane::attached_by_others(&self.pins)).transpose()?)
    }

    /// Whether the maps can hold what the store would hold.
    pub(super) fn check_space(&self, maps: &Maps, edit: &Edit<'_>) -> Result<(), ControlError> {
        let counts = edit.counts()?;
        let guard = self.guarded(&edit.guard()?, &self.attached_interfaces()?)?.len();
        demand_space(maps.sizes(), counts.optin, guard, counts.trust)
    }
}

/// Whether maps of these sizes hold so many entries.
fn demand_space(sizes: Sizes, optin: usize, guard: usize, trust: usize) -> Result<(), ControlError> {
    for (map, bound, wanted) in
        [("OPTIN", sizes.optin, optin), ("GUARD", sizes.guard, guard), ("TRUST", sizes.trust, trust)]
    {
        if u32::try_from(wanted).map_or(true, |wanted| wanted > bound) {
            return Err(ControlError::NoSpace { map, bound, wanted });
        }
    }
    Ok(())
}
