//! The record that the traced XDP program logs of each matching segment (`sixgate trace`), and the
//! reason for each outcome in plain English.
//!
//! The record travels through aya-log as octets in hexadecimal. It owns its layout only: which
//! segments match, and how many are logged, is decided in the program.

use crate::stat::Stat;

/// One segment to port 25, and what the program did with it. All fields lie without padding.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TraceRecord {
    /// When the program was done with it, nanoseconds of CLOCK_MONOTONIC.
    pub now: u64,
    /// The source address of the IPv6 header.
    pub source: [u8; 16],
    /// The destination address of the IPv6 header.
    pub destination: [u8; 16],
    /// Sequence number (SEG.SEQ, RFC 9293).
    pub sequence: u32,
    /// Acknowledgment number (SEG.ACK).
    pub acknowledgment: u32,
    /// Octets of TCP payload.
    pub payload: u32,
    /// The index of the interface that it came in by.
    pub interface: u32,
    /// The reply that the answer carries, an index of REPLIES; [`Self::NO_REPLY`] without.
    pub reply: u32,
    /// The source port in network order.
    pub source_port: [u8; 2],
    /// The destination port in network order.
    pub destination_port: [u8; 2],
    /// The control bits of its TCP header.
    pub flags: u8,
    /// Those of the answer; 0 without.
    pub answer_flags: u8,
    /// The counter that was raised for it, a [`Stat`].
    pub stat: u8,
    /// The XDP action: [`Self::DROP`], [`Self::PASS`] or [`Self::TX`].
    pub action: u8,
    /// Why its session is refused ([`crate::refuse::Reason`]); 0 if it is not, or if that is
    /// unknown.
    pub reason: u8,
    /// Zeros, which fill the record up to a multiple of 8 octets.
    pub reserved: [u8; 11],
}

impl TraceRecord {
    /// [`Self::reply`] of an answer without one.
    pub const NO_REPLY: u32 = u32::MAX;
    /// The action `XDP_DROP` (include/uapi/linux/bpf.h).
    pub const DROP: u8 = 1;
    /// `XDP_PASS` of the same header file.
    pub const PASS: u8 = 2;
    /// `XDP_TX` of the same header file.
    pub const TX: u8 = 3;
    /// The length of a record in octets.
    pub const LENGTH: usize = size_of::<Self>();

    /// The record before a segment is noted.
    pub const EMPTY: Self = Self {
        now: 0,
        source: [0; 16],
        destination: [0; 16],
        sequence: 0,
        acknowledgment: 0,
        payload: 0,
        interface: 0,
        reply: Self::NO_REPLY,
        source_port: [0; 2],
        destination_port: [0; 2],
        flags: 0,
        answer_flags: 0,
        stat: 0,
        action: 0,
        reason: 0,
        reserved: [0; 11],
    };

    /// The record as it is logged.
    #[must_use]
    #[inline(always)]
    pub const fn octets(&self) -> &[u8; Self::LENGTH] {
        // SAFETY: `repr(C)`, integers and octets, no padding (size asserted): every octet has a
        // value.
        unsafe { &*(&raw const *self).cast() }
    }

    /// The record of these octets.
    #[must_use]
    pub const fn from_octets(octets: [u8; Self::LENGTH]) -> Self {
        // SAFETY: `repr(C)`, integers and octets, no padding (size asserted): every value of every
        // octet is valid.
        unsafe { core::mem::transmute(octets) }
    }
}

const _: () = assert!(TraceRecord::LENGTH == 80 && align_of::<TraceRecord>() == 8);

/// Which segments are traced: those whose source and destination lie in a prefix each. Written into
/// the traced program before it is loaded. Addresses and masks are in network order, as two u64
/// each.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TraceFilter {
    /// The prefix that the source has to lie in.
    pub source: [u64; 2],
    /// The mask of the source prefix.
    pub source_mask: [u64; 2],
    /// The prefix that the destination has to lie in.
    pub destination: [u64; 2],
    /// The mask of the destination prefix.
    pub destination_mask: [u64; 2],
}

impl TraceFilter {
    /// Nothing but the unspecified address, which no segment has.
    pub const NOTHING: Self =
        Self { source: [0; 2], source_mask: [!0; 2], destination: [0; 2], destination_mask: [!0; 2] };

    /// Whether a segment with these addresses is traced.
    #[must_use]
    #[inline(always)]
    pub const fn matches(&self, source: [u64; 2], destination: [u64; 2]) -> bool {
        let source_differs = (source[0] & self.source_mask[0]) ^ self.source[0]
            | (source[1] & self.source_mask[1]) ^ self.source[1];
        let destination_differs = (destination[0] & self.destination_mask[0]) ^ self.destination[0]
            | (destination[1] & self.destination_mask[1]) ^ self.destination[1];
        source_differs | destination_differs == 0
    }
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers, no padding: every bit pattern is valid.
unsafe impl aya::Pod for TraceFilter {}

/// per-CPU array(1), of the traced program alone: how many matching segments it has seen, a u64.
pub const MATCHED: &str = "TRACE_MATCHED";
/// The traced program's constant with the [`TraceFilter`].
pub const FILTER: &str = "TRACE_FILTER";
/// Segments that are logged in a second on one CPU; the others are counted in [`MATCHED`] alone.
pub const LINES_PER_SECOND: u64 = 1000;

/// Why the program did what it did, as a clause that could follow "because", for each counter that
/// stands for an outcome. Counters beside another one have none.
#[must_use]
pub const fn why(stat: Stat) -> Option<&'static str> {
    Some(match stat {
        Stat::PassTruncated => "the frame is shorter than its headers announce",
        Stat::PassMultiBuffer => "the headers lie in several buffers of the driver",
        Stat::PassNotIpv6 => "the packet is not IPv6",
        Stat::PassVlanDepth => "the frame has more than two VLAN tags",
        Stat::PassMulticast => "the destination is a multicast address",
        Stat::PassFragment => "the packet is a fragment",
        Stat::PassRouting => "the packet has a routing header with segments left",
        Stat::PassIpsec => "the packet is protected by IPsec",
        Stat::PassExtensionLimit => "the packet has more extension headers than the program follows",
        Stat::PassNotTcp => "the packet is not TCP",
        Stat::PassOtherPort => "the segment is not for port 25",
        Stat::PassSegment => "the segment is not of a session that the kernel refuses",
        Stat::PassSource => "a host cannot send from this source address",
        Stat::PassChecksum => "the TCP checksum is wrong, and the host drops the segment",
        Stat::PassOwned => "the host's TCP has this connection already",
        Stat::PassGroupMac => "the Ethernet destination is a group address",
        Stat::PassUnfinished => {
            "the TCP checksum is left to a device that would write it to the wrong field of an answer"
        }
        Stat::PassOtherMac => "the Ethernet destination is another host's",
        Stat::PassNotReady => "the maps are not ready, and the daemon decides",
        Stat::PassTrusted => "the source is trusted",
        Stat::PassOptedIn => "the destination has opted in",
        Stat::PassNotOurs => "the destination is not guarded",
        Stat::ShadowNotOptedIn => "mode is shadow: enforce would refuse, the destination has not opted in",
        Stat::ShadowNoPtr => "mode is shadow: enforce would refuse, the source has no PTR record",
        Stat::TagNotOptedIn => "the daemon refuses the session: the destination has not opted in",
        Stat::TagNoPtr => "the daemon refuses the session: the source has no PTR record",
        Stat::AnswerSyn => "the session is refused",
        Stat::AnswerReset => "the session is refused, and refuse_at is reset",
        Stat::AnswerGreeting => "the handshake of a refused session is complete",
        Stat::AnswerReply => "a command of a refused session is complete",
        Stat::AnswerAgain => "the client retransmitted a command",
        Stat::AnswerAck => "a segment of a refused session needs an acknowledgment and no reply",
        Stat::AnswerFin => "the client closed a refused session",
        Stat::AnswerLineLost => "the start of an incomplete command line was evicted by other sessions",
        Stat::AnswerNoRoom => "the frame has no space for the reply, and the session is reset",
        Stat::DropIncomplete => "the command line is incomplete, and the client retransmits it with the rest",
        Stat::DropEarly => "the client has not acknowledged the last reply, and retransmits the command",
        Stat::DropAckLimit => "the rate limit for acknowledgments of this session is reached",
        Stat::DropSilent => "a segment of a refused session needs no answer",
        Stat::DropBusy => "another CPU is answering this session, and the client retransmits",
        Stat::DropReset => "the client reset a refused session",
        Stat::DropNoRoom => "the frame has space neither for the reply nor for a reset",
        Stat::DropOutdated => "the replies of this session are no longer in the map REPLIES",
        Stat::AlsoBegunNotOptedIn
        | Stat::AlsoBegunNoPtr
        | Stat::AlsoEnded
        | Stat::AlsoTooManyCommands
        | Stat::AlsoTemporary
        | Stat::AlsoResumed
        | Stat::AlsoSlotTaken
        | Stat::AlsoEventLost
        | Stat::AlsoEventOverShare
        | Stat::AlsoTagFailed => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_a_reason_of_its_own_and_nothing_else_has_one() {
        for stat in Stat::ALL {
            let is_outcome = !stat.name().starts_with("also_");
            assert_eq!(why(stat).is_some(), is_outcome, "{}", stat.name());
            let twins = Stat::ALL.iter().filter(|other| why(**other) == why(stat)).count();
            assert!(!is_outcome || twins == 1, "{}", stat.name());
        }
    }

    #[test]
    fn a_record_is_the_same_after_its_way_as_octets() {
        let record = TraceRecord {
            now: 7,
            source: [1; 16],
            sequence: 2,
            reply: 3,
            source_port: [4, 5],
            flags: 6,
            stat: Stat::AnswerReply as u8,
            action: TraceRecord::TX,
            reason: 1,
            ..TraceRecord::EMPTY
        };
        assert_eq!(TraceRecord::from_octets(*record.octets()), record);
    }

    #[test]
    fn a_segment_matches_by_both_of_its_addresses() {
        let filter = TraceFilter {
            source: [u64::to_be(0x2001_0db8_0051_0000), 0],
            source_mask: [u64::to_be(0xffff_ffff_ffff_0000), 0],
            destination: [0; 2],
            destination_mask: [0; 2],
        };
        let inside = [u64::to_be(0x2001_0db8_0051_0004), 9];
        let outside = [u64::to_be(0x2001_0db8_0052_0004), 9];
        assert!(filter.matches(inside, outside));
        assert!(!filter.matches(outside, inside));
        let both = TraceFilter { destination: outside, destination_mask: [!0; 2], ..filter };
        assert!(both.matches(inside, outside));
        assert!(!both.matches(inside, inside));
        assert!(!TraceFilter::NOTHING.matches(inside, outside));
    }
}
