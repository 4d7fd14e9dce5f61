//! The reaction to a segment of a refused session (RFC 9293 3.10.7), by its numbers and flags
//! alone.
//!
//! Pure: it reads no octet, changes nothing and sends nothing. The sender's TCP is trusted to send
//! again what is not acknowledged; nothing is sent again from here.

use sixgate_common::{
    flow::WINDOW,
    slot::{FLAG_FIN_RECEIVED, FLAG_FIN_SENT, Slot},
    stat::Stat,
};

use crate::{
    parse::{Segment, TcpFlags},
    verifier::MapSlot,
};

/// The reaction to a segment.
pub(crate) enum Reaction {
    /// Both of its numbers are a little above those of the session: it may complete a new
    /// handshake, or it knows better how far the session is.
    Handshake,
    /// Its numbers are far from the session's: it belongs to another connection of the same
    /// 4-tuple.
    NotOurs,
    /// Nothing is sent.
    Silent(Stat),
    /// An acknowledgement of everything before this number.
    Acknowledge(u32),
    /// The sender reset the connection.
    Forget,
    /// The sender's FIN and nothing else new, or once more.
    Finish,
    /// Data or FIN after our FIN: acknowledged up to this number and dropped, since a reset could
    /// destroy a reply that is not read yet.
    Drain(u32),
    /// New data, behind so many octets that are known.
    Command(u32),
    /// The command that was answered last, behind so many octets: the reply was lost.
    Again(u32),
}

/// A [`Reaction`] whose number is there in each case: the verifiers of Linux before 6.3 let no
/// program read memory that was not written, and the compiler does not write the number of a
/// reaction without one.
pub(crate) struct Found {
    pub(crate) kind: Kind,
    /// The reaction's number; for [`Kind::Silent`] the counter's.
    pub(crate) number: u32,
}

/// A [`Reaction`] without its number.
#[repr(u8)]
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Kind {
    Handshake,
    NotOurs,
    Silent,
    Acknowledge,
    Forget,
    Finish,
    Drain,
    Command,
    Again,
}

impl Kind {
    #[inline(always)]
    const fn from_number(number: usize) -> Self {
        match number {
            0 => Self::Handshake,
            2 => Self::Silent,
            3 => Self::Acknowledge,
            4 => Self::Forget,
            5 => Self::Finish,
            6 => Self::Drain,
            7 => Self::Command,
            8 => Self::Again,
            _ => Self::NotOurs,
        }
    }
}

impl Reaction {
    /// The same reaction; the verifier forgets the ranges of its numbers.
    #[inline(always)]
    pub(crate) fn forget_ranges(self, slot: MapSlot) -> Found {
        let (kind, number) = match self {
            Self::Handshake => (Kind::Handshake, 0),
            Self::NotOurs => (Kind::NotOurs, 0),
            Self::Silent(stat) => (Kind::Silent, stat as u32),
            Self::Acknowledge(number) => (Kind::Acknowledge, number),
            Self::Forget => (Kind::Forget, 0),
            Self::Finish => (Kind::Finish, 0),
            Self::Drain(number) => (Kind::Drain, number),
            Self::Command(behind) => (Kind::Command, behind),
            Self::Again(behind) => (Kind::Again, behind),
        };
        let number = slot.forget_range(number as usize) as u32;
        Found { kind: Kind::from_number(slot.forget_range(kind as usize)), number }
    }
}

/// The reaction to `segment` of the session in `slot`.
#[inline(always)]
pub(crate) fn react(slot: &Slot, segment: &Segment) -> Reaction {
    let flags = segment.flags;
    let offset = distance(slot.receive_next, segment.sequence);
    let unacknowledged = distance(segment.acknowledgment, slot.send_next);
    if is_far(offset) {
        return Reaction::NotOurs;
    }
    if flags.has(TcpFlags::RST) {
        return match offset {
            // RFC 5961 3: only a reset at exactly the expected number is believed
            0 => Reaction::Forget,
            1.. if offset <= i32::from(WINDOW) => Reaction::Acknowledge(slot.receive_next),
            _ => Reaction::Silent(Stat::DropSilent),
        };
    }
    if !flags.has(TcpFlags::ACK) {
        return Reaction::Silent(Stat::DropSilent);
    }
    if is_far(unacknowledged) {
        return Reaction::NotOurs;
    }
    // As long as a reply may be lost, nothing but the reply acknowledges its command: only that
    // brings the reply again.
    let is_pending = unacknowledged > 0 && !(slot.flags & FLAG_FIN_SENT != 0 && unacknowledged == 1);
    let number = if is_pending { slot.receive_last() } else { slot.receive_next };
    let is_bare = segment.payload == 0 && !flags.has(TcpFlags::FIN);
    if offset > 0 && (unacknowledged < 0 || slot.is_over() && is_bare) && !flags.has(TcpFlags::SYN) {
        // The port is used again within milliseconds: the numbers of both sides are a little above
        // the last ones. Or the state was made anew from a segment that was late.
        return Reaction::Handshake;
    }
    if flags.has(TcpFlags::SYN) || unacknowledged < 0 || offset > i32::from(WINDOW) {
        // RFC 5961 4 and 5: an acknowledgement that challenges
        return Reaction::Acknowledge(number);
    }
    let payload = segment.payload as i32;
    let length = payload + i32::from(flags.has(TcpFlags::FIN));
    if length == 0 {
        return match offset {
            KEEP_ALIVE => Reaction::Acknowledge(number),
            _ => Reaction::Silent(Stat::DropSilent),
        };
    }
    if offset > 0 || offset == KEEP_ALIVE && length == 1 && payload == 1 && !is_pending {
        return Reaction::Acknowledge(number);
    }
    let behind = distance(segment.sequence, slot.receive_last());
    if is_pending && slot.receive_last() != slot.receive_next {
        return match behind {
            0.. if behind < payload => Reaction::Again(behind as u32),
            _ if offset + length <= 0 => Reaction::Acknowledge(number),
            _ => Reaction::Silent(Stat::DropEarly),
        };
    }
    at_hand(slot, segment, offset, unacknowledged)
}

/// Data or FIN that begins at the expected number or before it, while no reply to a command is on
/// its way.
#[inline(always)]
fn at_hand(slot: &Slot, segment: &Segment, offset: i32, unacknowledged: i32) -> Reaction {
    let fin = i32::from(segment.flags.has(TcpFlags::FIN));
    let payload = segment.payload as i32;
    if offset + payload + fin <= 0 {
        let is_fin = fin == 1 && offset + payload + fin == 0 && slot.flags & FLAG_FIN_RECEIVED != 0;
        // the sender has not seen our FIN
        return if is_fin && unacknowledged > 0 {
            Reaction::Finish
        } else {
            Reaction::Acknowledge(slot.receive_next)
        };
    }
    if slot.flags & FLAG_FIN_SENT != 0 {
        return Reaction::Drain(segment.sequence.wrapping_add((payload + fin) as u32));
    }
    if offset + payload <= 0 {
        return Reaction::Finish;
    }
    if unacknowledged > 0 {
        return Reaction::Silent(Stat::DropEarly);
    }
    Reaction::Command(-offset as u32)
}

/// From one sequence number to another (RFC 9293 3.4).
#[inline(always)]
const fn distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from) as i32
}

/// Farther than any segment of the same connection can be: its initial sequence number is another
/// one.
#[inline(always)]
const fn is_far(distance: i32) -> bool {
    distance > NEAR || distance < -NEAR
}

const NEAR: i32 = 1 << 16;
/// RFC 9293 3.8.4: one octet before what is expected, with or without that octet.
const KEEP_ALIVE: i32 = -1;
