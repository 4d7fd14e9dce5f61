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
    /// The message has the null reverse-path: it is a bounce, most likely.
    pub null_sender: bool,
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
            null_sender: false,
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

    /// Why it is no pass, in words of ours.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Pass { .. } => None,
            Self::Fail { .. } => Some("no name leads back"),
            Self::PermError => Some("no PTR record"),
            Self::TempError(_) => Some("no answer from DNS"),
        }
    }

    /// The name that leads back to the address.
    #[must_use]
    pub fn confirmed_name(&self) -> Option<&str> {
        match self {
            Self::Pass { name } => Some(name),
            Self::Fail { .. } | Self::PermError | Self::TempError(_) => None,
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

impl SpfResult {
    /// The word of RFC 7208 2.6, which is that of RFC 8601 2.7.2, too.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// One SPF check of one identity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SpfCheck {
    /// The domain that was checked.
    pub domain: String,
    /// What came out.
    pub result: SpfResult,
    /// Why.
    pub reason: SpfReason,
    /// The term that decided, escaped and bounded, after those that led to its record (`include:b.example > a`);
    /// empty if none did.
    pub term: String,
    /// The explanation of the domain's owner (RFC 7208 6.2), bounded but not escaped: a stranger's text.
    pub explanation: Option<String>,
}

/// Why an SPF check came out as it did, in words of ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SpfReason {
    /// A directive matched: pass, fail, softfail, neutral.
    Matched,
    /// No directive matched and there is no redirect: neutral.
    NoMatch,
    /// none: there is no record.
    NoRecord,
    /// none: no domain name of several labels (RFC 7208 4.3).
    NoDomain,
    /// temperror: DNS gave no answer, for this reason.
    DnsFailure(&'static str),
    /// temperror: it took too long (RFC 7208 4.6.4).
    TimeLimit,
    /// temperror: the check came to no end at all, which is a defect of ours.
    BrokenOff,
    /// permerror: more than one record (RFC 7208 4.5).
    SeveralRecords,
    /// permerror: a mechanism that RFC 7208 does not know.
    UnknownMechanism,
    /// permerror: an argument that is missing, or where there may be none.
    BadArgument,
    /// permerror: a domain-spec that ends with no domain.
    BadDomain,
    /// permerror: not an IP address.
    BadAddress,
    /// permerror: a prefix length out of its range.
    BadPrefixLength,
    /// permerror: a macro that is none, or that may not stand there.
    BadMacro,
    /// permerror: an octet that is not visible ASCII.
    BadOctet,
    /// permerror: `redirect=` or `exp=` twice (RFC 7208 6).
    RepeatedModifier,
    /// permerror: more octets or terms than we read.
    RecordTooLong,
    /// permerror: an included domain has no record (RFC 7208 5.2).
    IncludeWithoutRecord,
    /// permerror: the domain of a redirect has no record (RFC 7208 6.1).
    RedirectWithoutRecord,
    /// permerror: more than 10 terms that ask DNS (RFC 7208 4.6.4).
    TooManyTerms,
    /// permerror: more than 2 terms for which DNS has nothing (RFC 7208 4.6.4).
    TooManyVoids,
    /// permerror: more than 10 mail servers (RFC 7208 4.6.4).
    TooManyServers,
}

impl SpfReason {
    /// In words, for logs and header fields.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::NoMatch => "no term matched",
            Self::NoRecord => "no SPF record",
            Self::NoDomain => "no domain name of several labels",
            Self::DnsFailure(reason) => reason,
            Self::TimeLimit => "evaluation took too long",
            Self::BrokenOff => "the check broke off",
            Self::SeveralRecords => "more than one SPF record",
            Self::UnknownMechanism => "unknown mechanism",
            Self::BadArgument => "argument missing or not allowed",
            Self::BadDomain => "bad domain name",
            Self::BadAddress => "bad IP address",
            Self::BadPrefixLength => "bad prefix length",
            Self::BadMacro => "bad macro",
            Self::BadOctet => "octet that is not visible ASCII",
            Self::RepeatedModifier => "modifier given twice",
            Self::RecordTooLong => "record too long",
            Self::IncludeWithoutRecord => "included domain without SPF record",
            Self::RedirectWithoutRecord => "redirect to a domain without SPF record",
            Self::TooManyTerms => "too many terms that ask DNS",
            Self::TooManyVoids => "too many terms without an answer in DNS",
            Self::TooManyServers => "too many mail servers",
        }
    }

    /// The name of the limit that was reached, if it was one.
    #[must_use]
    pub fn limit(self) -> Option<&'static str> {
        match self {
            Self::TimeLimit => Some("spf_time"),
            Self::RecordTooLong => Some("spf_record"),
            Self::TooManyTerms => Some("spf_terms"),
            Self::TooManyVoids => Some("spf_voids"),
            Self::TooManyServers => Some("spf_servers"),
            _ => None,
        }
    }
}

impl SpfCheck {
    /// A check that came to its end without a term that decided.
    #[must_use]
    pub fn new(domain: String, result: SpfResult, reason: SpfReason) -> Self {
        Self { domain, result, reason, term: String::new(), explanation: None }
    }

    /// The reason and the term, in one line.
    #[must_use]
    pub fn why(&self) -> String {
        let Self { reason, term, .. } = self;
        if term.is_empty() { reason.text().to_owned() } else { format!("{}: {term}", reason.text()) }
    }
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

/// The reason of a signature whose key is being tested (RFC 6376 3.6.1, `t=y`).
pub const TESTING_KEY: &str = "the key is for testing only";

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
