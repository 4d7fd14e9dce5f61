//! A host with a veth pair and a bpffs of its own, on which the dataplane can attach.
//!
//! It claims nothing; `attaching`, `refusing` and `traffic` do.

use sixgate_dataplane::{AttachMode, AttachPlan, Maps, Pins, Sizes};
use sixgate_tests::{bpffs::Bpffs, gate::Need, netns::Netns};

use crate::program::{ENFORCE, projection};

/// What each test of this kind needs.
pub(crate) const NEEDS: &[Need] = &[Need::Root, Need::Bpffs, Need::Xdp, Need::Program("ip")];

/// Small maps are made fast.
pub(crate) const SIZES: Sizes = Sizes { optin: 16, guard: 16, trust: 16, ptr: 512, flows: 512 };

/// Two namespaces, joined; `gate0` is ours, `peer0` the neighbour's.
pub(crate) struct Host {
    pub(crate) ours: Netns,
    pub(crate) theirs: Netns,
    pub(crate) bpffs: Bpffs,
}

impl Host {
    pub(crate) fn new() -> Self {
        let (ours, theirs) = (Netns::new().unwrap(), Netns::new().unwrap());
        ours.join("gate0", &theirs, "peer0").unwrap();
        Self { ours, theirs, bpffs: Bpffs::new().unwrap() }
    }

    pub(crate) fn pins(&self) -> Pins {
        Pins::new(&self.bpffs.pins())
    }

    /// The plan for these interfaces of ours.
    pub(crate) fn plan(&self, interfaces: &[&str]) -> AttachPlan {
        AttachPlan {
            interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
            mode: AttachMode::Auto,
            sizes: SIZES,
            settings: ENFORCE,
            projection: projection(),
            replies: Vec::new(),
            cookie_key: None,
            pins: self.pins(),
        }
    }

    /// The pinned maps.
    pub(crate) fn maps(&self) -> Maps {
        Maps::open(&self.pins()).unwrap().expect("something is pinned")
    }

    /// Whether an XDP program runs on `interface` of ours, as `ip` sees it.
    pub(crate) fn has_xdp(&self, interface: &str) -> bool {
        self.ours.ip(&format!("link show dev {interface}")).unwrap().contains("xdp")
    }
}
