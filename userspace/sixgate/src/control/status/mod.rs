//! The status of store, maps and interfaces at one instant, as `sixgate status` reports it.
//!
//! It changes nothing. The comparison and the sentences are its submodules.

mod comparison;
mod findings;
mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use sixgate_dataplane::{DataplaneError, Maps, Pins, attached};

use super::{
    Control, ControlError,
    setting_names::{ENFORCE, by_key},
};

use comparison::Stored;
pub use report::{EntryCounts, InterfaceStatus, Status};

/// The settings that decide about refusals, by key, from the maps that are pinned in `bpffs`; none
/// where there are no maps that this build knows and this process may open.
#[must_use]
pub fn kernel_settings(bpffs: &Path) -> Option<BTreeMap<String, String>> {
    let maps = Maps::open(&Pins::new(bpffs)).ok().flatten()?;
    Some(by_key(&maps.settings().ok()?))
}

impl Control {
    /// Compares store and maps: by the revision that the maps show or, to `verify`, entry by entry.
    ///
    /// # Errors
    ///
    /// [`ControlError`]; a store that cannot be used is a problem of the status.
    pub fn status(&self, verify: bool) -> Result<Status, ControlError> {
        let mut problems = Vec::new();
        let mut pins_readable = true;
        let maps = match self.maps() {
            Err(ControlError::Dataplane(
                error @ (DataplaneError::OtherLayout { .. } | DataplaneError::PinMissing { .. }),
            )) => {
                problems.push(error.to_string());
                None
            }
            Err(ControlError::Dataplane(error)) => {
                pins_readable = false;
                problems.push(error.to_string());
                None
            }
            Err(error) => return Err(error),
            Ok(found) => found,
        };
        let interfaces = if maps.is_some() { self.attached_interfaces()? } else { BTreeSet::new() };
        let mut stored = match self.stored(&interfaces) {
            Ok(stored) => Some(stored),
            Err(ControlError::Store(error)) => {
                problems.push(format!("{:#}", anyhow::Error::new(error)));
                None
            }
            Err(error) => return Err(error),
        };
        let mut status = match &maps {
            Some(maps) => self.attached_status(maps, stored.as_mut(), verify)?,
            None => self.unattached_status(stored.as_ref()),
        };
        if !status.agrees()
            && maps.is_some()
            && let Some(stored) = &mut stored
            && let Ok(_lock) = self.pins.lock_maps(LOOK_WAIT)
            && let Some(maps) = self.maps()?
        {
            // a command may have been between the store and the maps
            stored.look_again()?;
            status = self.attached_status(&maps, Some(stored), verify)?;
        }
        let links = match attached(&self.pins) {
            // reported above
            Err(DataplaneError::OtherLayout { .. }) => Vec::new(),
            Err(_) if !pins_readable => Vec::new(),
            links => links?,
        };
        if pins_readable {
            self.interface_problems(&links, &mut problems, &mut status.warnings)?;
        }
        status.pins_readable = pins_readable;
        status.problems = problems;
        if let Some(Stored { database, counts, .. }) = stored {
            let path = self.store.path().display();
            status.problems.extend(
                database
                    .unwritable()
                    .map(|reason| format!("the opt-in store {path} cannot be changed: {reason}")),
            );
            if maps.is_some() {
                status.warnings.extend(self.guard_warnings(&database)?);
            }
            status.domains = counts.domains;
            let mut doubts = self.policy_warnings(status.mode != ENFORCE, &counts);
            doubts.extend(database.doubts()?);
            status.warnings.splice(0..0, doubts);
        }
        Ok(status)
    }
}

/// How long a command is waited for that changes the maps, before a difference is reported.
const LOOK_WAIT: Duration = Duration::from_secs(10);
