//! SPF records: selection among the TXT records, and parsing (RFC 7208 4.5, 4.6.1, 12).
//!
//! Pure. It does not evaluate: macros stay as they were written.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::spf::{
    macros::{BadMacro, DomainSpec, MacroContext, MacroString},
    result::SpfReason,
};

/// Octets of a record. RFC 7208 3.4 wants them to fit into 512 octets; the longest in use have some
/// thousands.
pub const LONGEST_RECORD: usize = 8192;
/// Terms of a record.
pub const MAX_TERMS: usize = 1024;
/// Octets of a term that are kept of one that is wrong.
pub const LONGEST_TERM: usize = 100;

/// The SPF records among the TXT records of a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Selection<'a> {
    /// There is none.
    None,
    /// There is one.
    One(&'a [u8]),
    /// There are several, which is an error.
    Several,
}

/// A record that obeys the grammar.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// In the order in which they are evaluated.
    pub directives: Vec<Directive>,
    /// The modifier `redirect=`, not expanded.
    pub redirect: Option<DomainSpec>,
    /// The modifier `exp=`, not expanded.
    pub explanation: Option<DomainSpec>,
    /// Modifiers that RFC 7208 does not know; they mean nothing, but have to be well formed.
    pub others: Vec<OtherModifier>,
}

/// A mechanism, and the result when it matches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Directive {
    /// The result of a match.
    pub qualifier: Qualifier,
    /// The condition of a match.
    pub mechanism: Mechanism,
}

/// The result of a mechanism that matches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Qualifier {
    /// `+`, or nothing.
    Pass,
    /// `-`, a match fails.
    Fail,
    /// `~`, a match fails softly.
    SoftFail,
    /// `?`, a match is neutral.
    Neutral,
}

/// RFC 7208 5. Where no domain is given, it is the domain that is evaluated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mechanism {
    /// `all`, which matches every client.
    All,
    /// The clients that pass for another domain.
    Include(DomainSpec),
    /// The addresses of a name.
    A(Option<DomainSpec>, PrefixLengths),
    /// The addresses of a name's mail servers.
    Mx(Option<DomainSpec>, PrefixLengths),
    /// Clients whose reverse DNS leads into a domain.
    Ptr(Option<DomainSpec>),
    /// `ip4`, with an IPv4 network.
    Ip4(Ipv4Net),
    /// `ip6`, with an IPv6 network.
    Ip6(Ipv6Net),
    /// Every client, if a name has an IPv4 address.
    Exists(DomainSpec),
}

/// How many leading bits of an address count: `[ "/" ip4 ] [ "//" ip6 ]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PrefixLengths {
    ip4: u8,
    ip6: u8,
}

/// An unknown modifier, `name=macro-string`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OtherModifier {
    name: String,
    value: MacroString,
}

/// Why a record is none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecordError {
    /// One of those of syntax.
    pub reason: SpfReason,
    /// The first term that is wrong, escaped and cut to [`LONGEST_TERM`]; empty if it is the
    /// record.
    pub term: String,
}

/// The record among `texts` (RFC 7208 4.5): those that begin with `v=spf1` and then end or go on
/// with a space.
#[must_use]
pub fn select(texts: &[Vec<u8>]) -> Selection<'_> {
    let mut records = texts.iter().filter(|text| without_version(text).is_some());
    match (records.next(), records.next()) {
        (None, _) => Selection::None,
        (Some(record), None) => Selection::One(record),
        (Some(_), Some(_)) => Selection::Several,
    }
}

impl Record {
    /// Reads the whole record, so that an error anywhere is found before anything is evaluated (RFC
    /// 7208 4.6).
    ///
    /// # Errors
    /// [`RecordError`] for the first term that the grammar does not allow, and for what is too
    /// long.
    pub fn parse(text: &[u8]) -> Result<Self, RecordError> {
        let whole = |reason| RecordError { reason, term: String::new() };
        let terms = without_version(text).ok_or_else(|| whole(SpfReason::NoRecord))?;
        if text.len() > LONGEST_RECORD {
            return Err(whole(SpfReason::RecordTooLong));
        }
        let mut record =
            Self { directives: Vec::new(), redirect: None, explanation: None, others: Vec::new() };
        let terms = terms.split(|octet| *octet == b' ').filter(|term| !term.is_empty());
        for (index, term) in terms.enumerate() {
            if index == MAX_TERMS {
                return Err(whole(SpfReason::RecordTooLong));
            }
            record.add(term).map_err(|reason| RecordError { reason, term: shown(term) })?;
        }
        Ok(record)
    }

    fn add(&mut self, term: &[u8]) -> Result<(), SpfReason> {
        if !term.iter().all(u8::is_ascii_graphic) {
            return Err(SpfReason::BadOctet);
        }
        let Some((name, value)) = as_modifier(term) else {
            self.directives.push(Directive::parse(term)?);
            return Ok(());
        };
        if name.eq_ignore_ascii_case(b"redirect") {
            set_once(&mut self.redirect, value)
        } else if name.eq_ignore_ascii_case(b"exp") {
            set_once(&mut self.explanation, value)
        } else {
            let name = String::from_utf8_lossy(name).into_owned();
            let value = MacroString::parse(value, MacroContext::Record).map_err(SpfReason::from)?;
            self.others.push(OtherModifier { name, value });
            Ok(())
        }
    }
}

/// The rest of an SPF record.
fn without_version(text: &[u8]) -> Option<&[u8]> {
    let (version, rest) = text.split_at_checked(VERSION.len())?;
    let ends = matches!(rest.first(), None | Some(b' '));
    (version.eq_ignore_ascii_case(VERSION) && ends).then_some(rest)
}

/// A term whose name is followed by `=` is a modifier (RFC 7208 4.6.1).
fn as_modifier(term: &[u8]) -> Option<(&[u8], &[u8])> {
    let of_name = |octet: &u8| octet.is_ascii_alphanumeric() || b"-_.".contains(octet);
    let (name, rest) = term.split_at_checked(term.iter().take_while(|octet| of_name(octet)).count())?;
    let value = rest.strip_prefix(b"=")?;
    name.first()?.is_ascii_alphabetic().then_some((name, value))
}

fn set_once(modifier: &mut Option<DomainSpec>, value: &[u8]) -> Result<(), SpfReason> {
    if modifier.is_some() {
        return Err(SpfReason::RepeatedModifier);
    }
    *modifier = Some(DomainSpec::parse(value)?);
    Ok(())
}

/// A term as it may be shown to anybody.
fn shown(term: &[u8]) -> String {
    let mut text = term.iter().take(LONGEST_TERM).copied().collect::<Vec<u8>>().escape_ascii().to_string();
    text.truncate(LONGEST_TERM);
    text
}

impl Directive {
    fn parse(term: &[u8]) -> Result<Self, SpfReason> {
        let (qualifier, mechanism) = match term {
            [b'+', rest @ ..] => (Qualifier::Pass, rest),
            [b'-', rest @ ..] => (Qualifier::Fail, rest),
            [b'~', rest @ ..] => (Qualifier::SoftFail, rest),
            [b'?', rest @ ..] => (Qualifier::Neutral, rest),
            rest => (Qualifier::Pass, rest),
        };
        Ok(Self { qualifier, mechanism: Mechanism::parse(mechanism)? })
    }
}

impl Mechanism {
    fn parse(text: &[u8]) -> Result<Self, SpfReason> {
        let end = text.iter().take_while(|octet| octet.is_ascii_alphanumeric()).count();
        let (name, argument) = text.split_at_checked(end).ok_or(SpfReason::UnknownMechanism)?;
        match &name.to_ascii_lowercase()[..] {
            b"all" => no_argument(argument).map(|()| Self::All),
            b"include" => Ok(Self::Include(needed_domain(argument)?)),
            b"a" => with_prefixes(argument).map(|(domain, prefixes)| Self::A(domain, prefixes)),
            b"mx" => with_prefixes(argument).map(|(domain, prefixes)| Self::Mx(domain, prefixes)),
            b"ptr" => Ok(Self::Ptr(domain(argument)?)),
            b"ip4" => ip4_network(argument).map(Self::Ip4),
            b"ip6" => ip6_network(argument).map(Self::Ip6),
            b"exists" => Ok(Self::Exists(needed_domain(argument)?)),
            _ => Err(SpfReason::UnknownMechanism),
        }
    }
}

fn no_argument(argument: &[u8]) -> Result<(), SpfReason> {
    if argument.is_empty() { Ok(()) } else { Err(SpfReason::BadArgument) }
}

fn needed_domain(argument: &[u8]) -> Result<DomainSpec, SpfReason> {
    domain(argument)?.ok_or(SpfReason::BadArgument)
}

/// `[ ":" domain-spec ]`
fn domain(argument: &[u8]) -> Result<Option<DomainSpec>, SpfReason> {
    match argument {
        [] => Ok(None),
        [b':', domain @ ..] => Ok(Some(DomainSpec::parse(domain)?)),
        _ => Err(SpfReason::BadArgument),
    }
}

/// `[ ":" domain-spec ] [ dual-cidr-length ]`. A domain-spec never ends with a slash and digits, so
/// that the lengths can be taken from the end.
fn with_prefixes(argument: &[u8]) -> Result<(Option<DomainSpec>, PrefixLengths), SpfReason> {
    let (rest, ip6) = match digits_at_end(argument) {
        Some((rest, digits)) if rest.ends_with(b"//") => {
            (rest.strip_suffix(b"//").unwrap_or(rest), prefix_length(digits, Ipv6Addr::BITS)?)
        }
        _ => (argument, FULL.ip6),
    };
    let (rest, ip4) = match digits_at_end(rest) {
        Some((rest, digits)) if rest.ends_with(b"/") => {
            (rest.strip_suffix(b"/").unwrap_or(rest), prefix_length(digits, Ipv4Addr::BITS)?)
        }
        _ => (rest, FULL.ip4),
    };
    Ok((domain(rest)?, PrefixLengths { ip4, ip6 }))
}

/// `":" ip4-network [ ip4-cidr-length ]`; [`Ipv4Addr`] reads exactly what RFC 7208 12 calls
/// ip4-network.
fn ip4_network(argument: &[u8]) -> Result<Ipv4Net, SpfReason> {
    let (address, length) = network(argument, Ipv4Addr::BITS)?;
    let address = address.parse().map_err(|_| SpfReason::BadAddress)?;
    Ipv4Net::new(address, length).map_err(|_| SpfReason::BadPrefixLength)
}

/// `":" ip6-network [ ip6-cidr-length ]`; the notation of [`Ipv6Addr`] is that of RFC 4291 2.2.
fn ip6_network(argument: &[u8]) -> Result<Ipv6Net, SpfReason> {
    let (address, length) = network(argument, Ipv6Addr::BITS)?;
    let address = address.parse().map_err(|_| SpfReason::BadAddress)?;
    Ipv6Net::new(address, length).map_err(|_| SpfReason::BadPrefixLength)
}

fn network(argument: &[u8], bits: u32) -> Result<(&str, u8), SpfReason> {
    let text = argument.strip_prefix(b":").ok_or(SpfReason::BadArgument)?;
    let text = str::from_utf8(text).map_err(|_| SpfReason::BadAddress)?;
    match text.split_once('/') {
        Some((address, length)) => Ok((address, prefix_length(length.as_bytes(), bits)?)),
        None => Ok((text, u8::try_from(bits).unwrap_or(u8::MAX))),
    }
}

/// `text` before the digits at its end, and these; none if it does not end with a digit.
fn digits_at_end(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = text.iter().rev().take_while(|octet| octet.is_ascii_digit()).count();
    text.split_at_checked(text.len().checked_sub(digits)?).filter(|_| digits > 0)
}

/// A number up to `bits`, without leading zeros.
fn prefix_length(digits: &[u8], bits: u32) -> Result<u8, SpfReason> {
    let well_formed = match digits {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let number = str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    let fits = |number: &u8| well_formed && u32::from(*number) <= bits;
    number.filter(fits).ok_or(SpfReason::BadPrefixLength)
}

impl PrefixLengths {
    /// Whether `client` and `address` agree in the bits that count. Addresses of different families
    /// never do.
    #[must_use]
    pub fn agree(self, client: IpAddr, address: IpAddr) -> bool {
        match (client, address) {
            (IpAddr::V4(client), IpAddr::V4(address)) => {
                Ipv4Net::new(address, self.ip4).is_ok_and(|network| network.contains(&client))
            }
            (IpAddr::V6(client), IpAddr::V6(address)) => {
                Ipv6Net::new(address, self.ip6).is_ok_and(|network| network.contains(&client))
            }
            _ => false,
        }
    }
}

impl From<BadMacro> for SpfReason {
    fn from(bad: BadMacro) -> Self {
        match bad {
            BadMacro::Octet => Self::BadOctet,
            BadMacro::Syntax | BadMacro::Letter => Self::BadMacro,
            BadMacro::DomainEnd => Self::BadDomain,
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("v=spf1")?;
        self.directives.iter().try_for_each(|directive| write!(f, " {directive}"))?;
        self.redirect.iter().try_for_each(|domain| write!(f, " redirect={domain}"))?;
        self.explanation.iter().try_for_each(|domain| write!(f, " exp={domain}"))?;
        self.others.iter().try_for_each(|OtherModifier { name, value }| write!(f, " {name}={value}"))
    }
}

impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.qualifier {
            Qualifier::Pass => "",
            Qualifier::Fail => "-",
            Qualifier::SoftFail => "~",
            Qualifier::Neutral => "?",
        })?;
        self.mechanism.fmt(f)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, domain, prefixes) = match self {
            Self::All => ("all", None, FULL),
            Self::Include(domain) => ("include", Some(domain), FULL),
            Self::A(domain, prefixes) => ("a", domain.as_ref(), *prefixes),
            Self::Mx(domain, prefixes) => ("mx", domain.as_ref(), *prefixes),
            Self::Ptr(domain) => ("ptr", domain.as_ref(), FULL),
            Self::Exists(domain) => ("exists", Some(domain), FULL),
            Self::Ip4(network) => return write!(f, "ip4:{network}"),
            Self::Ip6(network) => return write!(f, "ip6:{network}"),
        };
        f.write_str(name)?;
        domain.iter().try_for_each(|domain| write!(f, ":{domain}"))?;
        prefixes.fmt(f)
    }
}

impl fmt::Display for PrefixLengths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ip4 != FULL.ip4 {
            write!(f, "/{}", self.ip4)?;
        }
        if self.ip6 != FULL.ip6 {
            write!(f, "//{}", self.ip6)?;
        }
        Ok(())
    }
}

const VERSION: &[u8] = b"v=spf1";
const FULL: PrefixLengths = PrefixLengths { ip4: 32, ip6: 128 };

#[cfg(test)]
mod tests;
