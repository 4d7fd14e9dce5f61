//! The position of an answer in the frame that it answers: how the frame grows, and how the
//! kernel's mark of an unfinished checksum is respected.
//!
//! It writes no header. A frame grows at its head; where the driver leaves too little memory there
//! (Intel's 152 octets, Solarflare's 88, others none) it grows at its end. A frame whose checksum
//! is left for a device keeps the kernel's mark of that in generic mode, with the offset that the
//! device is to write to (net/core/dev.c, `skb_checksum_help`).

use core::ptr;

use aya_ebpf::{
    helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail},
    programs::XdpContext,
};
use sixgate_common::{bytes::Bytes as _, reply::REPLY_MAX};

use super::{
    checksum::{CHECKSUM_AT, Sum},
    scratch::{SUBJECT_MAX, Scratch},
};
use crate::{
    frame::Linear,
    parse::{IPV6_LENGTH, LINK_LENGTH_MAX, Segment, TCP_LENGTH},
    verifier::barrier,
};

/// The position of the new segment in the old frame.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Position {
    /// Anywhere: its checksum is complete, and no device will touch it.
    Anywhere,
    /// Its TCP header is where the old one was, so that a device completes the right field; a
    /// trailer of zeros follows it, which changes no sum.
    OnTheMark,
    /// A device will take the last so many octets of the frame, of which the last two are a trailer
    /// behind the packet, for a TCP segment.
    Aside(usize),
}

/// Makes the frame `length` octets long, and finds a position for the new segment in it; none if it
/// cannot grow so far.
///
/// With a checksum that was left for a device, the device will sum up all that follows the old TCP
/// header's start, and write the sum into the old header's checksum field. Best the new TCP header
/// has that very position, and the frame grows at its end. Where the end cannot grow, a trailer
/// behind the packet, which receivers cut off (RFC 2464 6), has the two octets that make the sum
/// equal to the octets that are in the field anyway.
///
/// Both have a trailer. In generic mode the kernel leaves the end of a frame's data 14 octets too
/// far once the frame's end was moved (net/core/dev.c, `bpf_prog_run_generic_xdp`, which forgets
/// the Ethernet header), and a receiver on this host that appends the next segment leaves a gap
/// there. Cutting a trailer off puts the end right.
#[inline(always)]
pub(super) fn fit(
    context: &XdpContext,
    frame: &Linear,
    scratch: Scratch,
    segment: &Segment,
    link: usize,
    length: usize,
) -> Option<Position> {
    let present = frame.length();
    let more = length as i32 - present as i32;
    if !scratch.is_unfinished() {
        return if grow_head(context, more) || grow_end(context, more) {
            Some(Position::Anywhere)
        } else {
            None
        };
    }
    if link + IPV6_LENGTH == segment.tcp_at && grow_end(context, more + TRAILER as i32) {
        return Some(Position::OnTheMark);
    }
    // of several buffers only the first one's headers; of a frame that is long enough, too: else
    // the field would lie before the new TCP header
    let is_long = present > frame.readable() || present > length;
    let kept = if is_long { TCP_LENGTH } else { (present - segment.tcp_at) & !1 };
    let end = segment.tcp_at + kept;
    if grow_end(context, end as i32 - present as i32)
        && grow_head(context, (length + TRAILER) as i32 - end as i32)
    {
        return Some(Position::Aside(kept));
    }
    None
}

/// Makes the frame longer by `octets` at its head, or shorter; whether that could be done.
#[inline(always)]
fn grow_head(context: &XdpContext, octets: i32) -> bool {
    // SAFETY: `ctx` is the context that the kernel handed to this program; no pointer into the
    // packet is used after.
    unsafe { bpf_xdp_adjust_head(context.ctx, -octets) == 0 }
}

/// Makes the frame longer by `octets` at its end, or shorter; whether that could be done.
#[inline(always)]
fn grow_end(context: &XdpContext, octets: i32) -> bool {
    // SAFETY: as above.
    unsafe { bpf_xdp_adjust_tail(context.ctx, octets) == 0 }
}

/// The two octets at `end`, the packet's end, with which the sum over the last `octets` octets of
/// the frame equals the octets where a TCP header that begins with them has its checksum.
#[inline(always)]
pub(super) fn trailer(context: &XdpContext, end: usize, octets: usize) -> Option<u16> {
    let start = end + TRAILER - octets;
    let mut sum = Sum::new();
    sum.add_octets(context, start, octets - TRAILER)?;
    let frame = Linear::of(context);
    sum.add(frame.u16_ne(start + CHECKSUM_AT)?.into());
    Some(!sum.fold())
}

/// Writes the two octets behind the packet, which ends at `end`.
#[inline(always)]
pub(super) fn write_trailer(context: &XdpContext, end: usize, octets: u16) -> Option<()> {
    let trailer = context.data() + (barrier(end) & TRAILER_AT_MASK);
    if barrier(trailer + TRAILER) > context.data_end() {
        return None;
    }
    // SAFETY: the trailer's 2 octets lie before the end, checked above.
    unsafe { ptr::write_unaligned(trailer as *mut u16, octets) };
    Some(())
}

/// Octets of the trailer.
const TRAILER: usize = 2;
/// Covers the end of each packet that is sent: headers, the longest reply and the longest subject.
const TRAILER_AT_MASK: usize = 0x3ff;
const _: () =
    assert!(LINK_LENGTH_MAX + IPV6_LENGTH + TCP_LENGTH + REPLY_MAX + SUBJECT_MAX <= TRAILER_AT_MASK);
