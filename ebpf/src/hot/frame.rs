//! A frame of the common form, read and written at constant offsets.
//!
//! It decides nothing; each function that writes has its bounds checked by its caller, or checks
//! them.

use core::ptr;

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_TX},
    cty::c_void,
    helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_store_bytes},
    programs::XdpContext,
};
use sixgate_common::{flow::WINDOW, reply::REPLY_MAX, stat::Stat};

use crate::{
    maps::count,
    parse::Tuple,
    verifier::{barrier, nonzero_length},
};

/// A frame of the common form.
pub(super) struct Frame {
    pub(super) data: usize,
    pub(super) end: usize,
    pub(super) tuple: Tuple,
    /// Octets behind the IPv6 header.
    pub(super) length: usize,
    pub(super) sequence: u32,
    pub(super) acknowledgment: u32,
    /// Data offset, flags and window, as they lie in memory.
    pub(super) word: u32,
    /// The unfolded sum of the pseudo-header without the length and of the header's 20 octets.
    pub(super) sum: u64,
    /// The same of the addresses alone, which is that of an answer, too.
    pub(super) addresses: u64,
    /// The checksum field, as it lies in memory.
    field: usize,
}

impl Frame {
    /// Whether the segment's checksum is right, or left for a device to complete. `rest` is the sum
    /// of what is behind the header of 20 octets.
    #[inline(always)]
    pub(super) fn holds(&self, rest: u64) -> bool {
        fold(self.sum + self.length_sum() + rest) == 0xffff || self.is_unfinished()
    }

    /// Whether the segment's checksum is left for a device to complete: the field has the sum of
    /// the pseudo-header alone. It is computed where it is asked for, so that the verifier has no
    /// second way from there on.
    #[inline(always)]
    pub(super) fn is_unfinished(&self) -> bool {
        usize::from(fold(self.addresses + self.length_sum())) == barrier(self.field)
    }

    #[inline(always)]
    const fn length_sum(&self) -> u64 {
        (self.length as u32).to_be() as u64
    }
}
/// Reads a frame of the common form.
#[inline(always)]
pub(super) fn read(context: &XdpContext) -> Option<Frame> {
    let (data, end) = (context.data(), context.data_end());
    if barrier(data + HEADERS) > end {
        return None;
    }
    // SAFETY: the headers' 74 octets lie in the frame, checked above.
    unsafe {
        let first: u64 = get(data, IPV6_AT);
        let ports: u32 = get(data, TCP_AT);
        let [_, _, _, _, high, low, next, _] = first.to_ne_bytes();
        let to: u8 = get(data, 0);
        let multicast: u8 = get(data, IPV6_AT + 24);
        if get::<u16>(data, 12) != IPV6
            || first.to_ne_bytes()[0] >> 4 != 6
            || next != TCP
            || ports.to_be() as u16 != SMTP
            || to & 1 != 0
            || multicast == 0xff
        {
            return None;
        }
        let length = u16::from_be_bytes([high, low]) as usize;
        // no padding, and all in one buffer
        if barrier(end) - barrier(data) != TCP_AT + length || length < TCP_LENGTH {
            return None;
        }
        let tuple = Tuple {
            source: [get(data, IPV6_AT + 8), get(data, IPV6_AT + 16)],
            destination: [get(data, IPV6_AT + 24), get(data, IPV6_AT + 32)],
            source_port: get(data, TCP_AT),
            destination_port: get(data, TCP_AT + 2),
        };
        // what no host sends from is rare
        let [high, low] = tuple.source;
        if u64::from_be(high) >> 56 == 0xff || u64::from_be(high) >> 56 == 0 {
            return None;
        }
        let [c, d] = tuple.destination;
        let addresses =
            halves(high) + halves(low) + halves(c) + halves(d) + u64::from(u32::from(TCP).to_be());
        let (sequence, acknowledgment): (u32, u32) = (get(data, TCP_AT + 4), get(data, TCP_AT + 8));
        let (word, last): (u32, u32) = (get(data, TCP_AT + 12), get(data, TCP_AT + 16));
        let sum = addresses
            + u64::from(ports)
            + u64::from(sequence)
            + u64::from(acknowledgment)
            + u64::from(word)
            + u64::from(last);
        let (sequence, acknowledgment) = (u32::from_be(sequence), u32::from_be(acknowledgment));
        let field = usize::from(last as u16);
        Some(Frame { data, end, tuple, length, sequence, acknowledgment, word, sum, addresses, field })
    }
}
/// A segment to be sent.
pub(super) struct Segment {
    pub(super) sequence: u32,
    pub(super) acknowledgment: u32,
    pub(super) header: usize,
    pub(super) flags: u8,
    pub(super) payload: usize,
    /// The sum of what is behind the header of 20 octets.
    pub(super) sum: u64,
}

/// Both Ethernet addresses, in pieces that fit a register.
pub(super) struct Link {
    first: u64,
    second: u32,
}

impl Link {
    #[inline(always)]
    pub(super) fn of(data: usize) -> Self {
        // SAFETY: the caller checked that the headers lie in the frame.
        unsafe { Self { first: get(data, 0), second: get(data, 8) } }
    }

    /// The same, with the check.
    #[inline(always)]
    pub(super) fn of_frame(frame: &Frame) -> Option<Self> {
        if barrier(frame.data + HEADERS) > frame.end {
            return None;
        }
        Some(Self::of(frame.data))
    }
}

impl Segment {
    /// Writes all headers at `data`, where the caller checked that they lie in the frame; the
    /// Ethernet addresses of the frame that is answered are exchanged, and so are its ends.
    #[inline(always)]
    pub(super) fn write(&self, data: usize, link: &Link, frame: &Frame) {
        let Tuple { source: [a, b], destination: [c, d], source_port, destination_port } = frame.tuple;
        let length = (self.header + self.payload) as u16;
        let ports = u32::from(destination_port) | u32::from(source_port) << 16;
        let (sequence, acknowledgment) = (self.sequence.to_be(), self.acknowledgment.to_be());
        let [high, low] = WINDOW.to_be_bytes();
        let word = u32::from_ne_bytes([(self.header as u8 / 4) << 4, self.flags, high, low]);
        let [length_high, length_low] = length.to_be_bytes();
        let sum = frame.addresses
            + u64::from(u32::from(length).to_be())
            + u64::from(ports)
            + u64::from(sequence)
            + u64::from(acknowledgment)
            + u64::from(word)
            + self.sum;
        // SAFETY: the caller's.
        unsafe {
            put(data, 0, link.first >> 48 | u64::from(link.second) << 16 | link.first << 48);
            put(data, 8, (link.first >> 16) as u32);
            put(data, 12, IPV6);
            put(data, IPV6_AT, u64::from_ne_bytes([0x60, 0, 0, 0, length_high, length_low, TCP, HOP_LIMIT]));
            put(data, IPV6_AT + 8, c);
            put(data, IPV6_AT + 16, d);
            put(data, IPV6_AT + 24, a);
            put(data, IPV6_AT + 32, b);
            put(data, TCP_AT, ports);
            put(data, TCP_AT + 4, sequence);
            put(data, TCP_AT + 8, acknowledgment);
            put(data, TCP_AT + 12, word);
            put(data, TCP_AT + 16, u32::from(!fold(sum)));
        }
    }
}

/// Makes the frame long enough for `length` octets in place of `payload`; whether that could be
/// done. From then on it is no longer the frame that was received.
#[inline(always)]
pub(super) fn grow(context: &XdpContext, length: usize, payload: usize) -> bool {
    // SAFETY: `ctx` is the context that the kernel handed to this program; pointers into the packet
    // are taken anew after it.
    unsafe { bpf_xdp_adjust_head(context.ctx, payload as i32 - length as i32) == 0 }
}

/// Sends a segment with the text of a reply, in the frame that was made as long.
#[inline(always)]
pub(super) fn send(
    context: &XdpContext,
    frame: &Frame,
    link: &Link,
    segment: &Segment,
    text: *const u8,
    stat: Stat,
) -> u32 {
    let data = context.data();
    if barrier(data + HEADERS) > context.data_end() {
        count(Stat::DropNoRoom);
        return XDP_DROP;
    }
    segment.write(data, link, frame);
    store::<REPLY_MAX>(context, HEADERS, text, segment.payload);
    count(stat);
    XDP_TX
}

/// Stores `length` octets of `octets`, which has `BOUND`, at least. The length is compared here,
/// since verifiers forget what they learned of a number that was put on the stack. What does not
/// fit is left out, and what there was is sent: a checksum that does not hold.
#[inline(always)]
pub(super) fn store<const BOUND: usize>(context: &XdpContext, at: usize, octets: *const u8, length: usize) {
    if let Some(length) = nonzero_length::<BOUND>(length) {
        // SAFETY: `octets` has `BOUND` octets, and `length` is at most that; the kernel checks that
        // they lie in the frame.
        unsafe { bpf_xdp_store_bytes(context.ctx, at as u32, octets as *mut c_void, length as u32) };
    }
}
/// Two 32-bit words as one sum.
#[inline(always)]
pub(super) const fn halves(word: u64) -> u64 {
    (word & 0xffff_ffff) + (word >> 32)
}

/// A sum in 16 bits.
#[inline(always)]
pub(super) const fn fold(sum: u64) -> u16 {
    let sum = halves(sum);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}
/// Reads a number of the frame.
#[inline(always)]
pub(super) unsafe fn get<T>(data: usize, at: usize) -> T {
    // SAFETY: the caller checked that it lies in the frame.
    unsafe { ptr::read_unaligned((data + at) as *const T) }
}

/// Writes a number into the frame.
#[inline(always)]
pub(super) unsafe fn put<T>(data: usize, at: usize, value: T) {
    // SAFETY: the caller checked that it lies in the frame.
    unsafe { ptr::write_unaligned((data + at) as *mut T, value) };
}
const IPV6_AT: usize = 14;
pub(super) const TCP_AT: usize = IPV6_AT + 40;
pub(super) const TCP_LENGTH: usize = 20;
/// Octets of all headers without options.
pub(super) const HEADERS: usize = TCP_AT + TCP_LENGTH;
const IPV6: u16 = 0x86dd_u16.to_be();
const TCP: u8 = 6;
const SMTP: u16 = 25;
const HOP_LIMIT: u8 = 64;
