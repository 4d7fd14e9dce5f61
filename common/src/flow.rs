//! FLOWS: what the XDP program remembers of one refused TCP connection.
//!
//! With `answer = "daemon"` an entry is a tag that the daemon deletes at accept; with
//! `answer = "kernel"` it is the state of a dialogue. It never decides anything by itself.

/// Key of FLOWS: the connection's 4-tuple, as the sender's packets carry it.
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

/// Value of FLOWS.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Flow {
    /// When the entry was made, nanoseconds of CLOCK_MONOTONIC (`bpf_ktime_get_ns`).
    pub opened: u64,
    /// Next sequence number expected from the sender (RCV.NXT, RFC 9293); 0 in a tag.
    pub receive_next: u32,
    /// Next sequence number we send (SND.NXT); 0 in a tag.
    pub send_next: u32,
    /// Commands answered so far; 0 in a tag.
    pub commands: u16,
    /// Why the connection is refused: [`REASON_NOT_OPTED_IN`] or [`REASON_NO_PTR`].
    pub reason: u8,
    /// A [`crate::refuse::Phase`] as its number, or [`PHASE_TAG`].
    pub phase: u8,
    /// The last reply sent, a [`crate::refuse::ReplyId`] as its number; 0 in a tag.
    pub last_reply: u8,
    /// Keeps the size a multiple of eight without padding; always 0.
    pub reserved: [u8; 3],
}

/// The destination address has not opted in.
pub const REASON_NOT_OPTED_IN: u8 = 1;
/// The source is known to have no PTR record.
pub const REASON_NO_PTR: u8 = 2;

/// The entry is a tag for the daemon; the host's TCP owns the connection.
pub const PHASE_TAG: u8 = 0;

impl Flow {
    /// A tag: the daemon will speak the refusal.
    #[must_use]
    pub const fn tag(reason: u8, opened: u64) -> Self {
        Self {
            opened,
            receive_next: 0,
            send_next: 0,
            commands: 0,
            reason,
            phase: PHASE_TAG,
            last_reply: 0,
            reserved: [0; 3],
        }
    }
}

const _: () = assert!(size_of::<FlowKey>() == 36 && align_of::<FlowKey>() == 1);
const _: () = assert!(size_of::<Flow>() == 24 && align_of::<Flow>() == 8);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, byte arrays only, no padding: every bit pattern is valid.
unsafe impl aya::Pod for FlowKey {}
#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers and byte arrays, no padding (size asserted): every bit pattern is valid.
unsafe impl aya::Pod for Flow {}
