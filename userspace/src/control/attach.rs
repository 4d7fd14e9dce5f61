//! Attaching and detaching, under the store's lock.
//!
//! The order in which maps, links and `ready` come is the dataplane's.

use std::{collections::BTreeSet, fmt};

use super::{Control, ControlError, fits, make_room};
use crate::{
    config::{InterfaceName, XdpMode},
    dataplane::{self, AttachMode, AttachPlan, Attached, Change, DataplaneError, VlanTags},
};

/// What was done on one interface, to be shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attachment(pub Attached);

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attached { interface, mode, fallback, change, tags } = &self.0;
        let change = match change {
            Change::New => "attached",
            Change::Replaced => "program replaced",
            Change::Unchanged => "attached already",
        };
        write!(f, "{interface}: {change}, {mode} mode")?;
        if let Some(reason) = fallback {
            write!(f, " (not native: {reason})")?;
        }
        match tags {
            VlanTags::Kept => f.write_str(", VLAN tags no longer stripped"),
            VlanTags::Untouched => Ok(()),
        }
    }
}

impl Control {
    /// Attaches the program to `interfaces` with what store and configuration say, and brings up to date
    /// what is attached already: program, settings, replies and maps. Without an interface it does only
    /// the latter, in whatever mode it runs; nothing if nothing is attached.
    pub fn attach(
        &self,
        interfaces: &[InterfaceName],
        mode: XdpMode,
    ) -> Result<Vec<Attachment>, ControlError> {
        let owned = self.store.own()?;
        let contents = owned.read()?;
        let maps = self.maps()?;
        let running: BTreeSet<String> = self.attached_interfaces()?.into_iter().collect();
        let named: BTreeSet<String> =
            interfaces.iter().map(|interface| interface.as_str().to_owned()).collect();
        let (wanted, mode) = match (named.is_empty(), &maps) {
            (true, None) => return Ok(Vec::new()),
            (true, Some(_)) => (running.clone(), XdpMode::Auto),
            (false, _) => (named, mode),
        };
        let guarding: Vec<String> = wanted.union(&running).cloned().collect();
        let plan = AttachPlan {
            interfaces: wanted.into_iter().collect(),
            mode: attach_mode(mode),
            sizes: self.sizes,
            settings: self.settings,
            projection: self.projection(&contents, &guarding)?,
            replies: self.replies.clone(),
            pins: self.pins.clone(),
        };
        let attached = match (dataplane::attach(&plan), maps) {
            (Err(DataplaneError::MapFull { .. }), Some(mut maps)) if fits(&plan.projection, maps.sizes()) => {
                make_room(&mut maps, &plan.projection)?;
                dataplane::attach(&plan)
            }
            (attached, _) => attached,
        };
        Ok(attached?.into_iter().map(Attachment).collect())
    }

    /// Takes the program off `interfaces`, or off all if none is named; says off which. With the last one
    /// the maps go, and what DNS said about senders with them.
    pub fn detach(&self, interfaces: &[InterfaceName]) -> Result<Vec<String>, ControlError> {
        let owned = self.store.own()?;
        let interfaces: Vec<String> =
            interfaces.iter().map(|interface| interface.as_str().to_owned()).collect();
        let detached = dataplane::detach(&self.pins, &interfaces)?;
        // the addresses of what was detached are ours no longer
        if let Some(maps) = self.maps()? {
            self.project(maps, &owned.read()?)?;
        }
        Ok(detached)
    }
}

fn attach_mode(mode: XdpMode) -> AttachMode {
    match mode {
        XdpMode::Auto => AttachMode::Auto,
        XdpMode::Native => AttachMode::Native,
        XdpMode::Generic => AttachMode::Generic,
    }
}
