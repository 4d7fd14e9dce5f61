//! STATS: one counter for each way in which the XDP program can end.
//!
//! Exactly one counter whose name does not start with `also_` is raised for each packet, so their
//! sum is the number of packets seen.

macro_rules! stats {
    ($($(#[doc = $doc:expr])+ $variant:ident = $name:literal,)+) => {
        /// A counter of STATS; its number is the index.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Stat {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Stat {
            /// Every counter, in the order of its index.
            pub const ALL: [Self; COUNT as usize] = [$(Self::$variant),+];

            /// The counter's name, as commands and metrics print it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The meaning of the counter as a sentence.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }

        /// Number of counters: the size of STATS.
        pub const COUNT: u32 = [$($name),+].len() as u32;
    };
}

stats! {
    /// Shorter than its headers announce, or a header shorter than it can be: passed on.
    PassTruncated = "pass_truncated",
    /// Headers spread over several buffers (jumbo frames): passed on.
    PassMultiBuffer = "pass_multi_buffer",
    /// Not IPv6: passed on.
    PassNotIpv6 = "pass_not_ipv6",
    /// More than two VLAN tags: passed on.
    PassVlanDepth = "pass_vlan_depth",
    /// To a multicast address: passed on.
    PassMulticast = "pass_multicast",
    /// A fragment: passed on.
    PassFragment = "pass_fragment",
    /// A routing header with segments left: passed on.
    PassRouting = "pass_routing",
    /// Authentication Header or ESP: passed on.
    PassIpsec = "pass_ipsec",
    /// More extension headers than are followed: passed on.
    PassExtensionLimit = "pass_extension_limit",
    /// IPv6, not TCP: passed on.
    PassNotTcp = "pass_not_tcp",
    /// TCP, not to port 25: passed on.
    PassOtherPort = "pass_other_port",
    /// TCP to port 25, neither an opening SYN nor of a session that the kernel refuses: the host's
    /// TCP owns it.
    PassSegment = "pass_segment",
    /// From an address that no host sends from (unspecified, multicast, IPv4-mapped, loopback):
    /// passed on.
    PassSource = "pass_source",
    /// A wrong checksum in a segment that would be answered: passed on, the host drops it.
    PassChecksum = "pass_checksum",
    /// A segment whose numbers could be those of a session that the kernel refuses, of a connection
    /// that the host's TCP has: passed on.
    PassOwned = "pass_owned",
    /// To a group's Ethernet address (multicast or broadcast), which no TCP segment for one host
    /// has: passed on.
    PassGroupMac = "pass_group_mac",
    /// A SYN with an unfinished checksum in generic mode, not from the link's other end: passed on,
    /// since a device on the way back would write the checksum to the wrong field.
    PassUnfinished = "pass_unfinished",
    /// To the Ethernet address of another host (promiscuous card, flooded frame, standby router):
    /// passed on.
    PassOtherMac = "pass_other_mac",
    /// A SYN while the maps are not ready: passed on.
    PassNotReady = "pass_not_ready",
    /// A SYN from a trusted source: passed on.
    PassTrusted = "pass_trusted",
    /// A SYN to a destination that has opted in: passed on.
    PassOptedIn = "pass_opted_in",
    /// A SYN to a destination that is not ours: passed on.
    PassNotOurs = "pass_not_ours",
    /// Shadow mode: a SYN that enforce would have refused, destination not opted in: passed on.
    ShadowNotOptedIn = "shadow_not_opted_in",
    /// Shadow mode: a SYN that enforce would have refused, source without PTR: passed on.
    ShadowNoPtr = "shadow_no_ptr",
    /// A SYN tagged for the daemon, destination not opted in.
    TagNotOptedIn = "tag_not_opted_in",
    /// A SYN tagged for the daemon, source without PTR.
    TagNoPtr = "tag_no_ptr",
    /// A SYN answered with a SYN cookie.
    AnswerSyn = "answer_syn",
    /// A SYN answered with a reset (`refuse_at = "reset"`).
    AnswerReset = "answer_reset",
    /// A handshake completed and greeted.
    AnswerGreeting = "answer_greeting",
    /// A command line answered.
    AnswerReply = "answer_reply",
    /// A command line that came again: its reply was sent again.
    AnswerAgain = "answer_again",
    /// A segment acknowledged without a reply: keep-alives, parts of over-long lines, segments out
    /// of sequence.
    AnswerAck = "answer_ack",
    /// The sender's FIN answered with ours.
    AnswerFin = "answer_fin",
    /// A session whose incomplete command line was evicted by other sessions: reset.
    AnswerLineLost = "answer_line_lost",
    /// A reply for which the frame could grow neither at its head nor at its end: the session is
    /// reset.
    AnswerNoRoom = "answer_no_room",
    /// A line that is not complete: dropped, the sender's TCP sends it again with the rest; if it
    /// comes again without, it is kept and acknowledged.
    DropIncomplete = "drop_incomplete",
    /// A command before our last reply was acknowledged: dropped, the sender's TCP sends it again.
    DropEarly = "drop_early",
    /// A segment of a refused session that brings nothing new, beyond the rate limit for such:
    /// dropped.
    DropAckLimit = "drop_ack_limit",
    /// A segment of a refused session that asks for no answer: acknowledgements, duplicates.
    DropSilent = "drop_silent",
    /// A segment of a refused session while another CPU answers one, or any segment to port 25 that
    /// interrupts the program on its own CPU (PREEMPT_RT): dropped, the sender's TCP sends it
    /// again.
    DropBusy = "drop_busy",
    /// The sender's reset of a refused session.
    DropReset = "drop_reset",
    /// A frame that grew neither at its head nor at its end and could not be made a reset either:
    /// dropped.
    DropNoRoom = "drop_no_room",
    /// A segment of a session whose replies are no longer there (attached several times meanwhile):
    /// dropped.
    DropOutdated = "drop_outdated",
    /// Beside an answer: a refused session began, destination not opted in.
    AlsoBegunNotOptedIn = "also_begun_not_opted_in",
    /// Beside an answer: a refused session began, source without PTR.
    AlsoBegunNoPtr = "also_begun_no_ptr",
    /// Beside another counter: a refused session ended.
    AlsoEnded = "also_ended",
    /// Beside an answer: the session had sent all the commands that it may send.
    AlsoTooManyCommands = "also_too_many_commands",
    /// Beside an answer: the refusal of a recipient is temporary, since its domain is marked so.
    AlsoTemporary = "also_temporary",
    /// Beside an answer: the session's state had given way to others', and was made anew from the
    /// numbers of the segment.
    AlsoResumed = "also_resumed",
    /// Beside another counter: the state of a session that goes on gave way to that of a new one.
    AlsoSlotTaken = "also_slot_taken",
    /// Beside another counter: EVENTS was full, and the log does not know of this end or recipient.
    AlsoEventLost = "also_event_lost",
    /// Beside another counter: the sender's network had more ends and recipients in this second
    /// than are reported, and the log does not know of this one.
    AlsoEventOverShare = "also_event_over_share",
    /// Beside a tag counter: the tag could not be stored; the daemon decides without it.
    AlsoTagFailed = "also_tag_failed",
}
