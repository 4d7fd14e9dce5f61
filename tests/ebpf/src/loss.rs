//! A bad link for SMTP over IPv6: packets from or to TCP port 25 get lost by chance, on their way
//! in and out.
//!
//! It looks for TCP right behind an untagged IPv6 header; all other packets pass. It does not delay
//! or reorder.

use aya_ebpf::{
    bindings::{
        TC_ACT_OK, TC_ACT_SHOT,
        xdp_action::{XDP_DROP, XDP_PASS},
    },
    btf_maps::{Array, PerCpuArray},
    helpers::bpf_get_prandom_u32,
    macros::{btf_map, classifier, xdp},
    programs::{TcContext, XdpContext},
};

use crate::rate::{DROPS_IN, DROPS_OUT, LOSS_WHOLE};

/// How many of [`LOSS_WHOLE`] packets get lost.
#[btf_map]
static LOSS: Array<u32, 1> = Array::new();
/// Packets that were dropped, by direction.
#[btf_map]
static DROPS: PerCpuArray<u64, 2> = PerCpuArray::new();

/// Loses packets that come in.
#[xdp(frags)]
fn lossy(context: XdpContext) -> u32 {
    let start = context.data();
    if start + HEADERS > context.data_end() {
        return XDP_PASS;
    }
    // SAFETY: all fields lie within the headers, and these between `data` and `data_end`, checked
    // above.
    let field = |at: usize| Some(unsafe { ((start + at) as *const u16).read_unaligned() });
    if is_smtp(field) == Some(true) && is_lost(DROPS_IN) { XDP_DROP } else { XDP_PASS }
}

/// Loses packets that go out.
#[classifier]
fn lossy_out(context: TcContext) -> i32 {
    let field = |at: usize| context.load(at).ok();
    if is_smtp(field) == Some(true) && is_lost(DROPS_OUT) { TC_ACT_SHOT } else { TC_ACT_OK }
}

/// Whether a frame is TCP over IPv6, from or to port 25. `field` reads two octets as they are in
/// the frame.
#[inline(always)]
fn is_smtp(field: impl Fn(usize) -> Option<u16>) -> Option<bool> {
    let is_tcp = field(12)? == ETHER_TYPE_IPV6 && field(20)?.to_ne_bytes()[0] == NEXT_HEADER_TCP;
    Some(is_tcp && (field(54)? == SMTP || field(56)? == SMTP))
}

/// Draws a lot; a lost packet is counted at index `direction`.
#[inline(always)]
fn is_lost(direction: u32) -> bool {
    let Some(rate) = LOSS.get(0) else {
        return false;
    };
    // SAFETY: the helper takes no argument and has no precondition.
    let lot = unsafe { bpf_get_prandom_u32() } % LOSS_WHOLE;
    if lot >= *rate {
        return false;
    }
    if let Some(counter) = DROPS.get_ptr_mut(direction) {
        // SAFETY: the pointer is to this CPU's own value. XDP and tc programs of one CPU do not
        // preempt each other.
        unsafe { *counter += 1 };
    }
    true
}

/// Ethernet, IPv6, and TCP's ports.
const HEADERS: usize = 14 + 40 + 4;
const ETHER_TYPE_IPV6: u16 = 0x86dd_u16.to_be();
const NEXT_HEADER_TCP: u8 = 6;
const SMTP: u16 = 25_u16.to_be();
