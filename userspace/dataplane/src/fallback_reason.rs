//! Why the daemon answers refused senders instead of the program.
//!
//! It decides nothing about what is done then.

use std::fmt;

use super::{
    error::DataplaneError,
    interface::{self, Peer},
    topology::{LinkFacts, LinkKind, Mac, RunMode, Topology},
    vlan,
};

/// Why the program cannot answer by itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FallbackReason {
    /// The kernel refused what answers, or lacks what that needs.
    Kernel {
        /// The missing feature, as far as the kernel tells.
        refusal: String,
    },
    /// The program runs natively on one end of a veth pair, and none does on the other: the kernel
    /// takes what is sent by XDP_TX and never delivers it (drivers/net/veth.c, `veth_xdp_flush`).
    Peer {
        /// Our end's name.
        interface: String,
        /// The property that the other end lacks.
        why: PeerLacks,
    },
    /// The program runs natively on an interface, does not see its VLAN tags, and there are VLANs
    /// above it: answers would leave without a tag, into another network.
    Tags {
        /// The interface's name.
        interface: String,
        /// Why it does not see them.
        why: TagsLack,
    },
    /// Frames have no Ethernet header there: the program understands none of them.
    NoEthernet {
        /// The interface's name.
        interface: String,
        /// Its link type, as include/uapi/linux/if_arp.h names it.
        link_type: String,
    },
}

/// The fault of the other end of a veth pair.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PeerLacks {
    /// No native XDP program runs there.
    Program,
    /// It cannot be looked at.
    Sight,
}

/// Why the program does not see VLAN tags.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TagsLack {
    /// The driver strips them.
    Stripped,
    /// The other end of a veth pair decides whether they are in the frame (drivers/net/veth.c,
    /// `veth_xdp_rcv_skb`).
    Veth,
}

impl fmt::Display for FallbackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel { refusal } => f.write_str(refusal),
            Self::Peer { interface, why } => write!(f, "{interface}: {why}"),
            Self::Tags { interface, why } => write!(f, "{interface}: {why}"),
            Self::NoEthernet { interface, link_type } => write!(
                f,
                "{interface} has no Ethernet header (link type {link_type}): refusals there are made by the daemon"
            ),
        }
    }
}

impl fmt::Display for PeerLacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Program => "its peer runs no XDP program, answers would be lost",
            Self::Sight => "its peer cannot be looked at, answers may be lost",
        })
    }
}

impl fmt::Display for TagsLack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stripped => "its VLAN tags are stripped, answers would leave without (ethtool's rxvlan)",
            Self::Veth => {
                "VLANs lie above a veth, whose tags native XDP does not see: answers would leave without"
            }
        })
    }
}

/// What decides about one interface.
#[derive(Clone, Debug)]
pub(super) struct InterfaceFacts<'a> {
    pub(super) link: &'a LinkFacts,
    pub(super) mode: RunMode,
    /// The other end, if it is one of a veth pair.
    pub(super) peer: Option<Peer>,
    pub(super) strips_tags: bool,
    pub(super) has_vlans: bool,
}

/// What keeps the program from answering where it runs: one reason at most, the most stubborn
/// first.
pub(super) fn decide(facts: &InterfaceFacts<'_>) -> Option<FallbackReason> {
    let interface = || facts.link.name.clone();
    if let Some(link_type) = facts.link.without_ethernet() {
        return Some(FallbackReason::NoEthernet { interface: interface(), link_type });
    }
    if facts.mode == RunMode::Generic {
        return None;
    }
    if let Some(why) = facts.peer.and_then(peer_lacks) {
        return Some(FallbackReason::Peer { interface: interface(), why });
    }
    tags_lack(facts).map(|why| FallbackReason::Tags { interface: interface(), why })
}

/// Why generic mode is the better choice, as a short term; `None` where native mode is as good.
pub(super) fn against_native(link: &LinkFacts, network: &Topology) -> Option<String> {
    let peer = interface::peer(link).map(|(peer, _)| peer);
    if let Some(why) = peer.and_then(peer_lacks) {
        return Some(why.to_string());
    }
    // where a driver strips tags is seen once the program runs: it can be kept from it then
    let has_vlans = link.kind == LinkKind::Veth && network.has_vlans_above(link.index);
    let facts = InterfaceFacts { link, mode: RunMode::Native, peer, strips_tags: false, has_vlans };
    tags_lack(&facts).map(|why| why.to_string())
}

/// The properties of an interface on which the program runs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outlook {
    /// What keeps it from answering there.
    pub fallback_reason: Option<FallbackReason>,
    /// Whether it runs in generic mode.
    pub generic: bool,
    /// The MAC address of the other end, if it is one of a veth pair and that may be looked at.
    pub peer: Option<Mac>,
}

/// Looks at an interface on which the program runs in that mode. All interfaces are asked for only
/// if they matter.
pub(super) fn look<'a>(
    link: &LinkFacts,
    mode: RunMode,
    network: impl FnOnce() -> Result<&'a Topology, DataplaneError>,
) -> Result<Outlook, DataplaneError> {
    let native = mode == RunMode::Native;
    let strips_tags = native && strips_tags(link);
    let matters = native && (strips_tags || matches!(link.kind, LinkKind::Veth | LinkKind::Bond));
    let network = if matters { Some(network()?) } else { None };
    let has_vlans = network.is_some_and(|network| network.has_vlans_above(link.index));
    let other_end = interface::peer(link);
    let facts = InterfaceFacts { link, mode, peer: other_end.map(|(peer, _)| peer), strips_tags, has_vlans };
    let fallback_reason = decide(&facts).or_else(|| network.and_then(|network| of_ports(link, network)));
    Ok(Outlook { fallback_reason, generic: !native, peer: other_end.and_then(|(_, mac)| mac) })
}

/// What keeps the program from answering at the ports of a bond: the bond hands it on to their
/// drivers, and they send.
fn of_ports(bond: &LinkFacts, network: &Topology) -> Option<FallbackReason> {
    network.receivers(bond.index).into_iter().skip(1).find_map(|link| {
        decide(&InterfaceFacts {
            link,
            mode: RunMode::Native,
            peer: interface::peer(link).map(|(peer, _)| peer),
            strips_tags: strips_tags(link),
            has_vlans: network.has_vlans_above(link.index),
        })
    })
}

/// Whether the driver strips VLAN tags; one that does not tell may do it.
fn strips_tags(link: &LinkFacts) -> bool {
    vlan::strips_tags(link.index).unwrap_or(true)
}

const fn peer_lacks(peer: Peer) -> Option<PeerLacks> {
    match peer {
        Peer::Native => None,
        Peer::Plain => Some(PeerLacks::Program),
        Peer::Unseen => Some(PeerLacks::Sight),
    }
}

fn tags_lack(facts: &InterfaceFacts<'_>) -> Option<TagsLack> {
    match (facts.has_vlans, facts.link.kind, facts.strips_tags) {
        (true, LinkKind::Veth, _) => Some(TagsLack::Veth),
        (true, _, true) => Some(TagsLack::Stripped),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_one_reason_is_found_none_in_generic_mode_on_ethernet() {
        let eth0 = LinkFacts { name: "eth0".to_owned(), hardware: 1, ..LinkFacts::default() };
        let veth = LinkFacts { kind: LinkKind::Veth, ..eth0.clone() };
        let tun = LinkFacts { hardware: 65534, ..eth0.clone() };
        let (native, generic) = (RunMode::Native, RunMode::Generic);
        let plain = "eth0: its peer runs no XDP program, answers would be lost";
        let stripped = "eth0: its VLAN tags are stripped, answers would leave without (ethtool's rxvlan)";
        let on_veth =
            "eth0: VLANs lie above a veth, whose tags native XDP does not see: answers would leave without";
        let no_header = "eth0 has no Ethernet header (link type none): refusals there are made by the daemon";
        for (link, mode, peer, strips_tags, has_vlans, wanted) in [
            (&eth0, native, None, false, false, None),
            (&eth0, native, None, true, false, None),
            (&eth0, native, None, false, true, None),
            (&eth0, native, None, true, true, Some(stripped)),
            (&eth0, generic, None, true, true, None),
            (&veth, native, Some(Peer::Native), true, false, None),
            (&veth, native, Some(Peer::Native), false, true, Some(on_veth)),
            (&veth, native, Some(Peer::Native), true, true, Some(on_veth)),
            (&veth, native, Some(Peer::Plain), false, true, Some(plain)),
            (&veth, generic, None, false, true, None),
            (&tun, generic, None, false, false, Some(no_header)),
            (&tun, native, None, true, true, Some(no_header)),
        ] {
            let facts = InterfaceFacts { link, mode, peer, strips_tags, has_vlans };
            let found = decide(&facts).map(|fallback_reason| fallback_reason.to_string());
            assert_eq!(found.as_deref(), wanted, "{facts:?}");
        }
    }
}
