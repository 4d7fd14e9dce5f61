//! EVENTS: the XDP program's reports about the sessions that it refuses.
//!
//! Records are dropped and counted when the ring buffer is full: nothing here is needed for
//! refusing, and no record wakes its reader. A reader knows a record by its length and its first
//! octet.

use crate::flow::{ARGUMENT_KEPT, FlowKey};

/// Begins every record; alone it is the record of a session that began: its greeting is on its way.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Begun {
    /// [`KIND_BEGUN`], [`KIND_RECIPIENT`] or [`KIND_ENDED`].
    pub kind: u8,
    /// A [`crate::refuse::Reason`] as its number.
    pub reason: u8,
    /// How it ended: an [`Ending`] as its number; 0 in a session that goes on.
    pub ending: u8,
    /// [`crate::flow::Flow::refused`]; 0 in a session that began.
    pub refused: u8,
    /// The number of commands that were replied to.
    pub commands: u16,
    /// Octets of [`Ended::sender`] in use; 0 in a session that began.
    pub sender_length: u8,
    /// Octets of [`Ended::recipient`] in use; 0 in a session that began.
    pub recipient_length: u8,
    /// When the handshake was complete, nanoseconds of CLOCK_MONOTONIC (`bpf_ktime_get_ns`).
    pub opened: u64,
    /// When the record was made, likewise.
    pub now: u64,
    /// The 4-tuple of the connection.
    pub flow: FlowKey,
    /// Keeps the size a multiple of eight without padding; always 0.
    pub padding: [u8; 4],
}

/// The record of a session that ended, or of a recipient that was refused before its last one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ended {
    /// The fields that all records have.
    pub session: Begun,
    /// The text after the last `MAIL FROM:`.
    pub sender: [u8; ARGUMENT_KEPT],
    /// The text after the `RCPT TO:` of the last recipient that was refused.
    pub recipient: [u8; ARGUMENT_KEPT],
}

/// [`Begun::kind`] of a session that began.
pub const KIND_BEGUN: u8 = 1;
/// [`Begun::kind`] of a session that ended.
pub const KIND_ENDED: u8 = 2;
/// [`Begun::kind`] of a session that goes on after a recipient was refused: it names another one.
pub const KIND_RECIPIENT: u8 = 3;

/// How a session ended.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// The sender sent QUIT.
    Quit = 1,
    /// The sender closed the connection.
    Closed = 2,
    /// The sender reset the connection.
    Reset = 3,
    /// We ended it: too many commands, or a bare CR, a bare LF or a NUL.
    Dismissed = 4,
    /// The SYN was answered with a reset (`refuse_at = "reset"`): there was no session.
    Refused = 5,
}

const _: () = assert!(size_of::<Begun>() == 64 && align_of::<Begun>() == 8);
const _: () = assert!(size_of::<Ended>() == 256 && align_of::<Ended>() == 8);
