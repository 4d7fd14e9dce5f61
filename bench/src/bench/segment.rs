//! TCP segments over IPv6 in Ethernet, written and read, for the bench's client.
//!
//! It keeps no connection: sequence numbers are the caller's.

use std::net::SocketAddrV6;

use sixgate_tests::packet::{self, tcp};

/// The two ends, seen from the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) source: SocketAddrV6,
    pub(super) destination: SocketAddrV6,
}

/// A segment to be sent, or one that was received.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Segment {
    pub(super) sequence: u32,
    pub(super) acknowledged: u32,
    pub(super) flags: u8,
    pub(super) payload: Vec<u8>,
}

impl Segment {
    /// The sequence number behind the segment (RFC 9293 3.4: SYN and FIN count).
    pub(super) fn end(&self) -> u32 {
        let controls = (self.flags & tcp::SYN != 0) as u32 + (self.flags & tcp::FIN != 0) as u32;
        self.sequence.wrapping_add(self.payload.len() as u32).wrapping_add(controls)
    }

    /// The segment as a frame of the client. A SYN carries the options of Linux.
    pub(super) fn frame(&self, ends: Ends) -> Vec<u8> {
        let tcp = self.header_and_payload(ends);
        let mut frame = Vec::with_capacity(TCP_AT + tcp.len());
        frame.extend(packet::GATE_MAC);
        frame.extend(packet::SENDER_MAC);
        frame.extend(ETHER_TYPE_IPV6.to_be_bytes());
        frame.extend([0x60, 0, 0, 0]);
        frame.extend((tcp.len() as u16).to_be_bytes());
        frame.extend([TCP, HOP_LIMIT]);
        frame.extend(ends.source.ip().octets());
        frame.extend(ends.destination.ip().octets());
        frame.extend(tcp);
        frame
    }

    /// Reads a frame of the server, which may have a trailer behind the packet.
    pub(super) fn read(frame: &[u8]) -> Option<Self> {
        let length = u16::from_be_bytes(frame.get(LENGTH_AT..LENGTH_AT + 2)?.try_into().ok()?);
        let tcp = frame.get(TCP_AT..TCP_AT + usize::from(length))?;
        let number = |at: usize| Some(u32::from_be_bytes(tcp.get(at..at + 4)?.try_into().ok()?));
        let header = usize::from(*tcp.get(12)? >> 4) * 4;
        Some(Self {
            sequence: number(4)?,
            acknowledged: number(8)?,
            flags: *tcp.get(13)?,
            payload: tcp.get(header..)?.to_vec(),
        })
    }

    fn header_and_payload(&self, ends: Ends) -> Vec<u8> {
        let options: &[u8] = if self.flags & tcp::SYN == 0 { &[] } else { &SYN_OPTIONS };
        let mut octets = Vec::new();
        octets.extend(ends.source.port().to_be_bytes());
        octets.extend(ends.destination.port().to_be_bytes());
        octets.extend(self.sequence.to_be_bytes());
        octets.extend(self.acknowledged.to_be_bytes());
        octets.extend([((20 + options.len()) as u8 / 4) << 4, self.flags]);
        octets.extend(WINDOW.to_be_bytes());
        octets.extend([0, 0, 0, 0]);
        octets.extend(options);
        octets.extend(&self.payload);
        let sum = checksum(ends, &octets);
        octets[16..18].copy_from_slice(&sum.to_be_bytes());
        octets
    }
}

/// The checksum of RFC 8200 8.1 over the pseudo-header and `octets`.
fn checksum(ends: Ends, octets: &[u8]) -> u16 {
    let mut summed = Vec::new();
    summed.extend(ends.source.ip().octets());
    summed.extend(ends.destination.ip().octets());
    summed.extend((octets.len() as u32).to_be_bytes());
    summed.extend([0, 0, 0, TCP]);
    summed.extend(octets);
    let words = summed.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    let mut sum: u32 = words.map(u32::from).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

const ETHER_TYPE_IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const HOP_LIMIT: u8 = 64;
const WINDOW: u16 = 64_800;
/// Where the IPv6 header has the octets behind it.
const LENGTH_AT: usize = 14 + 4;
/// Where TCP begins in a frame without tags and extension headers.
const TCP_AT: usize = 14 + 40;
/// Maximum segment size 1440, selective acknowledgement, timestamps, window scale.
const SYN_OPTIONS: [u8; 20] = [2, 4, 5, 0xa0, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> Ends {
        Ends {
            source: "[2001:db8:51::4]:40000".parse().unwrap(),
            destination: "[2001:db8:25::99]:25".parse().unwrap(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for flags in [tcp::SYN, tcp::ACK, tcp::ACK | tcp::PSH, tcp::ACK | tcp::FIN] {
            let segment = Segment { sequence: 7, acknowledged: 9, flags, payload: b"QUIT\r\n".to_vec() };
            let with_trailer = [segment.frame(ends()), vec![0; 2]].concat();
            assert_eq!(Segment::read(&with_trailer).as_ref(), Some(&segment));
            assert_eq!(Segment::read(&segment.frame(ends())), Some(segment));
        }
    }

    #[test]
    fn a_checksum_verifies() {
        let segment = Segment { flags: tcp::SYN, payload: b"odd".to_vec(), ..Segment::default() };
        assert_eq!(checksum(ends(), &segment.header_and_payload(ends())), 0);
    }

    #[test]
    fn syn_and_fin_count_as_one_octet() {
        let end = |flags, payload: &[u8]| {
            Segment { sequence: u32::MAX, flags, payload: payload.to_vec(), ..Segment::default() }.end()
        };
        assert_eq!(end(tcp::SYN, b""), 0);
        assert_eq!(end(tcp::ACK | tcp::FIN, b"ab"), 2);
        assert_eq!(end(tcp::ACK, b""), u32::MAX);
    }
}
