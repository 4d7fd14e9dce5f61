//! Moves each frame to the front of its buffer, as drivers with little headroom leave it, and goes
//! on to the program in NEXT.
//!
//! It changes no octet of the frame.

use aya_ebpf::{
    bindings::{xdp_action::XDP_ABORTED, xdp_md},
    btf_maps::{Array, PerCpuArray},
    helpers::generated::{
        bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
        bpf_xdp_store_bytes,
    },
    macros::{btf_map, xdp},
    programs::XdpContext,
};

use crate::restore::NEXT;

/// By how many octets frames are moved.
#[btf_map]
static MOVED: Array<u32, 1> = Array::new();
/// The octets that are copied at a time.
#[btf_map]
static PIECE: PerCpuArray<[u8; PIECE_LENGTH as usize], 1> = PerCpuArray::new();

/// The entry. XDP_ABORTED: it did not work, or NEXT is empty.
#[xdp(frags)]
fn narrow(context: XdpContext) -> u32 {
    if move_forward(context.ctx).is_some() {
        // SAFETY: nothing here waits to be dropped.
        unsafe { NEXT.tail_call(&context, 0) };
    }
    XDP_ABORTED
}

#[inline(always)]
fn move_forward(context: *mut xdp_md) -> Option<()> {
    let by = *MOVED.get(0)?;
    let piece = PIECE.get_ptr_mut(0)?.cast();
    // SAFETY: `context` is what the kernel handed to this program, and `piece` has PIECE_LENGTH
    // octets.
    unsafe {
        let length = bpf_xdp_get_buff_len(context) as u32;
        if bpf_xdp_adjust_head(context, -(by as i32)) != 0 {
            return None;
        }
        let mut at = 0;
        for _ in 0..PIECES_MAX {
            if at + PIECE_LENGTH > length {
                break;
            }
            if bpf_xdp_load_bytes(context, by + at, piece, PIECE_LENGTH) != 0
                || bpf_xdp_store_bytes(context, at, piece, PIECE_LENGTH) != 0
            {
                return None;
            }
            at += PIECE_LENGTH;
        }
        for _ in 0..PIECE_LENGTH {
            if at >= length {
                break;
            }
            if bpf_xdp_load_bytes(context, by + at, piece, 1) != 0
                || bpf_xdp_store_bytes(context, at, piece, 1) != 0
            {
                return None;
            }
            at += 1;
        }
        if at != length || bpf_xdp_adjust_tail(context, -(by as i32)) != 0 {
            return None;
        }
    }
    Some(())
}

const PIECE_LENGTH: u32 = 32;
/// Frames of two kibibytes at most.
const PIECES_MAX: u32 = 64;
