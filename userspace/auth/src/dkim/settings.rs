//! The operator's settings for DKIM.
//!
//! Their effect is not known here.

use std::{num::NonZeroU8, time::Duration};

/// The operator's settings for DKIM.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DkimSettings {
    /// What becomes of a signature whose `l=` leaves octets at the end of the body unsigned.
    pub partial_body: PartialBody,
    /// Small messages whose signatures are computed at a time.
    pub concurrency_small: NonZeroU8,
    /// Large messages whose signatures are computed at a time.
    pub concurrency_large: NonZeroU8,
    /// A message of so many octets is a large one.
    pub large_message: u64,
    /// How long a message may wait in the queue for a computation.
    pub queue_timeout: Duration,
    /// Octets that may be hashed for one message: its body once or twice, its header once for each
    /// signature.
    pub max_hashed: u64,
}

/// What becomes of a signature over the beginning of a body (RFC 6376 8.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PartialBody {
    /// It may pass.
    Accepted,
    /// It never passes.
    Refused,
}

impl DkimSettings {
    /// The settings if the operator sets none.
    pub const DEFAULT: Self = Self {
        partial_body: PartialBody::Refused,
        concurrency_small: const { NonZeroU8::new(8).unwrap() },
        concurrency_large: const { NonZeroU8::new(2).unwrap() },
        large_message: 1 << 20,
        queue_timeout: Duration::from_secs(30),
        max_hashed: 256 << 20,
    };
}
