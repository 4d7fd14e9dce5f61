//! The switch before two gates with one address: it sends each packet of a client to the other gate
//! than the one before, and each packet of a gate to the client.
//!
//! It reads no packet, and is for links of its own.

use aya_ebpf::{
    bindings::xdp_action::XDP_PASS, btf_maps::Array, helpers::generated::bpf_redirect, macros::btf_map,
    macros::xdp, programs::XdpContext,
};

/// Interface indices: the client's link, then those of the gates.
#[btf_map]
static PORTS: Array<u32, 3> = Array::new();
/// Packets of the client so far.
#[btf_map]
static SPRAYED: Array<u32, 1> = Array::new();

/// Sends the packet to where it goes next.
#[xdp(frags)]
fn spray(context: XdpContext) -> u32 {
    // SAFETY: `ctx` is the context that the kernel handed to this program.
    let from = unsafe { (*context.ctx).ingress_ifindex };
    let (Some(client), Some(sprayed)) = (PORTS.get(0), SPRAYED.get_ptr_mut(0)) else {
        return XDP_PASS;
    };
    let to = if from == *client {
        // SAFETY: the pointer is to a map's value; packets of one link are handled one by one.
        let number = unsafe {
            *sprayed = (*sprayed).wrapping_add(1);
            *sprayed
        };
        PORTS.get(1 + number % 2)
    } else {
        Some(client)
    };
    match to {
        // SAFETY: the helper has no precondition.
        Some(to) => unsafe { bpf_redirect(*to, 0) as u32 },
        None => XDP_PASS,
    }
}
