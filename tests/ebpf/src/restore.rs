//! Puts a frame and one slot back as they were, and goes on to the program in NEXT.
//!
//! BPF_PROG_TEST_RUN with `repeat` leaves the frame as the run before left it, so a program that
//! rewrites frames can only be repeated behind this one. It measures nothing: its own cost is what
//! it takes with an empty program in NEXT.

use aya_ebpf::{
    bindings::xdp_action::XDP_ABORTED,
    btf_maps::{Array, ProgramArray},
    helpers::{
        bpf_xdp_get_buff_len,
        generated::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_store_bytes},
    },
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use sixgate_common::{
    names,
    slot::{Note, SLOTS_ENTRIES, Slot},
};

use crate::template::{Origin, TEMPLATE_MAX, Template};

#[btf_map]
static TEMPLATE: Array<Template, 1> = Array::new();
#[btf_map]
static RESTORE_SLOT: Array<Slot, 1> = Array::new();
/// The program under test, or the empty one.
#[btf_map]
pub(crate) static NEXT: ProgramArray<1> = ProgramArray::new();
/// The map of the program under test: the loader takes the pinned one.
#[btf_map]
pub(crate) static SLOTS: Array<Slot, { SLOTS_ENTRIES as usize }, { names::MMAPABLE as usize }> = Array::new();
/// The notes of sessions, of the program under test: the loader takes the pinned map.
#[btf_map]
static NOTES: Array<Note, { SLOTS_ENTRIES as usize }> = Array::new();

/// The entry. XDP_ABORTED: something could not be put back, or NEXT is empty.
#[xdp(frags)]
fn restore(context: XdpContext) -> u32 {
    if let Some(template) = TEMPLATE.get_ptr_mut(0)
        && put_template_back(&context, template).is_some()
        && put_slot_back(template).is_some()
    {
        // SAFETY: nothing here waits to be dropped.
        unsafe { NEXT.tail_call(&context, 0) };
    }
    XDP_ABORTED
}

#[inline(always)]
fn put_template_back(context: &XdpContext, template: *mut Template) -> Option<()> {
    // SAFETY: the pointer is to a map's value, of this type; one CPU at a time runs a bench.
    let Template { origin, length, frame, .. } = unsafe { &mut *template };
    put_frame_back::<TEMPLATE_MAX>(context, origin, frame, *length)
}

/// The frame begins where it began, is as long as it was, and has the same octets.
#[inline(always)]
pub(crate) fn put_frame_back<const MAX: usize>(
    context: &XdpContext,
    origin: &mut Origin,
    frame: &mut [u8; MAX],
    length: u32,
) -> Option<()> {
    let now = address(context, origin);
    if origin.start == 0 {
        origin.start = now;
    }
    let (length, head) = (length as usize, origin.start.wrapping_sub(now) as i32);
    if length == 0 || length > MAX {
        return None;
    }
    // SAFETY: `ctx` is the context that the kernel handed to this program; the helpers check what
    // they are given, and no pointer into the frame is kept.
    unsafe {
        // a frame is never shorter than an Ethernet header: what makes it longer comes first
        if head <= 0 && bpf_xdp_adjust_head(context.ctx, head) != 0 {
            return None;
        }
        let wanted = length as i32 + if head > 0 { head } else { 0 };
        let lacking = wanted - bpf_xdp_get_buff_len(context.ctx) as i32;
        if bpf_xdp_adjust_tail(context.ctx, lacking) != 0 {
            return None;
        }
        if head > 0 && bpf_xdp_adjust_head(context.ctx, head) != 0 {
            return None;
        }
        (bpf_xdp_store_bytes(context.ctx, 0, frame.as_mut_ptr().cast(), length as u32) == 0).then_some(())
    }
}

/// Where the frame starts, as a number: the verifier does not subtract pointers into frames from
/// numbers, but what it reads from a map is a number.
#[inline(always)]
fn address(context: &XdpContext, origin: &mut Origin) -> u64 {
    let now = &raw mut origin.now;
    // SAFETY: the pointer is to a field of a map's value.
    unsafe {
        now.write_volatile(context.data() as u64);
        now.read_volatile()
    }
}

/// The connection's slot has what RESTORE_SLOT has, and its note has no recipient that was refused.
#[inline(always)]
fn put_slot_back(template: *const Template) -> Option<()> {
    // SAFETY: the pointer is to a map's value, of this type.
    let index = unsafe { (*template).slot };
    let slot = RESTORE_SLOT.get(0)?;
    // SAFETY: the pointer is to a map's value, of this type; one CPU at a time runs a bench.
    unsafe {
        *SLOTS.get_ptr_mut(index)? = *slot;
        (*NOTES.get_ptr_mut(index)?).refused = 0;
    }
    Some(())
}
