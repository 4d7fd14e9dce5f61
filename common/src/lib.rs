//! The contract between the XDP program and user space: map names and sizes, the bytes of keys and
//! values, counter indices, and the refusing dialogue as one pure table.
//!
//! It owns no behaviour that needs memory, a clock or the system: everything here compiles for
//! `bpfel-unknown-none` and for the host alike.

#![no_std]
#![forbid(unsafe_op_in_unsafe_fn)]

pub mod bytes;
pub mod dialogue;
pub mod maps;
pub mod trace;

pub use dialogue::{address, domain, line, refuse, reply};
pub use maps::{cookie, dest, event, flow, names, ptr, settings, slot, stat, station};
