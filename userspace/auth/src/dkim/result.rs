//! What became of a DKIM signature, and why.
//!
//! It verifies nothing.

use crate::dkim::bounds::DkimLimit;

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

/// The results of a message's signatures.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DkimFindings {
    /// One element for each signature looked at, from the top.
    pub signatures: Vec<DkimSignature>,
    /// The bounds that were reached, each once.
    pub limits: Vec<DkimLimit>,
}

/// A result and its reason, as a fixed text; the reason of a pass is empty.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Settled {
    pub(super) result: DkimResult,
    pub(super) reason: &'static str,
    pub(super) limit: Option<DkimLimit>,
}

impl Settled {
    pub(super) const fn new(result: DkimResult, reason: &'static str) -> Self {
        Self { result, reason, limit: None }
    }

    /// Our own bounds keep it from passing.
    pub(super) const fn beyond(limit: DkimLimit, reason: &'static str) -> Self {
        Self { result: DkimResult::Policy, reason, limit: Some(limit) }
    }
}

/// The reason of a signature whose key is being tested (RFC 6376 3.6.1, `t=y`).
pub const TESTING_KEY: &str = "the key is for testing only";
