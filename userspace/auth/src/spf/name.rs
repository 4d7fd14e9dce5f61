//! Names that DNS can be asked about, as SPF makes them from records and macros.
//!
//! Whether such a name exists is not its business. Host names, with fewer characters, are
//! `dns::ascii_name`.

use std::fmt;

use crate::dns::LONGEST_NAME;

const LONGEST_LABEL: usize = 63;

/// A name of visible ASCII and spaces, in lower case, without the final dot: each label has 1 to 63
/// octets, all together at most 253 (RFC 1035 2.3.4). SPF allows far more characters than host
/// names have (RFC 7208 12).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DomainName(String);

impl DomainName {
    /// `text` as a name, with or without the final dot; none if DNS cannot hold it.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let label_is_good = |label: &str| (1..=LONGEST_LABEL).contains(&label.len());
        let good = text.len() <= LONGEST_NAME
            && text.bytes().all(|octet| matches!(octet, b' '..=b'~'))
            && text.split('.').all(label_is_good);
        good.then(|| Self(text.to_ascii_lowercase()))
    }

    /// In lower case, without the final dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether check_host() takes it (RFC 7208 4.3): more than one label, and no IPv4 address,
    /// which is what a last label of digits only would be.
    #[must_use]
    pub fn can_be_checked(&self) -> bool {
        let last = self.0.rsplit_once('.').map(|(_, last)| last);
        last.is_some_and(|last| !last.bytes().all(|octet| octet.is_ascii_digit()))
    }

    /// Whether it is `other` or lies below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let above = self.0.strip_suffix(&other.0);
        above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dns_can_hold_is_a_name() {
        let long_label = "a".repeat(63);
        let longest = format!("{}.abcde", ["abcdefg"; 31].join("."));
        let rows = [
            ("Mail.Example.", Some("mail.example")),
            ("foo:bar/baz.example", Some("foo:bar/baz.example")),
            ("two  spaces.example", Some("two  spaces.example")),
            (&long_label, Some(long_label.as_str())),
            (&format!("{long_label}a"), None),
            (&longest, Some(longest.as_str())),
            (&format!("{longest}e"), None),
            ("", None),
            (".", None),
            (".example", None),
            ("a..example", None),
            ("a.example..", None),
            ("a\r\n.example", None),
            ("bücher.example", None),
        ];
        assert_eq!(longest.len(), LONGEST_NAME);
        for (text, wanted) in rows {
            assert_eq!(DomainName::new(text).as_ref().map(DomainName::as_str), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_name_lies_within_itself_and_what_is_above() {
        let name = |text| DomainName::new(text).expect("a test's own name");
        let rows = [
            ("mail.a.example", "a.example", true),
            ("A.Example", "a.example", true),
            ("ba.example", "a.example", false),
            ("example", "a.example", false),
            ("a.example.net", "a.example", false),
        ];
        for (lower, upper, wanted) in rows {
            assert_eq!(name(lower).is_within(&name(upper)), wanted, "{lower} {upper}");
        }
    }

    #[test]
    fn a_checked_name_has_several_labels_and_is_no_address() {
        for (text, wanted) in [("a.example", true), ("example", false), ("192.0.2.1", false), ("a.1b", true)]
        {
            assert_eq!(DomainName::new(text).is_some_and(|name| name.can_be_checked()), wanted, "{text}");
        }
    }
}
