//! SLOTS and NOTES: the XDP program's state of the TCP connections that it answers by itself, and
//! where a connection's state lies.
//!
//! A connection has two slots that it may have, by a keyed hash of its two ends, and uses one of
//! them. Its state may give way to another connection's at any moment: the numbers of its next
//! segment tell what is needed to go on ([`crate::cookie`]).

use crate::{
    flow::{ARGUMENT_KEPT, FlowKey},
    refuse::{Phase, Reason},
};

/// Value of SLOTS: one connection, in one line of a cache.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Slot {
    /// The sender's address, in network order.
    pub source: [u64; 2],
    /// Our address, in network order.
    pub destination: [u64; 2],
    /// The sender's port, in network order. Ours is 25.
    pub source_port: u16,
    /// Octets of the sender that were answered last, its FIN counted.
    pub line: u16,
    /// Next sequence number expected from the sender (RCV.NXT, RFC 9293).
    pub receive_next: u32,
    /// Next sequence number we send (SND.NXT).
    pub send_next: u32,
    /// When the handshake was complete, in units of 2^[`OPENED_SHIFT`] nanoseconds of
    /// CLOCK_MONOTONIC.
    pub opened: u32,
    /// 1 while a CPU works on the slot; others leave the segment to a retransmission.
    pub busy: u64,
    /// Octets of our last reply, our FIN counted.
    pub reply: u16,
    /// Commands answered so far.
    pub commands: u8,
    /// A [`Phase`] as its number, with a [`Reason`] as its number above it; 0: the slot is free.
    pub state: u8,
    /// The last reply sent, a [`crate::refuse::ReplyId`] as its number.
    pub last_reply: u8,
    /// The generation of REPLIES that the session gets.
    pub generation: u8,
    /// A combination of the `FLAG_` constants.
    pub flags: u8,
    /// Acknowledgements sent in one unit of time, since the last new command, for segments that
    /// brought nothing new; in the higher half the unit of time, 2^[`ACKNOWLEDGMENT_SHIFT`]
    /// nanoseconds of CLOCK_MONOTONIC, modulo 16.
    pub acknowledgments: u8,
}

impl Slot {
    /// A free slot.
    pub const FREE: Self = Self {
        source: [0; 2],
        destination: [0; 2],
        source_port: 0,
        line: 0,
        receive_next: 0,
        send_next: 0,
        opened: 0,
        busy: 0,
        reply: 0,
        commands: 0,
        state: 0,
        last_reply: 0,
        generation: 0,
        flags: 0,
        acknowledgments: 0,
    };

    /// Both ends of the connection.
    #[must_use]
    pub fn key(&self) -> FlowKey {
        let octets = |[high, low]: [u64; 2]| {
            let mut octets = [0; 16];
            octets[..8].copy_from_slice(&high.to_ne_bytes());
            octets[8..].copy_from_slice(&low.to_ne_bytes());
            octets
        };
        FlowKey {
            source: octets(self.source),
            destination: octets(self.destination),
            source_port: self.source_port.to_ne_bytes(),
            destination_port: SMTP.to_be_bytes(),
        }
    }

    /// Where the command that was answered last begins; [`Self::receive_next`] if none was.
    #[must_use]
    #[inline(always)]
    pub const fn receive_last(&self) -> u32 {
        self.receive_next.wrapping_sub(self.line as u32)
    }

    /// Where our last reply begins: all before it is acknowledged.
    #[must_use]
    #[inline(always)]
    pub const fn send_last(&self) -> u32 {
        self.send_next.wrapping_sub(self.reply as u32)
    }

    /// How far the session is; none: the slot is free, or damaged.
    #[must_use]
    #[inline(always)]
    pub const fn phase(&self) -> Option<Phase> {
        Phase::from_number(self.state & PHASE_MASK)
    }

    /// Why the connection is refused.
    #[must_use]
    #[inline(always)]
    pub const fn reason(&self) -> Option<Reason> {
        Reason::from_number(self.state >> REASON_SHIFT)
    }

    /// [`Self::state`] of both.
    #[must_use]
    #[inline(always)]
    pub const fn state_of(reason: u8, phase: u8) -> u8 {
        reason << REASON_SHIFT | phase & PHASE_MASK
    }

    /// Moves on to another phase, by its number.
    #[inline(always)]
    pub const fn set_phase(&mut self, phase: u8) {
        self.state = self.state & !PHASE_MASK | phase & PHASE_MASK;
    }

    /// Whether either side has ended the dialogue; the slot only answers stragglers.
    #[must_use]
    #[inline(always)]
    pub const fn is_over(&self) -> bool {
        self.flags & (FLAG_FIN_SENT | FLAG_FIN_RECEIVED) != 0
    }

    /// When the handshake was complete, in nanoseconds of CLOCK_MONOTONIC, seen from `now`.
    #[must_use]
    #[inline(always)]
    pub const fn opened_at(&self, now: u64) -> u64 {
        let now = now >> OPENED_SHIFT;
        let age = (now as u32).wrapping_sub(self.opened);
        now.wrapping_sub(age as u64) << OPENED_SHIFT
    }
}

/// Value of NOTES, at the index of the slot: what few sessions need, and what is for the log.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Note {
    /// Octets of the unfinished line that PARTIAL_LINES keeps and that are acknowledged.
    pub kept: u16,
    /// The same of the line that was answered last.
    pub kept_last: u16,
    /// Octets of a line that is too long, since the last [`ReplyId::TooLong`] or the line's
    /// beginning.
    ///
    /// [`ReplyId::TooLong`]: crate::refuse::ReplyId::TooLong
    pub skipped: u16,
    /// The reply with which the last recipient, or the session, was refused: a [`ReplyId`] as its
    /// number; 0: none yet.
    ///
    /// [`ReplyId`]: crate::refuse::ReplyId
    pub refused: u8,
    /// Octets of [`Self::sender`] in use.
    pub sender_length: u8,
    /// Octets of [`Self::recipient`] in use.
    pub recipient_length: u8,
    /// Keeps the size a multiple of eight without padding; always 0.
    pub reserved: [u8; 7],
    /// The text after the `RCPT TO:` of the last recipient that was refused, for the log.
    pub recipient: [u8; ARGUMENT_KEPT],
    /// The text after the last `MAIL FROM:`, for the log. Behind the other one, so that a part of
    /// that can be read without a look at where it ends.
    pub sender: [u8; ARGUMENT_KEPT],
}

/// Value of SLOT_KEY: the key of the hash that tells which slots a connection may have. Only this
/// host needs it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SlotKey {
    /// Added to the numbers of the two ends before they are multiplied (NH, RFC 4418 5.2).
    ends: [u64; 5],
    /// Factors, odd ones, that make an index each of the sum.
    factors: [u64; WAYS],
}

impl SlotKey {
    /// A key that is not drawn yet.
    pub const NONE: Self = Self { ends: [0; 5], factors: [0; WAYS] };

    /// A key of random numbers.
    #[must_use]
    pub const fn new([a, b, c, d, e, f, g]: [u64; 7]) -> Self {
        Self { ends: [a, b, c, d, e], factors: [f | 1, g | 1] }
    }

    /// The indices of the slots that a connection may have. Addresses and port are in network
    /// order, as they lie in memory.
    #[must_use]
    #[inline(always)]
    pub const fn places(&self, source: [u64; 2], destination: [u64; 2], source_port: u16) -> [u32; WAYS] {
        let [a, b, c, d, e] = self.ends;
        let sum = product(source[0], a)
            .wrapping_add(product(source[1], b))
            .wrapping_add(product(destination[0], c))
            .wrapping_add(product(destination[1], d))
            .wrapping_add(product(source_port as u64, e));
        let sum = sum ^ sum >> 32;
        let [f, g] = self.factors;
        [
            (sum.wrapping_mul(f) >> (64 - SLOTS_SHIFT)) as u32,
            (sum.wrapping_mul(g) >> (64 - SLOTS_SHIFT)) as u32,
        ]
    }

    /// The same of a [`FlowKey`].
    #[must_use]
    pub fn places_of(&self, key: &FlowKey) -> [u32; WAYS] {
        let words = |octets: &[u8; 16]| {
            let [a, b, c, d, e, f, g, h, low @ ..] = *octets;
            [u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes(low)]
        };
        self.places(words(&key.source), words(&key.destination), u16::from_ne_bytes(key.source_port))
    }
}

/// The product of both halves of a number, each with a half of the key added.
#[inline(always)]
const fn product(word: u64, key: u64) -> u64 {
    let low = (word as u32).wrapping_add(key as u32);
    let high = ((word >> 32) as u32).wrapping_add((key >> 32) as u32);
    (low as u64).wrapping_mul(high as u64)
}

/// The rest of a line that is too long is on its way.
pub const FLAG_SKIPPING: u8 = 1;
/// The sender has acknowledged the greeting.
pub const FLAG_ACKNOWLEDGED: u8 = 2;
/// [`Slot::receive_next`] counts the sender's FIN.
pub const FLAG_FIN_RECEIVED: u8 = 4;
/// [`Slot::send_next`] counts our FIN.
pub const FLAG_FIN_SENT: u8 = 8;
/// An unfinished line came, and was neither kept nor acknowledged.
pub const FLAG_HELD_BACK: u8 = 16;
/// [`Note::kept`] or [`Note::kept_last`] is not 0.
pub const FLAG_KEPT: u8 = 32;
/// The state was lost, and made anew of the numbers of a segment.
pub const FLAG_RESUMED: u8 = 64;

/// Acknowledgements that one session is sent in one unit of time for segments that bring nothing
/// new: duplicates, segments outside the window, challenges (RFC 5961 7 gives 10 in 5 seconds as an
/// example).
pub const ACKNOWLEDGMENTS_MAX: u8 = 10;
/// The unit of time: 2^32 nanoseconds, 4.3 seconds.
pub const ACKNOWLEDGMENT_SHIFT: u32 = 32;
/// The unit of [`Slot::opened`]: 2^20 nanoseconds, a millisecond.
pub const OPENED_SHIFT: u32 = 20;

/// Slots that a connection may have.
pub const WAYS: usize = 2;
const SLOTS_SHIFT: u32 = 14;
/// Connections that the program can answer at a time; more of them displace the oldest ones' state.
pub const SLOTS_ENTRIES: u32 = 1 << SLOTS_SHIFT;

/// The port of SMTP.
const SMTP: u16 = 25;
const PHASE_MASK: u8 = 7;
const REASON_SHIFT: u32 = 4;

const _: () = assert!(size_of::<Slot>() == 64 && align_of::<Slot>() == 8);
const _: () = assert!(size_of::<Note>() == 208 && align_of::<Note>() == 2);
const _: () = assert!(size_of::<SlotKey>() == 56 && align_of::<SlotKey>() == 8);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers, no padding (size asserted): every bit pattern is valid.
unsafe impl aya::Pod for Slot {}
#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers, no padding (size asserted): every bit pattern is valid.
unsafe impl aya::Pod for SlotKey {}
#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers and octets, no padding (size asserted): every bit pattern is valid.
unsafe impl aya::Pod for Note {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_holds_reason_and_phase() {
        for reason in [Reason::NotOptedIn, Reason::NoPtr] {
            for phase in 1..=6 {
                let mut slot = Slot { state: Slot::state_of(reason as u8, 1), ..Slot::FREE };
                slot.set_phase(phase);
                assert_eq!((slot.reason(), slot.phase()), (Some(reason), Phase::from_number(phase)));
            }
        }
        assert_eq!((Slot::FREE.phase(), Slot::FREE.reason()), (None, None));
    }

    #[test]
    fn a_beginning_is_known_for_weeks() {
        let now = 123 << 52 | 77 << OPENED_SHIFT;
        let slot = Slot { opened: (now >> OPENED_SHIFT) as u32, ..Slot::FREE };
        for age in [0, 1 << OPENED_SHIFT, 1 << 51] {
            assert_eq!(slot.opened_at(now + age), now, "{age}");
        }
    }

    #[test]
    fn connections_spread_over_all_slots() {
        let key = SlotKey::new([
            0x9e37_79b9_7f4a_7c15,
            0xbf58_476d_1ce4_e5b9,
            0x94d0_49bb_1331_11eb,
            0x2545_f491_4f6c_dd1d,
            0xd6e8_feb8_6659_fd93,
            0xa076_1d64_78bd_642f,
            0xe703_7ed1_a0b4_28db,
        ]);
        let mut used = [[0_u8; SLOTS_ENTRIES as usize]; WAYS];
        let mut equal = 0;
        for port in 0..u16::MAX {
            let places = key.places([1, 2], [3, 4], port);
            for (used, place) in used.iter_mut().zip(places) {
                used[place as usize] = used[place as usize].saturating_add(1);
            }
            equal += u32::from(places[0] == places[1]);
        }
        for used in used {
            // four for each slot on average
            assert!(used.iter().filter(|count| **count == 0).count() < 2000);
            assert!(used.iter().all(|count| *count < 40));
        }
        assert!(equal < 40, "{equal}");
    }
}
