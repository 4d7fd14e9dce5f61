//! The bounds of a verification, and their names.
//!
//! They are kept elsewhere; those that the operator sets are in `settings`.

use std::time::Duration;

/// Signatures of a message that are looked at, from the top (RFC 6376 6.1 allows a limit). Each
/// costs at most one DNS question, and signatures with the same key cost one.
pub const MAX_SIGNATURES: usize = 10;
/// Fields of a header within which signatures count.
pub const MAX_FIELDS: usize = 1000;
/// Names in `h=`.
pub const MAX_NAMES: usize = 250;
/// The shortest RSA key (RFC 8301 3.2).
pub const MIN_RSA_BITS: usize = 1024;
/// The longest RSA key that the cryptography takes.
pub const MAX_RSA_BITS: usize = 8192;
/// How far a signer's clock may be ahead of ours (`t=`).
pub const CLOCK_SKEW: Duration = Duration::from_mins(5);

/// A bound of this check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DkimLimit {
    /// [`MAX_FIELDS`], the header fields of a message.
    Fields,
    /// [`super::DkimSettings::max_hashed`], the octets hashed for a message.
    Hashing,
    /// [`MAX_NAMES`], the names in a signature's `h=`.
    Names,
    /// [`MAX_SIGNATURES`], the signatures of a message.
    Signatures,
    /// The deadline of the verification.
    Time,
    /// [`super::DkimSettings::queue_timeout`], the time in the queue.
    Wait,
}

impl DkimLimit {
    /// The name for counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fields => "dkim_fields",
            Self::Hashing => "dkim_hashing",
            Self::Names => "dkim_names",
            Self::Signatures => "dkim_signatures",
            Self::Time => "dkim_time",
            Self::Wait => "dkim_wait",
        }
    }
}
