//! The Internet checksum (RFC 1071) of TCP segments over IPv6 (RFC 8200 8.1).
//!
//! 16-bit words are added in the machine's order, which the sum does not mind (RFC 1071 2, (B));
//! nothing is written here.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use sixgate_common::bytes::Bytes;

use super::scratch::Scratch;
use crate::{
    frame::Linear,
    maps::answers,
    parse::{Segment, Tuple},
};

/// A ones' complement sum that is not folded yet.
pub(crate) struct Sum(u64);

impl Sum {
    /// The sum over the pseudo-header of a TCP segment of `length` octets between the two ends of
    /// `tuple`, in either direction.
    #[inline(always)]
    pub(crate) fn of_pseudo_header(tuple: &Tuple, length: u32) -> Self {
        let mut sum = Self(0);
        let ([a, b], [c, d]) = (tuple.source, tuple.destination);
        [a, b, c, d].into_iter().for_each(|words| sum.add_four(words));
        sum.add(length.to_be());
        sum.add(u32::from(TCP).to_be());
        sum
    }

    /// The sum of nothing.
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self(0)
    }

    /// Adds two 16-bit words, or a sum.
    #[inline(always)]
    pub(crate) fn add(&mut self, words: u32) {
        self.0 += u64::from(words);
    }

    /// Adds four 16-bit words.
    #[inline(always)]
    fn add_four(&mut self, words: u64) {
        self.0 += (words & 0xffff_ffff) + (words >> 32);
    }

    /// Adds `length` octets of the frame from `at` on; a last odd one counts as followed by a zero.
    /// None if they are not all in the first buffer.
    #[inline(always)]
    pub(crate) fn add_octets(&mut self, context: &XdpContext, at: usize, length: usize) -> Option<()> {
        match sixgate_sum(context.ctx, at as u32, length as u32) {
            NO_SUM => None,
            sum => {
                self.add(sum);
                Some(())
            }
        }
    }

    /// The sum in 16 bits.
    #[inline(always)]
    pub(crate) const fn fold(&self) -> u16 {
        let mut sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        sum = (sum & 0xffff_ffff) + (sum >> 32);
        let mut sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        sum as u16
    }
}

/// The content of the checksum field of a segment.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Field {
    /// Neither of the others.
    Wrong,
    /// The checksum of the whole segment; or what was left for a device, where no device will know
    /// of that in the answer.
    Complete,
    /// The sum of the pseudo-header, for a device to complete (CHECKSUM_PARTIAL,
    /// include/linux/skbuff.h): its sender is on this machine, or in a guest of it. A segment in
    /// several buffers counts as such, too, and is not checked: no other sender sends more than we
    /// offered to take.
    Unfinished,
}

/// Whether the segment's checksum is right, or left for a device to complete; the scratch keeps
/// which.
#[inline(always)]
pub(crate) fn holds(context: &XdpContext) -> bool {
    sixgate_checksum(context.ctx) != 0
}

/// A function that the verifier follows once, for all its callers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_checksum(context: *mut xdp_md) -> u32 {
    let Some(scratch) = Scratch::of_this_cpu().filter(|_| answers()) else {
        return 0;
    };
    let field = field(&XdpContext::new(context), scratch.segment(), scratch.loses_marks());
    scratch.set_unfinished(field == Field::Unfinished);
    (field != Field::Wrong).into()
}

#[inline(always)]
fn field(context: &XdpContext, segment: &Segment, loses_marks: bool) -> Field {
    let frame = Linear::of(context);
    let length = segment.payload_at + segment.payload - segment.tcp_at;
    let mut sum = Sum::of_pseudo_header(&segment.tuple, length as u32);
    let Some(field) = frame.u16_ne(segment.tcp_at + CHECKSUM_AT) else {
        return Field::Wrong;
    };
    if segment.tcp_at + length > frame.readable() {
        return Field::Unfinished;
    }
    if sum.fold() == field {
        return if loses_marks { Field::Complete } else { Field::Unfinished };
    }
    match sum.add_octets(context, segment.tcp_at, length) {
        Some(()) if sum.fold() == 0xffff => Field::Complete,
        _ => Field::Wrong,
    }
}

/// The folded sum of octets of the frame, or [`NO_SUM`], in a function that the verifier follows
/// once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_sum(context: *mut xdp_md, at: u32, length: u32) -> u32 {
    let Some(scratch) = Scratch::of_this_cpu().filter(|_| answers()) else {
        return NO_SUM;
    };
    let frame = Linear::of(&XdpContext::new(context)).with_slot(scratch.slot());
    octets(&frame, at as usize, length as usize).map_or(NO_SUM, |sum| sum.fold().into())
}

#[inline(always)]
fn octets(frame: &Linear, at: usize, mut length: usize) -> Option<Sum> {
    if length > OCTETS_MAX {
        return None;
    }
    let (mut sum, mut done) = (Sum(0), 0);
    for _ in 0..OCTETS_MAX / BLOCK {
        if done + BLOCK > length {
            break;
        }
        let [a, b, c, d] = frame.view::<BLOCK>(at + done)?.as_chunks().0 else {
            return None;
        };
        [a, b, c, d].into_iter().for_each(|octets| sum.add_four(u64::from_ne_bytes(*octets)));
        done += BLOCK;
    }
    // one path from here on, wherever the last block ended
    (done, length) = (frame.forget_range(done), frame.forget_range(length));
    for _ in 0..BLOCK / 8 - 1 {
        if done + 8 > length {
            break;
        }
        sum.add_four(frame.u64_ne(at + done)?);
        done += 8;
    }
    if done + 4 <= length {
        sum.add(frame.u32_ne(at + done)?);
        done += 4;
    }
    if done + 2 <= length {
        sum.add(frame.u16_ne(at + done)?.into());
        done += 2;
    }
    if done < length {
        sum.add(u16::from_le(frame.octet(at + done)?.into()).into());
        done += 1;
    }
    (done == length).then_some(sum)
}

/// Two 16-bit words in network order, as they lie in memory one behind the other.
#[inline(always)]
pub(crate) const fn two(first: u16, second: u16) -> u32 {
    ((u16::from_be(first) as u32) << 16 | u16::from_be(second) as u32).to_be()
}

/// Longest segment that is checked; a client that was offered a window of two MSS sends no longer
/// one.
const OCTETS_MAX: usize = 4096;
/// No folded sum.
const NO_SUM: u32 = u32::MAX;
/// Octets that are added at once.
const BLOCK: usize = 32;
/// Where the checksum field stands in a TCP header (RFC 9293 3.1).
pub(super) const CHECKSUM_AT: usize = 16;
const TCP: u8 = 6;
