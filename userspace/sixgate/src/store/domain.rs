//! A recipient's domain, as the store keeps it: lower case, ASCII.
//!
//! It owns the name's form and marks; that such a domain exists in DNS is not looked up.

use std::{borrow::Borrow, collections::BTreeSet, fmt, net::IpAddr, str::FromStr};

use serde::Serialize;
use sixgate_base::endpoint::ends_in_number;
use sixgate_common::domain::{domain_key, is_domain_name};

/// A domain name in lower case (RFC 5321 4.1.2), without a final dot.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Domain(String);

/// The marks of a domain: one of the two at least.
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

    /// Both marks as a text.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match (self.opted_in, self.temporary) {
            (true, true) => "in temporary",
            (true, false) => "in",
            (false, true) => "temporary",
            (false, false) => "none",
        }
    }

    /// How they stand after the domain in lists, with a blank before; nothing for a domain that
    /// takes mail here and is refused as usual.
    #[must_use]
    pub const fn list_suffix(self) -> &'static str {
        match (self.opted_in, self.temporary) {
            (_, false) => "",
            (true, true) => " in temporary",
            (false, true) => " temporary",
        }
    }
}

/// The capital of a letter beyond ASCII, if it has one that is one letter.
fn capital(letter: char) -> char {
    let mut capitals = letter.to_uppercase();
    match (capitals.next(), capitals.next()) {
        (Some(capital), None) if !letter.is_ascii() => capital,
        _ => letter,
    }
}

/// Begins an A-label (RFC 5890 2.3.2.1).
const ACE_PREFIX: &str = "xn--";

/// What to write in place of a domain beyond ASCII.
fn a_label_of(text: &str) -> String {
    match idna::domain_to_ascii_strict(text) {
        Ok(name) => format!("write its A-label, {name}"),
        Err(_) => format!("give the domain's A-label, which begins with {ACE_PREFIX}"),
    }
}

/// A hint for a text that is not a domain name, or nothing.
fn meant_by(text: &str) -> String {
    let is_name = |name: &str| is_domain_name(name.as_bytes());
    if let Some((_, domain)) = text.rsplit_once('@').filter(|(_, domain)| is_name(domain)) {
        return format!(": write {}", domain.to_ascii_lowercase());
    }
    match text.strip_prefix("*.") {
        Some(domain) if is_name(domain) => ": list each domain, a wildcard is not taken".to_owned(),
        _ => String::new(),
    }
}

/// Why a text is not a domain.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DomainError {
    /// Letters beyond ASCII.
    #[error("`{}` is not ASCII: {}", text.escape_debug(), a_label_of(text))]
    NotAscii {
        /// As it was written.
        text: String,
    },
    /// An address, or a name whose last label is a number, as an IPv4 address has it.
    #[error(
        "`{}` is not a domain name but an address, or ends like one: name the domain behind the `@` of the recipients, \
         such as example.com",
        text.escape_debug()
    )]
    Address {
        /// As it was written.
        text: String,
    },
    /// The text has any other fault.
    #[error("`{}` is not a domain name{}", text.escape_debug(), meant_by(text))]
    NotAName {
        /// As it was written.
        text: String,
    },
}

impl Domain {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The numbers of the spellings under which a client may name it, in any case of ASCII letters:
    /// as A-label and, if it has a U-label (RFC 5890 2.3.2.1), with its letters beyond ASCII as
    /// small ones or as capitals.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<u64> {
        let mut spellings = vec![self.0.clone()];
        if self.0.split('.').any(|label| label.starts_with(ACE_PREFIX)) {
            let (unicode, valid) = idna::domain_to_unicode(&self.0);
            if valid.is_ok() {
                spellings.push(unicode.chars().map(capital).collect());
                spellings.push(unicode);
            }
        }
        let key = |name: &String| domain_key(name.as_bytes(), 0, name.len());
        spellings.iter().filter_map(key).collect()
    }
}

/// As [`Domain::from_str`], for the name of an entry that is there: earlier versions took
/// addresses, too.
///
/// # Errors
///
/// [`DomainError`].
pub fn parse_listed_domain(text: &str) -> Result<Domain, DomainError> {
    // as DNS writes a complete name
    let name = text.strip_suffix('.').unwrap_or(text);
    let text = text.to_owned();
    if !text.is_ascii() {
        Err(DomainError::NotAscii { text })
    } else if is_domain_name(name.as_bytes()) {
        Ok(Domain(name.to_ascii_lowercase()))
    } else {
        Err(DomainError::NotAName { text })
    }
}

impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        let literal = text.trim_start_matches('[').trim_end_matches(']').trim_start_matches("IPv6:");
        if ends_in_number(text) || literal.parse::<IpAddr>().is_ok() {
            return Err(DomainError::Address { text: text.to_owned() });
        }
        parse_listed_domain(text)
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
    use sixgate_smtp::policy::TemporaryDomains;

    #[test]
    fn each_spelling_of_a_domain_is_found() {
        let domains =
            |name: &str| -> TemporaryDomains { name.parse::<Domain>().unwrap().keys().into_iter().collect() };
        for (domain, named, wanted) in [
            ("contoso.com", "Contoso.COM.", true),
            ("contoso.com", "contoso.co", false),
            ("xn--bcher-kva.example", "XN--Bcher-KVA.example", true),
            ("xn--bcher-kva.example", "b\u{fc}cher.Example", true),
            ("xn--bcher-kva.example", "B\u{dc}CHER.EXAMPLE.", true),
            ("xn--bcher-kva.example", "bucher.example", false),
            ("xn--strae-oqa.example", "stra\u{df}e.example", true),
            (
                "sub.xn--e1afmkfd.xn--p1ai",
                "SUB.\u{41f}\u{420}\u{418}\u{41c}\u{415}\u{420}.\u{420}\u{424}",
                true,
            ),
            // what is not a valid A-label has one spelling
            ("xn--a.example", "xn--a.example", true),
        ] {
            assert_eq!(domains(domain).contains(named.as_bytes()), wanted, "{named}");
        }
        assert_eq!("contoso.com".parse::<Domain>().unwrap().keys().len(), 1);
        assert_eq!("xn--bcher-kva.example".parse::<Domain>().unwrap().keys().len(), 3);
    }

    #[test]
    fn a_domain_is_an_ascii_name_in_lower_case() {
        for (text, wanted) in [
            ("Contoso.COM", Ok("contoso.com")),
            ("xn--bcher-kva.example", Ok("xn--bcher-kva.example")),
            (
                "bücher.example",
                Err("`bücher.example` is not ASCII: write its A-label, xn--bcher-kva.example"),
            ),
            ("EXAMPLE.Org.", Ok("example.org")),
            ("contoso.com..", Err("`contoso.com..` is not a domain name")),
            (".", Err("`.` is not a domain name")),
            ("@contoso.com", Err("`@contoso.com` is not a domain name: write contoso.com")),
            ("user@Contoso.com", Err("`user@Contoso.com` is not a domain name: write contoso.com")),
            ("user@", Err("`user@` is not a domain name")),
            (
                "*.contoso.com",
                Err("`*.contoso.com` is not a domain name: list each domain, a wildcard is not taken"),
            ),
            ("a b", Err("`a b` is not a domain name")),
            ("a\x1b", Err("`a\\u{1b}` is not a domain name")),
            ("", Err("`` is not a domain name")),
            ("1.example", Ok("1.example")),
            ("1.2.3.4.example", Ok("1.2.3.4.example")),
        ] {
            let found = text.parse::<Domain>().map_err(|error| error.to_string());
            let found = found.as_ref().map(Domain::as_str).map_err(String::as_str);
            assert_eq!(found, wanted, "{text}");
        }
    }

    #[test]
    fn an_address_is_not_a_domain() {
        for text in ["1.2.3.4", "192.0.2.1.", "[192.0.2.1]", "2001:db8::1", "[IPv6:2001:db8::1]", "a.1", "25"]
        {
            let found = text.parse::<Domain>();
            assert_eq!(found, Err(DomainError::Address { text: text.to_owned() }));
        }
        // so that what an earlier version took can be removed
        assert_eq!(parse_listed_domain("1.2.3.4").map(|domain| domain.to_string()), Ok("1.2.3.4".to_owned()));
    }
}
