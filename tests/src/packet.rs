//! Frames as senders make them: Ethernet, VLAN tags, IPv6, extension headers, TCP or UDP.
//!
//! Lengths and checksums are right unless a test spoils them; nothing is sent from here. What comes
//! back is [`answer`]'s.

use std::net::{Ipv6Addr, SocketAddrV6};

pub mod answer;
mod checksum;
mod frame;

/// Control bits of a TCP header (RFC 9293 3.1).
pub mod tcp {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// The control bit PSH.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement field is significant.
    pub const ACK: u8 = 0x10;
    /// Explicit congestion notification: echo (RFC 3168).
    pub const ECE: u8 = 0x40;
    /// Explicit congestion notification: window reduced (RFC 3168).
    pub const CWR: u8 = 0x80;
}

/// A VLAN tag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Vlan {
    /// 802.1Q, EtherType 0x8100.
    Customer,
    /// 802.1ad, EtherType 0x88a8.
    Service,
}

/// An IPv6 extension header (RFC 8200 4, RFC 4302, RFC 4303).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extension {
    /// Hop-by-Hop Options with so many units of 8 octets beyond the first.
    HopByHop(u8),
    /// Destination Options with so many units of 8 octets beyond the first.
    Destination(u8),
    /// Routing, type 4, with so many segments left.
    Routing(u8),
    /// Fragment: offset in units of 8 octets, and whether more follow.
    Fragment(u16, bool),
    /// Authentication Header (RFC 4302).
    Authentication,
    /// Encapsulating Security Payload.
    Esp,
    /// Mobility (RFC 6275): a header that no receiver follows.
    Mobility,
}

/// What stands in the checksum field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Checksum {
    /// The sum that the receiver expects.
    Full,
    /// The sum of the pseudo-header alone, for a device to complete: what a sender on the same
    /// machine leaves there (CHECKSUM_PARTIAL, include/linux/skbuff.h).
    Partial,
    /// Neither of both.
    Wrong,
}

/// The payload of the IPv6 packet.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Transport {
    Tcp { sequence: u32, acknowledgment: u32, flags: u8, window: u16, options: Vec<u8> },
    Udp,
}

/// A frame to be. It starts as an opening SYN from [`SENDER`] to port 25 of [`DESTINATION`].
#[derive(Clone, Debug)]
pub struct Packet {
    /// Destination, then source.
    link: [[u8; 6]; 2],
    vlans: Vec<Vlan>,
    ether_type: u16,
    flow_label: u32,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    extensions: Vec<Extension>,
    source_port: u16,
    destination_port: u16,
    transport: Transport,
    payload: Vec<u8>,
    checksum: Checksum,
}

/// Where a packet comes from unless told otherwise.
pub const SENDER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 0x99);
/// Where a packet goes to unless told otherwise.
pub const DESTINATION: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x25, 0, 0, 0, 0, 0x25);
/// The Ethernet address to which a frame goes unless told otherwise.
pub const GATE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The Ethernet address from which a frame comes.
pub const SENDER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// From which port a packet comes unless told otherwise.
pub const SENDER_PORT: u16 = 40_000;
/// The port of SMTP.
pub const SMTP: u16 = 25;
/// The sequence number of a segment unless told otherwise.
pub const SEQUENCE: u32 = 1000;

impl Default for Packet {
    fn default() -> Self {
        Self::syn()
    }
}

impl Packet {
    /// An opening SYN with the MSS option.
    #[must_use]
    pub fn syn() -> Self {
        Self {
            link: [GATE_MAC, SENDER_MAC],
            vlans: Vec::new(),
            ether_type: ETHER_TYPE_IPV6,
            flow_label: 0,
            source: SENDER,
            destination: DESTINATION,
            extensions: Vec::new(),
            source_port: SENDER_PORT,
            destination_port: SMTP,
            transport: Transport::Tcp {
                sequence: SEQUENCE,
                acknowledgment: 0,
                flags: tcp::SYN,
                window: WINDOW,
                options: MSS_OPTION.to_vec(),
            },
            payload: Vec::new(),
            checksum: Checksum::Full,
        }
    }

    /// A UDP datagram.
    #[must_use]
    pub fn udp() -> Self {
        Self { transport: Transport::Udp, ..Self::syn() }
    }

    /// To another Ethernet address.
    #[must_use]
    pub const fn to_mac(mut self, mac: [u8; 6]) -> Self {
        self.link[0] = mac;
        self
    }

    /// From another address.
    #[must_use]
    pub const fn source(mut self, source: Ipv6Addr) -> Self {
        self.source = source;
        self
    }

    /// To another address.
    #[must_use]
    pub const fn destination(mut self, destination: Ipv6Addr) -> Self {
        self.destination = destination;
        self
    }

    /// From another port.
    #[must_use]
    pub const fn source_port(mut self, port: u16) -> Self {
        self.source_port = port;
        self
    }

    /// To another port.
    #[must_use]
    pub const fn destination_port(mut self, port: u16) -> Self {
        self.destination_port = port;
        self
    }

    /// A TCP segment with these control bits and no options.
    #[must_use]
    pub fn flags(self, flags: u8) -> Self {
        let (sequence, acknowledgment) = match self.transport {
            Transport::Tcp { sequence, acknowledgment, .. } => (sequence, acknowledgment),
            Transport::Udp => (SEQUENCE, 0),
        };
        let transport =
            Transport::Tcp { sequence, acknowledgment, flags, window: WINDOW, options: Vec::new() };
        Self { transport, ..self }
    }

    /// With this sequence number, if it is TCP.
    #[must_use]
    pub fn sequence(mut self, number: u32) -> Self {
        if let Transport::Tcp { sequence, .. } = &mut self.transport {
            *sequence = number;
        }
        self
    }

    /// With this acknowledgement number, if it is TCP.
    #[must_use]
    pub fn acknowledgment(mut self, number: u32) -> Self {
        if let Transport::Tcp { acknowledgment, .. } = &mut self.transport {
            *acknowledgment = number;
        }
        self
    }

    /// With this window, if it is TCP.
    #[must_use]
    pub fn window(mut self, octets: u16) -> Self {
        if let Transport::Tcp { window, .. } = &mut self.transport {
            *window = octets;
        }
        self
    }

    /// With these options instead, if it is TCP: whole 32-bit words, at most ten.
    #[must_use]
    pub fn options(mut self, octets: &[u8]) -> Self {
        if let Transport::Tcp { options, .. } = &mut self.transport {
            *options = octets.to_vec();
        }
        self
    }

    /// With this flow label (20 bits) and, above it, a traffic class.
    #[must_use]
    pub const fn flow_label(mut self, label: u32) -> Self {
        self.flow_label = label;
        self
    }

    /// With something else in the checksum field than the right sum.
    #[must_use]
    pub const fn checksum(mut self, checksum: Checksum) -> Self {
        self.checksum = checksum;
        self
    }

    /// Inside of one more VLAN tag, behind those that are there.
    #[must_use]
    pub fn vlan(mut self, vlan: Vlan) -> Self {
        self.vlans.push(vlan);
        self
    }

    /// With one more extension header, behind those that are there.
    #[must_use]
    pub fn extension(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// With so many octets of payload.
    #[must_use]
    pub fn payload(self, octets: usize) -> Self {
        self.data(&vec![b'x'; octets])
    }

    /// With this payload.
    #[must_use]
    pub fn data(mut self, octets: &[u8]) -> Self {
        self.payload = octets.to_vec();
        self
    }

    /// With another EtherType than IPv6's before the very same octets.
    #[must_use]
    pub const fn ether_type(mut self, ether_type: u16) -> Self {
        self.ether_type = ether_type;
        self
    }

    /// Its sequence number; 0 of what has none.
    #[must_use]
    pub const fn sequence_number(&self) -> u32 {
        match self.transport {
            Transport::Tcp { sequence, .. } => sequence,
            Transport::Udp => 0,
        }
    }

    /// The length of its TCP header in units of 4 octets; 0 if it has none.
    #[must_use]
    pub(crate) fn tcp_words(&self) -> u32 {
        match &self.transport {
            Transport::Tcp { options, .. } => (5 + options.len() / 4) as u32,
            Transport::Udp => 0,
        }
    }

    /// Octets of payload.
    #[must_use]
    pub const fn payload_length(&self) -> usize {
        self.payload.len()
    }

    /// Where it comes from.
    #[must_use]
    pub const fn sender(&self) -> SocketAddrV6 {
        SocketAddrV6::new(self.source, self.source_port, 0, 0)
    }

    /// Where it goes to.
    #[must_use]
    pub const fn receiver(&self) -> SocketAddrV6 {
        SocketAddrV6::new(self.destination, self.destination_port, 0, 0)
    }
}

const ETHER_TYPE_IPV6: u16 = 0x86dd;
const WINDOW: u16 = 64_800;
/// Maximum segment size 1440 (RFC 9293 3.2).
const MSS_OPTION: [u8; 4] = [2, 4, 0x05, 0xa0];
