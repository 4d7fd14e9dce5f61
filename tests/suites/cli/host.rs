//! A test folder with an interface in a network namespace and a bpffs of its own, to which the
//! program can be attached.

use std::collections::BTreeSet;

use serde_json::Value;
use sixgate_common::{dest::OptIn, settings::READY};
use sixgate_dataplane::{MapEntry, Maps, Pins, Projection};
use sixgate_tests::{bpffs::Bpffs, gate::Need, netns::Netns};

use crate::installation::Installation;

pub(crate) const NEEDS: [Need; 4] = [Need::Root, Need::Bpffs, Need::Xdp, Need::Program("ip")];

/// A test folder with the interface `v0`, address 2001:db8::25.
pub(crate) struct Host {
    pub(crate) place: Installation,
    pub(crate) bpffs: Bpffs,
    _peer: Netns,
}

impl Host {
    pub(crate) fn new(xdp: &str) -> Self {
        let (ours, peer) = (Netns::new().unwrap(), Netns::new().unwrap());
        ours.join("v0", &peer, "v1").unwrap();
        ours.add_address("v0", "2001:db8::25/64".parse().unwrap()).unwrap();
        let bpffs = Bpffs::new().unwrap();
        let place = Installation::inside(ours, &bpffs.pins(), xdp);
        Self { place, bpffs, _peer: peer }
    }

    pub(crate) fn attached(xdp: &str) -> Self {
        let host = Self::new(xdp);
        host.place.done("attach --iface v0");
        host
    }

    pub(crate) fn maps(&self) -> Maps {
        Maps::open(&Pins::new(&self.bpffs.pins())).unwrap().unwrap()
    }

    /// The content of OPTIN, independent of the store.
    pub(crate) fn optin(&self) -> BTreeSet<String> {
        let found = self.maps().difference(&Projection::default()).unwrap().removed;
        let text = |entry: &MapEntry| match entry {
            MapEntry::OptIn(prefix, OptIn::In) => Some(format!("{prefix} in")),
            MapEntry::OptIn(prefix, OptIn::Out) => Some(format!("{prefix} out")),
            MapEntry::Guard(_) | MapEntry::Temporary(_) | MapEntry::Trust(_) => None,
        };
        found.iter().filter_map(text).collect()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.maps().settings().unwrap().ready == READY
    }

    pub(crate) fn status(&self) -> Value {
        self.place.json("status")
    }
}

pub(crate) fn set<const N: usize>(lines: [&str; N]) -> BTreeSet<String> {
    lines.into_iter().map(str::to_owned).collect()
}
