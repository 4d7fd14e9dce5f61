//! The refusing dialogue as pure tables, for the kernel and for the daemon alike.
//!
//! It owns what is said and when: lines and the domains in them, the reply to each command, the
//! shape of a reply. It reads and writes no memory but its caller's.

pub mod address;
pub mod domain;
pub mod line;
mod path;
pub mod refuse;
pub mod reply;
