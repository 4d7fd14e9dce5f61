//! Network interfaces as the kernel's routing netlink (rtnetlink(7)) shows them: index, what XDP program runs, and what
//! lies at the other end of a veth pair.
//!
//! It attaches nothing and reads no address.

use std::{fmt, io};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage, LinkXdp, XdpAttached},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::{errno::Errno, net::if_::if_nametoindex};

use super::error::DataplaneError;

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

/// A network interface of this network namespace.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) index: u32,
}

/// The XDP program that runs on an interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) program: u32,
    pub(super) mode: RunMode,
}

/// The other end of a veth pair.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Peer {
    /// An XDP program runs there, in native mode.
    Native,
    /// None does.
    Plain,
    /// It may not be looked at.
    Unseen,
}

impl Interface {
    /// The interface of that name.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::NoInterface`].
    pub(super) fn named(name: &str) -> Result<Self, DataplaneError> {
        match if_nametoindex(name) {
            Ok(index) => Ok(Self { name: name.to_owned(), index }),
            Err(Errno::ENODEV | Errno::ENXIO | Errno::EINVAL | Errno::ENAMETOOLONG) => {
                Err(DataplaneError::NoInterface { interface: name.to_owned() })
            }
            Err(error) => Err(DataplaneError::system(format!("look for {name}"), error.into())),
        }
    }

    /// The XDP program that runs on it, if any.
    pub(super) fn running(&self) -> Result<Option<Running>, DataplaneError> {
        Ok(running(xdp(&self.link()?)))
    }

    /// Its Ethernet address; nothing if it has none.
    pub(super) fn mac(&self) -> Result<Option<[u8; 6]>, DataplaneError> {
        Ok(self.link()?.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(octets) => octets.as_slice().try_into().ok(),
            _ => None,
        }))
    }

    /// The other end, if it is one of a veth pair.
    pub(super) fn peer(&self) -> Result<Option<Peer>, DataplaneError> {
        let link = self.link()?;
        if !is_of_kind(&link, &InfoKind::Veth) {
            return Ok(None);
        }
        let index = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Link(index) => Some(*index),
            _ => None,
        });
        let netns = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::LinkNetNsId(id) => Some(*id),
            _ => None,
        });
        // whatever keeps us from seeing it, nothing is known about it
        let peer = index.and_then(|index| look_up(index, netns).ok());
        Ok(Some(match peer {
            Some(peer) if runs_natively(xdp(&peer)) => Peer::Native,
            Some(_) => Peer::Plain,
            None => Peer::Unseen,
        }))
    }

    /// Whether VLAN interfaces of this network namespace lie above it.
    pub(super) fn has_vlans(&self) -> Result<bool, DataplaneError> {
        let links =
            all_links().map_err(|error| DataplaneError::system("list the network interfaces", error))?;
        Ok(links.iter().any(|link| is_vlan_above(link, self.index)))
    }

    fn link(&self) -> Result<LinkMessage, DataplaneError> {
        look_up(self.index, None)
            .map_err(|error| DataplaneError::system(format!("examine {}", self.name), error))
    }
}

/// Asks the kernel for an interface (RTM_GETLINK), of this network namespace or of the one that has the id `netns` here.
fn look_up(index: u32, netns: Option<i32>) -> io::Result<LinkMessage> {
    let mut wanted = LinkMessage::default();
    wanted.header.index = index;
    wanted.attributes.extend(netns.map(LinkAttribute::IfNetnsId));
    let socket = ask(wanted, NLM_F_REQUEST)?;
    let (answer, _) = socket.recv_from_full()?;
    match NetlinkMessage::deserialize(&answer).map_err(io::Error::other)?.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => Ok(link),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        _ => Err(io::Error::other("unexpected answer from the kernel")),
    }
}

/// Every interface of this network namespace.
fn all_links() -> io::Result<Vec<LinkMessage>> {
    let socket = ask(LinkMessage::default(), NLM_F_REQUEST | NLM_F_DUMP)?;
    let mut links = Vec::new();
    loop {
        let (answer, _) = socket.recv_from_full()?;
        let mut rest = answer.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::deserialize(rest).map_err(io::Error::other)?;
            // each message begins at a multiple of four octets (netlink(7))
            let length = (message.header.length as usize).next_multiple_of(4).max(1);
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => links.push(link),
                NetlinkPayload::Done(_) => return Ok(links),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => return Err(io::Error::other("unexpected answer from the kernel")),
            }
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

/// Sends a request for links; the answer comes on the socket.
fn ask(wanted: LinkMessage, flags: u16) -> io::Result<Socket> {
    let mut request = NetlinkMessage::new(
        NetlinkHeader::default(),
        NetlinkPayload::from(RouteNetlinkMessage::GetLink(wanted)),
    );
    request.header.flags = flags;
    request.finalize();
    let mut octets = vec![0; request.buffer_len()];
    request.serialize(&mut octets);

    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&octets, 0)?;
    Ok(socket)
}

fn is_of_kind(link: &LinkMessage, kind: &InfoKind) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(info) => info.contains(&LinkInfo::Kind(kind.clone())),
        _ => false,
    })
}

fn is_vlan_above(link: &LinkMessage, index: u32) -> bool {
    is_of_kind(link, &InfoKind::Vlan) && link.attributes.contains(&LinkAttribute::Link(index))
}

/// What the link says about XDP programs.
fn xdp(link: &LinkMessage) -> &[LinkXdp] {
    let found = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Xdp(xdp) => Some(xdp.as_slice()),
        _ => None,
    });
    found.unwrap_or_default()
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

fn running(attributes: &[LinkXdp]) -> Option<Running> {
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
    Some(Running { program, mode })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(kind: InfoKind, below: u32) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.attributes =
            vec![LinkAttribute::Link(below), LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)])];
        link
    }

    #[test]
    fn only_a_vlan_above_the_very_interface_counts() {
        assert!(is_vlan_above(&link(InfoKind::Vlan, 7), 7));
        assert!(!is_vlan_above(&link(InfoKind::Vlan, 8), 7));
        assert!(!is_vlan_above(&link(InfoKind::MacVlan, 7), 7));
        assert!(all_links().unwrap().iter().any(|link| link.header.index == 1), "lo is listed");
    }

    #[test]
    fn a_native_program_counts_alone_or_beside_a_generic_one() {
        for (attributes, wanted) in [
            (&[LinkXdp::Attached(XdpAttached::Driver), LinkXdp::ProgId(5)][..], true),
            (&[LinkXdp::Attached(XdpAttached::Hardware)], true),
            (&[LinkXdp::Attached(XdpAttached::Multiple), LinkXdp::DrvProgId(5), LinkXdp::SkbProgId(6)], true),
            (&[LinkXdp::Attached(XdpAttached::SocketBuffer), LinkXdp::SkbProgId(6)], false),
            (&[LinkXdp::Attached(XdpAttached::None)], false),
            (&[], false),
        ] {
            assert_eq!(runs_natively(attributes), wanted, "{attributes:?}");
        }
    }
}
