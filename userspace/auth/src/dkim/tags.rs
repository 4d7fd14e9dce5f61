//! Tag lists (RFC 6376 3.2), of signatures and of key records: syntax only, no meaning.

use data_encoding::{BASE64, BASE64_NOPAD};

/// More tags than that make no list. Real ones have a dozen.
const MAX_TAGS: usize = 64;

/// The tags of one list, each name once. Names and values are case-sensitive.
#[derive(Debug)]
pub(super) struct Tags<'a>(Vec<Tag<'a>>);

#[derive(Debug)]
struct Tag<'a> {
    name: &'a str,
    /// Without the blanks around it; empty if it is not text, which only a note may be.
    value: &'a str,
}

impl<'a> Tags<'a> {
    /// Reads the value of a signature field to the letter: nothing is empty but what follows the
    /// last semicolon. UTF-8 is taken (RFC 8616 4), control characters are not.
    pub(super) fn of_signature(text: &'a [u8]) -> Option<Self> {
        let mut elements: Vec<&[u8]> = elements(text).collect();
        if elements.last().is_some_and(|last| last.is_empty()) {
            elements.pop();
        }
        Self::collect(elements.into_iter())
    }

    /// Reads a key record with more patience: empty elements, which operators leave behind, are
    /// skipped.
    pub(super) fn of_key(text: &'a [u8]) -> Option<Self> {
        Self::collect(elements(text).filter(|element| !element.is_empty()))
    }

    fn collect(elements: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut tags: Vec<Tag<'a>> = Vec::new();
        for element in elements {
            let tag = Tag::parse(element)?;
            if tags.len() == MAX_TAGS || tags.iter().any(|other| other.name == tag.name) {
                return None;
            }
            tags.push(tag);
        }
        Some(Self(tags))
    }

    /// The value of `name`, without the blanks around it.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|tag| tag.name == name).map(|tag| tag.value)
    }

    /// The octets of a base64 value (RFC 6376 2.10), blanks anywhere, its padding whole or not
    /// there; empty if there is no such tag.
    pub(super) fn base64(&self, name: &str) -> Option<Vec<u8>> {
        let text = compact(self.get(name).unwrap_or_default());
        let encoding = if text.ends_with('=') { BASE64 } else { BASE64_NOPAD };
        encoding.decode(text.as_bytes()).ok()
    }

    /// The elements of a value with colons between them, without the blanks around them.
    pub(super) fn list(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.get(name).unwrap_or_default().split(':').map(|element| element.trim_matches(is_blank))
    }

    /// The name of the first tag.
    pub(super) fn first(&self) -> Option<&'a str> {
        self.0.first().map(|tag| tag.name)
    }
}

impl<'a> Tag<'a> {
    fn parse(element: &'a [u8]) -> Option<Self> {
        let equals = element.iter().position(|octet| *octet == b'=')?;
        let name = std::str::from_utf8(trim(element.get(..equals)?)).ok().filter(|name| is_name(name))?;
        let value = trim(element.get(equals + 1..)?);
        match std::str::from_utf8(value) {
            Ok(value) if value.chars().all(is_valid) => Some(Self { name, value }),
            // notes are for people, and some wrote theirs before UTF-8
            _ if name == NOTE => Some(Self { name, value: "" }),
            _ => None,
        }
    }
}

/// Whether `record` holds a tag that makes a verifier take it for a key: `p=`, or the version of
/// key records.
pub(super) fn resembles_key(record: &[u8]) -> bool {
    elements(record).any(|element| {
        let mut parts = element.splitn(2, |octet| *octet == b'=').map(trim);
        match (parts.next(), parts.next()) {
            (Some(b"p"), Some(_)) => true,
            (Some(b"v"), Some(version)) => version.eq_ignore_ascii_case(b"DKIM1"),
            _ => false,
        }
    })
}

/// `value`, the value of a signature field, without the value of `b=` and the blanks around it (RFC
/// 6376 3.5).
pub(super) fn without_signature(value: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(value.len());
    for (number, element) in value.split(|octet| *octet == b';').enumerate() {
        if number > 0 {
            kept.push(b';');
        }
        let equals = element.iter().position(|octet| *octet == b'=');
        let left = match equals.and_then(|at| element.split_at_checked(at)) {
            Some((name, _)) if trim(name) == b"b" => element.get(..=name.len()),
            _ => Some(element),
        };
        kept.extend_from_slice(left.unwrap_or_default());
    }
    kept
}

/// `text` without any blanks.
pub(super) fn compact(text: &str) -> String {
    text.chars().filter(|character| !is_blank(*character)).collect()
}

fn elements(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|octet| *octet == b';').map(trim)
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] | [rest @ .., b' ' | b'\t' | b'\r' | b'\n'] = text {
        text = rest;
    }
    text
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'_')
}

fn is_valid(character: char) -> bool {
    !character.is_control() || is_blank(character)
}

/// Notes of a key's owner (RFC 6376 3.6.1).
const NOTE: &str = "n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_each_name_once_and_nothing_but_tags() {
        let good: [&[u8]; 9] = [
            b"v=1",
            b" v = 1 ; a=rsa;\r\n\tb=",
            b"v=1; a=2; \r\n",
            b"x_1=a=b",
            b"v=1; V=2",
            b"",
            b"a=\xc3\xa9",
            b"n=b",
            b"a= b c ",
        ];
        let bad: [&[u8]; 9] =
            [b"v", b"v=1;v=2", b"v=1; a=2; v=1", b"=1", b"1a=1", b"a b=1", b"a=\0", b"a=\xe9", b"\xc3\xa9=1"];
        for text in good {
            assert!(Tags::of_signature(text).is_some(), "{:?}", text.escape_ascii().to_string());
            assert!(Tags::of_key(text).is_some(), "{:?}", text.escape_ascii().to_string());
        }
        for text in bad {
            assert!(Tags::of_signature(text).is_none(), "{:?}", text.escape_ascii().to_string());
            assert!(Tags::of_key(text).is_none(), "{:?}", text.escape_ascii().to_string());
        }
        let many = (0..=MAX_TAGS).map(|n| format!("t{n}=;")).collect::<String>();
        assert!(Tags::of_signature(many.as_bytes()).is_none());
    }

    #[test]
    fn only_a_key_record_may_have_empty_elements_and_odd_notes() {
        let rows: [(&[u8], bool); 6] = [
            (b"v=1;;a=2;", true),
            (b";v=1", true),
            (b"v=1; ;", true),
            (b"v=1;n=\xe9\0;p=A", true),
            (b"v=1;p=\xe9", false),
            (b"v=1;x=\xe9", false),
        ];
        for (text, key) in rows {
            assert_eq!(Tags::of_key(text).is_some(), key, "{:?}", text.escape_ascii().to_string());
        }
        for (text, _) in &rows[..3] {
            assert!(Tags::of_signature(text).is_none(), "{:?}", text.escape_ascii().to_string());
        }
    }

    #[test]
    fn blanks_inside_a_value_are_left_out_where_they_mean_nothing() {
        let tags = Tags::of_signature(b"b=aG\r\n\tk=; h = From :\r\n To; x=a b").expect("a list");
        assert_eq!(tags.base64("b").as_deref(), Some(b"hi".as_slice()));
        assert_eq!(tags.get("d"), None);
        assert_eq!(tags.get("x"), Some("a b"));
        assert_eq!(tags.list("h").collect::<Vec<_>>(), ["From", "To"]);
        assert_eq!(tags.first(), Some("b"));
    }

    #[test]
    fn base64_is_taken_with_and_without_its_padding() {
        let rows = [
            ("aGk=", Some(&b"hi"[..])),
            ("aGk", Some(b"hi")),
            ("aA==", Some(b"h")),
            ("a A =\r\n =", Some(b"h")),
            ("", Some(b"")),
            ("a", None),
            ("aGk==", None),
            ("aA=", None),
            ("aGk===", None),
            ("aGkh=", None),
            ("aGkhaA==aGkh", None),
            ("a=Gk", None),
            ("aG-_", None),
            ("aGk\u{e9}", None),
        ];
        for (text, wanted) in rows {
            let list = format!("b={text}");
            let tags = Tags::of_signature(list.as_bytes()).expect("a list");
            assert_eq!(tags.base64("b").as_deref(), wanted, "{text:?}");
        }
    }

    #[test]
    fn the_signature_is_left_out_and_nothing_else() {
        let rows = [
            ("v=1; b=abc; bh=def", "v=1; b=; bh=def"),
            ("v=1; bh=def; b= a\r\n b\r\n", "v=1; bh=def; b="),
            ("b\t=\r\n abc ;v=1", "b\t=;v=1"),
            ("bh=b=x; B=y; b=", "bh=b=x; B=y; b="),
            ("v=1;", "v=1;"),
        ];
        for (text, wanted) in rows {
            let left = without_signature(text.as_bytes());
            assert_eq!(String::from_utf8_lossy(&left), wanted, "{text:?}");
        }
    }

    #[test]
    fn text_that_could_be_taken_for_a_key_resembles_one() {
        let rows: [(&[u8], bool); 7] = [
            (b"v=DKIM1", true),
            (b" p =", true),
            (b"k=rsa; v=dkim1", true),
            (b"garbage; p=abc; p=def", true),
            (b"v=spf1 -all", false),
            (b"hello", false),
            (b"sp=x; P=y", false),
        ];
        for (text, wanted) in rows {
            assert_eq!(resembles_key(text), wanted, "{:?}", text.escape_ascii().to_string());
        }
    }
}
