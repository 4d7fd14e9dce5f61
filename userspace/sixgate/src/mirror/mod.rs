//! What kernel and daemon share: the BPF maps and the records of refused sessions.
//!
//! It owns what passes between the two. Which sender is refused is decided elsewhere.

mod interfaces;

pub(crate) mod follow;
pub(crate) mod kernel_events;
pub(crate) mod kernel_maps;
pub(crate) mod reverse_dns;

pub(crate) use interfaces::keep_interfaces;
