//! A daemon and its successor: the one that serves goes on until the next one is ready, then gives
//! it the listening sockets and all that only one daemon may have.
//!
//! It owns the dialogue of the two: over a pair of connected sockets, of which systemd keeps one
//! end (`FDSTORE=1`, sd_pid_notify_with_fds(3)) and passes it to the successor. The order in which
//! the old daemon gives things up is `ending`'s.

mod predecessor;
mod successor;

pub(crate) use predecessor::Predecessor;
pub(crate) use successor::{Succession, SuccessionEvent};

/// The name that systemd keeps a daemon's end under.
pub(crate) const STORED_NAME: &str = "sixgate-successor";

/// The successor asks for the listening sockets. The reply is [`SOCKETS`] with as many of them as
/// [`SOCKETS_MAX`]; the one that replies keeps them, too, and goes on serving.
const ASK_SOCKETS: u8 = b'?';
const SOCKETS: u8 = b'=';
/// The successor is ready: everything that only one daemon may have is to be given up. The reply is
/// [`GIVEN_UP`] when that is done.
const ASK_ALL: u8 = b'!';
const GIVEN_UP: u8 = b'.';
/// Listening sockets that are handed over at most; the successor opens the others itself.
const SOCKETS_MAX: usize = 64;
