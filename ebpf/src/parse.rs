//! From a frame to a TCP segment: Ethernet, VLAN tags, IPv6, extension headers, TCP.
//!
//! A cursor with one function for each header; each function checks its own bounds and leaves the cursor behind
//! its header. It decides nothing and reads no map. It is pure and knows no BPF, so that it can be compiled and
//! fuzzed in user space over any other [`Bytes`].

use sixgate_common::{flow::FlowKey, stat::Stat};

/// What is read from: a frame, from its first octet on.
pub(crate) trait Bytes {
    /// Octets in the frame.
    fn length(&self) -> usize;

    /// `N` octets from `offset` on, or nothing when the frame ends before them.
    fn bytes<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;
}

/// VLAN tags that are followed: one of 802.1Q, or two as 802.1ad stacks them.
const VLAN_TAGS_MAX: usize = 2;
/// Extension headers that are followed.
const EXTENSIONS_MAX: usize = 6;
/// Farthest offset at which a header can start: behind all tags and the longest extension headers.
pub(crate) const OFFSET_MAX: usize =
    ETHERNET_LENGTH + VLAN_TAGS_MAX * VLAN_LENGTH + IPV6_LENGTH + EXTENSIONS_MAX * EXTENSION_LENGTH_MAX;

const ETHERNET_LENGTH: usize = 14;
const VLAN_LENGTH: usize = 4;
const IPV6_LENGTH: usize = 40;
const EXTENSION_LENGTH_MAX: usize = 256 * 8;
const TCP_LENGTH_MIN: usize = 20;

/// A TCP segment to port 25, as far as its header tells.
pub(crate) struct Segment {
    /// Addresses and ports.
    pub(crate) tuple: FlowKey,
    flags: TcpFlags,
}

impl Segment {
    /// Whether the segment asks for a new connection.
    #[inline(always)]
    pub(crate) fn opens(&self) -> bool {
        self.flags.is_opening()
    }
}

/// The TCP segment to port 25 in `frame`.
///
/// # Errors
///
/// The counter that says why there is none, or why it is not understood.
#[inline(always)]
pub(crate) fn segment<B: Bytes>(frame: &B) -> Result<Segment, Stat> {
    let mut cursor = Cursor { frame, offset: 0, end: frame.length() };
    if ethernet(&mut cursor)? != EtherType::IPV6 {
        return Err(Stat::PassNotIpv6);
    }
    let packet = ipv6(&mut cursor)?;
    if extensions(&mut cursor, packet.next)? != NextHeader::TCP {
        return Err(Stat::PassNotTcp);
    }
    let header = tcp(&mut cursor)?;
    if header.destination_port != Port::SMTP {
        return Err(Stat::PassOtherPort);
    }
    Ok(Segment {
        tuple: FlowKey {
            source: packet.source,
            destination: packet.destination,
            source_port: header.source_port.0,
            destination_port: header.destination_port.0,
        },
        flags: header.flags,
    })
}

/// A position in a frame. Headers lie before `end`: the frame's end, then the IPv6 packet's.
struct Cursor<'a, B> {
    frame: &'a B,
    offset: usize,
    end: usize,
}

impl<B: Bytes> Cursor<'_, B> {
    /// The next `N` octets, without moving.
    #[inline(always)]
    fn peek<const N: usize>(&self) -> Result<[u8; N], Stat> {
        if self.offset + N > self.end {
            return Err(Stat::PassTruncated);
        }
        self.frame.bytes(self.offset).ok_or(Stat::PassTruncated)
    }

    /// The next `N` octets; moves behind them.
    #[inline(always)]
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Stat> {
        let octets = self.peek()?;
        self.offset += N;
        Ok(octets)
    }
}

/// The Ethernet header and the VLAN tags behind it (802.1Q, 802.1ad); what they carry.
#[inline(always)]
fn ethernet<B: Bytes>(cursor: &mut Cursor<'_, B>) -> Result<EtherType, Stat> {
    let [.., high, low] = cursor.take::<ETHERNET_LENGTH>()?;
    let mut ether_type = EtherType([high, low]);
    for _ in 0..VLAN_TAGS_MAX {
        if !ether_type.is_vlan() {
            return Ok(ether_type);
        }
        ether_type = vlan_tag(cursor)?;
    }
    if ether_type.is_vlan() {
        return Err(Stat::PassVlanDepth);
    }
    Ok(ether_type)
}

/// One VLAN tag; the type of what it carries.
#[inline(always)]
fn vlan_tag<B: Bytes>(cursor: &mut Cursor<'_, B>) -> Result<EtherType, Stat> {
    let [_, _, high, low] = cursor.take::<VLAN_LENGTH>()?;
    Ok(EtherType([high, low]))
}

/// What of an IPv6 header matters here.
struct Ipv6 {
    source: [u8; 16],
    destination: [u8; 16],
    next: NextHeader,
}

/// The IPv6 header (RFC 8200 3). From here on the packet's end bounds the cursor: Ethernet may pad a frame, and
/// a frame that is shorter than its packet is dropped by the host anyway.
#[inline(always)]
fn ipv6<B: Bytes>(cursor: &mut Cursor<'_, B>) -> Result<Ipv6, Stat> {
    let [version, _, _, _, high, low, next, _] = cursor.take::<8>()?;
    if version >> 4 != 6 {
        return Err(Stat::PassNotIpv6);
    }
    let source = cursor.take::<16>()?;
    let destination = cursor.take::<16>()?;
    if destination[0] == MULTICAST {
        return Err(Stat::PassMulticast);
    }
    let end = cursor.offset + u16::from_be_bytes([high, low]) as usize;
    if end > cursor.end {
        return Err(Stat::PassTruncated);
    }
    cursor.end = end;
    Ok(Ipv6 { source, destination, next: NextHeader(next) })
}

/// The extension headers (RFC 8200 4); the kind of the first header that is none of them. Their order is not
/// checked: a packet whose order the host refuses is refused there.
#[inline(always)]
fn extensions<B: Bytes>(cursor: &mut Cursor<'_, B>, mut next: NextHeader) -> Result<NextHeader, Stat> {
    for _ in 0..EXTENSIONS_MAX {
        next = match next {
            NextHeader::HOP_BY_HOP | NextHeader::DESTINATION => options(cursor)?,
            NextHeader::ROUTING => routing(cursor)?,
            other => return not_followed(other),
        }
    }
    match next {
        NextHeader::HOP_BY_HOP | NextHeader::DESTINATION | NextHeader::ROUTING => {
            Err(Stat::PassExtensionLimit)
        }
        other => not_followed(other),
    }
}

/// Sorts out the headers behind which nothing can be read.
#[inline(always)]
fn not_followed(next: NextHeader) -> Result<NextHeader, Stat> {
    match next {
        NextHeader::FRAGMENT => Err(Stat::PassFragment),
        NextHeader::AUTHENTICATION | NextHeader::ESP => Err(Stat::PassIpsec),
        other => Ok(other),
    }
}

/// A Hop-by-Hop or Destination Options header (RFC 8200 4.3, 4.6); the kind of the header behind it.
#[inline(always)]
fn options<B: Bytes>(cursor: &mut Cursor<'_, B>) -> Result<NextHeader, Stat> {
    let [next, length] = cursor.peek()?;
    skip_extension(cursor, length)?;
    Ok(NextHeader(next))
}

/// A Routing header (RFC 8200 4.4); the kind of the header behind it. With segments left the destination address
/// is not the packet's last one.
#[inline(always)]
fn routing<B: Bytes>(cursor: &mut Cursor<'_, B>) -> Result<NextHeader, Stat> {
    let [next, length, _, segments_left] = cursor.peek()?;
    if segments_left != 0 {
        return Err(Stat::PassRouting);
    }
    skip_extension(cursor, length)?;
    Ok(NextHeader(next))
}

/// Moves behind an extension header: its length counts units of 8 octets beyond the first 8 (RFC 8200 4.3).
#[inline(always)]
fn skip_extension<B: Bytes>(cursor: &mut Cursor<'_, B>, length: u8) -> Result<(), Stat> {
    let offset = cursor.offset + (length as usize + 1) * 8;
    if offset > cursor.end {
        return Err(Stat::PassTruncated);
    }
    cursor.offset = offset;
    Ok(())
}

/// What of a TCP header matters here.
struct Tcp {
    source_port: Port,
    destination_port: Port,
    flags: TcpFlags,
}

/// The TCP header (RFC 9293 3.1), options included.
#[inline(always)]
fn tcp<B: Bytes>(cursor: &mut Cursor<'_, B>) -> Result<Tcp, Stat> {
    let [ports @ .., _, _, _, _, _, _, _, _, offset, flags, _, _, _, _, _, _] =
        cursor.peek::<TCP_LENGTH_MIN>()?;
    let [source_high, source_low, destination_high, destination_low] = ports;
    let length = (offset >> 4) as usize * 4;
    if length < TCP_LENGTH_MIN || cursor.offset + length > cursor.end {
        return Err(Stat::PassTruncated);
    }
    Ok(Tcp {
        source_port: Port([source_high, source_low]),
        destination_port: Port([destination_high, destination_low]),
        flags: TcpFlags(flags),
    })
}

/// The type of an Ethernet payload, network order.
#[derive(Clone, Copy, Eq, PartialEq)]
struct EtherType([u8; 2]);

impl EtherType {
    const IPV6: Self = Self(0x86dd_u16.to_be_bytes());
    /// 802.1Q: a customer tag.
    const VLAN: Self = Self(0x8100_u16.to_be_bytes());
    /// 802.1ad: a service tag.
    const SERVICE_VLAN: Self = Self(0x88a8_u16.to_be_bytes());

    #[inline(always)]
    fn is_vlan(self) -> bool {
        self == Self::VLAN || self == Self::SERVICE_VLAN
    }
}

/// The kind of an IPv6 packet's next header (IANA, protocol numbers).
#[derive(Clone, Copy, Eq, PartialEq)]
struct NextHeader(u8);

impl NextHeader {
    const HOP_BY_HOP: Self = Self(0);
    const TCP: Self = Self(6);
    const ROUTING: Self = Self(43);
    const FRAGMENT: Self = Self(44);
    const ESP: Self = Self(50);
    const AUTHENTICATION: Self = Self(51);
    const DESTINATION: Self = Self(60);
}

/// A TCP port, network order.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Port([u8; 2]);

impl Port {
    const SMTP: Self = Self(25_u16.to_be_bytes());
}

/// The control bits of a TCP header (RFC 9293 3.1).
#[derive(Clone, Copy)]
struct TcpFlags(u8);

impl TcpFlags {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;

    /// SYN without ACK, RST or FIN; what else is set does not matter.
    #[inline(always)]
    fn is_opening(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::RST | Self::FIN) == Self::SYN
    }
}

/// The first octet of a multicast address (RFC 4291 2.7).
const MULTICAST: u8 = 0xff;
