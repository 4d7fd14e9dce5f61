//! Network interfaces as the kernel's routing netlink (rtnetlink(7)) shows them: index, what XDP program runs, and what
//! lies at the other end of a veth pair.
//!
//! It attaches nothing and reads no address.

use std::{fmt, io};

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
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

    /// The other end, if it is one of a veth pair.
    pub(super) fn peer(&self) -> Result<Option<Peer>, DataplaneError> {
        let link = self.link()?;
        if !is_veth(&link) {
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
    let mut request = NetlinkMessage::new(
        NetlinkHeader::default(),
        NetlinkPayload::from(RouteNetlinkMessage::GetLink(wanted)),
    );
    request.header.flags = NLM_F_REQUEST;
    request.finalize();
    let mut octets = vec![0; request.buffer_len()];
    request.serialize(&mut octets);

    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&octets, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    match NetlinkMessage::deserialize(&answer).map_err(io::Error::other)?.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => Ok(link),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        _ => Err(io::Error::other("unexpected answer from the kernel")),
    }
}

fn is_veth(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(info) => info.contains(&LinkInfo::Kind(InfoKind::Veth)),
        _ => false,
    })
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
