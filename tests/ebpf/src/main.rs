//! Programs that stand around the one under test: a peer that passes everything on, a link that
//! loses packets, a driver with little headroom, and one that restores a packet between two runs of
//! a bench.
//!
//! They judge no mail, and are loaded by `tests/src/xdp_helper.rs` and `bench/src/bench/`.
//!
//! Building: `tests/build.rs` compiles this crate for `bpfel-unknown-none` and embeds the object;
//! the workspace's default members leave it out. For the host's target it is an empty program, so
//! that `cargo clippy --package sixgate-tests-ebpf` lints everything here.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]

mod loss;
mod narrow;
mod parts;
mod rate;
mod restore;
mod rotate;
mod scatter;
mod spray;
mod template;

use aya_ebpf::{bindings::xdp_action::XDP_PASS, macros::xdp, programs::XdpContext};

/// Some helpers are for GPL-compatible programs only; the kernel reads this section.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Passes every frame on and does nothing else. The peer of a native veth needs such a program,
/// else what XDP_TX sends there is never delivered; and it is the empty program with which costs
/// are compared.
#[xdp(frags)]
fn pass(_: XdpContext) -> u32 {
    XDP_PASS
}

/// The host's target is for linting only.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// Never reached: nothing in this crate panics, and the verifier would refuse the endless loop.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
