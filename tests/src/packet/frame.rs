//! A packet as the octets of a frame.
//!
//! What stands in the packet is chosen in `packet`.

use super::{
    Checksum, Extension, Packet, Transport, Vlan,
    checksum::{complement, pseudo_header, sum},
};

impl Packet {
    /// Where the IPv6 header starts in the frame.
    #[must_use]
    pub const fn ipv6_offset(&self) -> usize {
        ETHERNET + VLAN_TAG * self.vlans.len()
    }

    /// Where the TCP or UDP header starts in the frame.
    #[must_use]
    pub fn tcp_offset(&self) -> usize {
        self.ipv6_offset() + IPV6_HEADER + self.extensions().len()
    }

    /// The frame, without padding and without check sequence.
    ///
    /// # Panics
    /// If the packet is longer than IPv6 allows.
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

    /// Whether the sum of the pseudo-header stands in the checksum field: in one of 65,536 packets
    /// that is the checksum.
    #[must_use]
    pub fn looks_unfinished(&self) -> bool {
        let octets = self.transport();
        let pseudo = pseudo_header(
            self.source,
            self.destination,
            octets.len(),
            self.next_header(self.extensions.len()),
        );
        octets[16..18] == sum(&[&pseudo]).to_be_bytes()
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
                    // one PadN option (RFC 8200 4.2) for each unit, the first shortened by the
                    // header's own octets
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
const IPV6_HEADER: usize = 40;
const HOP_LIMIT: u8 = 64;
const TCP: u8 = 6;
const UDP: u8 = 17;
const TCP_HEADER: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{DESTINATION, SENDER, tcp};

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
