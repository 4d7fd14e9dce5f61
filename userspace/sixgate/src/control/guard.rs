//! Which destinations are ours: the store's prefixes, and the attached interfaces' own addresses.
//!
//! It writes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use ipnet::Ipv6Net;
use sixgate_common::dest::OptIn;

use super::{Control, ControlError};
use sixgate_dataplane::{self as dataplane, DataplaneError, attached, interface_addresses};
use sixgate_smtp::policy::evidence::OptInStatus;

use crate::{
    config::GuardSource,
    store::{Contents, Database, PrefixSet},
};

/// The store's contents about destinations, as its reader knows them.
pub trait Destinations {
    /// The guarded prefixes: destinations that are ours.
    fn guard(&self) -> PrefixSet;
    /// Whether one has opted in.
    fn opt_in_status(&self, address: Ipv6Addr) -> OptInStatus;
}

/// Entries that cannot be read lead to no warning.
impl Destinations for Database {
    fn guard(&self) -> PrefixSet {
        self.guard().unwrap_or_default()
    }

    fn opt_in_status(&self, address: Ipv6Addr) -> OptInStatus {
        match self.optin_rule(address) {
            Ok(Some((_, OptIn::In))) | Err(_) => OptInStatus::OptedIn,
            Ok(Some((_, OptIn::Out)) | None) => OptInStatus::NotOptedIn,
        }
    }
}

impl Destinations for Contents {
    fn guard(&self) -> PrefixSet {
        self.guard.clone()
    }

    fn opt_in_status(&self, address: Ipv6Addr) -> OptInStatus {
        self.destination(address)
    }
}

/// Why a destination is ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GuardOrigin {
    /// An attached interface has this address.
    Interface,
    /// It stands in the store.
    Store,
}

impl GuardOrigin {
    /// The name of the origin in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Store => "store",
        }
    }
}

impl Control {
    /// The prefixes that are ours now, each with its origin.
    ///
    /// # Errors
    ///
    /// [`ControlError`] if the store cannot be read, or the interfaces and their addresses cannot
    /// be listed.
    pub fn guard(&self) -> Result<BTreeMap<Ipv6Net, GuardOrigin>, ControlError> {
        self.guard_of(&self.attached_interfaces()?)
    }

    /// The same where the program is attached to `interfaces`.
    ///
    /// # Errors
    ///
    /// As [`Self::guard`].
    pub fn guard_of(
        &self,
        interfaces: &BTreeSet<u32>,
    ) -> Result<BTreeMap<Ipv6Net, GuardOrigin>, ControlError> {
        let stored = self.store.open()?.guard()?;
        Ok(self.guarded(&stored, interfaces)?)
    }

    /// The prefixes that are ours while the program is attached to `interfaces`, each with its
    /// origin.
    pub(super) fn guarded(
        &self,
        stored: &PrefixSet,
        interfaces: &BTreeSet<u32>,
    ) -> Result<BTreeMap<Ipv6Net, GuardOrigin>, DataplaneError> {
        let mut guarded = BTreeMap::new();
        if self.guard == GuardSource::Auto {
            let addresses = interface_addresses(interfaces)?;
            guarded.extend(addresses.into_iter().map(|address| (address, GuardOrigin::Interface)));
        }
        let prefixes = stored.entries().keys();
        guarded.extend(prefixes.map(|prefix| (*prefix, GuardOrigin::Store)));
        Ok(guarded)
    }

    /// The indices of the interfaces that the program runs on; those that are gone have no
    /// addresses.
    pub(super) fn attached_interfaces(&self) -> Result<BTreeSet<u32>, DataplaneError> {
        let links = attached(&self.pins)?;
        Ok(links.into_iter().filter_map(|link| link.running).map(|running| running.index).collect())
    }

    /// The global addresses of this host at which the daemon listens and refuses, while the program
    /// does not: no attached interface has them, GUARD does not cover them, and they have not opted
    /// in. Each with its interface's name. None where the store alone determines what is ours, and
    /// while nothing is attached.
    ///
    /// # Errors
    ///
    /// [`ControlError::Dataplane`].
    pub(super) fn unguarded(
        &self,
        store: &dyn Destinations,
    ) -> Result<Vec<(Ipv6Addr, String)>, DataplaneError> {
        let interfaces = self.attached_interfaces()?;
        if self.guard != GuardSource::Auto || interfaces.is_empty() {
            return Ok(Vec::new());
        }
        let guarded = self.guarded(&store.guard(), &interfaces)?;
        let is_guarded = |address: &Ipv6Addr| guarded.keys().any(|prefix| prefix.contains(address));
        let mut found = Vec::new();
        for (address, index) in dataplane::global_addresses()? {
            if self.listens_at(address)
                && !is_guarded(&address)
                && store.opt_in_status(address) != OptInStatus::OptedIn
            {
                let interface = dataplane::interface_now(index)?.map(|interface| interface.name);
                found.push((address, interface.unwrap_or_else(|| index.to_string())));
            }
        }
        Ok(found)
    }

    /// Sentences about [`Self::unguarded`].
    pub(super) fn guard_warnings(&self, store: &dyn Destinations) -> Result<Vec<String>, DataplaneError> {
        let sentence = |(address, interface): &(Ipv6Addr, String)| {
            format!(
                "GUARD does not cover {address} of {interface}, where the program is not attached: refusals there are \
                 made by the daemon (`sixgate attach --iface {interface}`, `sixgate guard add {address}`, or `sixgate \
                 optin add {address}`)"
            )
        };
        Ok(self.unguarded(store)?.iter().map(sentence).collect())
    }

    fn listens_at(&self, address: Ipv6Addr) -> bool {
        let at = |listening: &Ipv6Addr| listening.is_unspecified() || *listening == address;
        self.listening.iter().any(at)
    }
}
