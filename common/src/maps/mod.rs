//! The BPF maps: their names and sizes, and the octets of their keys and values.
//!
//! It owns the layout that the XDP program and user space have in common.

pub mod cookie;
pub mod dest;
pub mod event;
pub mod flow;
pub mod names;
pub mod ptr;
pub mod settings;
pub mod slot;
pub mod stat;
pub mod station;
