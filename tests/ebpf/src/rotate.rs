//! Plays whole sessions one packet after the other, and goes on to the program in NEXT with each.
//!
//! A network card hands over many frames at a time, of many connections. Here the packets of many
//! sessions follow each other in one call of BPF_PROG_TEST_RUN, so that each session's state is as
//! cold, and the program as warm, as there. It measures nothing: its own cost is what it takes with
//! an empty program in NEXT.

use aya_ebpf::{
    bindings::xdp_action::XDP_ABORTED,
    btf_maps::Array,
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use sixgate_common::slot::Slot;

use crate::{
    restore::{NEXT, SLOTS, put_frame_back},
    template::{KEEPS_SLOT, ROTATED_ENTRIES, ROTATED_MAX, Rotated, Rotation},
};

#[btf_map]
static ROTATION: Array<Rotation, 1> = Array::new();
#[btf_map]
static ROTATED: Array<Rotated, ROTATED_ENTRIES> = Array::new();

/// The entry. XDP_ABORTED: something could not be put back, or NEXT is empty.
#[xdp(frags)]
fn rotate(context: XdpContext) -> u32 {
    if take_next(&context).is_some() {
        // SAFETY: nothing here waits to be dropped.
        unsafe { NEXT.tail_call(&context, 0) };
    }
    XDP_ABORTED
}

/// The frame is the next packet; before a session's first one its slot is free.
#[inline(always)]
fn take_next(context: &XdpContext) -> Option<()> {
    // SAFETY: the pointer is to a map's value, of this type; one CPU at a time runs a bench.
    let Rotation { origin, next, count } = unsafe { &mut *ROTATION.get_ptr_mut(0)? };
    // SAFETY: as above.
    let Rotated { length, frees, frame } = unsafe { &mut *ROTATED.get_ptr_mut(*next)? };
    *next += 1;
    if *next >= *count {
        *next = 0;
    }
    if *frees != KEEPS_SLOT {
        // SAFETY: as above.
        unsafe { *SLOTS.get_ptr_mut(*frees)? = Slot::FREE };
    }
    put_frame_back::<ROTATED_MAX>(context, origin, frame, *length)
}
