//! The result of a question: an answer, or why there is none.
//!
//! How either comes about is not known here.

use std::{net::IpAddr, time::Duration};

use hickory_proto::rr::RData;
use thiserror::Error;

/// DNS's answer, the empty set included.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DnsAnswer<T> {
    /// The records; empty for NXDOMAIN and NODATA.
    pub records: Vec<T>,
    /// How long that holds: the shortest TTL on the way, CNAMEs included; for the empty set the
    /// negative TTL of RFC 2308 5, and zero when the server gave none.
    pub ttl: Duration,
}

/// A TLSA record (RFC 6698 2.1), its fields as numbers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tlsa {
    /// Whose certificate it is about, and who checks it: 0 to 3.
    pub usage: u8,
    /// The whole certificate (0), or its public key (1).
    pub selector: u8,
    /// As it is (0), SHA-256 (1), or SHA-512 (2).
    pub matching: u8,
    /// The octets that the selected part is compared with.
    pub data: Vec<u8>,
}

/// DNS could not answer: nothing is known about the record. For logs only, never for a client.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum DnsFailure {
    /// A server answered with an error such as SERVFAIL, REFUSED or FORMERR.
    #[error("the DNS server replied {code} to the query for {question}")]
    Code {
        /// Name and type.
        question: String,
        /// The response code's mnemonic (IANA, DNS RCODEs), or its number.
        code: String,
    },
    /// A server answered with something that is neither records nor their absence.
    #[error("the DNS server gave no usable answer for {question}: {reason}")]
    Unusable {
        /// Name and type.
        question: String,
        /// The library's error message.
        reason: String,
    },
    /// No server answered in time.
    #[error("no DNS server answered in time for {question}")]
    TimedOut {
        /// Name and type.
        question: String,
    },
    /// No server was asked: the source's network has caused too many questions lately.
    #[error(
        "DNS query rate limit of the client's network exceeded (limits.dns_questions_per_minute), {question} not queried"
    )]
    OverBudget {
        /// Name and type.
        question: String,
    },
    /// No server was asked: checks about the sender's domain have caused too many questions of the
    /// network lately.
    #[error(
        "DNS query rate limit of the client's network for the sender's domain exceeded, {question} not queried"
    )]
    OverDomainBudget {
        /// Name and type.
        question: String,
    },
    /// No server was asked: checks that ask much have caused too many questions of the source's
    /// network lately.
    #[error(
        "DNS query rate limit of the client's network for checks with many queries exceeded, {question} not queried"
    )]
    OverCostlyBudget {
        /// Name and type.
        question: String,
    },
    /// No server was asked: too many questions are open, in all or of the source's network.
    #[error("too many DNS queries in progress, {question} not queried")]
    Busy {
        /// Name and type.
        question: String,
    },
}

impl DnsFailure {
    /// The failure, in a fixed text without the name.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Code { code, .. } => match code.as_str() {
                "SERVFAIL" => "DNS server replied SERVFAIL",
                "REFUSED" => "DNS server replied REFUSED",
                _ => "DNS server replied with an error",
            },
            Self::Unusable { .. } => "no usable answer from DNS",
            Self::TimedOut { .. } => "no answer from DNS",
            Self::OverBudget { .. } => "DNS query rate limit of the client's network exceeded",
            Self::OverDomainBudget { .. } => "DNS query rate limit for the sender's domain exceeded",
            Self::OverCostlyBudget { .. } => {
                "DNS query rate limit of the client's network for checks with many queries exceeded"
            }
            Self::Busy { .. } => "too many DNS queries in progress",
        }
    }
}

impl<T> DnsAnswer<T> {
    pub(super) fn none() -> Self {
        Self { records: Vec::new(), ttl: Duration::ZERO }
    }
}

impl<T: Into<IpAddr>> DnsAnswer<T> {
    /// The same addresses, of either family.
    pub(super) fn into_addresses(self) -> DnsAnswer<IpAddr> {
        DnsAnswer { records: self.records.into_iter().map(Into::into).collect(), ttl: self.ttl }
    }
}

impl DnsAnswer<RData> {
    pub(super) fn pick<T>(&self, pick: impl Fn(&RData) -> Option<T>) -> DnsAnswer<T> {
        DnsAnswer { records: self.records.iter().filter_map(pick).collect(), ttl: self.ttl }
    }
}
