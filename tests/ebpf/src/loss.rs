//! A bad link for SMTP over IPv6: packets from or to TCP port 25 get lost by chance, on their way in and out.
//!
//! It looks for TCP right behind an untagged IPv6 header; all other packets pass. It does not delay or reorder.

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
    // SAFETY: the octets lie between `data` and `data_end`, checked above; bytes need no alignment.
    let headers = unsafe { &*(start as *const [u8; HEADERS]) };
    if is_smtp(headers) && is_lost(DROPS_IN) { XDP_DROP } else { XDP_PASS }
}

/// Loses packets that go out.
#[classifier]
fn lossy_out(context: TcContext) -> i32 {
    let headers = context.load::<[u8; HEADERS]>(0);
    if headers.is_ok_and(|headers| is_smtp(&headers) && is_lost(DROPS_OUT)) { TC_ACT_SHOT } else { TC_ACT_OK }
}

/// Whether a frame that begins so is TCP over IPv6, from or to port 25.
#[inline(always)]
fn is_smtp(headers: &[u8; HEADERS]) -> bool {
    headers[12..14] == ETHER_TYPE_IPV6
        && headers[20] == NEXT_HEADER_TCP
        && (headers[54..56] == SMTP || headers[56..58] == SMTP)
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
        // SAFETY: the pointer is to this CPU's own value. XDP and tc programs of one CPU do not preempt each other.
        unsafe { *counter += 1 };
    }
    true
}

/// Ethernet, IPv6, and TCP's ports.
const HEADERS: usize = 14 + 40 + 4;
const ETHER_TYPE_IPV6: [u8; 2] = 0x86dd_u16.to_be_bytes();
const NEXT_HEADER_TCP: u8 = 6;
const SMTP: [u8; 2] = 25_u16.to_be_bytes();
