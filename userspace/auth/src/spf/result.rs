//! The result of an SPF check, and its reason.
//!
//! It evaluates nothing.

/// A result of RFC 7208 2.6.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SpfResult {
    /// No record, or no domain to check.
    None,
    /// The domain's owner asserts nothing either way.
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
    /// The result's name in RFC 7208 2.6 and RFC 8601 2.7.2.
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
    /// Why the check had this result.
    pub reason: SpfReason,
    /// The term that decided, escaped and bounded, after those that led to its record
    /// (`include:b.example > a`); empty if none did.
    pub term: String,
    /// The explanation of the domain's owner (RFC 7208 6.2), bounded but not escaped: the owner's
    /// text.
    pub explanation: Option<String>,
}

/// The reason of an SPF result, as one of sixgate's fixed texts.
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
    /// permerror: more octets or terms than sixgate reads.
    RecordTooLong,
    /// permerror: an included domain has no record (RFC 7208 5.2).
    IncludeWithoutRecord,
    /// permerror: the domain of a redirect has no record (RFC 7208 6.1).
    RedirectWithoutRecord,
    /// permerror: more than 10 terms that ask DNS (RFC 7208 4.6.4).
    TooManyTerms,
    /// permerror: more terms for which DNS has nothing than are allowed (RFC 7208 4.6.4: 2).
    TooManyVoids,
    /// permerror: more than 10 mail servers (RFC 7208 4.6.4).
    TooManyServers,
}

impl SpfReason {
    /// The reason as a text, for logs and header fields.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::NoMatch => "no term matched",
            Self::NoRecord => "no SPF record",
            Self::NoDomain => "no domain name of several labels",
            Self::DnsFailure(reason) => reason,
            Self::TimeLimit => "evaluation took too long",
            Self::BrokenOff => "internal error in the SPF check",
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
            Self::TooManyTerms => "too many DNS lookups",
            Self::TooManyVoids => "too many void DNS lookups",
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
pub struct SpfResults {
    /// The HELO identity: recorded, never decisive.
    pub helo: SpfCheck,
    /// The MAIL FROM identity; `postmaster@HELO` when the reverse-path is null.
    pub mail_from: SpfCheck,
}
