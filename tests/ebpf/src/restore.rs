//! Puts a frame, and if wanted one entry of FLOWS, back as they were, and goes on to the program in
//! NEXT.
//!
//! BPF_PROG_TEST_RUN with `repeat` leaves the frame as the run before left it, so a program that
//! rewrites frames can only be repeated behind this one. It measures nothing: its own cost is what
//! it takes with an empty program in NEXT.

use aya_ebpf::{
    bindings::xdp_action::XDP_ABORTED,
    btf_maps::{Array, LruHashMap, ProgramArray},
    helpers::{
        bpf_xdp_get_buff_len,
        generated::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_store_bytes},
    },
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use sixgate_common::{
    flow::{Flow, FlowKey},
    names,
};

use crate::template::{FLOW_PUT, FLOW_REMOVE, TEMPLATE_MAX, Template};

#[btf_map]
static TEMPLATE: Array<Template, 1> = Array::new();
#[btf_map]
static RESTORE_KEY: Array<FlowKey, 1> = Array::new();
#[btf_map]
static RESTORE_FLOW: Array<Flow, 1> = Array::new();
/// The program under test, or the empty one.
#[btf_map]
pub(crate) static NEXT: ProgramArray<1> = ProgramArray::new();
/// The map of the program under test: the loader takes the pinned one.
#[btf_map]
static FLOWS: LruHashMap<FlowKey, Flow, { names::FLOWS_ENTRIES as usize }> = LruHashMap::new();

/// The entry. XDP_ABORTED: something could not be put back, or NEXT is empty.
#[xdp(frags)]
fn restore(context: XdpContext) -> u32 {
    if let Some(template) = TEMPLATE.get_ptr_mut(0)
        && put_frame_back(&context, template).is_some()
        && put_flow_back(template).is_some()
    {
        // SAFETY: nothing here waits to be dropped.
        unsafe { NEXT.tail_call(&context, 0) };
    }
    XDP_ABORTED
}

/// The frame begins where it began, is as long as it was, and has the same octets.
#[inline(always)]
fn put_frame_back(context: &XdpContext, template: *mut Template) -> Option<()> {
    // SAFETY: the pointer is to a map's value, of this type; one CPU at a time runs a bench.
    let Template { start, length, frame, .. } = unsafe { &mut *template };
    let now = address(context, template);
    if *start == 0 {
        *start = now;
    }
    let (length, head) = (*length as usize, (*start).wrapping_sub(now) as i32);
    if length == 0 || length > TEMPLATE_MAX {
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
fn address(context: &XdpContext, template: *mut Template) -> u64 {
    // SAFETY: the pointer is to a map's value, of this type.
    unsafe {
        let scratch = &raw mut (*template).scratch;
        scratch.write_volatile(context.data() as u64);
        scratch.read_volatile()
    }
}

/// FLOWS has the entry that the template asks for. An entry that is there is written in place,
/// which costs less than making a new one.
#[inline(always)]
fn put_flow_back(template: *const Template) -> Option<()> {
    // SAFETY: the pointer is to a map's value, of this type.
    let wanted = unsafe { (*template).flow };
    let key = RESTORE_KEY.get(0)?;
    match wanted {
        FLOW_PUT => {
            let flow = RESTORE_FLOW.get(0)?;
            match FLOWS.get_ptr_mut(key) {
                // SAFETY: the pointer is to a map's value, of this type; one CPU at a time runs a
                // bench.
                Some(entry) => unsafe { *entry = *flow },
                None => FLOWS.insert(key, flow, 0).ok()?,
            }
        }
        FLOW_REMOVE => {
            // the only failure is that there was no entry
            let _ = FLOWS.remove(key);
        }
        _ => return None,
    }
    Some(())
}
