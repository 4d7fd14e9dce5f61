//! The XDP program's parser, compiled for this machine: it finds in a frame the same as a second
//! reading, no part lies outside the frame, and a frame that does not fit the first buffer is
//! passed on where that matters.
//!
//! The handling of a segment is not tried here; the suites run the program itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sixgate_common::{bytes::Bytes, stat::Stat};

use crate::parse::{OFFSET_MAX, Segment, TcpFlags, Tuple, headers, segment};

#[expect(dead_code, reason = "what the program does with a segment is not tried here")]
#[path = "../../../ebpf/src/parse.rs"]
mod parse;

fuzz_target!(|input: &[u8]| {
    let Some((&visible, frame)) = input.split_first() else {
        return;
    };
    let whole = read(&FirstBuffer { frame, visible: frame.len() });
    assert_eq!(whole.as_ref().ok(), plainly_read(frame).as_ref(), "{whole:?}");
    if let Ok(found) = &whole {
        found.lies_in(frame);
    }
    let visible = usize::from(visible) * 8;
    match read(&FirstBuffer { frame, visible: visible.min(frame.len()) }) {
        Err(Stat::PassMultiBuffer) => assert!(visible < frame.len()),
        partly => assert_eq!(partly, whole),
    }
});

/// The result with which the program goes on.
#[derive(Debug, Eq, PartialEq)]
struct Found {
    source: [u8; 16],
    destination: [u8; 16],
    ports: [u16; 2],
    sequence: u32,
    acknowledgment: u32,
    opening: bool,
    acknowledging: bool,
    ipv6_at: usize,
    tcp_at: usize,
    payload_at: usize,
    payload: usize,
}

impl Found {
    fn lies_in(&self, frame: &[u8]) {
        assert!(self.ipv6_at + IPV6 <= self.tcp_at && self.tcp_at <= OFFSET_MAX);
        assert!(self.tcp_at + TCP <= self.payload_at && self.payload_at <= self.tcp_at + 60);
        assert!(self.payload_at + self.payload <= frame.len());
        assert!(!(self.opening && self.acknowledging));
    }
}

fn read(frame: &FirstBuffer<'_>) -> Result<Found, Stat> {
    let found = headers(frame)?;
    let mut read = Segment {
        tuple: Tuple { source: [0; 2], destination: [0; 2], source_port: 0, destination_port: 0 },
        sequence: 0,
        acknowledgment: 0,
        flags: TcpFlags(0),
        ipv6_at: 0,
        tcp_at: 0,
        payload_at: 0,
        payload: 0,
    };
    segment(frame, found, &mut read)?;
    let key = read.tuple.key();
    Ok(Found {
        source: key.source,
        destination: key.destination,
        ports: [u16::from_be_bytes(key.source_port), u16::from_be_bytes(key.destination_port)],
        sequence: read.sequence,
        acknowledgment: read.acknowledgment,
        opening: read.flags.is_opening(),
        acknowledging: read.flags.is_acknowledging(),
        ipv6_at: read.ipv6_at,
        tcp_at: read.tcp_at,
        payload_at: read.payload_at,
        payload: read.payload,
    })
}

/// A frame in several buffers, of which the first is seen.
struct FirstBuffer<'a> {
    frame: &'a [u8],
    visible: usize,
}

impl Bytes for FirstBuffer<'_> {
    fn reaches(&self, length: usize) -> bool {
        self.frame.len() >= length
    }

    fn view<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        self.frame[..self.visible].view(offset)
    }
}

/// A TCP segment to port 25 in `frame`, by offsets and without bounds on what is looked at.
fn plainly_read(frame: &[u8]) -> Option<Found> {
    let word = |at: usize| Some(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?));
    let double = |at: usize| Some(u32::from_be_bytes(*frame.get(at..)?.first_chunk()?));
    let mut at = 12;
    let mut tags = 0;
    while matches!(word(at)?, 0x8100 | 0x88a8) {
        at += 4;
        tags += 1;
    }
    let ipv6_at = at + 2;
    if tags > 2 || word(at)? != 0x86dd || frame.get(ipv6_at)? >> 4 != 6 {
        return None;
    }
    let end = ipv6_at + IPV6 + usize::from(word(ipv6_at + 4)?);
    let packet = frame.get(..end)?;
    let (mut next, mut at) = (packet[ipv6_at + 6], ipv6_at + IPV6);
    let mut extensions = 0;
    while matches!(next, 0 | 43 | 60) {
        let header = packet.get(at..).filter(|rest| rest.len() >= 2)?;
        if next == 43 && *header.get(3)? != 0 {
            return None;
        }
        next = header[0];
        at += (usize::from(header[1]) + 1) * 8;
        extensions += 1;
    }
    let tcp = packet.get(at..).filter(|rest| rest.len() >= TCP)?;
    let length = usize::from(tcp[12] >> 4) * 4;
    if next != 6 || extensions > 6 || length < TCP || length > tcp.len() || word(at + 2)? != 25 {
        return None;
    }
    let source = *packet.get(ipv6_at + 8..)?.first_chunk()?;
    let destination = *packet.get(ipv6_at + 24..)?.first_chunk()?;
    can_send(source, destination).then_some(Found {
        source,
        destination,
        ports: [word(at)?, 25],
        sequence: double(at + 4)?,
        acknowledgment: double(at + 8)?,
        opening: tcp[13] & 0b1_0111 == 0b0_0010,
        acknowledging: tcp[13] & 0b1_0111 == 0b1_0000,
        ipv6_at,
        tcp_at: at,
        payload_at: at + length,
        payload: end - at - length,
    })
}

/// Whether the host would take a packet with these addresses.
fn can_send(source: [u8; 16], destination: [u8; 16]) -> bool {
    use std::net::Ipv6Addr;

    let (source, destination) = (Ipv6Addr::from(source), Ipv6Addr::from(destination));
    let own = !source.is_loopback() || destination == source;
    let mapped = source.to_ipv4_mapped().is_some();
    !destination.is_multicast() && !source.is_multicast() && !source.is_unspecified() && own && !mapped
}

const IPV6: usize = 40;
const TCP: usize = 20;
