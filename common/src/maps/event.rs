//! EVENTS: the XDP program's reports about the sessions that it refuses; and EVENT_SHARES.
//!
//! A session makes one record, at its end, and one more for each recipient that was refused before
//! the last one. Records beyond a network's share, and those for which the ring buffer is full, are
//! left out and counted: nothing here is needed for refusing, and no record wakes its reader.

use crate::flow::{ARGUMENT_KEPT, FlowKey};

/// The numbers of a record; a SYN that was answered with a reset leaves nothing else in it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// [`KIND_ENDED`] or [`KIND_RECIPIENT`].
    pub kind: u8,
    /// A [`crate::refuse::Reason`] as its number.
    pub reason: u8,
    /// How it ended: an [`Ending`] as its number; 0 in a session that goes on.
    pub ending: u8,
    /// The reply of the last refusal, a [`crate::refuse::ReplyId`] as its number; 0: none.
    pub refused: u8,
    /// The number of commands that were replied to.
    pub commands: u16,
    /// Octets of [`Record::sender`] in use.
    pub sender_length: u8,
    /// Octets of [`Record::recipient`] in use.
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
pub struct Record {
    /// The numbers that each record has.
    pub head: Head,
    /// The text after the last `MAIL FROM:`.
    pub sender: [u8; ARGUMENT_KEPT],
    /// The text after the `RCPT TO:` of the last recipient that was refused.
    pub recipient: [u8; ARGUMENT_KEPT],
}

/// [`Head::kind`] of a session that ended.
pub const KIND_ENDED: u8 = 1;
/// [`Head::kind`] of a session that goes on after a recipient was refused: it names another one.
pub const KIND_RECIPIENT: u8 = 2;

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

/// Value of EVENT_SHARES: the records that were made lately about the networks that share it.
///
/// CPUs change it without a lock. Two at the same time may count one record for two.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EventShare {
    /// The tick in which they were made: CLOCK_MONOTONIC in units of 2^[`TICK_SHIFT`] nanoseconds.
    pub tick: u32,
    /// The number of records that were made in it.
    pub records: u32,
}

impl EventShare {
    /// Whether one more record fits at `now` (nanoseconds of CLOCK_MONOTONIC), which is counted
    /// then.
    #[must_use]
    #[inline(always)]
    pub const fn admits(&mut self, now: u64) -> bool {
        let tick = (now >> TICK_SHIFT) as u32;
        if self.tick != tick {
            self.tick = tick;
            self.records = 0;
        }
        if self.records >= SHARE_MAX {
            return false;
        }
        self.records += 1;
        true
    }

    /// The index of the share of a source address, in network order: the same for all addresses of
    /// a /64.
    #[must_use]
    #[inline(always)]
    pub const fn index(source: [u64; 2]) -> u32 {
        (source[0].wrapping_mul(SPREAD) >> (64 - SHARES_SHIFT)) as u32
    }
}

/// A tick is 2^30 nanoseconds, a little more than a second.
pub const TICK_SHIFT: u32 = 30;
/// Records about the networks of one share in one tick. The log has fewer lines about a network.
pub const SHARE_MAX: u32 = 64;
const SHARES_SHIFT: u32 = 6;
/// Shares: a network that is refused often leaves the others' alone.
pub const SHARES: u32 = 1 << SHARES_SHIFT;
/// An odd number without a pattern (the golden ratio's 64 bits): it spreads neighbours.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

const _: () = assert!(size_of::<Head>() == 64 && align_of::<Head>() == 8);
const _: () = assert!(size_of::<Record>() == 256 && align_of::<Record>() == 8);
const _: () = assert!(size_of::<EventShare>() == 8 && align_of::<EventShare>() == 4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_its_records_in_each_tick() {
        let mut share = EventShare { tick: 0, records: 0 };
        for tick in 0..3 {
            let now = tick << TICK_SHIFT | 5;
            for _ in 0..SHARE_MAX {
                assert!(share.admits(now));
            }
            assert!(!share.admits(now | 1 << (TICK_SHIFT - 1)));
        }
    }

    #[test]
    fn networks_spread_over_the_shares_and_hosts_of_one_do_not() {
        let network = |number: u16| 0x2001_0db8_0000_0000_u64.wrapping_add(u64::from(number) << 16).to_be();
        let mut used = [0; SHARES as usize];
        for number in 0..6400 {
            used[EventShare::index([network(number), 0]) as usize] += 1;
        }
        assert!(used.iter().all(|count| (50..=200).contains(count)), "{used:?}");
        assert_eq!(EventShare::index([network(1), 7]), EventShare::index([network(1), u64::MAX]));
    }
}
