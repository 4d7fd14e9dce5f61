//! FLOWS: the XDP program's state of one refused TCP connection.
//!
//! With `answer = "daemon"` an entry is a tag that the daemon deletes at accept; with
//! `answer = "kernel"` it is the state of a dialogue. It never decides anything by itself.

use crate::refuse::MAIL_LINE_MAX;

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
    /// 1 while a CPU works on the entry; others leave the segment to a retransmission.
    pub busy: u64,
    /// Next sequence number expected from the sender (RCV.NXT, RFC 9293).
    pub receive_next: u32,
    /// Where the command that was answered last begins; [`Self::receive_next`] if none was.
    pub receive_last: u32,
    /// Next sequence number we send (SND.NXT).
    pub send_next: u32,
    /// Where our last reply begins: all before it is acknowledged.
    pub send_last: u32,
    /// Commands answered so far.
    pub commands: u16,
    /// Why the connection is refused: a [`crate::refuse::Reason`] as its number.
    pub reason: u8,
    /// A [`crate::refuse::Phase`] as its number, or [`PHASE_TAG`].
    pub phase: u8,
    /// The last reply sent, a [`crate::refuse::ReplyId`] as its number.
    pub last_reply: u8,
    /// The generation of REPLIES that the session gets.
    pub generation: u8,
    /// A combination of the `FLAG_` constants.
    pub flags: u8,
    /// The reply with which the last recipient, or the session, was refused: a [`ReplyId`] as its
    /// number; 0: none yet.
    ///
    /// [`ReplyId`]: crate::refuse::ReplyId
    pub refused: u8,
    /// Octets of the unfinished line that PARTIAL_LINES keeps and that are acknowledged.
    pub kept: u16,
    /// The same of the line that was answered last.
    pub kept_last: u16,
    /// Octets of a line that is too long, since the last [`ReplyId::TooLong`] or the line's
    /// beginning.
    ///
    /// [`ReplyId::TooLong`]: crate::refuse::ReplyId::TooLong
    pub skipped: u16,
    /// Octets of [`Self::sender`] in use.
    pub sender_length: u8,
    /// Octets of [`Self::recipient`] in use.
    pub recipient_length: u8,
    /// When [`Self::acknowledgments`] were counted, in units of 2^[`ACKNOWLEDGMENT_SHIFT`]
    /// nanoseconds of CLOCK_MONOTONIC.
    pub acknowledged_at: u32,
    /// Acknowledgements sent in that unit of time, since the last new command, for segments that
    /// brought nothing new.
    pub acknowledgments: u32,
    /// The text after the last `MAIL FROM:`, for the log.
    pub sender: [u8; ARGUMENT_KEPT],
    /// The text after the `RCPT TO:` of the last recipient that was refused, for the log.
    pub recipient: [u8; ARGUMENT_KEPT],
}

/// The largest segment that we offer to take (RFC 9293 3.7.1): the segment that every IPv6 path
/// carries in one piece (RFC 8200 5).
pub const MSS: u16 = 1220;
/// The window that we offer: two segments. Data within it lies in one buffer and is read at once,
/// and a refused session needs no more.
pub const WINDOW: u16 = 2 * MSS;

/// Acknowledgements that one session is sent in one unit of time for segments that bring nothing
/// new: duplicates, segments outside the window, challenges (RFC 5961 7 gives 10 in 5 seconds as an
/// example).
pub const ACKNOWLEDGMENTS_MAX: u32 = 10;
/// The unit of time: 2^32 nanoseconds, 4.3 seconds.
pub const ACKNOWLEDGMENT_SHIFT: u32 = 32;

/// Octets of the text after `MAIL FROM:` and `RCPT TO:` that are kept for the log; the rest is left
/// out.
pub const ARGUMENT_KEPT: usize = 96;

/// The entry is a tag for the daemon; the host's TCP owns the connection.
pub const PHASE_TAG: u8 = 0;

/// The rest of a line that is too long is on its way.
pub const FLAG_SKIPPING: u8 = 1;
/// The sender has acknowledged the greeting.
pub const FLAG_ACKNOWLEDGED: u8 = 2;
/// [`Flow::receive_next`] counts the sender's FIN.
pub const FLAG_FIN_RECEIVED: u8 = 4;
/// [`Flow::send_next`] counts our FIN.
pub const FLAG_FIN_SENT: u8 = 8;

/// An unfinished line came, and was neither kept nor acknowledged.
pub const FLAG_HELD_BACK: u8 = 16;

/// Value of PARTIAL_LINES: the beginning of a line that its sender cannot finish before it is acknowledged.
/// Its length is in the entry of FLOWS.
pub type KeptLine = [u8; KEPT_MAX];

/// Longest unfinished line, rounded up to a multiple of eight.
pub const KEPT_MAX: usize = MAIL_LINE_MAX.next_multiple_of(8);

impl Flow {
    /// A tag: the daemon will refuse the session.
    #[must_use]
    pub const fn tag(reason: u8, opened: u64) -> Self {
        Self {
            opened,
            busy: 0,
            receive_next: 0,
            receive_last: 0,
            send_next: 0,
            send_last: 0,
            commands: 0,
            reason,
            phase: PHASE_TAG,
            last_reply: 0,
            generation: 0,
            flags: 0,
            refused: 0,
            kept: 0,
            kept_last: 0,
            skipped: 0,
            sender_length: 0,
            recipient_length: 0,
            acknowledged_at: 0,
            acknowledgments: 0,
            sender: [0; ARGUMENT_KEPT],
            recipient: [0; ARGUMENT_KEPT],
        }
    }

    /// Makes the entry a tag, as [`Self::tag`] does; the octets kept for the log have no length
    /// then, and stay as they are: a program has neither the stack nor the time for as many zeros.
    #[inline(always)]
    pub const fn make_tag(&mut self, reason: u8, opened: u64) {
        self.opened = opened;
        self.busy = 0;
        self.receive_next = 0;
        self.receive_last = 0;
        self.send_next = 0;
        self.send_last = 0;
        self.commands = 0;
        self.reason = reason;
        self.phase = PHASE_TAG;
        self.last_reply = 0;
        self.generation = 0;
        self.flags = 0;
        self.refused = 0;
        self.kept = 0;
        self.kept_last = 0;
        self.skipped = 0;
        self.sender_length = 0;
        self.recipient_length = 0;
        self.acknowledged_at = 0;
        self.acknowledgments = 0;
    }

    /// Whether either side has ended the dialogue; the entry only answers stragglers.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.flags & (FLAG_FIN_SENT | FLAG_FIN_RECEIVED) != 0
    }
}

const _: () = assert!(size_of::<FlowKey>() == 36 && align_of::<FlowKey>() == 1);
const _: () = assert!(size_of::<Flow>() == 248 && align_of::<Flow>() == 8);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, byte arrays only, no padding: every bit pattern is valid.
unsafe impl aya::Pod for FlowKey {}
#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers and byte arrays, no padding (size asserted): every bit pattern is
// valid.
unsafe impl aya::Pod for Flow {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_becomes_a_tag() {
        let mut flow = Flow {
            busy: 1,
            receive_next: 1,
            receive_last: 1,
            send_next: 1,
            send_last: 1,
            commands: 1,
            phase: 1,
            last_reply: 1,
            generation: 1,
            flags: 1,
            refused: 1,
            kept: 1,
            kept_last: 1,
            skipped: 1,
            sender_length: 1,
            recipient_length: 1,
            acknowledged_at: 1,
            acknowledgments: 1,
            sender: [1; ARGUMENT_KEPT],
            recipient: [1; ARGUMENT_KEPT],
            ..Flow::tag(1, 1)
        };
        flow.make_tag(2, 7);
        let kept = [1; ARGUMENT_KEPT];
        assert_eq!(flow, Flow { sender: kept, recipient: kept, ..Flow::tag(2, 7) });
    }
}
