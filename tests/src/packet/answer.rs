//! Frames that answer a packet, made from scratch and read back: the whole of what may come back by
//! XDP_TX.
//!
//! Only the four things that [`Answer`] holds are free; every other octet of an answer follows from
//! the packet that it answers, and is compared. The right answer is not its business.

use super::{
    Checksum, Packet, Transport,
    checksum::{complement, pseudo_header, sum},
    tcp::SYN,
};

/// The variable fields of an answering segment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The TCP control bits.
    pub flags: u8,
    /// The TCP sequence number.
    pub sequence: u32,
    /// The TCP acknowledgement number.
    pub acknowledgment: u32,
    /// The payload of the segment.
    pub data: Vec<u8>,
}

impl Answer {
    /// The answer that `frame` is to `packet`.
    ///
    /// # Panics
    /// If any octet of `frame` is not what an answer to `packet` has there: link-layer addresses
    /// exchanged, the same VLAN tags, a plain IPv6 header without extensions, addresses and ports
    /// exchanged, a TCP header with the MSS option in a SYN and without options else, the right
    /// checksum, and no octet behind the payload.
    ///
    /// To a packet whose checksum is left for a device, or happens to look like it, a frame may
    /// keep the kernel's mark of that. So a device that writes at the marked position must write
    /// the octets that are there already.
    #[must_use]
    pub fn read(frame: &[u8], packet: &Packet) -> Self {
        let tcp = packet.ipv6_offset() + IPV6_HEADER;
        let number = |at: usize| {
            let octets =
                frame.get(at..at + 4).unwrap_or_else(|| panic!("an answer of {} octets", frame.len()));
            u32::from_be_bytes(octets.try_into().expect("four octets"))
        };
        let [_, flags, ..] = number(tcp + 12).to_be_bytes();
        // what lies behind the packet is compared below
        let end = tcp + usize::from(u16::from_be_bytes([frame[tcp - 36], frame[tcp - 35]]));
        // the header of a SYN-ACK may be as long as that of the SYN
        let header = match flags & SYN {
            0 => TCP_HEADER,
            _ if number(tcp + 12) >> 28 == packet.tcp_words() => packet.tcp_words() as usize * 4,
            _ => TCP_HEADER + MSS_OPTION.len(),
        };
        let answer = Self {
            flags,
            sequence: number(tcp + 4),
            acknowledgment: number(tcp + 8),
            data: frame.get(tcp + header..end).unwrap_or_default().to_vec(),
        };
        let wanted = answer.frame_with(packet, header);
        let told = answer.told(frame, &wanted, packet);
        assert_eq!(told, wanted, "an answer that says {answer:?} looks otherwise");
        answer
    }

    /// `frame` without what is there for a device's sake, if the packet's checksum was left for
    /// one.
    ///
    /// # Panics
    /// If a device that sums up what follows the old TCP header's position, and writes the sum into
    /// the old checksum field, would change `frame`.
    fn told(&self, frame: &[u8], wanted: &[u8], packet: &Packet) -> Vec<u8> {
        if !packet.looks_unfinished() {
            return frame.to_vec();
        }
        let tcp = packet.ipv6_offset() + IPV6_HEADER;
        let is_unchanged_by_a_device = |frame: &[u8], start: usize| {
            let written = complement(sum(&[&frame[start..]])).to_be_bytes();
            // 0 and its complement are the same number
            let field = [frame[start + 16], frame[start + 17]];
            field == written || written == [0xff; 2] && field == [0; 2]
        };
        assert_eq!(frame.len(), wanted.len() + TRAILER, "{self:?} has no trailer");
        let (told, trailer) = frame.split_at(wanted.len());
        if trailer != [0; TRAILER] {
            let received = packet.build().len();
            let kept =
                if received > wanted.len() { TCP_HEADER } else { (received - packet.tcp_offset()) & !1 };
            assert!(is_unchanged_by_a_device(frame, frame.len() - kept), "{self:?} is changed by a device");
            return told.to_vec();
        }
        let octets = &told[tcp..];
        let pseudo = pseudo_header(packet.source, packet.destination, octets.len(), TCP);
        assert_eq!(sum(&[&pseudo, octets]), 0xffff, "the checksum of {self:?}");
        assert_eq!(told[tcp + 16..tcp + 18], sum(&[&pseudo]).to_be_bytes(), "the field of {self:?}");
        // whether the trailer is cut off before or not
        assert!(is_unchanged_by_a_device(frame, tcp), "{self:?} is changed by a device");
        assert!(is_unchanged_by_a_device(told, tcp), "{self:?} is changed by a device");
        let mut told = told.to_vec();
        told[tcp + 16..tcp + 18].copy_from_slice(&wanted[tcp + 16..tcp + 18]);
        told[tcp + 18..tcp + 20].copy_from_slice(&[0, 0]);
        told
    }

    /// The frame that gives this answer to `packet`.
    #[must_use]
    pub fn frame(&self, packet: &Packet) -> Vec<u8> {
        let options = if self.flags & SYN == 0 { 0 } else { MSS_OPTION.len() };
        self.frame_with(packet, TCP_HEADER + options)
    }

    /// The same with a TCP header of so many octets: what is behind the MSS option is the end of
    /// options.
    fn frame_with(&self, packet: &Packet, header: usize) -> Vec<u8> {
        let [destination, source] = packet.link;
        let mut options = if self.flags & SYN == 0 { Vec::new() } else { MSS_OPTION.to_vec() };
        options.resize(header - TCP_HEADER, 0);
        let answer = Packet {
            link: [source, destination],
            vlans: packet.vlans.clone(),
            ether_type: packet.ether_type,
            flow_label: 0,
            source: packet.destination,
            destination: packet.source,
            extensions: Vec::new(),
            source_port: packet.destination_port,
            destination_port: packet.source_port,
            transport: Transport::Tcp {
                sequence: self.sequence,
                acknowledgment: self.acknowledgment,
                flags: self.flags,
                window: WINDOW,
                options,
            },
            payload: self.data.clone(),
            checksum: Checksum::Full,
        };
        answer.build()
    }
}

/// Octets behind the packet that a device may write into.
const TRAILER: usize = 2;
const TCP: u8 = 6;
const IPV6_HEADER: usize = 40;
const TCP_HEADER: usize = 20;
/// Two segments of the size that the MSS option names.
const WINDOW: u16 = 2440;
/// Maximum segment size 1220 (RFC 9293 3.2, 3.7.1).
const MSS_OPTION: [u8; 4] = [2, 4, 0x04, 0xc4];

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;
    use crate::packet::{Extension, Vlan, tcp::ACK};

    #[test]
    fn an_answer_is_read_as_it_was_written_and_no_octet_of_it_can_differ() {
        let packet = Packet::syn()
            .vlan(Vlan::Service)
            .vlan(Vlan::Customer)
            .extension(Extension::HopByHop(3))
            .flow_label(0x0c5_4321);
        for (flags, data) in [(SYN | ACK, &b""[..]), (ACK, b"220 hello\r\n")] {
            let answer = Answer { flags, sequence: 7, acknowledgment: 1001, data: data.to_vec() };
            let frame = answer.frame(&packet);
            assert_eq!(Answer::read(&frame, &packet), answer);
            // every other octet would be told
            for at in 0..frame.len() {
                let mut spoiled = frame.clone();
                spoiled[at] ^= 0x20;
                assert!(catch_unwind(|| Answer::read(&spoiled, &packet)).is_err(), "octet {at}");
            }
            assert!(catch_unwind(|| Answer::read(&[&frame[..], b"\0"].concat(), &packet)).is_err());
        }
    }

    #[test]
    fn an_answer_goes_back_where_the_packet_came_from() {
        let frame = Answer { flags: SYN | ACK, sequence: 1, acknowledgment: 2, data: Vec::new() }
            .frame(&Packet::syn());
        assert_eq!(frame.len(), 14 + 40 + 24);
        assert_eq!(frame[..14], [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd]);
        assert_eq!(frame[14..22], [0x60, 0, 0, 0, 0, 24, 6, 64]);
        assert_eq!(frame[22..38], super::super::DESTINATION.octets());
        assert_eq!(frame[38..54], super::super::SENDER.octets());
        assert_eq!(frame[54..58], [0, 25, 0x9c, 0x40]);
        assert_eq!(frame[66..70], [0x60, 0x12, 0x09, 0x88]);
        assert_eq!(frame[74..], [2, 4, 0x04, 0xc4]);
    }
}
