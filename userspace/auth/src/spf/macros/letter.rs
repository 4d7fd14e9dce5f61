//! One macro, `%{…}`: a letter, what is made of its value, and where that is split (RFC 7208 7.1,
//! 7.3).
//!
//! Pure. What stands around macros is not its business.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    net::IpAddr,
    num::NonZeroU16,
};

use crate::spf::macros::context::{BadMacro, MacroContext, Values};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Macro {
    pub(super) letter: Letter,
    /// The letter was a capital one.
    escape: bool,
    keep: Option<NonZeroU16>,
    reverse: bool,
    delimiters: Delimiters,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Letter {
    Sender,
    LocalPart,
    SenderDomain,
    Domain,
    Address,
    Validated,
    AddressFamily,
    Helo,
    ReadableAddress,
    Receiver,
    Timestamp,
}

/// A set of the octets in [`DELIMITERS`], one bit for each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Delimiters(u8);

impl Macro {
    /// What stands between the braces.
    pub(super) fn parse(text: &[u8], context: MacroContext) -> Result<Self, BadMacro> {
        let (&first, rest) = text.split_first().ok_or(BadMacro::Syntax)?;
        let letter = Letter::parse(first)?;
        if letter.is_for_explanations() && context == MacroContext::Record {
            return Err(BadMacro::Letter);
        }
        let digits = rest.iter().take_while(|octet| octet.is_ascii_digit()).count();
        let (digits, rest) = rest.split_at_checked(digits).ok_or(BadMacro::Syntax)?;
        let (reverse, rest) = match rest {
            [b'r' | b'R', rest @ ..] => (true, rest),
            _ => (false, rest),
        };
        let delimiters = Delimiters::parse(rest)?;
        Ok(Self { letter, escape: first.is_ascii_uppercase(), keep: keep(digits)?, reverse, delimiters })
    }

    pub(super) fn expand(&self, values: &Values<'_>) -> String {
        let value = self.letter.value(values);
        let mut parts: Vec<&str> = value.split(|letter| self.delimiters.contain(letter)).collect();
        if self.reverse {
            parts.reverse();
        }
        let kept = self.keep.map_or(parts.len(), |keep| usize::from(keep.get()));
        let kept = parts.get(parts.len().saturating_sub(kept)..).unwrap_or_default().join(".");
        if self.escape { escaped(&kept) } else { kept }
    }
}

/// How many parts are kept; a number that is too large for any name keeps all.
fn keep(digits: &[u8]) -> Result<Option<NonZeroU16>, BadMacro> {
    if digits.is_empty() {
        return Ok(None);
    }
    let add = |number: u16, digit: &u8| number.saturating_mul(10).saturating_add(u16::from(digit - b'0'));
    // zero is not allowed (RFC 7208 7.3)
    NonZeroU16::new(digits.iter().fold(0, add)).map(Some).ok_or(BadMacro::Syntax)
}

/// All but the unreserved characters as `%XX` (RFC 3986 2.1, 2.3).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            escaped.push(char::from(octet));
        } else {
            // writing to a String does not fail
            let _ = write!(escaped, "%{octet:02X}");
        }
    }
    escaped
}

impl Letter {
    fn parse(octet: u8) -> Result<Self, BadMacro> {
        let octet = octet.to_ascii_lowercase();
        let known = LETTERS.iter().find(|(name, _)| *name == octet);
        known.map(|(_, letter)| *letter).ok_or(BadMacro::Syntax)
    }

    fn is_for_explanations(self) -> bool {
        matches!(self, Self::ReadableAddress | Self::Receiver | Self::Timestamp)
    }

    fn value<'a>(self, values: &Values<'a>) -> Cow<'a, str> {
        match self {
            Self::Sender => format!("{}@{}", values.local_part, values.sender_domain).into(),
            Self::LocalPart => values.local_part.into(),
            Self::SenderDomain => values.sender_domain.into(),
            Self::Domain => values.domain.as_str().into(),
            Self::Address => dotted(values.client).into(),
            Self::Validated => values.validated.into(),
            Self::AddressFamily => match values.client {
                IpAddr::V4(_) => "in-addr".into(),
                IpAddr::V6(_) => "ip6".into(),
            },
            Self::Helo => values.helo.into(),
            Self::ReadableAddress => values.client.to_string().into(),
            Self::Receiver => values.receiver.into(),
            Self::Timestamp => values.timestamp.to_string().into(),
        }
    }
}

/// `%{i}`: an IPv4 address in its usual form, the nibbles of an IPv6 address with dots between (RFC
/// 7208 7.3).
fn dotted(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let digits = format!("{:032X}", address.to_bits());
            let digits: Vec<String> = digits.chars().map(String::from).collect();
            digits.join(".")
        }
    }
}

impl Delimiters {
    /// Those that `text` names; the dot if it names none.
    fn parse(text: &[u8]) -> Result<Self, BadMacro> {
        if text.is_empty() {
            return Ok(Self::DOT);
        }
        let bit = |octet: &u8| DELIMITERS.iter().position(|delimiter| delimiter == octet);
        text.iter().try_fold(Self(0), |Self(set), octet| {
            bit(octet).map(|bit| Self(set | 1 << bit)).ok_or(BadMacro::Syntax)
        })
    }

    fn contain(self, letter: char) -> bool {
        let at = DELIMITERS.iter().position(|delimiter| char::from(*delimiter) == letter);
        at.is_some_and(|bit| self.0 & 1 << bit != 0)
    }

    const DOT: Self = Self(1);
}

impl fmt::Display for Macro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = LETTERS.iter().find(|(_, letter)| *letter == self.letter).map_or(b'?', |(name, _)| *name);
        let name = if self.escape { name.to_ascii_uppercase() } else { name };
        write!(f, "%{{{}", char::from(name))?;
        if let Some(keep) = self.keep {
            write!(f, "{keep}")?;
        }
        if self.reverse {
            f.write_char('r')?;
        }
        if self.delimiters != Delimiters::DOT {
            let named = DELIMITERS.iter().map(|delimiter| char::from(*delimiter));
            named
                .filter(|letter| self.delimiters.contain(*letter))
                .try_for_each(|letter| f.write_char(letter))?;
        }
        f.write_char('}')
    }
}

const LETTERS: &[(u8, Letter)] = &[
    (b's', Letter::Sender),
    (b'l', Letter::LocalPart),
    (b'o', Letter::SenderDomain),
    (b'd', Letter::Domain),
    (b'i', Letter::Address),
    (b'p', Letter::Validated),
    (b'v', Letter::AddressFamily),
    (b'h', Letter::Helo),
    (b'c', Letter::ReadableAddress),
    (b'r', Letter::Receiver),
    (b't', Letter::Timestamp),
];
const DELIMITERS: &[u8; 7] = b".-+,/_=";
