//! Attaching and detaching, under the lock on the maps.
//!
//! The order in which maps, links and `ready` come is the dataplane's.

use std::{collections::BTreeSet, fmt, path::PathBuf};

use sixgate_common::settings::Settings;

use super::{
    Control, ControlError, MAPS_WAIT,
    follow::{fits, make_space},
};
use sixgate_dataplane::{
    self as dataplane, AttachMode, AttachPlan, Attached, DataplaneError, Failed, ProgramChange, VlanTags,
};

use crate::{config::InterfaceName, store::Database};

/// The result on one interface, to be shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attachment(pub Attached);

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attached { interface, mode, fallback, change, tags, taken_from } = &self.0;
        let change = match change {
            ProgramChange::New => "attached",
            ProgramChange::Replaced => "program replaced",
            ProgramChange::Unchanged => "attached already",
        };
        write!(f, "{interface}: {change}, {mode} mode")?;
        if let Some(reason) = fallback {
            write!(f, " (not native: {reason})")?;
        }
        match tags {
            VlanTags::Kept => f.write_str(", VLAN tags no longer stripped")?,
            VlanTags::Untouched => {}
        }
        match taken_from {
            Some(pins) => write!(
                f,
                "; sixgate's XDP program that was pinned in {}, which no daemon used, was detached for it",
                pins.display()
            ),
            None => Ok(()),
        }
    }
}

/// The results of attaching, for each interface by itself.
#[derive(Debug, Default)]
pub struct Attempts {
    /// Those on which the program runs now.
    pub attached: Vec<Attachment>,
    /// Those on which it could not be attached.
    pub failed: Vec<Failed>,
}

/// Pins of which one was missing, and that are gone now.
#[derive(Debug)]
pub(super) struct Incomplete {
    /// The map whose pin was missing.
    pub(super) map: &'static str,
    /// Where the program ran.
    pub(super) interfaces: Vec<InterfaceName>,
}

impl Control {
    /// Attaches the program to `interfaces` with the contents of store and configuration, and
    /// brings up to date what is attached already: program, settings, replies and maps. Without an
    /// interface it does only the latter, in the mode in which the program runs; nothing if nothing
    /// is attached.
    ///
    /// # Errors
    ///
    /// [`ControlError`]; no interface is new then.
    pub fn attach(
        &self,
        interfaces: &[InterfaceName],
        mode: AttachMode,
    ) -> Result<Vec<Attachment>, ControlError> {
        for interface in interfaces {
            self.pins.release_hold(interface.as_str(), index_of(interface.as_str())?)?;
        }
        let mut database = self.store.open()?;
        let _lock = self.pins.lock_maps(MAPS_WAIT)?;
        let Some(plan) = self.plan(&mut database, interfaces, mode)? else {
            return Ok(Vec::new());
        };
        let attached = self.with_space(&plan, |plan| dataplane::attach_with(plan, &self.loader))?;
        self.catch_up(&mut database)?;
        Ok(attached.into_iter().map(Attachment).collect())
    }

    /// The same, each interface by itself, in place of what another version has pinned; those on
    /// which that runs are taken over.
    ///
    /// # Errors
    ///
    /// [`ControlError`] for what does not concern one interface alone.
    pub fn attach_each(
        &self,
        interfaces: &[InterfaceName],
        mode: AttachMode,
    ) -> Result<Attempts, ControlError> {
        if self.will_load(interfaces)? {
            // without the lock: a verifier may work for minutes, and commands wait for seconds
            self.loader.embedded()?;
        }
        let mut database = self.store.open()?;
        let _lock = self.pins.lock_maps(MAPS_WAIT)?;
        let Some(plan) = self.plan(&mut database, interfaces, mode)? else {
            return Ok(Attempts::default());
        };
        let report = self.with_space(&plan, |plan| dataplane::attach_each(plan, &self.loader))?;
        self.catch_up(&mut database)?;
        let attached = report.attached.into_iter().map(Attachment).collect();
        Ok(Attempts { attached, failed: report.failed })
    }

    /// Attaches the program to the interfaces of the configuration, each by itself, but for those
    /// that a command detached while a daemon uses the pins.
    ///
    /// # Errors
    ///
    /// As [`Self::attach_each`].
    pub fn attach_configured(&self) -> Result<Attempts, ControlError> {
        let configured = self.configured();
        let is_in_use = self.pins.are_in_use();
        if !is_in_use && self.pins.check_file_system().is_ok() {
            // as a daemon does when it starts
            self.pins.release_holds()?;
        }
        let mut interfaces = Vec::new();
        for name in &configured.interfaces {
            if !is_in_use || !self.pins.is_held_off(name.as_str(), index_of(name.as_str())?)? {
                interfaces.push(name.clone());
            }
        }
        self.attach_each(&interfaces, configured.attach_mode)
    }

    /// Takes over what changed between the plan and the moment at which the maps came into sight: a
    /// command that found none has not written to them.
    fn catch_up(&self, database: &mut Database) -> Result<(), ControlError> {
        match self.maps()? {
            Some(mut maps) => self.follow(&mut maps, database),
            None => Ok(()),
        }
    }

    /// Whether there is anything to attach to, or to bring up to date.
    fn will_load(&self, interfaces: &[InterfaceName]) -> Result<bool, DataplaneError> {
        if self.pins.has_other_layouts()? || !dataplane::attached(&self.pins)?.is_empty() {
            return Ok(true);
        }
        for interface in interfaces {
            let found = dataplane::interface_called(interface.as_str())?;
            let Some(found) = found else { continue };
            if found.program.is_none()
                || dataplane::occupant(interface.as_str())?.is_some_and(|error| error.is_abandoned())
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The plan of the work; nothing if no interface is named and nothing is attached.
    pub(super) fn plan(
        &self,
        database: &mut Database,
        interfaces: &[InterfaceName],
        mode: AttachMode,
    ) -> Result<Option<AttachPlan>, ControlError> {
        let is_other = self.pins.has_other_layouts()?;
        let running = if is_other { Vec::new() } else { dataplane::attached(&self.pins)? };
        let is_attached = !is_other && self.maps()?.is_some();
        let mut wanted: BTreeSet<String> =
            interfaces.iter().map(|interface| interface.as_str().to_owned()).collect();
        let mut mode = mode;
        if wanted.is_empty() {
            if !is_attached {
                return Ok(None);
            }
            let here = running.iter().filter(|link| link.running.is_some());
            wanted.extend(here.map(|link| link.interface.clone()));
            mode = AttachMode::Auto;
        }
        // what another version runs on stays attached
        wanted.extend(dataplane::attached_by_others(&self.pins)?);
        let mut indices: BTreeSet<u32> =
            running.iter().filter_map(|link| link.running).map(|running| running.index).collect();
        for name in &wanted {
            indices.extend(index_of(name)?);
        }
        let configured = self.configured();
        let (contents, shown) = database.contents()?;
        Ok(Some(AttachPlan {
            interfaces: wanted.into_iter().collect(),
            mode,
            sizes: self.sizes,
            settings: Settings { shown, ..configured.settings },
            projection: self.projection(&contents, &indices)?,
            replies: configured.replies.clone(),
            cookie_key: self.cookie_key()?,
            pins: self.pins.clone(),
        }))
    }

    /// Attaches; where old and new entries together are too many for a map, removes the old ones
    /// first.
    fn with_space<T>(
        &self,
        plan: &AttachPlan,
        attach: impl Fn(&AttachPlan) -> Result<T, DataplaneError>,
    ) -> Result<T, ControlError> {
        match attach(plan) {
            Err(DataplaneError::MapFull { .. }) if self.fits_live(plan)? => Ok(attach(plan)?),
            attached => Ok(attached?),
        }
    }

    fn fits_live(&self, plan: &AttachPlan) -> Result<bool, ControlError> {
        match self.maps()? {
            Some(mut maps) if fits(&plan.projection, maps.sizes()) => {
                make_space(&mut maps, &plan.projection)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Takes the program off `interfaces`, or off all if none is named; returns the names of those
    /// that it was on. With the last one the maps go, and the DNS results about senders with them.
    /// The daemon does not attach to the named interfaces, or to those of the configuration if none
    /// is named, until a command attaches them.
    ///
    /// # Errors
    ///
    /// [`ControlError`]; [`DataplaneError::NotAttached`] for a named interface without the program.
    pub fn detach(&self, interfaces: &[InterfaceName]) -> Result<Vec<String>, ControlError> {
        let _lock = self.pins.lock_maps_if_any(MAPS_WAIT)?;
        let names: Vec<String> = interfaces.iter().map(|interface| interface.as_str().to_owned()).collect();
        let holds = self.holds(&names)?;
        // before the pins go: the daemon looks for the mark when it sees that a pin went
        holds.iter().try_for_each(|(name, index)| self.pins.hold_off(name, *index))?;
        let detached = dataplane::detach(&self.pins, &names).inspect_err(|_| {
            // The first error is the one to report.
            let _ = holds.iter().try_for_each(|(name, index)| self.pins.release_hold(name, *index));
        })?;
        // the addresses of what was detached are ours no longer; without a store they stay guarded
        if let (Some(mut maps), Ok(database)) = (self.maps()?, self.store.open()) {
            self.project_guard(&mut maps, &database)?;
        }
        Ok(detached)
    }

    /// Takes sixgate's program off the interfaces that are named, or off those of the
    /// configuration, where it is pinned in another directory that no daemon uses; which directory,
    /// for each.
    ///
    /// # Errors
    ///
    /// [`ControlError`]; [`DataplaneError::PinnedElsewhere`] while a daemon uses it.
    pub fn detach_elsewhere(
        &self,
        interfaces: &[InterfaceName],
    ) -> Result<Vec<(String, PathBuf)>, ControlError> {
        let configured = self.configured();
        let named = if interfaces.is_empty() { &configured.interfaces } else { interfaces };
        let mut detached = Vec::new();
        for interface in named {
            let taken = dataplane::detach_elsewhere(&self.pins, interface.as_str())?;
            detached.extend(taken.map(|path| (interface.as_str().to_owned(), path)));
        }
        Ok(detached)
    }

    /// The reason why the maps of this configuration cannot take a change, although its interfaces
    /// are to have the program: the directory for pins is not on a bpf file system, or an interface
    /// has sixgate's program of other pins.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub fn unreached(&self) -> Result<Option<String>, ControlError> {
        let configured = self.configured();
        if configured.interfaces.is_empty() || self.maps()?.is_some() {
            return Ok(None);
        }
        if let Err(error) = self.pins.check_file_system() {
            return Ok(Some(error.to_string()));
        }
        for interface in &configured.interfaces {
            let occupant = dataplane::occupant(interface.as_str())?;
            if let Some(error) = occupant.filter(DataplaneError::is_of_other_pins) {
                return Ok(Some(error.to_string()));
            }
        }
        Ok(None)
    }

    /// Where the pin of a map is missing, removes what is left of the pins: which map it was, and
    /// the interfaces on which the program ran until now. Nothing if all are there.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub(super) fn remove_incomplete(&self) -> Result<Option<Incomplete>, ControlError> {
        if dataplane::missing_map(&self.pins)?.is_none() {
            return Ok(None);
        }
        let _lock = self.pins.lock_maps(MAPS_WAIT)?;
        // a command may have made all of it anew meanwhile
        let Some(map) = dataplane::missing_map(&self.pins)? else { return Ok(None) };
        let links = dataplane::attached(&self.pins)?;
        dataplane::detach(&self.pins, &[])?;
        let running = links.into_iter().filter(|link| link.running.is_some());
        let interfaces = running.filter_map(|link| link.interface.parse().ok()).collect();
        Ok(Some(Incomplete { map, interfaces }))
    }

    /// Removes what other versions have pinned; off which interfaces it took their program. Nothing
    /// if there is nothing.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub fn detach_others(&self) -> Result<Option<Vec<String>>, ControlError> {
        let _lock = self.pins.lock_maps_if_any(MAPS_WAIT)?;
        Ok(dataplane::detach_others(&self.pins)?)
    }

    /// The names and indices to mark while something is attached; those that were marked before are
    /// left out.
    fn holds(&self, names: &[String]) -> Result<Vec<(String, Option<u32>)>, ControlError> {
        let links = dataplane::attached(&self.pins)?;
        let mut holds = Vec::new();
        if links.is_empty() {
            return Ok(holds);
        }
        let marked = |name: &str| names.is_empty() || names.iter().any(|named| named == name);
        for link in &links {
            let index = link.running.map(|running| running.index);
            let is_named = index.is_some_and(|index| {
                names.iter().any(|name| index_of(name).is_ok_and(|named| named == Some(index)))
            });
            if marked(&link.interface) || is_named {
                holds.push((link.interface.clone(), index));
            }
        }
        for interface in self.configured().interfaces.iter().filter(|interface| marked(interface.as_str())) {
            holds.push((interface.as_str().to_owned(), index_of(interface.as_str())?));
        }
        Ok(holds)
    }
}

/// The index of the interface of that name, if there is one.
pub(super) fn index_of(name: &str) -> Result<Option<u32>, DataplaneError> {
    Ok(dataplane::interface_called(name)?.map(|interface| interface.index))
}
