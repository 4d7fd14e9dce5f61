//! What became of a DKIM signature, and why.
//!
//! It verifies nothing.

/// A result of RFC 8601 2.7.1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DkimResult {
    /// The signature is good and acceptable.
    Pass,
    /// The signature or the body hash does not verify.
    Fail,
    /// The signature could not be interpreted.
    Neutral,
    /// The signature is good or could be, but our rules never accept it (rsa-sha1, short key, …).
    Policy,
    /// The key could not be had for the moment.
    TempError,
    /// The signature or its key is unusable for good.
    PermError,
}

impl DkimResult {
    /// The result's name in RFC 8601 2.7.1.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Neutral => "neutral",
            Self::Policy => "policy",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// One DKIM signature, in the order in which they stand in the message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DkimSignature {
    /// What came out.
    pub result: DkimResult,
    /// The reason, one of sixgate's fixed texts; never a text of the sender.
    pub reason: Option<&'static str>,
    /// `d=`, as it stood in the signature.
    pub domain: String,
    /// The selector, tag `s=`.
    pub selector: String,
    /// `i=`, empty when it was not given.
    pub identity: String,
    /// `a=` in its canonical spelling, such as `rsa-sha256`.
    pub algorithm: &'static str,
    /// The first eight characters of `b=` (RFC 6008), if it has so many.
    pub signature_start: String,
}

/// The reason of a signature whose key is being tested (RFC 6376 3.6.1, `t=y`).
pub const TESTING_KEY: &str = "the key is for testing only";
