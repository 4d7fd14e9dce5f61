//! Whether a network interface strips VLAN tags before the program sees a frame, and how to keep it
//! from that: the features `rx-vlan-hw-parse` and `rx-vlan-stag-hw-parse` by ethtool's netlink
//! (Documentation/networking/ethtool-netlink.rst).
//!
//! An answer to a frame whose tag is gone would leave without it, into another network. What
//! follows from that is not decided here.

use std::io;

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLA_F_NESTED, NLM_F_ACK, NLM_F_REQUEST, NetlinkDeserializable,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable, NlasIterator, ParseableParametrized,
};
use netlink_packet_generic::{
    GenlFamily, GenlHeader, GenlMessage,
    ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

/// Whether the interface strips VLAN tags now.
pub(super) fn strips_tags(index: u32) -> io::Result<bool> {
    Ok(features(index)?.iter().any(|name| STRIPPING.contains(&&**name)))
}

/// The names of the interface's features that are on now, as `ethtool -k` prints the short ones.
pub(super) fn features(index: u32) -> io::Result<Vec<String>> {
    let socket = open()?;
    let family = family(&socket)?;
    let get = Features { command: FEATURES_GET, attributes: header(index, 0) };
    match ask(&socket, message(get, family), NLM_F_REQUEST)? {
        Some(answer) => Ok(active(&answer.payload.attributes)),
        None => Err(unexpected()),
    }
}

/// Lets the interface leave VLAN tags where they are, as far as its driver can.
pub(super) fn keep_tags(index: u32) -> io::Result<()> {
    let socket = open()?;
    let family = family(&socket)?;
    let bits: Vec<u8> = STRIPPING.iter().flat_map(|name| cleared(name)).collect();
    let wanted = attribute(FEATURES_WANTED | NLA_F_NESTED, attribute(BITSET_BITS | NLA_F_NESTED, bits));
    let attributes = [header(index, HEADER_OMIT_REPLY), wanted].concat();
    let set = message(Features { command: FEATURES_SET, attributes }, family);
    ask(&socket, set, NLM_F_REQUEST | NLM_F_ACK).map(drop)
}

fn open() -> io::Result<Socket> {
    let socket = Socket::new(NETLINK_GENERIC)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// The number that this kernel has for ethtool's messages.
fn family(socket: &Socket) -> io::Result<u16> {
    let name = GenlCtrlAttrs::FamilyName(Features::family_name().to_owned());
    let mut request = GenlMessage::from_payload(GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![name] });
    request.finalize();
    let answer = ask(socket, request, NLM_F_REQUEST)?.ok_or_else(unexpected)?;
    let id = answer.payload.nlas.iter().find_map(|attribute| match attribute {
        GenlCtrlAttrs::FamilyId(id) => Some(*id),
        _ => None,
    });
    id.ok_or_else(unexpected)
}

fn message(payload: Features, family: u16) -> GenlMessage<Features> {
    let mut message = GenlMessage::from_payload(payload);
    message.set_resolved_family_id(family);
    message.finalize();
    message
}

/// One request and its answer; nothing where that is an acknowledgement.
fn ask<T>(socket: &Socket, request: T, flags: u16) -> io::Result<Option<T>>
where
    T: NetlinkSerializable + NetlinkDeserializable + Into<NetlinkPayload<T>>,
{
    let mut request = NetlinkMessage::from(request);
    request.header.flags = flags;
    request.finalize();
    let mut octets = vec![0; request.buffer_len()];
    request.serialize(&mut octets);
    socket.send(&octets, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    match NetlinkMessage::<T>::deserialize(&answer).map_err(io::Error::other)?.payload {
        NetlinkPayload::InnerMessage(answer) => Ok(Some(answer)),
        NetlinkPayload::Error(error) if error.code.is_none() => Ok(None),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> io::Error {
    io::Error::other("unexpected answer from the kernel")
}

/// A message about features; its attributes as they lie in it.
#[derive(Clone, Debug)]
struct Features {
    command: u8,
    attributes: Vec<u8>,
}

impl GenlFamily for Features {
    fn family_name() -> &'static str {
        "ethtool"
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Features {
    fn buffer_len(&self) -> usize {
        self.attributes.len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        // the caller made the buffer as long as `buffer_len` requires
        buffer.copy_from_slice(&self.attributes);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Features {
    fn parse_with_param(octets: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        Ok(Self { command: header.cmd, attributes: octets.to_vec() })
    }
}

/// Which interface is meant.
fn header(index: u32, flags: u32) -> Vec<u8> {
    let index = attribute(HEADER_DEV_INDEX, index.to_ne_bytes().to_vec());
    let flags = attribute(HEADER_FLAGS, flags.to_ne_bytes().to_vec());
    attribute(FEATURES_HEADER | NLA_F_NESTED, [index, flags].concat())
}

/// A feature that is named and has no value is to be off.
fn cleared(name: &str) -> Vec<u8> {
    let name = attribute(BIT_NAME, [name.as_bytes(), b"\0"].concat());
    attribute(BITS_BIT | NLA_F_NESTED, name)
}

fn attribute(kind: u16, value: Vec<u8>) -> Vec<u8> {
    let attribute = [DefaultNla::new(kind, value)];
    let mut octets = vec![0; attribute.as_slice().buffer_len()];
    attribute.as_slice().emit(&mut octets);
    octets
}

/// The names of the features that are on.
fn active(attributes: &[u8]) -> Vec<String> {
    let bits = values(attributes, FEATURES_ACTIVE).into_iter().flat_map(|set| values(&set, BITSET_BITS));
    bits.flat_map(|bits| values(&bits, BITS_BIT))
        .flat_map(|bit| values(&bit, BIT_NAME))
        .map(|name| String::from_utf8_lossy(name.strip_suffix(b"\0").unwrap_or(&name)).into_owned())
        .collect()
}

/// The values of all attributes of that kind; what cannot be read ends the list.
fn values(attributes: &[u8], kind: u16) -> Vec<Vec<u8>> {
    NlasIterator::new(attributes)
        .map_while(Result::ok)
        .filter(|attribute| attribute.kind() == kind)
        .map(|attribute| attribute.value().to_vec())
        .collect()
}

/// The features that strip tags (net/ethtool/common.c, `netdev_features_strings`).
const STRIPPING: [&str; 2] = ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];

// include/uapi/linux/ethtool_netlink.h
const FEATURES_GET: u8 = 11;
const FEATURES_SET: u8 = 12;
const FEATURES_HEADER: u16 = 1;
const FEATURES_WANTED: u16 = 3;
const FEATURES_ACTIVE: u16 = 4;
const HEADER_DEV_INDEX: u16 = 1;
const HEADER_FLAGS: u16 = 3;
const HEADER_OMIT_REPLY: u32 = 2;
const BITSET_BITS: u16 = 3;
const BITS_BIT: u16 = 1;
const BIT_NAME: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_features_that_are_on_are_read_by_their_names() {
        let bit = |name: &str| cleared(name);
        let set = |kind, bits: Vec<u8>| {
            let size = attribute(2, 64_u32.to_ne_bytes().to_vec());
            attribute(kind | NLA_F_NESTED, [size, attribute(BITSET_BITS | NLA_F_NESTED, bits)].concat())
        };
        let answer = [
            header(7, 0),
            set(FEATURES_WANTED, bit("tx-checksum-ipv6")),
            set(FEATURES_ACTIVE, [bit("rx-gro"), bit("rx-vlan-hw-parse")].concat()),
        ]
        .concat();
        assert_eq!(active(&answer), ["rx-gro", "rx-vlan-hw-parse"]);
        assert_eq!(active(&answer[..answer.len() - 9]), Vec::<String>::new(), "cut off");
        assert_eq!(active(&[]), Vec::<String>::new());
    }

    #[test]
    fn the_loopback_interface_has_no_tags_to_strip() {
        assert!(!strips_tags(1).unwrap());
        assert!(strips_tags(u32::MAX).is_err(), "no such interface");
    }
}
