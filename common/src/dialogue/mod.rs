//! The refusing dialogue as pure tables, for the kernel and for the daemon alike.
//!
//! It owns lines and the domains in them, the reply to each command, and the
//! layout of a reply. It allocates nothing and keeps nothing.

pub mod address;
pub mod domain;
pub mod line;
mod path;
pub mod refuse;
pub mod reply;
