//! The status of store, maps and interfaces at one instant, as `sixgate status` reports it.
//!
//! It changes nothing. The comparison and the sentences are its submodules.

mod comparison;
mod findings;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use serde::Serialize;
use sixgate_dataplane::{DataplaneError, Maps, Pins, attached};

use super::{
    Control, ControlError,
    setting_names::{ENFORCE, by_key},
};
use crate::store::Revision;

use comparison::Stored;

/// The state of store, maps and interfaces at one instant. The names of the fields are those of
/// `sixgate status --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Whether the program's maps are there, as far as this user may look.
    pub attached: bool,
    /// Whether this user may look at the pins: if not, nothing is known of maps and interfaces.
    pub pins_readable: bool,
    /// `enforce` or `shadow`: the maps' if attached, else the configuration's.
    pub mode: &'static str,
    /// The responder to refused senders, `kernel` or `daemon`, likewise.
    pub answer: &'static str,
    /// The responder by the configuration.
    pub answer_configured: &'static str,
    /// Why the daemon does although the kernel should.
    pub answer_fallback: Option<String>,
    /// `rcpt`, `greeting` or `reset`, likewise.
    pub refuse_at: &'static str,
    /// The settings in the maps that decide about refusals, by key; empty without maps.
    pub kernel: BTreeMap<String, String>,
    /// Whether the program's replies are those of the configuration.
    pub replies_current: bool,
    /// Whether the program may refuse; without maps it may not.
    pub ready: bool,
    /// Where the program is attached.
    pub interfaces: Vec<InterfaceStatus>,
    /// The tag of this binary's program; none if nothing is attached or this build has no program.
    pub embedded_tag: Option<String>,
    /// Destinations and what was decided about them.
    pub optin: EntryCounts,
    /// Destinations that are ours, those of the interfaces included.
    pub guard: EntryCounts,
    /// Sources that are exempt.
    pub trust: EntryCounts,
    /// How many domains take mail here.
    pub domains: usize,
    /// The store's revision; none if there is no store.
    pub revision: Option<u64>,
    #[serde(skip)]
    stamp: Option<Revision>,
    /// The revision that the maps show; none if not attached.
    pub shown: Option<u64>,
    /// Whether the maps show another revision than the store's.
    pub is_behind: bool,
    /// Entries that the maps lack, if they were compared.
    pub missing: usize,
    /// Entries that the maps have too many.
    pub surplus: usize,
    /// The first ten differences.
    pub differences: Vec<String>,
    /// Problems: parts that are not as they should be.
    pub problems: Vec<String>,
    /// Warnings: settings and entries that are likely not meant.
    pub warnings: Vec<String>,
    /// Whether the program runs and, by store and configuration, guards no destination.
    #[serde(skip)]
    pub is_guard_empty: bool,
}

/// The program on one interface.
#[derive(Clone, Debug, Serialize)]
pub struct InterfaceStatus {
    /// Its name now; when the program was attached, if it is not here.
    pub name: String,
    /// `native` or `generic`; none if the interface is not here, or the program is off it.
    pub mode: Option<String>,
    /// Why the daemon answers there although the kernel should.
    pub fallback: Option<String>,
    /// The tag of the program that runs there, if it is known.
    pub tag: Option<String>,
    /// Whether it is this binary's program.
    pub current: bool,
}

/// Entries of one map.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct EntryCounts {
    /// How many the map has to hold.
    pub wanted: usize,
    /// How many it holds; none if not attached or not counted.
    pub found: Option<usize>,
}

impl Status {
    /// Whether all is as it should be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.agrees() && self.problems.is_empty()
    }

    /// Forgets how the maps differ from the store: they are to show another one.
    pub fn forget_comparison(&mut self) {
        self.is_behind = false;
        (self.missing, self.surplus) = (0, 0);
        self.differences.clear();
        for counts in [&mut self.optin, &mut self.guard, &mut self.trust] {
            counts.found = None;
        }
    }

    /// Whether the maps hold the store's contents and the program may act on them, as far as there
    /// are maps.
    #[must_use]
    pub fn agrees(&self) -> bool {
        !self.attached || self.ready && !self.is_behind && self.missing == 0 && self.surplus == 0
    }
}

/// The settings that decide about refusals, by key, from the maps that are pinned in `bpffs`; empty
/// where there are no maps that this build knows.
#[must_use]
pub fn kernel_settings(bpffs: &Path) -> BTreeMap<String, String> {
    let maps = Maps::open(&Pins::new(bpffs)).ok().flatten();
    maps.and_then(|maps| maps.settings().ok()).map(|settings| by_key(&settings)).unwrap_or_default()
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
