//! FLOWS: tags, by which the daemon knows a connection that it is to refuse; and PARTIAL_LINES.
//!
//! With `answer = "daemon"` an entry of FLOWS is a tag that the daemon deletes at accept. It never
//! decides anything by itself. What `answer = "kernel"` needs is `slot`'s.

use crate::refuse::MAIL_LINE_MAX;

/// Key of FLOWS and PARTIAL_LINES: the connection's 4-tuple, as the sender's packets carry it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FlowKey {
    /// The sender's address, network order.
    pub source: [u8; 16],
    /// Our address, network order.
    pub destination: [u8; 16],
    /// The sender's port, network order.
    pub source_port: [u8; 2],
    /// Our port, network order.
    pub destination_port: [u8; 2],
}

/// Value of FLOWS: the daemon will refuse the session.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tag {
    /// When the entry was made, nanoseconds of CLOCK_MONOTONIC (`bpf_ktime_get_ns`).
    pub opened: u64,
    /// Why the connection is refused: a [`crate::refuse::Reason`] as its number.
    pub reason: u32,
    /// Keeps the size a multiple of eight without padding; always 0.
    pub reserved: u32,
}

impl Tag {
    /// The tag of a connection that was opened then.
    #[must_use]
    #[inline(always)]
    pub const fn new(reason: u8, opened: u64) -> Self {
        Self { opened, reason: reason as u32, reserved: 0 }
    }
}

/// The largest segment that we offer to take (RFC 9293 3.7.1): the segment that every IPv6 path
/// carries in one piece (RFC 8200 5).
pub const MSS: u16 = 1220;
/// The window that we offer: two segments. Data within it lies in one buffer and is read at once,
/// and a refused session needs no more.
pub const WINDOW: u16 = 2 * MSS;

/// Octets of the text after `MAIL FROM:` and `RCPT TO:` that are kept for the log; the rest is left
/// out.
pub const ARGUMENT_KEPT: usize = 96;

/// Value of PARTIAL_LINES: the beginning of a line that its sender cannot finish before it is
/// acknowledged.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PartialLine {
    /// The sequence number behind it: all before it is acknowledged.
    pub end: u32,
    /// Octets of [`Self::octets`] in use.
    pub length: u32,
    /// The line's beginning.
    pub octets: [u8; KEPT_MAX],
}

/// Longest unfinished line, rounded up to a multiple of eight.
pub const KEPT_MAX: usize = MAIL_LINE_MAX.next_multiple_of(8);

const _: () = assert!(size_of::<FlowKey>() == 36 && align_of::<FlowKey>() == 1);
const _: () = assert!(size_of::<Tag>() == 16 && align_of::<Tag>() == 8);
const _: () = assert!(size_of::<PartialLine>() == 8 + KEPT_MAX && align_of::<PartialLine>() == 4);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, byte arrays only, no padding: every bit pattern is valid.
unsafe impl aya::Pod for FlowKey {}
#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers, no padding (size asserted): every bit pattern is valid.
unsafe impl aya::Pod for Tag {}
