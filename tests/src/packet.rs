//! Frames as senders make them: Ethernet, VLAN tags, IPv6, extension headers, TCP or UDP.
//!
//! Lengths and checksums are right unless a test spoils them; nothing is sent from here. What comes back is
//! [`answer`]'s.

use std::net::{Ipv6Addr, SocketAddrV6};

use self::checksum::{complement, pseudo_header, sum};

pub mod answer;
mod checksum;

/// Control bits of a TCP header (RFC 9293 3.1).
pub mod tcp {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
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
    /// Authentication Header.
    Authentication,
    /// Encapsulating Security Payload.
    Esp,
    /// Mobility (RFC 6275): one that nobody follows.
    Mobility,
}

/// What stands in the checksum field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Checksum {
    /// What the receiver wants to see.
    Full,
    /// The sum of the pseudo-header alone, for a device to complete: what a sender on the same machine leaves there
    /// (CHECKSUM_PARTIAL, include/linux/skbuff.h).
    Partial,
    /// Neither of both.
    Wrong,
}

/// What the IPv6 packet carries.
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
/// From which port a packet comes unless told otherwise.
pub const SENDER_PORT: u16 = 40_000;
/// SMTP.
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
            link: [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]],
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

    /// With these options instead, if it is TCP: whole words of 4 octets, at most ten.
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

    /// Where the IPv6 header starts in the frame.
    #[must_use]
    pub const fn ipv6_offset(&self) -> usize {
        ETHERNET + VLAN_TAG * self.vlans.len()
    }

    /// The frame, without padding and without check sequence.
    ///
    /// # Panics
    /// If the packet is longer than IPv6 can say.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut frame = self.ethernet();
        let transport = self.transport();
        let extensions = self.extensions();
        let length =
            u16::try_from(extensions.len() + transport.len()).expect("a packet of at most 65535 octets");
        frame.extend((0x6000_0000 | self.flow_label).to_be_bytes());
        frame.extend(length.to_be_bytes());
        frame.push(self.next_header(0));
        frame.push(HOP_LIMIT);
        frame.extend(self.source.octets());
        frame.extend(self.destination.octets());
        frame.extend(extensions);
        frame.extend(transport);
        frame
    }

    fn ethernet(&self) -> Vec<u8> {
        let mut frame = self.link.concat();
        for (number, vlan) in (100_u16..).zip(&self.vlans) {
            frame.extend(match vlan {
                Vlan::Customer => 0x8100_u16.to_be_bytes(),
                Vlan::Service => 0x88a8_u16.to_be_bytes(),
            });
            frame.extend(number.to_be_bytes());
        }
        frame.extend(self.ether_type.to_be_bytes());
        frame
    }

    /// The kind of the header at `index`: an extension header, or what the packet carries.
    fn next_header(&self, index: usize) -> u8 {
        match (self.extensions.get(index), &self.transport) {
            (Some(Extension::HopByHop(_)), _) => 0,
            (Some(Extension::Routing(_)), _) => 43,
            (Some(Extension::Fragment(..)), _) => 44,
            (Some(Extension::Esp), _) => 50,
            (Some(Extension::Authentication), _) => 51,
            (Some(Extension::Destination(_)), _) => 60,
            (Some(Extension::Mobility), _) => 135,
            (None, Transport::Tcp { .. }) => TCP,
            (None, Transport::Udp) => UDP,
        }
    }

    fn extensions(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        for (index, extension) in self.extensions.iter().enumerate() {
            let next = self.next_header(index + 1);
            match *extension {
                Extension::HopByHop(units) | Extension::Destination(units) => {
                    octets.extend([next, units]);
                    // one PadN option (RFC 8200 4.2) for each unit, the first shortened by the header's own octets
                    octets.extend([1, 4, 0, 0, 0, 0]);
                    octets.extend([1, 6, 0, 0, 0, 0, 0, 0].repeat(usize::from(units)));
                }
                Extension::Routing(left) => octets.extend([next, 0, 4, left, 0, 0, 0, 0]),
                Extension::Fragment(offset, more) => {
                    octets.extend([next, 0]);
                    octets.extend((offset << 3 | u16::from(more)).to_be_bytes());
                    octets.extend([0, 0, 0, 7]);
                }
                // 24 octets: its length counts units of 4 octets beyond the first 8
                Extension::Authentication => {
                    octets.extend([next, 4]);
                    octets.extend([0; 22]);
                }
                Extension::Esp => octets.extend([0, 0, 0, 1, 0, 0, 0, 1]),
                Extension::Mobility => octets.extend([next, 0, 0, 0, 0, 0, 0, 0]),
            }
        }
        octets
    }

    fn transport(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        octets.extend(self.source_port.to_be_bytes());
        octets.extend(self.destination_port.to_be_bytes());
        let checksum = match &self.transport {
            Transport::Tcp { sequence, acknowledgment, flags, window, options } => {
                let words = (TCP_HEADER + options.len()) / 4;
                octets.extend(sequence.to_be_bytes());
                octets.extend(acknowledgment.to_be_bytes());
                octets.extend([u8::try_from(words << 4).expect("a header of at most 15 words"), *flags]);
                octets.extend(window.to_be_bytes());
                octets.extend([0, 0, 0, 0]);
                octets.extend(options);
                16
            }
            Transport::Udp => {
                let length = u16::try_from(8 + self.payload.len()).expect("at most 65535 octets");
                octets.extend(length.to_be_bytes());
                octets.extend([0, 0]);
                6
            }
        };
        octets.extend(&self.payload);
        let field = self.checksum_field(&octets);
        octets[checksum..checksum + 2].copy_from_slice(&field.to_be_bytes());
        octets
    }

    /// What stands in the checksum field of `octets`, which has a zero there.
    fn checksum_field(&self, octets: &[u8]) -> u16 {
        let protocol = self.next_header(self.extensions.len());
        let pseudo = pseudo_header(self.source, self.destination, octets.len(), protocol);
        let full = complement(sum(&[&pseudo, octets]));
        match self.checksum {
            Checksum::Full => full,
            Checksum::Partial => sum(&[&pseudo]),
            Checksum::Wrong => full ^ 0x0100,
        }
    }
}

const ETHERNET: usize = 14;
const VLAN_TAG: usize = 4;
const ETHER_TYPE_IPV6: u16 = 0x86dd;
const HOP_LIMIT: u8 = 64;
const TCP: u8 = 6;
const UDP: u8 = 17;
const TCP_HEADER: usize = 20;
const WINDOW: u16 = 64_800;
/// Maximum segment size 1440 (RFC 9293 3.2).
const MSS_OPTION: [u8; 4] = [2, 4, 0x05, 0xa0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syn_is_what_linux_would_send() {
        let frame = Packet::syn().build();
        assert_eq!(frame.len(), 14 + 40 + 24);
        assert_eq!(&frame[12..14], [0x86, 0xdd]);
        assert_eq!(&frame[18..20], [0, 24]);
        assert_eq!((frame[54 + 12], frame[54 + 13]), (0x60, tcp::SYN));
    }

    #[test]
    fn a_checksum_verifies_unless_it_is_spoiled() {
        for packet in [Packet::syn(), Packet::syn().payload(7), Packet::udp().payload(8)] {
            let pseudo = |octets: &[u8]| {
                pseudo_header(SENDER, DESTINATION, octets.len(), packet.next_header(packet.extensions.len()))
            };
            let octets = packet.transport();
            assert_eq!(sum(&[&pseudo(&octets), &octets]), 0xffff);
            for spoiled in [Checksum::Partial, Checksum::Wrong] {
                let octets = packet.clone().checksum(spoiled).transport();
                assert_ne!(sum(&[&pseudo(&octets), &octets]), 0xffff, "{spoiled:?}");
            }
        }
    }

    #[test]
    fn extension_headers_form_a_chain() {
        let packet = Packet::syn().extension(Extension::HopByHop(1)).extension(Extension::Routing(0));
        let frame = packet.build();
        assert_eq!(frame[14 + 6], 0);
        assert_eq!(&frame[54..56], [43, 1]);
        assert_eq!(&frame[54 + 16..54 + 18], [6, 0]);
        assert_eq!(frame.len(), 54 + 16 + 8 + 24);
    }
}
