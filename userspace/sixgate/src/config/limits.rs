//! `[limits]`: the daemon's bounds and their defaults.
//!
//! The module that enforces a bound counts how often it is reached.

use std::{
    num::{NonZeroU8, NonZeroU32, NonZeroU64},
    time::Duration,
};

use serde::Deserialize;

use super::quantities;
use sixgate_auth::{dkim::DkimSettings, dns::DnsBounds, spf::VoidTerms};
use sixgate_smtp::session::SessionLimits;

/// The table `[limits]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections in all.
    pub connections: NonZeroU32,
    /// Connections of one source address.
    pub connections_per_source: NonZeroU32,
    /// Connections of one /64.
    pub connections_per_64: NonZeroU32,
    /// Connections of one /56.
    pub connections_per_56: NonZeroU32,
    /// Connections of one /48.
    pub connections_per_48: NonZeroU32,
    /// Messages in one connection.
    pub messages_per_connection: NonZeroU32,
    /// Recipients of one message.
    pub recipients: NonZeroU32,
    /// Octets of one message (RFC 1870).
    pub message_size: NonZeroU32,
    /// Memory of all messages held at one time, octets; at least one message's.
    pub message_memory: NonZeroU64,
    /// Octets of all messages in temporary files at one time; at least one message's.
    pub message_disk: NonZeroU64,
    /// Octets of a message's line without its CRLF, at least 998 (RFC 5322 2.1.1, which asks
    /// receivers to take more).
    #[serde(deserialize_with = "quantities::line_length")]
    pub line_length: NonZeroU32,
    /// Received fields of one message (RFC 5321 6.3).
    pub received: NonZeroU32,
    /// Command errors in one session.
    pub errors: NonZeroU32,
    /// DNS questions that the sources of one /64 may cause in a minute.
    pub dns_questions_per_minute: NonZeroU32,
    /// DNS questions of these that the SPF checks of one domain may cause.
    pub dns_questions_per_domain: NonZeroU32,
    /// Terms of SPF records for which DNS may have nothing (RFC 7208 4.6.4).
    pub spf_void_terms: u8,
    /// DNS questions that are open at one time.
    pub dns_concurrency: NonZeroU32,
    /// Connections to a mail server behind at one time.
    pub next_hop_connections: NonZeroU32,
    /// How long such a connection stays open while its client is silent.
    #[serde(deserialize_with = "quantities::wait")]
    pub next_hop_idle_timeout: Duration,
    /// How long to wait for a command (RFC 5321 4.5.3.2.7).
    #[serde(deserialize_with = "quantities::wait")]
    pub command_timeout: Duration,
    /// How long to wait for the next octets of a message.
    #[serde(deserialize_with = "quantities::wait")]
    pub data_timeout: Duration,
    /// The slowest pace at which a message may arrive, octets in a second; 0: any.
    pub data_rate: u32,
    /// How long it may take from MAIL to the end of DATA.
    #[serde(deserialize_with = "quantities::wait")]
    pub transaction_timeout: Duration,
    /// How long one session may take.
    #[serde(deserialize_with = "quantities::wait")]
    pub session_timeout: Duration,
    /// How long SPF and DKIM of one message may take once it has arrived, at most 5 minutes.
    #[serde(deserialize_with = "quantities::verification_time")]
    pub verification_timeout: Duration,
    /// Small messages whose DKIM signatures are computed at one time.
    #[serde(alias = "dkim_small")]
    pub dkim_concurrency_small: NonZeroU8,
    /// Large messages whose DKIM signatures are computed at one time.
    #[serde(alias = "dkim_large")]
    pub dkim_concurrency_large: NonZeroU8,
    /// A message of so many octets is a large one.
    #[serde(alias = "dkim_large_from")]
    pub dkim_large_message: NonZeroU64,
    /// How long a message may have to wait for that.
    #[serde(alias = "dkim_wait", deserialize_with = "quantities::wait")]
    pub dkim_queue_timeout: Duration,
    /// Octets that may be hashed for the signatures of one message.
    #[serde(alias = "dkim_hashing")]
    pub dkim_max_hashed: NonZeroU64,
}

impl Limits {
    /// Those of one SMTP session.
    #[must_use]
    pub fn session(&self) -> SessionLimits {
        SessionLimits {
            recipients: usize::try_from(self.recipients.get()).unwrap_or(usize::MAX),
            messages: self.messages_per_connection.get(),
            errors: self.errors.get(),
            line_length: self.line_length.get().into(),
            received: self.received.get(),
            data_rate: NonZeroU32::new(self.data_rate),
            transaction_timeout: self.transaction_timeout,
            command_timeout: self.command_timeout,
            data_timeout: self.data_timeout,
            session_timeout: self.session_timeout,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: const { NonZeroU32::new(1000).unwrap() },
            connections_per_source: const { NonZeroU32::new(50).unwrap() },
            connections_per_64: const { NonZeroU32::new(100).unwrap() },
            connections_per_56: const { NonZeroU32::new(150).unwrap() },
            connections_per_48: const { NonZeroU32::new(250).unwrap() },
            messages_per_connection: const { NonZeroU32::new(100).unwrap() },
            recipients: const { NonZeroU32::new(100).unwrap() },
            message_size: const { NonZeroU32::new(50 << 20).unwrap() },
            message_memory: const { NonZeroU64::new(256 << 20).unwrap() },
            message_disk: const { NonZeroU64::new(4 << 30).unwrap() },
            line_length: const { NonZeroU32::new(10_000).unwrap() },
            received: const { NonZeroU32::new(100).unwrap() },
            errors: const { NonZeroU32::new(10).unwrap() },
            dns_questions_per_minute: DnsBounds::default().questions_per_minute,
            dns_questions_per_domain: DnsBounds::default().questions_per_domain,
            spf_void_terms: VoidTerms::DEFAULT.limit,
            dns_concurrency: DnsBounds::default().concurrency,
            // below Postfix's default_process_limit, 100
            next_hop_connections: const { NonZeroU32::new(80).unwrap() },
            next_hop_idle_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(5 * 60),
            data_timeout: Duration::from_secs(3 * 60),
            data_rate: 500,
            transaction_timeout: Duration::from_secs(30 * 60),
            session_timeout: Duration::from_secs(60 * 60),
            verification_timeout: Duration::from_secs(60),
            dkim_concurrency_small: DkimSettings::DEFAULT.concurrency_small,
            dkim_concurrency_large: DkimSettings::DEFAULT.concurrency_large,
            dkim_large_message: const { NonZeroU64::new(DkimSettings::DEFAULT.large_message).unwrap() },
            dkim_queue_timeout: DkimSettings::DEFAULT.queue_timeout,
            dkim_max_hashed: const { NonZeroU64::new(DkimSettings::DEFAULT.max_hashed).unwrap() },
        }
    }
}
