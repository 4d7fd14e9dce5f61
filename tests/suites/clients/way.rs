//! Who refuses, and on what link.
//!
//! It knows the program's counters; what senders make of a refusal is the tables' business.

use aya::programs::XdpMode;
use sixgate_tests::{
    netns::Netns,
    site::{INTERFACE, SENDER, Site},
    xdp_helper::Pass,
};

use crate::rows::Reason;

/// Who refuses, and on what link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Way {
    pub(crate) answer: Answer,
    pub(crate) link: Link,
}

/// The responder to a sender that is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    Daemon,
    Kernel,
}

/// The network between the sender and the gate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Link {
    /// A veth, the program in native mode.
    Native,
    /// A veth, the program in generic mode.
    Generic,
    /// Nothing: the sender is on the gate itself, and the program on lo.
    Loopback,
}

impl Way {
    /// The settings for it.
    pub(crate) fn settings(self) -> String {
        let answer = match self.answer {
            Answer::Daemon => "daemon",
            Answer::Kernel => "kernel",
        };
        let mode = match self.link {
            Link::Native => "native",
            Link::Generic | Link::Loopback => "generic",
        };
        format!("answer = {answer:?}\nxdp = {{ mode = {mode:?}, interfaces = [{:?}] }}", self.interface())
    }

    /// The interface with the program.
    pub(crate) fn interface(self) -> &'static str {
        match self.link {
            Link::Native | Link::Generic => INTERFACE,
            Link::Loopback => "lo",
        }
    }

    /// Where senders are.
    pub(crate) fn senders(self, site: &Site) -> &Netns {
        match self.link {
            Link::Native | Link::Generic => &site.outside,
            Link::Loopback => &site.gate,
        }
    }

    /// The address from which they connect to `destination`.
    pub(crate) fn source(self, destination: &'static str) -> &'static str {
        match self.link {
            Link::Native | Link::Generic => SENDER,
            // of its own addresses, a host takes the one that it connects to
            Link::Loopback => destination,
        }
    }

    /// The state that the link needs at the senders' end, as long as it is used.
    pub(crate) fn prepare(self, site: &Site) -> Option<Pass> {
        let attach = || Pass::attach(&site.outside, "outside0", XdpMode::Driver).unwrap();
        (self.link == Link::Native).then(attach)
    }

    /// Connections refused for this reason so far.
    pub(crate) fn refused(self, site: &Site, reason: Reason) -> u64 {
        let counters: &[&str] = match (self.answer, reason) {
            (Answer::Daemon, Reason::Closed) => &["tag_not_opted_in"],
            (Answer::Daemon, Reason::Nameless) => &["tag_no_ptr"],
            (Answer::Kernel, Reason::Closed) => &["also_begun_not_opted_in", "answer_reset"],
            (Answer::Kernel, Reason::Nameless) => &["also_begun_no_ptr"],
        };
        counters.iter().map(|name| site.counter(name)).sum()
    }

    /// Counters of the program which show that a packet went to a responder that was not to answer.
    pub(crate) fn never_raised(self) -> &'static [&'static str] {
        match self.answer {
            Answer::Daemon => &["pass_opted_in", "pass_not_ready"],
            // nothing else is sent to port 25 on this link, so the daemon's listener has seen
            // nothing
            Answer::Kernel => PASSED,
        }
    }
}

/// Every way in which a packet to port 25 passes.
const PASSED: &[&str] = &[
    "pass_truncated",
    "pass_multi_buffer",
    "pass_segment",
    "pass_source",
    "pass_checksum",
    "pass_owned",
    "pass_not_ready",
    "pass_trusted",
    "pass_opted_in",
    "pass_not_ours",
    "tag_not_opted_in",
    "tag_no_ptr",
];
