//! Memory that one CPU uses for the frame at hand: more than the stack of a BPF program can hold.
//!
//! Nothing in it is kept from one frame to the next.

use core::ptr;

use aya_ebpf::{
    btf_maps::PerCpuArray, cty::c_void, helpers::generated::bpf_xdp_load_bytes, macros::btf_map,
    programs::XdpContext,
};
use sixgate_common::{
    address,
    bytes::Bytes,
    domain::{DOMAIN_MAX, Span},
    flow::{KEPT_MAX, PartialLine, Tag},
    line::SCAN_MAX,
    refuse::Reason,
    stat::Stat,
};

use super::{
    outgoing::{Answer, Outgoing},
    try_lock::TryLock,
};
use crate::{
    maps::PARTIAL_LINES,
    parse::{Segment, TcpFlags},
    verifier::{MapSlot, barrier, nonzero_length},
};

/// Longest subject of a reply: a domain name or an address, rounded up.
pub(crate) const SUBJECT_MAX: usize = 256;

#[btf_map]
static SCRATCH: PerCpuArray<Memory, 1> = PerCpuArray::new();

/// A CPU's memory.
#[repr(C)]
pub(crate) struct Memory {
    slot: usize,
    /// Octets of [`Self::text`] that are a line's.
    in_use: usize,
    /// 1 while a program uses this memory (see [`Scratch::lock`]).
    busy: u64,
    /// Not 0 if a device may complete the checksum of the answer to the frame.
    unfinished: usize,
    /// Not 0 if the kernel's mark of an unfinished checksum is lost with the answer.
    loses_marks: usize,
    /// The segment at hand. Read back from here its numbers are unknown to the verifier, which
    /// would otherwise follow each offset at which a header can end separately.
    segment: Segment,
    outgoing: Outgoing,
    /// A tag, on its way into FLOWS.
    tag: Tag,
    /// What goes before the text into PARTIAL_LINES.
    partial: [u32; 2],
    /// A line from the front on, an address from [`ADDRESS_AT`] on.
    text: [u8; TEXT_MAX],
}

/// This CPU's memory.
#[derive(Clone, Copy)]
pub(crate) struct Scratch(*mut Memory);

impl Scratch {
    #[inline(always)]
    pub(crate) fn of_this_cpu() -> Option<Self> {
        SCRATCH.get_ptr_mut(0).map(Self)
    }

    /// The right to use this memory until the frame is judged and answered. Only where a program
    /// can be interrupted by another one on its CPU (PREEMPT_RT since Linux 6.18) it is ever
    /// refused.
    #[inline(always)]
    pub(crate) fn lock(self) -> Option<TryLock> {
        // SAFETY: the lock is a field of a map's value, aligned to its size.
        unsafe { TryLock::lock(&raw mut (*self.0).busy) }
    }

    /// Keeps whether the kernel's mark of an unfinished checksum is lost with the answer.
    #[inline(always)]
    pub(crate) const fn set_loses_marks(self, loses_marks: bool) {
        // SAFETY: the pointer is to this CPU's own value.
        unsafe { (*self.0).loses_marks = loses_marks as usize };
    }

    /// Whether the kernel's mark of an unfinished checksum is lost with the answer.
    #[inline(always)]
    pub(crate) fn loses_marks(self) -> bool {
        // SAFETY: the pointer is to this CPU's own value.
        unsafe { ptr::read_volatile(&raw const (*self.0).loses_marks) != 0 }
    }

    /// Keeps whether a device may complete the checksum of the answer to the frame.
    #[inline(always)]
    pub(crate) const fn set_unfinished(self, unfinished: bool) {
        // SAFETY: the pointer is to this CPU's own value.
        unsafe { (*self.0).unfinished = unfinished as usize };
    }

    /// Whether a device may complete the checksum of the answer to the frame.
    #[inline(always)]
    pub(crate) fn is_unfinished(self) -> bool {
        // SAFETY: the pointer is to this CPU's own value.
        unsafe { ptr::read_volatile(&raw const (*self.0).unfinished) != 0 }
    }

    /// Makes of the segment to be sent one that needs no more octets than the frame at hand has: a
    /// SYN-ACK without its option, which offers the MSS that holds without it (RFC 9293 3.7.1), or
    /// the session's reset; whether it is the latter.
    #[inline(always)]
    pub(crate) const fn fall_back(self) -> bool {
        // SAFETY: the pointer is to this CPU's own value.
        let outgoing = unsafe { &mut (*self.0).outgoing };
        if outgoing.offers_mss != 0 {
            outgoing.offers_mss = 0;
            return false;
        }
        *outgoing = Outgoing::bare(outgoing.sequence, outgoing.acknowledgment, TcpFlags::RST | TcpFlags::ACK);
        true
    }

    /// Memory for the segment at hand.
    #[inline(always)]
    pub(crate) const fn segment_mut<'a>(self) -> &'a mut Segment {
        // SAFETY: the pointer is to this CPU's own value; the program borrows it only before
        // anything is read from it.
        unsafe { &mut (*self.0).segment }
    }

    /// The segment at hand.
    #[inline(always)]
    pub(crate) const fn segment<'a>(self) -> &'a Segment {
        // SAFETY: the pointer is to this CPU's own value, which stays while the program runs.
        unsafe { &(*self.0).segment }
    }

    /// Leaves a segment to be sent.
    #[inline(always)]
    pub(crate) fn send(self, outgoing: Outgoing, stat: Stat) -> Answer {
        // SAFETY: the pointer is to this CPU's own value.
        unsafe { (*self.0).outgoing = outgoing };
        Answer::Send(stat)
    }

    /// The segment to be sent.
    #[inline(always)]
    pub(crate) const fn outgoing<'a>(self) -> &'a Outgoing {
        // SAFETY: the pointer is to this CPU's own value, which stays while the program runs.
        unsafe { &(*self.0).outgoing }
    }

    #[inline(always)]
    pub(crate) const fn slot(self) -> MapSlot {
        // SAFETY: the slot belongs to this CPU's own value.
        unsafe { MapSlot::of(&raw mut (*self.0).slot) }
    }

    /// A tag for the daemon.
    #[inline(always)]
    pub(crate) const fn tag<'a>(self, reason: Reason, now: u64) -> &'a Tag {
        // SAFETY: the pointer is to this CPU's own value.
        let tag = unsafe { &mut (*self.0).tag };
        *tag = Tag::new(reason as u8, now);
        tag
    }

    /// Puts a line into the text: its first `kept` octets from PARTIAL_LINES, then `available`
    /// octets of the frame from `at` on, as many of them as are looked at. None if the kept ones
    /// are lost.
    #[inline(always)]
    pub(crate) fn take_line(
        self,
        context: &XdpContext,
        at: usize,
        available: u32,
        kept: u32,
    ) -> Option<Line> {
        let text = self.text();
        if kept > 0 {
            // SAFETY: an entry that gives way while it is read belongs to another session, and ends
            // this one at worst.
            let line = unsafe { PARTIAL_LINES.get(self.segment().tuple.key())? };
            let words: *const u64 = line.octets.as_ptr().cast();
            for index in 0..KEPT_MAX / 8 {
                // SAFETY: both have KEPT_MAX octets at least.
                unsafe { text.cast::<u64>().add(index).write_unaligned(words.add(index).read_unaligned()) };
            }
        }
        let kept = barrier(kept as usize);
        if kept > KEPT_MAX {
            return None;
        }
        let length = if available as usize > SCAN_MAX { SCAN_MAX } else { available as usize };
        let length = nonzero_length::<SCAN_MAX>(length)?;
        // SAFETY: the text holds KEPT_MAX and SCAN_MAX octets; the kernel checks that the frame has
        // them.
        let loaded = unsafe {
            let buffer = text.add(kept).cast::<c_void>();
            bpf_xdp_load_bytes(context.ctx, at as u32, buffer, length as u32)
        };
        // SAFETY: the pointer is to this CPU's own value.
        unsafe { (*self.0).in_use = kept + length };
        (loaded == 0).then_some(self.line())
    }

    /// The line in the text.
    #[inline(always)]
    pub(crate) const fn line(self) -> Line {
        Line { scratch: self }
    }

    /// As much of the line as an entry of PARTIAL_LINES has; `length` octets of it are
    /// acknowledged, which end at the sequence number `end`.
    #[inline(always)]
    pub(crate) const fn partial_line<'a>(self, end: u32, length: u32) -> &'a PartialLine {
        // SAFETY: the pointer is to this CPU's own value, in which the text follows both numbers
        // and is longer than the entry's; it stays while the program runs.
        unsafe {
            (*self.0).partial = [end, length];
            &*(&raw const (*self.0).partial).cast()
        }
    }

    /// Writes an address into the text.
    #[inline(always)]
    pub(crate) fn take_address(self, octets: [u64; 2]) -> Span {
        // SAFETY: an address fits behind ADDRESS_AT.
        let buffer = unsafe { self.text().add(ADDRESS_AT) };
        let length = address::write(octets, self.slot().forget_range(0), |at, word| {
            // SAFETY: four octets at `at` end within `address::BUFFER_LENGTH`.
            unsafe { buffer.add(at).cast::<u32>().write_unaligned(word) }
        });
        Span { start: ADDRESS_AT, length }
    }

    /// [`SUBJECT_MAX`] octets of the text from `at` on.
    #[inline(always)]
    pub(crate) fn subject(self, at: usize) -> Option<*const u8> {
        // SAFETY: checked to lie in the text.
        let at = barrier(at);
        (at <= TEXT_MAX - SUBJECT_MAX).then(|| unsafe { self.text().add(at).cast_const() })
    }

    /// Copies the text from `AT` on.
    #[inline(always)]
    pub(crate) fn copy<const AT: usize, const N: usize>(self, buffer: &mut [u8; N]) {
        const { assert!(AT + N <= TEXT_MAX && N.is_multiple_of(8)) };
        let buffer = buffer.as_mut_ptr();
        for index in 0..N / 8 {
            // SAFETY: both have N octets.
            unsafe {
                let word = self.text().add(AT + index * 8).cast::<u64>().read_unaligned();
                buffer.cast::<u64>().add(index).write_unaligned(word);
            }
        }
    }

    #[inline(always)]
    const fn text(self) -> *mut u8 {
        // SAFETY: the pointer is to this CPU's own value.
        unsafe { (&raw mut (*self.0).text).cast() }
    }
}

/// The line in the text.
pub(crate) struct Line {
    scratch: Scratch,
}

impl Line {
    /// How many octets of it there are.
    #[inline(always)]
    pub(crate) fn in_use(&self) -> usize {
        // SAFETY: the pointer is to this CPU's own value.
        unsafe { ptr::read_volatile(&raw const (*self.scratch.0).in_use) }
    }
}

impl Bytes for Line {
    #[inline(always)]
    fn reaches(&self, length: usize) -> bool {
        length <= TEXT_MAX
    }

    #[inline(always)]
    fn view<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        let offset = barrier(offset);
        if offset > TEXT_MAX - N {
            return None;
        }
        // SAFETY: `N` octets from `offset` on lie in the text, checked above.
        Some(unsafe { &*self.scratch.text().add(offset).cast() })
    }

    #[inline(always)]
    fn forget_range(&self, value: usize) -> usize {
        self.scratch.slot().forget_range(value)
    }
}

const _: () = assert!(
    core::mem::offset_of!(Memory, text) == core::mem::offset_of!(Memory, partial) + 8
        && core::mem::offset_of!(PartialLine, octets) == 8
);
const TEXT_MAX: usize = 4096;
/// Behind any line.
const ADDRESS_AT: usize = TEXT_MAX - SUBJECT_MAX;

const _: () = assert!(KEPT_MAX + SCAN_MAX <= ADDRESS_AT);
const _: () = assert!(address::BUFFER_LENGTH <= SUBJECT_MAX && DOMAIN_MAX <= SUBJECT_MAX);
