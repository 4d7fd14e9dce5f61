//! Gives each run of a repeated frame another destination address, and goes on to the program in
//! NEXT.
//!
//! With one destination a bench sees a lookup whose every step is in the CPU's nearest cache; with
//! many it sees what a trie of that size costs. It measures nothing itself.

use aya_ebpf::{
    bindings::xdp_action::XDP_ABORTED,
    btf_maps::Array,
    helpers::generated::bpf_xdp_store_bytes,
    macros::{btf_map, xdp},
    programs::XdpContext,
};

use crate::{restore::NEXT, template::DESTINATIONS};

#[btf_map]
static ADDRESSES: Array<[u8; 16], DESTINATIONS> = Array::new();
/// How many runs there were.
#[btf_map]
static RUNS: Array<u32, 1> = Array::new();

/// The entry, for a frame without VLAN tags. XDP_ABORTED: it did not work, or NEXT is empty.
#[xdp(frags)]
fn scatter(context: XdpContext) -> u32 {
    if change_destination(&context).is_some() {
        // SAFETY: nothing here waits to be dropped.
        unsafe { NEXT.tail_call(&context, 0) };
    }
    XDP_ABORTED
}

#[inline(always)]
fn change_destination(context: &XdpContext) -> Option<()> {
    let runs = RUNS.get_ptr_mut(0)?;
    // SAFETY: the pointer is to a map's value, of this type; one CPU at a time runs a bench.
    let run = unsafe {
        *runs = (*runs).wrapping_add(1);
        *runs
    };
    let address = ADDRESSES.get_ptr_mut(run % DESTINATIONS as u32)?;
    // SAFETY: `ctx` is the context that the kernel handed to this program; the address lies in a
    // map's value.
    let stored = unsafe { bpf_xdp_store_bytes(context.ctx, DESTINATION_AT, address.cast(), 16) };
    (stored == 0).then_some(())
}

/// Ethernet, then the IPv6 header up to its destination.
const DESTINATION_AT: u32 = 14 + 24;
