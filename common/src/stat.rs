//! STATS: one counter for each way in which the XDP program can end.
//!
//! Exactly one counter whose name does not start with `also_` is raised for each packet, so their sum is
//! the number of packets seen.

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

            /// What the counter counts, for people.
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
    /// Spread over several buffers (jumbo frames): passed on.
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
    /// TCP to port 25, not an opening SYN: the host's TCP owns it.
    PassSegment = "pass_segment",
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
    /// Beside a tag counter: the tag could not be stored; the daemon decides without it.
    AlsoTagFailed = "also_tag_failed",
}

impl Stat {
    /// Whether the counter is raised beside another one for the same packet.
    #[must_use]
    pub const fn is_beside(self) -> bool {
        matches!(self, Self::AlsoTagFailed)
    }
}
