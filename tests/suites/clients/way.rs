//! Who refuses, and on what link: the daemon, or the kernel on a native veth, a generic veth, or lo.
//!
//! It knows the program's counters; what senders make of a refusal is the tables' business.

use std::any::Any;

use sixgate_tests::{
    netns::Netns,
    site::{INTERFACE, SENDER, Site},
};

use crate::rows::Reason;

/// Who refuses, and where the sender is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// The daemon, behind a veth with the program in native mode.
    Daemon,
}

impl Way {
    /// The settings for it.
    pub(crate) fn settings(self) -> String {
        match self {
            Self::Daemon => format!("answer = \"daemon\"\nxdp.interfaces = [{INTERFACE:?}]"),
        }
    }

    /// The interface with the program.
    pub(crate) fn interface(self) -> &'static str {
        match self {
            Self::Daemon => INTERFACE,
        }
    }

    /// Where senders are.
    pub(crate) fn senders(self, site: &Site) -> &Netns {
        match self {
            Self::Daemon => &site.outside,
        }
    }

    /// The address that they speak from when they speak to the first of the gate's addresses.
    pub(crate) fn source(self) -> &'static str {
        match self {
            Self::Daemon => SENDER,
        }
    }

    /// Makes the link fit for it; kept as long as the link is used.
    pub(crate) fn prepare(self, _site: &Site) -> Box<dyn Any> {
        match self {
            Self::Daemon => Box::new(()),
        }
    }

    /// Sessions refused for this reason so far.
    pub(crate) fn refused(self, site: &Site, reason: Reason) -> u64 {
        let counter = match (self, reason) {
            (Self::Daemon, Reason::Closed) => "tag_not_opted_in",
            (Self::Daemon, Reason::Nameless) => "tag_no_ptr",
        };
        site.counter(counter)
    }

    /// Counters of the program that say that somebody else was asked.
    pub(crate) fn never_raised(self) -> &'static [&'static str] {
        match self {
            Self::Daemon => &["pass_opted_in", "pass_not_ready"],
        }
    }
}
