//! Network interfaces as the kernel's routing netlink (rtnetlink(7)) shows them: one by its name or
//! its index, all of a network namespace, and what lies at the other end of a veth pair.
//!
//! What follows from it is `topology`'s; it attaches nothing and reads no address.

use std::io;

use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage, LinkXdp},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;

use super::{
    error::DataplaneError,
    topology::{LinkFacts, LinkKind, Mac, RunMode, Topology},
};

/// An interface as it is now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InterfaceNow {
    /// Its index in the kernel.
    pub index: u32,
    /// Its name, also where it was asked for by another one.
    pub name: String,
    /// The kernel's id of the XDP program that runs there.
    pub program: Option<u32>,
}

impl From<LinkFacts> for InterfaceNow {
    fn from(facts: LinkFacts) -> Self {
        let program = facts.running.map(|running| running.program);
        Self { index: facts.index, name: facts.name, program }
    }
}

/// The interface of that name, or of that alternative name; nothing if there is none.
///
/// # Errors
///
/// [`DataplaneError::System`].
pub fn interface_called(name: &str) -> Result<Option<InterfaceNow>, DataplaneError> {
    match named(name) {
        Ok(facts) => Ok(Some(facts.into())),
        Err(DataplaneError::NoInterface { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The interface of that index in this network namespace; nothing if there is none.
///
/// # Errors
///
/// [`DataplaneError::System`].
pub fn interface_now(index: u32) -> Result<Option<InterfaceNow>, DataplaneError> {
    Ok(indexed(index)?.map(InterfaceNow::from))
}

/// The other end of a veth pair.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Peer {
    /// An XDP program runs there, in native mode.
    Native,
    /// No XDP program runs there.
    Plain,
    /// It may not be looked at.
    Unseen,
}

/// The interface of that name, or of that alternative name.
///
/// # Errors
///
/// [`DataplaneError::NoInterface`], [`DataplaneError::System`].
pub(super) fn named(name: &str) -> Result<LinkFacts, DataplaneError> {
    let mut wanted = LinkMessage::default();
    // the kernel finds names by it, too, of any length (net/core/rtnetlink.c, `rtnl_dev_get`)
    let octets = [name.as_bytes(), b"\0"].concat();
    wanted.attributes.push(LinkAttribute::Other(DefaultNla::new(IFLA_ALT_IFNAME, octets)));
    match one(wanted) {
        Ok(link) => Ok(link),
        Err(error) if is_missing(&error) => Err(DataplaneError::NoInterface { interface: name.to_owned() }),
        Err(error) => Err(DataplaneError::system(format!("look for {name}"), error)),
    }
}

/// The interface of this network namespace that has the index, if there is one.
///
/// # Errors
///
/// [`DataplaneError::System`].
pub(super) fn indexed(index: u32) -> Result<Option<LinkFacts>, DataplaneError> {
    match look_up(index, None) {
        Ok(link) => Ok(Some(link)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(DataplaneError::system(format!("examine the interface {index}"), error)),
    }
}

/// Every interface of this network namespace.
///
/// # Errors
///
/// [`DataplaneError::System`].
pub(super) fn all() -> Result<Topology, DataplaneError> {
    let list = |wanted| dump(RouteNetlinkMessage::GetLink(wanted));
    let messages = list(LinkMessage::default())
        .map_err(|error| DataplaneError::system("list the network interfaces", error))?;
    Ok(messages
        .iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(LinkFacts::of(link)),
            _ => None,
        })
        .collect())
}

/// The other end, if the interface is one of a veth pair, and its MAC address, if that may be
/// looked at.
pub(super) fn peer(link: &LinkFacts) -> Option<(Peer, Option<Mac>)> {
    if link.kind != LinkKind::Veth {
        return None;
    }
    // without a look at it nothing is known about it
    Some(match link.lower.and_then(|lower| look_up(lower.index, lower.netns).ok()) {
        Some(peer) if peer.runs_natively => (Peer::Native, peer.mac),
        Some(peer) => (Peer::Plain, peer.mac),
        None => (Peer::Unseen, None),
    })
}

/// Asks the kernel for an interface (RTM_GETLINK), of this network namespace or of the one that has
/// the id `netns` here.
fn look_up(index: u32, netns: Option<i32>) -> io::Result<LinkFacts> {
    let mut wanted = LinkMessage::default();
    wanted.header.index = index;
    wanted.attributes.extend(netns.map(LinkAttribute::IfNetnsId));
    one(wanted)
}

fn one(wanted: LinkMessage) -> io::Result<LinkFacts> {
    let socket = ask(RouteNetlinkMessage::GetLink(wanted), NLM_F_REQUEST)?;
    let (answer, _) = socket.recv_from_full()?;
    match NetlinkMessage::deserialize(&answer).map_err(io::Error::other)?.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => Ok(LinkFacts::of(&link)),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        _ => Err(unexpected()),
    }
}

/// Asks the kernel to take the XDP program off where none is: an error wherever one is, and nothing
/// is changed in any case.
pub(super) fn replace_nothing(index: u32, mode: RunMode) -> io::Result<()> {
    let mode = match mode {
        RunMode::Native => XDP_FLAGS_DRV_MODE,
        RunMode::Generic => XDP_FLAGS_SKB_MODE,
    };
    let mut wanted = LinkMessage::default();
    wanted.header.index = index;
    wanted.attributes.push(LinkAttribute::Xdp(vec![
        LinkXdp::Fd(NO_PROGRAM),
        LinkXdp::Flags(XDP_FLAGS_REPLACE | mode),
        LinkXdp::ExpectedFd(NO_PROGRAM.cast_unsigned()),
    ]));
    let socket = ask(RouteNetlinkMessage::SetLink(wanted), NLM_F_REQUEST | NLM_F_ACK)?;
    let (answer, _) = socket.recv_from_full()?;
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?.payload {
        NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        _ => Err(unexpected()),
    }
}

/// All that the kernel answers to a request for a list. What cannot be read of it is left out:
/// kernels to come may show kinds of interfaces that are not known here.
pub(super) fn dump(wanted: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
    let socket = ask(wanted, NLM_F_REQUEST | NLM_F_DUMP)?;
    let mut messages = Vec::new();
    loop {
        let (answer, _) = socket.recv_from_full()?;
        let mut rest = answer.as_slice();
        while let Some((length, _)) = rest.split_first_chunk::<4>() {
            // each message begins at a multiple of four octets (netlink(7))
            let length = (u32::from_ne_bytes(*length) as usize).next_multiple_of(4).max(1);
            match NetlinkMessage::deserialize(rest).map(|message| message.payload) {
                Ok(NetlinkPayload::InnerMessage(message)) => messages.push(message),
                Ok(NetlinkPayload::Done(_)) => return Ok(messages),
                Ok(NetlinkPayload::Error(error)) => return Err(error.to_io()),
                Ok(_) => return Err(unexpected()),
                Err(_) => {}
            }
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

/// Sends a request; the answer comes on the socket.
fn ask(wanted: RouteNetlinkMessage, flags: u16) -> io::Result<Socket> {
    let mut request = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(wanted));
    request.header.flags = flags;
    request.finalize();
    let mut octets = vec![0; request.buffer_len()];
    request.serialize(&mut octets);

    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&octets, 0)?;
    Ok(socket)
}

/// Whether there is no such interface; a name that is too long for any is none.
fn is_missing(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ENODEV | Errno::ENXIO | Errno::EINVAL | Errno::ERANGE | Errno::ENAMETOOLONG))
}

fn unexpected() -> io::Error {
    io::Error::other("unexpected answer from the kernel")
}

// include/uapi/linux/if_link.h
const IFLA_ALT_IFNAME: u16 = 53;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
const XDP_FLAGS_REPLACE: u32 = 1 << 4;
/// Stands for none in place of a program's descriptor.
const NO_PROGRAM: i32 = -1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_found_by_name_by_index_and_in_the_list() {
        let lo = named("lo").unwrap();
        assert_eq!((lo.index, lo.name.as_str(), lo.mac), (1, "lo", Some([0; 6])));
        assert_eq!(indexed(1).unwrap().unwrap().name, "lo");
        assert_eq!(all().unwrap().get(1).map(|link| link.name.as_str()), Some("lo"));
        assert_eq!(peer(&lo), None);
    }

    #[test]
    fn what_is_not_there_is_named() {
        for name in ["sixgate-none", &"x".repeat(127), &"x".repeat(128), &"x".repeat(1000), ""] {
            let error = named(name).unwrap_err();
            assert_eq!(error.to_string(), format!("no network interface named {name:?}"));
        }
        assert_eq!(indexed(u32::MAX >> 1).unwrap(), None);
    }
}
