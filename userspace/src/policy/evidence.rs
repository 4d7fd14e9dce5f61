//! What is known about a session and a message when a decision is due.
//!
//! Mechanism fills it in; nothing here looks anything up, and nothing here decides.

use std::net::Ipv6Addr;

/// Everything that a decision may rest on. A field that a stage does not need may be empty.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The source lies in a `trust` prefix.
    pub trusted: bool,
    /// The sender has proved itself by a client certificate that is trusted.
    pub certified: bool,
    /// What the owner of the destination address decided.
    pub destination: Standing,
    /// Reverse DNS of the source; none while it is not known yet, or not needed.
    pub ptr: Option<PtrEvidence>,
    /// The recipient of the RCPT TO that is being decided.
    pub recipient: Option<RecipientEvidence>,
    /// SPF of the message's sender; none before MAIL.
    pub spf: Option<SpfEvidence>,
    /// DKIM, one element for each signature looked at; empty before the end of DATA.
    pub dkim: Vec<DkimEvidence>,
}

impl Evidence {
    /// What is known as soon as a connection is accepted.
    #[must_use]
    pub fn at_connect(trusted: bool, destination: Standing) -> Self {
        Self {
            trusted,
            certified: false,
            destination,
            ptr: None,
            recipient: None,
            spf: None,
            dkim: Vec::new(),
        }
    }

    /// Whether nothing that DNS could say about the sender matters.
    #[must_use]
    pub fn sender_is_known(&self) -> bool {
        self.trusted || self.certified
    }
}

/// What is known about a recipient.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RecipientEvidence {
    /// Whether its domain takes mail here.
    pub domain: Standing,
    /// Whether its local part could make a mail server that trusts us route the message elsewhere.
    pub asks_for_routing: bool,
}

/// Whether an address or a domain takes mail over IPv6.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It has opted in.
    OptedIn,
    /// It has not.
    NotOptedIn,
}

/// Reverse DNS of an address: the four results of RFC 8601 2.7.3 ("iprev"), which are never mixed. Names are bounded in
/// number and length and fit to be shown, without the final dot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PtrEvidence {
    /// There is a PTR record, and this name of it leads back to the address.
    Pass {
        /// The name.
        name: String,
    },
    /// There are PTR records, and none of their names leads back to the address.
    Fail {
        /// Those that can be shown; perhaps none.
        names: Vec<String>,
    },
    /// There is no PTR record (NXDOMAIN or NODATA).
    PermError,
    /// DNS could not say (SERVFAIL, REFUSED, time-out).
    TempError(Unanswered),
}

/// What DNS could not say about an address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unanswered {
    /// Whether there is a PTR record.
    Record,
    /// Whether a name leads back: there is a PTR record.
    Names {
        /// Those that can be shown; none if only their existence is known.
        names: Vec<String>,
    },
}

impl PtrEvidence {
    /// The result as RFC 8601 2.7.3 spells it.
    #[must_use]
    pub fn result(&self) -> &'static str {
        match self {
            Self::Pass { .. } => "pass",
            Self::Fail { .. } => "fail",
            Self::PermError => "permerror",
            Self::TempError(_) => "temperror",
        }
    }

    /// The name that the address claims: the confirmed one if there is one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Pass { name } => Some(name),
            Self::Fail { names } | Self::TempError(Unanswered::Names { names }) => {
                names.first().map(String::as_str)
            }
            Self::PermError | Self::TempError(Unanswered::Record) => None,
        }
    }
}

/// A result of RFC 7208 2.6.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SpfResult {
    /// No record, or no domain to check.
    None,
    /// The domain's owner says nothing either way.
    Neutral,
    /// The address is authorized.
    Pass,
    /// The address is not authorized.
    Fail,
    /// The address is probably not authorized.
    SoftFail,
    /// DNS could not answer.
    TempError,
    /// The record cannot be interpreted.
    PermError,
}

/// One SPF check of one identity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SpfCheck {
    /// The domain that was checked.
    pub domain: String,
    /// What came out.
    pub result: SpfResult,
}

/// SPF of both identities of RFC 7208 2.3 and 2.4.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SpfEvidence {
    /// The HELO identity: recorded, never decisive.
    pub helo: SpfCheck,
    /// The MAIL FROM identity; `postmaster@HELO` when the reverse-path is null.
    pub mail_from: SpfCheck,
}

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

/// One DKIM signature, in the order in which they stand in the message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DkimEvidence {
    /// What came out.
    pub result: DkimResult,
    /// Why, in fixed words of ours; never a stranger's text.
    pub reason: Option<&'static str>,
    /// `d=`, as it stood in the signature.
    pub domain: String,
    /// `s=`.
    pub selector: String,
    /// `i=`, empty when it was not given.
    pub identity: String,
    /// `a=` in its canonical spelling, such as `rsa-sha256`.
    pub algorithm: &'static str,
    /// The first eight characters of `b=` (RFC 6008), if it has so many.
    pub signature_start: String,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Endpoints {
    /// The sender.
    pub source: Ipv6Addr,
    /// The sender's port.
    pub source_port: u16,
    /// Ours.
    pub destination: Ipv6Addr,
    /// Our port.
    pub destination_port: u16,
}
