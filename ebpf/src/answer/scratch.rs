//! Memory that one CPU uses for the frame at hand: more than the stack of a BPF program has room for.
//!
//! Nothing in it is kept from one frame to the next.

use core::ptr;

use aya_ebpf::{
    btf_maps::PerCpuArray, cty::c_void, helpers::generated::bpf_xdp_load_bytes, macros::btf_map,
    programs::XdpContext,
};
use sixgate_common::{address, flow::Flow, line::DOMAIN_MAX, stat::Stat};

use super::{Answer, transmit::Outgoing};
use crate::{frame::Veil, parse::Segment};

/// Octets of a subject: a domain name or an address.
pub(crate) const SUBJECT_MAX: usize = 256;

#[btf_map]
static SCRATCH: PerCpuArray<Memory, 1> = PerCpuArray::new();

/// A CPU's memory.
#[repr(C)]
pub(crate) struct Memory {
    veil: usize,
    /// The segment at hand. Read back from here its numbers are unknown to the verifier, which would otherwise follow
    /// each place where a header can end apart.
    segment: Segment,
    outgoing: Outgoing,
    /// A new session's entry, on its way into FLOWS.
    flow: Flow,
    subject: [u8; SUBJECT_MAX],
}

/// This CPU's memory.
#[derive(Clone, Copy)]
pub(crate) struct Scratch(*mut Memory);

impl Scratch {
    #[inline(always)]
    pub(crate) fn of_this_cpu() -> Option<Self> {
        SCRATCH.get_ptr_mut(0).map(Self)
    }

    /// Keeps the segment at hand.
    #[inline(always)]
    pub(crate) fn keep(self, segment: Segment) {
        // SAFETY: the pointer is to this CPU's own value.
        unsafe { (*self.0).segment = segment };
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
    pub(crate) const fn veil(self) -> Veil {
        // SAFETY: the word belongs to this CPU's own value.
        unsafe { Veil::of(&raw mut (*self.0).veil) }
    }

    /// Room for a new entry.
    #[inline(always)]
    pub(crate) const fn flow(&mut self) -> &mut Flow {
        // SAFETY: the pointer is to this CPU's own value.
        unsafe { &mut (*self.0).flow }
    }

    /// [`SUBJECT_MAX`] octets.
    #[inline(always)]
    pub(crate) const fn subject(&self) -> *const u8 {
        // SAFETY: the pointer is to this CPU's own value.
        unsafe { (&raw const (*self.0).subject).cast() }
    }

    /// Takes `length` octets of the frame as the subject; the subject's length.
    #[inline(always)]
    pub(crate) fn take_domain(&self, context: &XdpContext, at: usize, length: usize) -> Option<usize> {
        if length == 0 || length > DOMAIN_MAX {
            return None;
        }
        let room = self.subject().cast_mut().cast::<c_void>();
        // SAFETY: the subject has room for `length` octets; the kernel checks that the frame has them.
        let loaded = unsafe { bpf_xdp_load_bytes(context.ctx, at as u32, room, length as u32) };
        (loaded == 0).then_some(length)
    }

    /// Takes the text of an address as the subject; the subject's length.
    #[inline(always)]
    pub(crate) fn take_address(&self, octets: [u64; 2]) -> usize {
        let room = self.subject().cast_mut();
        address::write(octets, self.veil().over(0), |at, word| {
            // SAFETY: a word at `at` ends within `address::ROOM`, and the subject is longer.
            unsafe { ptr::write_unaligned(room.add(at).cast::<u32>(), word) }
        })
    }
}

/// Copies `length` octets of the frame into `room`; how many were copied.
#[inline(always)]
pub(crate) fn load<const ROOM: usize>(
    context: &XdpContext,
    at: usize,
    room: &mut [u8; ROOM],
    length: usize,
) -> u8 {
    if length == 0 || length > ROOM {
        return 0;
    }
    let room = room.as_mut_ptr().cast::<c_void>();
    // SAFETY: there is room for `length` octets; the kernel checks that the frame has them.
    let loaded = unsafe { bpf_xdp_load_bytes(context.ctx, at as u32, room, length as u32) };
    if loaded == 0 { length as u8 } else { 0 }
}

const _: () = assert!(address::ROOM <= SUBJECT_MAX && DOMAIN_MAX <= SUBJECT_MAX);
