//! Network interfaces as plain facts, and what follows from how they lie upon each other: masters,
//! VLANs above, the MAC addresses at which an interface is reached.
//!
//! It asks the kernel nothing: `interface` does, and hands in what it was told.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use netlink_packet_route::link::{
    InfoBridge, InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp,
    Prop, XdpAttached,
};

/// A MAC address; loopback has none but zeros.
pub(super) type Mac = [u8; 6];

/// Where in the kernel an XDP program runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RunMode {
    /// In the driver, before the kernel allocates anything.
    Native,
    /// In the network stack: any interface, at a higher cost.
    Generic,
}

impl fmt::Display for RunMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// The XDP program that runs on an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct RunningProgram {
    pub(super) program: u32,
    pub(super) mode: RunMode,
}

/// One interface of the network namespace.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct LinkFacts {
    pub(super) index: u32,
    /// The name now.
    pub(super) name: String,
    /// Other names (`ip link property add … altname`).
    pub(super) altnames: Vec<String>,
    /// A number of include/uapi/linux/if_arp.h.
    pub(super) hardware: u16,
    pub(super) kind: LinkKind,
    /// None where it has not six octets.
    pub(super) mac: Option<Mac>,
    /// What it lies upon: of a VLAN the interface below, of a veth its peer.
    pub(super) lower: Option<Lower>,
    /// The bond, team or bridge that it is a port of.
    pub(super) master: Option<u32>,
    pub(super) running: Option<RunningProgram>,
    /// Whether a program runs in the driver, alone or beside a generic one.
    pub(super) runs_natively: bool,
    /// Octets of the largest packet; 0 where the kernel does not report it.
    pub(super) mtu: u32,
    /// Receive queues; 0 likewise.
    pub(super) queues: u32,
    /// Whether it is set up (`ip link set … up`).
    pub(super) is_up: bool,
}

/// The interface that another one lies upon, or its peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Lower {
    pub(super) index: u32,
    /// The number that another network namespace has here; none where it is this one.
    pub(super) netns: Option<i32>,
}

/// The kinds of interfaces that make a difference.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum LinkKind {
    Veth,
    Vlan,
    Bond,
    Bridge {
        filters_vlans: bool,
    },
    #[default]
    Other,
}

impl LinkFacts {
    pub(super) fn of(message: &LinkMessage) -> Self {
        let (mut index, mut netns) = (None, None);
        let mut facts = Self {
            index: message.header.index,
            hardware: u16::from(message.header.link_layer_type),
            is_up: message.header.flags.contains(LinkFlags::Up),
            ..Self::default()
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => facts.name.clone_from(name),
                LinkAttribute::PropList(properties) => facts.altnames.extend(altnames(properties)),
                LinkAttribute::LinkInfo(info) => facts.kind = kind(info),
                LinkAttribute::Address(octets) => facts.mac = octets.as_slice().try_into().ok(),
                LinkAttribute::Link(lower) => index = Some(*lower).filter(|lower| *lower != 0),
                LinkAttribute::Mtu(octets) => facts.mtu = *octets,
                LinkAttribute::NumRxQueues(number) => facts.queues = *number,
                LinkAttribute::LinkNetNsId(id) => netns = Some(*id),
                LinkAttribute::Controller(master) => {
                    facts.master = Some(*master).filter(|master| *master != 0);
                }
                LinkAttribute::Xdp(xdp) => {
                    facts.running = running(xdp);
                    facts.runs_natively = runs_natively(xdp);
                }
                _ => {}
            }
        }
        facts.lower = index.map(|index| Lower { index, netns });
        facts
    }

    /// Whether it is called so, by its name or by another one.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.altnames.iter().any(|altname| altname == name)
    }

    /// Why frames there have no Ethernet header, as if_arp.h names the link type; `None` if they
    /// have one.
    pub(super) fn without_ethernet(&self) -> Option<String> {
        let known = match LinkLayerType::from(self.hardware) {
            LinkLayerType::Ether | LinkLayerType::Loopback => return None,
            LinkLayerType::None => "none",
            LinkLayerType::Ppp => "ppp",
            LinkLayerType::Tunnel => "ipip",
            LinkLayerType::Tunnel6 => "ip6tnl",
            LinkLayerType::Sit => "sit",
            LinkLayerType::Ipgre => "gre",
            LinkLayerType::Ip6gre => "ip6gre",
            _ => return Some(self.hardware.to_string()),
        };
        Some(known.to_owned())
    }
}

/// Interfaces of one network namespace, by their index.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Topology(BTreeMap<u32, LinkFacts>);

impl FromIterator<LinkFacts> for Topology {
    fn from_iter<T: IntoIterator<Item = LinkFacts>>(links: T) -> Self {
        Self(links.into_iter().map(|link| (link.index, link)).collect())
    }
}

impl Topology {
    pub(super) fn get(&self, index: u32) -> Option<&LinkFacts> {
        self.0.get(&index)
    }

    /// The interface and its masters, from below.
    pub(super) fn with_masters(&self, index: u32) -> Vec<&LinkFacts> {
        let mut found: Vec<&LinkFacts> = Vec::new();
        let mut next = self.get(index);
        // the kernel allows eight levels (net/core/dev.c, MAX_NEST_DEV)
        while let Some(link) = next.filter(|_| found.len() < DEPTH_MAX) {
            found.push(link);
            next = link.master.and_then(|master| self.get(master));
        }
        found
    }

    /// Whether frames of VLANs come by it: a VLAN interface lies above it or above one of its
    /// masters, or one of its masters is a bridge that filters VLANs.
    pub(super) fn has_vlans_above(&self, index: u32) -> bool {
        let chain = self.with_masters(index);
        let is_in_chain =
            |lower: Lower| lower.netns.is_none() && chain.iter().any(|link| link.index == lower.index);
        chain.iter().skip(1).any(|master| master.kind == LinkKind::Bridge { filters_vlans: true })
            || self.0.values().any(|link| link.kind == LinkKind::Vlan && link.lower.is_some_and(is_in_chain))
    }

    /// The interfaces on which frames arrive for a program that runs on this one: itself, and the
    /// ports of a bond, to whose drivers the bond hands the program on
    /// (drivers/net/bonding/bond_main.c, `bond_xdp_set`).
    pub(super) fn receivers(&self, index: u32) -> Vec<&LinkFacts> {
        let Some(link) = self.get(index) else {
            return Vec::new();
        };
        let ports = self.0.values().filter(|port| link.kind == LinkKind::Bond && port.master == Some(index));
        std::iter::once(link).chain(ports).collect()
    }

    /// The MAC addresses at which the host is reached by an interface: its own and those of its
    /// masters.
    pub(super) fn macs(&self, index: u32) -> BTreeSet<Mac> {
        self.with_masters(index).into_iter().filter_map(|link| link.mac).collect()
    }
}

fn altnames(properties: &[Prop]) -> impl Iterator<Item = String> {
    properties.iter().filter_map(|property| match property {
        Prop::AltIfName(name) => Some(name.clone()),
        _ => None,
    })
}

fn kind(info: &[LinkInfo]) -> LinkKind {
    let is = |kind| info.contains(&LinkInfo::Kind(kind));
    if is(InfoKind::Veth) {
        LinkKind::Veth
    } else if is(InfoKind::Vlan) {
        LinkKind::Vlan
    } else if is(InfoKind::Bond) {
        LinkKind::Bond
    } else if is(InfoKind::Bridge) {
        let filters_vlans = info.iter().any(|info| match info {
            LinkInfo::Data(InfoData::Bridge(data)) => data.contains(&InfoBridge::VlanFiltering(true)),
            _ => false,
        });
        LinkKind::Bridge { filters_vlans }
    } else {
        LinkKind::Other
    }
}

/// Whether a program runs in the driver, alone or beside a generic one.
fn runs_natively(attributes: &[LinkXdp]) -> bool {
    attributes.iter().any(|attribute| {
        matches!(
            attribute,
            LinkXdp::Attached(XdpAttached::Driver | XdpAttached::Hardware) | LinkXdp::DrvProgId(1..)
        )
    })
}

fn running(attributes: &[LinkXdp]) -> Option<RunningProgram> {
    let mode = attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::Attached(XdpAttached::Driver | XdpAttached::Hardware) => Some(RunMode::Native),
        LinkXdp::Attached(XdpAttached::SocketBuffer | XdpAttached::Multiple) => Some(RunMode::Generic),
        _ => None,
    })?;
    let program = attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::ProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::HwProgId(id) => {
            Some(*id)
        }
        _ => None,
    })?;
    Some(RunningProgram { program, mode })
}

/// How many levels of masters are followed.
const DEPTH_MAX: usize = 16;

#[cfg(test)]
mod tests;
