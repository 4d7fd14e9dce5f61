//! A recipient's domain, as the store keeps it: lower case, ASCII.
//!
//! It owns the name's form and marks; that such a domain exists in DNS is not looked up.

use std::{borrow::Borrow, fmt, str::FromStr};

use serde::Serialize;
use sixgate_common::line::is_domain_name;

/// A domain name in lower case (RFC 5321 4.1.2), without a final dot.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Domain(String);

/// What is marked of a domain: one of the two at least.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Marks {
    /// It takes mail here.
    pub opted_in: bool,
    /// Refusals that name it are temporary.
    pub temporary: bool,
}

impl Marks {
    /// It takes mail here.
    pub const OPTED_IN: Self = Self { opted_in: true, temporary: false };
    /// Refusals that name it are temporary, and it does not take mail here.
    pub const TEMPORARY: Self = Self { opted_in: false, temporary: true };

    /// These and those.
    #[must_use]
    pub const fn with(self, more: Self) -> Self {
        Self { opted_in: self.opted_in || more.opted_in, temporary: self.temporary || more.temporary }
    }

    /// How they stand after the domain in lists, with a blank before; nothing for a domain that takes mail
    /// here and is refused as usual.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match (self.opted_in, self.temporary) {
            (_, false) => "",
            (true, true) => " in temporary",
            (false, true) => " temporary",
        }
    }
}

/// Why a text is no domain.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DomainError {
    /// Letters beyond ASCII.
    #[error("`{}` is not ASCII: give the domain's A-label, which begins with xn--", text.escape_debug())]
    NotAscii {
        /// As it was written.
        text: String,
    },
    /// Anything else.
    #[error("`{}` is not a domain name", text.escape_debug())]
    NotAName {
        /// As it was written.
        text: String,
    },
}

impl Domain {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        // as DNS writes a complete name
        let name = text.strip_suffix('.').unwrap_or(text);
        let text = text.to_owned();
        if !text.is_ascii() {
            Err(DomainError::NotAscii { text })
        } else if is_domain_name(name.as_bytes()) {
            Ok(Self(name.to_ascii_lowercase()))
        } else {
            Err(DomainError::NotAName { text })
        }
    }
}

impl Borrow<str> for Domain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_an_ascii_name_in_lower_case() {
        for (text, wanted) in [
            ("Contoso.COM", Ok("contoso.com")),
            ("xn--bcher-kva.example", Ok("xn--bcher-kva.example")),
            (
                "bücher.example",
                Err("`bücher.example` is not ASCII: give the domain's A-label, which begins with xn--"),
            ),
            ("EXAMPLE.Org.", Ok("example.org")),
            ("contoso.com..", Err("`contoso.com..` is not a domain name")),
            (".", Err("`.` is not a domain name")),
            ("@contoso.com", Err("`@contoso.com` is not a domain name")),
            ("a b", Err("`a b` is not a domain name")),
            ("a\x1b", Err("`a\\u{1b}` is not a domain name")),
            ("", Err("`` is not a domain name")),
        ] {
            let found = text.parse::<Domain>().map_err(|error| error.to_string());
            let found = found.as_ref().map(Domain::as_str).map_err(String::as_str);
            assert_eq!(found, wanted, "{text}");
        }
    }
}
