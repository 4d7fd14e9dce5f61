//! What varies: who sends, who answers, how and why the gate refuses, where else the sender could
//! go, and what became of the message.
//!
//! It knows no result.

use sixgate_tests::{
    exim::Exim, gate::Need, netns::Netns, opensmtpd::OpenSmtpd, postfix::Postfix, sender::Sender,
};

/// A mail server that sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Client {
    Postfix,
    Exim,
    OpenSmtpd,
}

impl Client {
    pub(crate) fn need(self) -> Need {
        match self {
            Self::Postfix => Need::Postfix,
            Self::Exim => Need::Exim,
            Self::OpenSmtpd => Need::OpenSmtpd,
        }
    }

    pub(crate) fn start(self, netns: &Netns) -> Box<dyn Sender> {
        match self {
            Self::Postfix => Box::new(Postfix::start_sending(netns, "").unwrap()),
            Self::Exim => Box::new(Exim::start(netns).unwrap()),
            Self::OpenSmtpd => Box::new(OpenSmtpd::start(netns).unwrap()),
        }
    }
}

/// How a destination that has not opted in is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Style {
    Rcpt,
    /// At RCPT, temporarily.
    Temporary,
    Greeting,
    Reset,
}

impl Style {
    pub(crate) const ALL: [Self; 4] = [Self::Rcpt, Self::Temporary, Self::Greeting, Self::Reset];

    /// The row's settings of the daemon.
    pub(crate) fn settings(self) -> &'static str {
        match self {
            Self::Rcpt => "refuse_at = \"rcpt\"",
            Self::Temporary => "temporary_refusals = [\"not_opted_in\"]",
            Self::Greeting => "refuse_at = \"greeting\"",
            Self::Reset => "refuse_at = \"reset\"",
        }
    }
}

/// Why the gate refuses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reason {
    /// The destination has not opted in.
    Closed,
    /// The source has no PTR record.
    Nameless,
}

/// Where a domain takes mail beside the gate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Topology {
    /// There is no other destination.
    Only,
    /// At a second MX.
    Second,
    /// At the IPv4 address of the same host.
    Dual,
}

impl Topology {
    pub(crate) const ALL: [Self; 3] = [Self::Only, Self::Second, Self::Dual];
}

/// Where a message is after the first attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// The author has a bounce.
    Bounced,
    /// The second MX has it.
    NextMx,
    /// The IPv4 address has it.
    Ipv4,
    /// The sender keeps it for another attempt.
    Queued,
}
