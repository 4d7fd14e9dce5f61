//! Macro strings (RFC 7208 7): read once, expanded for one sender and one domain.
//!
//! Pure. What needs DNS, the validated name of `%{p}`, is given to it.

mod context;
mod letter;

use std::{borrow::Cow, fmt};

use crate::{
    dns::LONGEST_NAME,
    spf::{
        macros::letter::{Letter, Macro},
        name::DomainName,
    },
};

pub use context::{BadMacro, MacroContext, Values};

/// Octets of an explanation that are kept; it ends there (RFC 7208 6.2 leaves the length to the
/// receiver).
pub const LONGEST_EXPLANATION: usize = 512;
/// What `%{p}` stands for when no name of the client is validated (RFC 7208 7.3).
pub const UNKNOWN: &str = "unknown";

/// A macro string that obeys the grammar (RFC 7208 7.1).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MacroString {
    parts: Box<[Part]>,
}

/// A macro string that ends as a `domain-spec` has to: with a macro or with a top label that is
/// none of digits only.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DomainSpec(MacroString);

/// An expansion that is not a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoName {
    /// DNS cannot hold it: an empty label, or one that is too long.
    Unfit,
    /// A character outside ASCII, which only a local part has: the term matches nothing (RFC 8616
    /// 4).
    NotAscii,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Literal(Box<str>),
    Macro(Macro),
    /// `%%`, a percent sign.
    Percent,
    /// `%_`, a space.
    Space,
    /// `%-`, a URL-encoded space.
    UrlSpace,
}

impl MacroString {
    /// Reads `text`.
    ///
    /// # Errors
    /// [`BadMacro`] for what RFC 7208 7.1 does not allow in `context`.
    pub fn parse(text: &[u8], context: MacroContext) -> Result<Self, BadMacro> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((&first, after)) = rest.split_first() {
            if first == b'%' {
                let (part, after) = macro_expand(after, context)?;
                parts.push(part);
                rest = after;
            } else {
                let end = rest.iter().position(|octet| *octet == b'%').unwrap_or(rest.len());
                let (literal, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
                parts.push(Part::Literal(read_literal(literal, context)?));
                rest = after;
            }
        }
        Ok(Self { parts: parts.into() })
    }

    /// Whether `%{p}` occurs in it.
    #[must_use]
    pub fn needs_validated_name(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Macro(Macro { letter: Letter::Validated, .. })))
    }

    /// The text of an explanation; at most [`LONGEST_EXPLANATION`] octets are kept.
    #[must_use]
    pub fn expand(&self, values: &Values<'_>) -> String {
        let mut text = String::new();
        for part in &self.parts {
            text.push_str(&part.expand(values));
            if text.len() >= LONGEST_EXPLANATION {
                break;
            }
        }
        text.truncate(text.floor_char_boundary(LONGEST_EXPLANATION));
        text
    }
}

impl DomainSpec {
    /// Reads a domain-spec.
    ///
    /// # Errors
    /// [`BadMacro`] for what RFC 7208 7.1 does not allow.
    pub fn parse(text: &[u8]) -> Result<Self, BadMacro> {
        let string = MacroString::parse(text, MacroContext::Record)?;
        let good = match string.parts.last() {
            None => false,
            Some(Part::Literal(end)) => {
                let end = end.strip_suffix('.').unwrap_or(end);
                end.rsplit_once('.').is_some_and(|(_, top)| is_top_label(top))
            }
            Some(_) => true,
        };
        if good { Ok(Self(string)) } else { Err(BadMacro::DomainEnd) }
    }

    /// Whether `%{p}` occurs in it.
    #[must_use]
    pub fn needs_validated_name(&self) -> bool {
        self.0.needs_validated_name()
    }

    /// The name that it stands for, whole labels cut from its left until it fits (RFC 7208 7.3).
    /// Work and memory are bounded: what would be cut anyway is not expanded.
    ///
    /// # Errors
    /// [`NoName`] when DNS cannot be asked about the result.
    pub fn expand(&self, values: &Values<'_>) -> Result<DomainName, NoName> {
        let mut pieces = Vec::new();
        let mut length = 0;
        for part in self.0.parts.iter().rev() {
            let piece = part.expand(values);
            length += piece.len();
            pieces.push(piece);
            // a final dot, the name, and one octet that shows where the first label begins
            if length > LONGEST_NAME + 2 {
                break;
            }
        }
        pieces.reverse();
        let name = pieces.concat();
        let name = name.strip_suffix('.').unwrap_or(&name);
        if !name.is_ascii() {
            return Err(NoName::NotAscii);
        }
        shortened(name).and_then(DomainName::new).ok_or(NoName::Unfit)
    }
}

/// The longest end of `name` that begins with a whole label and fits into a name.
fn shortened(name: &str) -> Option<&str> {
    let Some(start) = name.len().checked_sub(LONGEST_NAME + 1) else {
        return Some(name);
    };
    let (_, name) = name.get(start..)?.split_once('.')?;
    Some(name)
}

fn read_literal(text: &[u8], context: MacroContext) -> Result<Box<str>, BadMacro> {
    let allowed =
        |octet: &u8| octet.is_ascii_graphic() || (*octet == b' ' && context == MacroContext::Explanation);
    if !text.iter().all(allowed) {
        return Err(BadMacro::Octet);
    }
    str::from_utf8(text).map(Box::from).map_err(|_| BadMacro::Octet)
}

/// What follows a `%`, and the rest.
fn macro_expand(text: &[u8], context: MacroContext) -> Result<(Part, &[u8]), BadMacro> {
    match text {
        [b'%', rest @ ..] => Ok((Part::Percent, rest)),
        [b'_', rest @ ..] => Ok((Part::Space, rest)),
        [b'-', rest @ ..] => Ok((Part::UrlSpace, rest)),
        [b'{', rest @ ..] => {
            let end = rest.iter().position(|octet| *octet == b'}').ok_or(BadMacro::Syntax)?;
            let (inside, rest) = rest.split_at_checked(end).ok_or(BadMacro::Syntax)?;
            let (_, rest) = rest.split_first().ok_or(BadMacro::Syntax)?;
            Ok((Part::Macro(Macro::parse(inside, context)?), rest))
        }
        _ => Err(BadMacro::Syntax),
    }
}

/// `toplabel` (RFC 7208 7.1): letters, digits and inner hyphens, and not digits only.
fn is_top_label(text: &str) -> bool {
    let is_alphanumeric = |octet: Option<&u8>| octet.is_some_and(u8::is_ascii_alphanumeric);
    is_alphanumeric(text.as_bytes().first())
        && is_alphanumeric(text.as_bytes().last())
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
        && !text.bytes().all(|octet| octet.is_ascii_digit())
}

impl Part {
    fn expand<'a>(&'a self, values: &Values<'_>) -> Cow<'a, str> {
        match self {
            Self::Literal(text) => Cow::Borrowed(text),
            Self::Macro(inner) => Cow::Owned(inner.expand(values)),
            Self::Percent => Cow::Borrowed("%"),
            Self::Space => Cow::Borrowed(" "),
            Self::UrlSpace => Cow::Borrowed("%20"),
        }
    }
}

impl fmt::Display for MacroString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| write!(f, "{part}"))
    }
}

impl fmt::Display for DomainSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => f.write_str(text),
            Self::Macro(inner) => inner.fmt(f),
            Self::Percent => f.write_str("%%"),
            Self::Space => f.write_str("%_"),
            Self::UrlSpace => f.write_str("%-"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
