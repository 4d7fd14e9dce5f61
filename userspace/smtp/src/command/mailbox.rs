//! Paths and mailboxes (RFC 5321 4.1.2, with UTF-8 as RFC 6531 3.3 adds it): a value that exists is
//! well formed.
//!
//! It owns the grammar of addresses; whether an address outside ASCII is welcome is the session's
//! decision.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str,
};

use sixgate_common::domain::is_domain_name;

/// Longest domain (RFC 5321 4.5.3.1.2), octets.
pub(super) const DOMAIN_MAX: usize = 255;
/// Longest path, angle brackets included (RFC 5321 4.5.3.1.3), characters. Nothing else bounds a
/// local part: the 64 octets of 4.5.3.1.1 are what everybody has to take, and SRS and VERP need
/// more. In UTF-8 the command line bounds the octets.
const PATH_MAX: usize = 256;
/// Characters that a mail server may take for a route within a local part, and their full-width
/// forms.
const ROUTE_MARKS: [char; 7] = ['%', '!', '@', '％', '！', '＠', '﹫'];

/// A mailbox without control characters that mail servers read in one way only. It may have no
/// domain (`<MAILER-DAEMON>`), and empty atoms in its local part (`a..b`, `a.`).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Mailbox {
    local_part: String,
    /// Without the final dot that some write; empty if there is none.
    domain: String,
    /// The domain in A-labels, if it was written otherwise.
    ascii_domain: Option<String>,
}

impl Mailbox {
    /// Reads the path between the angle brackets, after an optional source route that is dropped
    /// (RFC 5321 4.1.1.3, appendix C).
    pub(super) fn parse(path: &str) -> Option<Self> {
        let address = without_route(path)?;
        let (local_part, rest) = address.split_at_checked(local_length(address)?)?;
        if local_part.is_empty() {
            return None;
        }
        let local_part = local_part.to_owned();
        if rest.is_empty() {
            return Some(Self { local_part, domain: String::new(), ascii_domain: None });
        }
        let domain = rest.strip_prefix('@')?;
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        let ascii_domain = if is_domain(domain) { None } else { Some(to_a_labels(domain)?) };
        Some(Self { local_part, domain: domain.to_owned(), ascii_domain })
    }

    /// The local part as it was written, quotes included.
    #[must_use]
    pub fn local_part(&self) -> &str {
        &self.local_part
    }

    /// The domain as it was written, without a final dot: a domain name, an address literal in
    /// brackets, or nothing.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The domain in A-labels (RFC 5890 2.3.2.1), if it is a name and not an address literal. The
    /// name may have underscores.
    #[must_use]
    pub fn domain_name(&self) -> Option<&str> {
        let is_name = !self.domain.is_empty() && !self.domain.starts_with('[');
        is_name.then(|| self.ascii_domain.as_deref().unwrap_or(&self.domain))
    }

    /// The mailbox with its domain in A-labels, as RFC 7208 4.3 looks at it. Without a domain it
    /// ends with the `@`, so that no part of a quoted local part is taken for one.
    #[must_use]
    pub fn with_a_labels(&self) -> String {
        format!("{}@{}", self.local_part, self.ascii_domain.as_deref().unwrap_or(&self.domain))
    }

    /// Whether it can be written without SMTPUTF8 (RFC 6531).
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.local_part.is_ascii() && self.domain.is_ascii()
    }

    /// Whether the local part could make a mail server route the message further
    /// (`user%other@here`, `other!user@here`, `"user@other"@here`): mail servers do so for clients
    /// they trust, as they trust us.
    #[must_use]
    pub fn asks_for_routing(&self) -> bool {
        self.local_part.contains(ROUTE_MARKS)
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.local_part)?;
        if self.domain.is_empty() { Ok(()) } else { write!(f, "@{}", self.domain) }
    }
}

/// A path as it stands in a command: what is between the angle brackets, and what follows them.
pub(super) struct Path<'a> {
    pub(super) inner: &'a str,
    /// Empty, or a blank and parameters.
    pub(super) rest: &'a [u8],
}

impl<'a> Path<'a> {
    /// Splits `<path> parameters`, or `path parameters` as some clients write it. Blanks at the
    /// ends of the path are dropped, and what clients write around it although it can mean nothing:
    /// brackets twice, a closing bracket alone, a semicolon behind. The next hop gets the path as
    /// it should be written.
    pub(super) fn split(text: &'a [u8]) -> Option<Self> {
        let is_bare = !text.starts_with(b"<");
        let (inner, rest) = if is_bare {
            let end = path_end(text, is_blank).unwrap_or(text.len());
            let (inner, rest) = text.split_at_checked(end)?;
            (inner.strip_suffix(b">").unwrap_or(inner), rest)
        } else {
            let opening: &[u8] = if text.starts_with(b"<<") { b"<<" } else { b"<" };
            let text = text.strip_prefix(opening)?;
            let (inner, rest) = text.split_at_checked(path_end(text, |octet| octet == b'>')?)?;
            let closing: &[u8] = if opening.len() > 1 { b">>" } else { b">" };
            let rest = rest.strip_prefix(closing)?;
            (inner, rest.strip_prefix(b";").unwrap_or(rest))
        };
        let inner = str::from_utf8(trim_blanks(inner)).ok()?;
        let fits = inner.chars().count() + ANGLE_BRACKETS <= PATH_MAX;
        // some forget the blank behind the null reverse-path, which no address can be confused with
        let is_null = !is_bare && inner.is_empty();
        let ends =
            rest.first().is_none_or(|octet| is_blank(*octet) || is_null && octet.is_ascii_alphabetic());
        (fits && ends && !(is_bare && inner.is_empty())).then_some(Self { inner, rest })
    }
}

const ANGLE_BRACKETS: usize = 2;

/// Whether an octet separates the arguments of a command: a space (RFC 5321 4.1.1), or a tab, which
/// mail servers take for one.
pub(super) fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// `text` without blanks at its ends. Other control characters stay: a mail server does not take a
/// form feed for a separator.
pub(super) fn trim_blanks(text: &[u8]) -> &[u8] {
    let text = trim_blanks_start(text);
    let end = text.iter().rposition(|octet| !is_blank(*octet)).map_or(0, |last| last + 1);
    text.get(..end).unwrap_or_default()
}

/// `text` without blanks in front.
pub(crate) fn trim_blanks_start(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|octet| !is_blank(*octet)).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

/// Where the first octet outside of quotes stands that `ends` the path.
fn path_end(text: &[u8], ends: impl Fn(u8) -> bool) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, octet) in text.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            octet if !quoted && ends(*octet) => return Some(at),
            _ => {}
        }
    }
    None
}

/// The address behind the source route, if there is one.
fn without_route(path: &str) -> Option<&str> {
    if !path.starts_with('@') {
        return Some(path);
    }
    let (route, address) = path.split_once(':')?;
    let is_hop = |hop: &str| {
        hop.strip_prefix('@').is_some_and(|domain| is_domain(domain) || to_a_labels(domain).is_some())
    };
    route.split(',').all(is_hop).then_some(address)
}

/// Octets of the local part at the start of `address`.
fn local_length(address: &str) -> Option<usize> {
    if address.starts_with('"') {
        return quoted_length(address);
    }
    let local_part = address.split_once('@').map_or(address, |(local_part, _)| local_part);
    is_dot_string(local_part).then_some(local_part.len())
}

/// Octets of the quoted string at the start of `text`, quotes included.
fn quoted_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            ' '..='~' if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            ' '..='~' => {}
            _ if !escaped && is_beyond_ascii(char) => {}
            _ => return None,
        }
    }
    None
}

/// Whether it is atoms and dots. Dots may stand anywhere: no mail server reads `a..b` otherwise
/// than we do.
fn is_dot_string(text: &str) -> bool {
    text.chars().all(|char| char == '.' || is_atext(char))
}

/// `atext` of RFC 5322 3.2.3, with RFC 6531 3.3.
fn is_atext(char: char) -> bool {
    char.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(char) || is_beyond_ascii(char)
}

/// `UTF8-non-ascii` of RFC 6531 3.3, without characters that no name has and that could damage a
/// log or mislead a mail server behind: control characters, white space of other alphabets, marks
/// that change the direction of writing.
fn is_beyond_ascii(char: char) -> bool {
    let turns = matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !char.is_ascii() && !char.is_control() && !char.is_whitespace() && !turns && char != '\u{feff}'
}

fn is_domain(text: &str) -> bool {
    text.len() <= DOMAIN_MAX && (is_loose_name(text) || is_address_literal(text))
}

/// A domain name in which underscores count as letters, as DNS has them.
fn is_loose_name(text: &str) -> bool {
    is_domain_name(text.as_bytes()) || is_domain_name(text.replace('_', "x").as_bytes())
}

/// `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 4.1.3).
fn is_address_literal(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) else {
        return false;
    };
    match inner.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => address.parse::<Ipv6Addr>().is_ok(),
        _ => inner.parse::<Ipv4Addr>().is_ok(),
    }
}

/// A domain of U-labels (RFC 5890 2.3.2.1) in A-labels. A label that would first have to be mapped,
/// such as one of full-width letters, is not a U-label: a mail server behind might map it
/// otherwise.
fn to_a_labels(text: &str) -> Option<String> {
    if text.is_ascii() || text.len() > DOMAIN_MAX {
        return None;
    }
    let ascii = idna::domain_to_ascii_strict(text).ok()?;
    let (unicode, valid) = idna::domain_to_unicode(&ascii);
    let same = valid.is_ok() && unicode == text.to_lowercase();
    (same && is_domain_name(ascii.as_bytes())).then_some(ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_ask_for_routing_are_recognized() {
        for (path, wanted) in [
            ("user@contoso.com", false),
            ("üser@contoso.com", false),
            ("user%other.example@contoso.com", true),
            ("other.example!user@contoso.com", true),
            ("\"user@other.example\"@contoso.com", true),
            ("user％other.example@contoso.com", true),
            ("user＠other.example@contoso.com", true),
        ] {
            let mailbox = Mailbox::parse(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(mailbox.asks_for_routing(), wanted, "{path}");
        }
    }

    #[test]
    fn a_domain_of_u_labels_is_known_by_its_a_labels() {
        for (path, name, whole, ascii) in [
            ("u@contoso.com", Some("contoso.com"), "u@contoso.com", true),
            ("u@Contoso.com", Some("Contoso.com"), "u@Contoso.com", true),
            ("u@bücher.example", Some("xn--bcher-kva.example"), "u@xn--bcher-kva.example", false),
            ("u@BÜCHER.example", Some("xn--bcher-kva.example"), "u@xn--bcher-kva.example", false),
            ("u@straße.example", Some("xn--strae-oqa.example"), "u@xn--strae-oqa.example", false),
            ("ü@contoso.com", Some("contoso.com"), "ü@contoso.com", false),
            ("用户@例子.example", Some("xn--fsqu00a.example"), "用户@xn--fsqu00a.example", false),
            ("u@[192.0.2.1]", None, "u@[192.0.2.1]", true),
            ("u@my_host.example", Some("my_host.example"), "u@my_host.example", true),
            ("MAILER-DAEMON", None, "MAILER-DAEMON@", true),
            ("\"u@contoso.com\"", None, "\"u@contoso.com\"@", true),
        ] {
            let mailbox = Mailbox::parse(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(mailbox.domain_name(), name, "{path}");
            assert_eq!(mailbox.with_a_labels(), whole, "{path}");
            assert_eq!(mailbox.is_ascii(), ascii, "{path}");
            assert_eq!(mailbox.to_string(), path);
        }
    }

    #[test]
    fn a_final_dot_is_no_part_of_a_domain() {
        for path in ["u@contoso.com.", "u@bücher.example."] {
            let mailbox = Mailbox::parse(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(Some(mailbox.to_string().as_str()), path.strip_suffix('.'));
            assert!(mailbox.domain_name().is_some_and(|name| !name.ends_with('.')), "{path}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_address() {
        for path in [
            "u@contoso.com..",
            "u@.",
            "u@contoso..com",
            "u@-contoso.com",
            "@",
            "",
            "a:b@contoso.com",
            "a(b)@contoso.com",
            "a\\@b@contoso.com",
            "\"a\".b@contoso.com",
            "<u@contoso.com>",
            "u@contoso.com>",
            "u@contoso.com,v@contoso.com",
            "u@ｃontoso.com",
            "u@contoso。com",
            "u@b\u{308}ucher..example",
            "u@bu\u{308}cher.example",
            "u@xn--ü.example",
            "u@conto\u{ad}so.com",
            "u\u{85}@contoso.com",
            "u\u{9b}31m@contoso.com",
            "u\u{2028}@contoso.com",
            "u\u{3000}x@contoso.com",
            "u\u{202e}x@contoso.com",
            "\"u\u{a0}\"@contoso.com",
            "\"u\\ü\"@contoso.com",
            "@ｃontoso.com:u@contoso.com",
        ] {
            assert_eq!(Mailbox::parse(path), None, "{path:?}");
        }
    }
}
