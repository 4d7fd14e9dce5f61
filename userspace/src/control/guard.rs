//! Which destinations are ours: the store's prefixes, and the attached interfaces' own addresses.
//!
//! It writes nothing.

use std::collections::BTreeMap;

use ipnet::Ipv6Net;

use super::{Control, ControlError};
use crate::{
    config::GuardSource,
    dataplane::{DataplaneError, attached, interface_addresses},
    store::Contents,
};

/// Why a destination is ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GuardOrigin {
    /// An attached interface has this address.
    Interface,
    /// It stands in the store.
    Store,
}

impl GuardOrigin {
    /// The word for it in output.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Store => "store",
        }
    }
}

impl Control {
    /// What is ours now, and why.
    pub fn guard(&self) -> Result<BTreeMap<Ipv6Net, GuardOrigin>, ControlError> {
        let contents = self.store.read()?;
        Ok(self.guarded(&contents, &self.attached_interfaces()?)?)
    }

    /// What is ours while the program is attached to `interfaces`.
    pub(super) fn guarded(
        &self,
        contents: &Contents,
        interfaces: &[String],
    ) -> Result<BTreeMap<Ipv6Net, GuardOrigin>, DataplaneError> {
        let mut guarded = BTreeMap::new();
        if self.guard == GuardSource::Auto {
            let addresses = interface_addresses(interfaces)?;
            guarded.extend(addresses.into_iter().map(|address| (address, GuardOrigin::Interface)));
        }
        let prefixes = contents.guard.entries().keys();
        guarded.extend(prefixes.map(|prefix| (*prefix, GuardOrigin::Store)));
        Ok(guarded)
    }

    /// The interfaces that the program runs on; those that are gone have no addresses.
    pub(super) fn attached_interfaces(&self) -> Result<Vec<String>, DataplaneError> {
        let links = attached(&self.pins)?;
        let running = links.into_iter().filter(|link| link.running.is_some());
        Ok(running.map(|link| link.interface).collect())
    }
}
