//! How long checks, questions to DNS and the next hop took, as histograms.
//!
//! It takes durations, and measures none.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, histogram::Histogram},
    registry::Registry,
};

/// The histograms of a daemon, all with the same bounds.
#[derive(Debug)]
pub(crate) struct Times {
    checks: Family<CheckLabel, Histogram, fn() -> Histogram>,
    dns: Family<ResultLabel, Histogram, fn() -> Histogram>,
    next_hop: Family<StepLabel, Histogram, fn() -> Histogram>,
}

/// A check of a sender or a message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Check {
    /// Reverse DNS of the client.
    Ptr,
    /// SPF of one message.
    Spf,
    /// All DKIM signatures of one message.
    Dkim,
}

/// A step with the next hop.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NextHopStep {
    /// A recipient; the first one of a transaction may open the connection.
    Recipient,
    /// A message, from its first octet to the reply.
    Message,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CheckLabel {
    check: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct StepLabel {
    step: &'static str,
}

impl Times {
    /// The histograms, as a part of `registry`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let times = Self {
            checks: Family::new_with_constructor(histogram),
            dns: Family::new_with_constructor(histogram),
            next_hop: Family::new_with_constructor(histogram),
        };
        let rows = "Time of a check: PTR of a client, SPF and DKIM of a message";
        registry.register("check_seconds", rows, times.checks.clone());
        let rows = "Time of a question to the DNS servers, all attempts together";
        registry.register("dns_question_seconds", rows, times.dns.clone());
        let rows = "Time until the next hop replied to a recipient or a message";
        registry.register("next_hop_seconds", rows, times.next_hop.clone());
        times
    }

    /// A check was made.
    pub(crate) fn check(&self, check: Check, took: Duration) {
        let check = match check {
            Check::Ptr => "ptr",
            Check::Spf => "spf",
            Check::Dkim => "dkim",
        };
        self.checks.get_or_create(&CheckLabel { check }).observe(took.as_secs_f64());
    }

    /// A question went to the servers; whether one of them answered it.
    pub(crate) fn dns(&self, is_answered: bool, took: Duration) {
        let result = if is_answered { "answered" } else { "failed" };
        self.dns.get_or_create(&ResultLabel { result }).observe(took.as_secs_f64());
    }

    /// The next hop replied.
    pub(crate) fn next_hop(&self, step: NextHopStep, took: Duration) {
        let step = match step {
            NextHopStep::Recipient => "recipient",
            NextHopStep::Message => "message",
        };
        self.next_hop.get_or_create(&StepLabel { step }).observe(took.as_secs_f64());
    }
}

fn histogram() -> Histogram {
    Histogram::new(TIME_BOUNDS)
}

/// Upper bounds in seconds: from an answer of a cache to the longest time-out.
pub(crate) const TIME_BOUNDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
