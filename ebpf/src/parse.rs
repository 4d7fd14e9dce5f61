//! From a frame to a TCP segment: Ethernet, VLAN tags, IPv6, extension headers, TCP.
//!
//! A cursor with one function for each header; each function checks its own bounds and leaves the
//! cursor behind its header. It decides nothing and reads no map. It is pure and knows no BPF, so
//! that it can be compiled and fuzzed in user space over any other [`Bytes`].

use sixgate_common::{bytes::Bytes, flow::FlowKey, stat::Stat};

/// VLAN tags that are followed: one of 802.1Q, or two as 802.1ad stacks them.
const VLAN_TAGS_MAX: usize = 2;
/// Extension headers that are followed.
const EXTENSIONS_MAX: usize = 6;
/// Farthest offset at which a header can start: behind all tags and the longest extension headers.
pub(crate) const OFFSET_MAX: usize = LINK_LENGTH_MAX + IPV6_LENGTH + EXTENSIONS_MAX * EXTENSION_LENGTH_MAX;

const ETHERNET_LENGTH: usize = 14;
const VLAN_LENGTH: usize = 4;
/// Longest link-layer header: two VLAN tags.
pub(crate) const LINK_LENGTH_MAX: usize = ETHERNET_LENGTH + VLAN_TAGS_MAX * VLAN_LENGTH;
pub(crate) const IPV6_LENGTH: usize = 40;
const EXTENSION_LENGTH_MAX: usize = 256 * 8;
/// A TCP header without options.
pub(crate) const TCP_LENGTH: usize = 20;

/// Both ends of a connection, as the sender's packets carry them: a [`FlowKey`] that is aligned on
/// the stack, and whose addresses can be read as integers. All fields are in network order.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct Tuple {
    pub(crate) source: [u64; 2],
    pub(crate) destination: [u64; 2],
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
}

impl Tuple {
    /// Both ports as they lie in memory one behind the other.
    #[inline(always)]
    pub(crate) const fn ports(&self) -> u32 {
        let ([a, b], [c, d]) = (self.source_port.to_ne_bytes(), self.destination_port.to_ne_bytes());
        u32::from_ne_bytes([a, b, c, d])
    }

    /// The same octets as the maps have them.
    #[inline(always)]
    pub(crate) const fn key(&self) -> &FlowKey {
        // SAFETY: both are `repr(C)` with the same fields at the same offsets, and octets need no
        // alignment.
        unsafe { &*(&raw const *self).cast() }
    }
}

const _: () = assert!(
    core::mem::offset_of!(Tuple, destination) == core::mem::offset_of!(FlowKey, destination)
        && core::mem::offset_of!(Tuple, source_port) == core::mem::offset_of!(FlowKey, source_port)
        && core::mem::offset_of!(Tuple, destination_port) == core::mem::offset_of!(FlowKey, destination_port)
);

/// A TCP segment to port 25, as far as its header tells.
pub(crate) struct Segment {
    /// Addresses and ports.
    pub(crate) tuple: Tuple,
    /// Sequence number of the first octet (SEG.SEQ, RFC 9293).
    pub(crate) sequence: u32,
    /// Next sequence number that the sender expects (SEG.ACK).
    pub(crate) acknowledgment: u32,
    pub(crate) flags: TcpFlags,
    /// Where the IPv6 header starts in the frame.
    pub(crate) ipv6_at: usize,
    /// Where the TCP header starts in the frame.
    pub(crate) tcp_at: usize,
    /// Where the TCP payload starts in the frame.
    pub(crate) payload_at: usize,
    /// Octets of TCP payload.
    pub(crate) payload: usize,
}

/// Where the headers of a TCP segment to port 25 lie.
#[derive(Clone, Copy)]
pub(crate) struct Headers {
    pub(crate) ipv6_at: usize,
    pub(crate) tcp_at: usize,
    /// Where the IPv6 packet ends.
    pub(crate) end: usize,
}

/// Looks for a TCP segment to port 25 in `frame`, and reads no more than that takes.
///
/// # Errors
///
/// The counter of the reason why there is none, or why it is not understood.
#[inline(always)]
pub(crate) fn headers<B: Bytes>(frame: &B) -> Result<Headers, Stat> {
    let mut cursor = Cursor { frame, offset: 0, end: usize::MAX };
    if ethernet(&mut cursor)? != EtherType::IPV6 {
        return Err(Stat::PassNotIpv6);
    }
    let ipv6_at = cursor.offset;
    let next = ipv6(&mut cursor)?;
    if extensions(&mut cursor, next)? != NextHeader::TCP {
        return Err(Stat::PassNotTcp);
    }
    let tcp_at = cursor.offset;
    let [.., offset, _, _, _, _, _, _, _] = cursor.peek::<TCP_LENGTH>()?;
    let length = header_length(*offset);
    if length < TCP_LENGTH || tcp_at + length > cursor.end {
        return Err(Stat::PassTruncated);
    }
    let [_, _, high, low, ..] = cursor.peek::<TCP_LENGTH>()?;
    if u16::from_ne_bytes([*high, *low]) != SMTP {
        return Err(Stat::PassOtherPort);
    }
    Ok(Headers { ipv6_at, tcp_at, end: cursor.end })
}

/// Reads the segment whose headers were found.
///
/// # Errors
///
/// The counter of the reason why it is not understood.
#[inline(always)]
pub(crate) fn segment<B: Bytes>(frame: &B, headers: Headers, segment: &mut Segment) -> Result<(), Stat> {
    let Headers { ipv6_at, tcp_at, end } = headers;
    let address = |at| Some([frame.u64_ne(ipv6_at + at)?, frame.u64_ne(ipv6_at + at + 8)?]);
    let tuple = &mut segment.tuple;
    tuple.source = address(8).ok_or(Stat::PassMultiBuffer)?;
    tuple.destination = address(24).ok_or(Stat::PassMultiBuffer)?;
    if !is_sender(tuple.source, tuple.destination) {
        return Err(Stat::PassSource);
    }
    // RFC 9293 3.1
    let [p0, p1, p2, p3, s0, s1, s2, s3, a0, a1, a2, a3, offset, flags, ..] =
        frame.view::<TCP_LENGTH>(tcp_at).ok_or(Stat::PassMultiBuffer)?;
    tuple.source_port = u16::from_ne_bytes([*p0, *p1]);
    tuple.destination_port = u16::from_ne_bytes([*p2, *p3]);
    segment.sequence = u32::from_be_bytes([*s0, *s1, *s2, *s3]);
    segment.acknowledgment = u32::from_be_bytes([*a0, *a1, *a2, *a3]);
    segment.flags = TcpFlags(*flags);
    segment.ipv6_at = ipv6_at;
    segment.tcp_at = tcp_at;
    segment.payload_at = tcp_at + header_length(*offset);
    segment.payload = end - segment.payload_at;
    Ok(())
}

/// The length of a TCP header by the octet of its data offset.
#[inline(always)]
const fn header_length(offset: u8) -> usize {
    (offset >> 4) as usize * 4
}

/// Whether a host can send from `source`: not the unspecified address, not a multicast one, not an
/// IPv4-mapped one, and the loopback address only to itself. The host drops the others
/// (net/ipv6/ip6_input.c, `ip6_rcv_core`).
#[inline(always)]
fn is_sender(source: [u64; 2], destination: [u64; 2]) -> bool {
    let [high, low] = source;
    if high != 0 {
        return !is_multicast(source);
    }
    match u64::from_be(low) {
        0 => false,
        1 => destination == source,
        low => low >> 32 != 0xffff,
    }
}

/// Whether the address begins with the octet of multicast addresses.
#[inline(always)]
const fn is_multicast(address: [u64; 2]) -> bool {
    u64::from_be(address[0]) >> 56 == MULTICAST as u64
}

/// A position in a frame. Headers lie before `end`: the frame's end, then the IPv6 packet's.
struct Cursor<'a, B> {
    frame: &'a B,
    offset: usize,
    end: usize,
}

impl<'a, B: Bytes> Cursor<'a, B> {
    /// The next `N` octets, without moving.
    #[inline(always)]
    fn peek<const N: usize>(&self) -> Result<&'a [u8; N], Stat> {
        let end = self.offset + N;
        if end > self.end {
            return Err(Stat::PassTruncated);
        }
        match self.frame.view(self.offset) {
            Some(octets) => Ok(octets),
            None if self.frame.reaches(end) => Err(Stat::PassMultiBuffer),
            None => Err(Stat::PassTruncated),
        }
    }

    /// The next `N` octets; moves behind them.
    #[inline(always)]
    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], Stat> {
        let octets = self.peek()?;
        self.offset += N;
        Ok(octets)
    }
}

/// The Ethernet header and the VLAN tags behind it (802.1Q, 802.1ad); what they carry.
#[inline(always)]
fn ethernet<B: Bytes>(cursor: &mut Cursor<'_, B>) -> Result<EtherType, Stat> {
    let [.., high, low] = cursor.take::<ETHERNET_LENGTH>()?;
    let mut ether_type = EtherType(u16::from_ne_bytes([*high, *low]));
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
    Ok(EtherType(u16::from_ne_bytes([*high, *low])))
}

/// The IPv6 header (RFC 8200 3); the kind of the header behind it. From here on the packet's end
/// bounds the cursor: Ethernet may pad a frame, and a frame that is shorter than its packet is
/// dropped by the host anyway.
#[inline(always)]
fn ipv6<B: Bytes>(cursor: &mut Cursor<'_, B>) -> Result<NextHeader, Stat> {
    // where even the first half is missing, the version does not matter
    let [version, _, _, _, high, low, next, _] = cursor.peek::<8>()?;
    if version >> 4 != 6 {
        return Err(Stat::PassNotIpv6);
    }
    let header = cursor.take::<IPV6_LENGTH>()?;
    if header[24] == MULTICAST {
        return Err(Stat::PassMulticast);
    }
    let end = cursor.offset + u16::from_be_bytes([*high, *low]) as usize;
    if !cursor.frame.reaches(end) {
        return Err(Stat::PassTruncated);
    }
    cursor.end = end;
    Ok(NextHeader(*next))
}

/// The extension headers (RFC 8200 4); the kind of the first header that is none of them. Their
/// order is not checked: a packet whose order the host refuses is refused there.
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

/// Refuses the headers behind which nothing can be read.
#[inline(always)]
fn not_followed(next: NextHeader) -> Result<NextHeader, Stat> {
    match next {
        NextHeader::FRAGMENT => Err(Stat::PassFragment),
        NextHeader::AUTHENTICATION | NextHeader::ESP => Err(Stat::PassIpsec),
        other => Ok(other),
    }
}

/// A Hop-by-Hop or Destination Options header (RFC 8200 4.3, 4.6); the kind of the header behind
/// it.
#[inline(always)]
fn options<B: Bytes>(cursor: &mut Cursor<'_, B>) -> Result<NextHeader, Stat> {
    let [next, length] = *cursor.peek()?;
    skip_extension(cursor, length)?;
    Ok(NextHeader(next))
}

/// A Routing header (RFC 8200 4.4); the kind of the header behind it. With segments left the
/// destination address is not the packet's last one.
#[inline(always)]
fn routing<B: Bytes>(cursor: &mut Cursor<'_, B>) -> Result<NextHeader, Stat> {
    let [next, length, _, segments_left] = *cursor.peek()?;
    if segments_left != 0 {
        return Err(Stat::PassRouting);
    }
    skip_extension(cursor, length)?;
    Ok(NextHeader(next))
}

/// Moves behind an extension header: its length counts units of 8 octets beyond the first 8 (RFC
/// 8200 4.3).
#[inline(always)]
fn skip_extension<B: Bytes>(cursor: &mut Cursor<'_, B>, length: u8) -> Result<(), Stat> {
    let offset = cursor.offset + (length as usize + 1) * 8;
    if offset > cursor.end {
        return Err(Stat::PassTruncated);
    }
    cursor.offset = offset;
    Ok(())
}

/// The type of an Ethernet payload, network order.
#[derive(Clone, Copy, Eq, PartialEq)]
struct EtherType(u16);

impl EtherType {
    const IPV6: Self = Self(0x86dd_u16.to_be());
    /// 802.1Q: a customer tag.
    const VLAN: Self = Self(0x8100_u16.to_be());
    /// 802.1ad: a service tag.
    const SERVICE_VLAN: Self = Self(0x88a8_u16.to_be());

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

/// Port 25, network order.
const SMTP: u16 = 25_u16.to_be();
/// The first octet of a multicast address (RFC 4291 2.7).
const MULTICAST: u8 = 0xff;

/// The control bits of a TCP header (RFC 9293 3.1).
#[derive(Clone, Copy)]
pub(crate) struct TcpFlags(pub(crate) u8);

impl TcpFlags {
    pub(crate) const FIN: u8 = 0x01;
    pub(crate) const SYN: u8 = 0x02;
    pub(crate) const RST: u8 = 0x04;
    pub(crate) const PSH: u8 = 0x08;
    pub(crate) const ACK: u8 = 0x10;

    /// SYN without ACK, RST or FIN; other flags do not matter.
    #[inline(always)]
    pub(crate) const fn is_opening(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::RST | Self::FIN) == Self::SYN
    }

    /// ACK without SYN, RST or FIN: what can end a handshake.
    #[inline(always)]
    pub(crate) const fn is_acknowledging(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::RST | Self::FIN) == Self::ACK
    }

    #[inline(always)]
    pub(crate) const fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }
}
