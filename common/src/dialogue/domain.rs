//! Domain names in command lines: which one a recipient names, and whether it is a name (RFC 5321
//! 4.1.2).
//!
//! It finds the name and the number that a map has for it; it echoes nothing.

use super::path::{AFTER_HYPHEN, IN_LABEL, LABEL_MAX, LABEL_STARTS, NAME_ENDS, NO_NAME, NO_NAME_ENDS, Path};
use crate::{
    bytes::{Bytes, ONES, has_octet},
    refuse::LINE_MAX,
};

/// Longest domain name, in octets (RFC 1035 2.3.4, without the root's length octet).
pub const DOMAIN_MAX: usize = 253;
/// Longest domain of a path, whether a name or not: a name and its final dot.
pub const PATH_DOMAIN_MAX: usize = DOMAIN_MAX + 1;

/// A part of a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// Where it starts, counted from the line's start.
    pub start: usize,
    /// How many octets it has.
    pub length: usize,
}

impl Span {
    /// No octets at all.
    pub const EMPTY: Self = Self { start: 0, length: 0 };
}

/// The domain part of a recipient's path, a name or not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PathDomain {
    /// The part of the line.
    pub span: Span,
    /// Whether it is a domain name. Other text is never echoed.
    pub is_name: bool,
}

/// The recipient's domain in the `RCPT TO:` line of `length` octets at `start`, if it is a domain
/// name ([`path_domain`]).
#[inline(always)]
pub fn recipient_domain<B: Bytes + ?Sized>(bytes: &B, start: usize, length: usize) -> Option<Span> {
    match path_domain(bytes, start, length) {
        Some(PathDomain { span, is_name: true }) => Some(span),
        _ => None,
    }
}

/// The text between the last `@` outside quotes and the `>` that ends the path, in the `RCPT TO:`
/// line of `length` octets at `start`.
#[inline(always)]
pub fn path_domain<B: Bytes + ?Sized>(bytes: &B, start: usize, length: usize) -> Option<PathDomain> {
    match plain_path_end(bytes, start, length) {
        Some(end) => domain_before(bytes, start, end),
        None => domain_after_quotes(bytes, start, length),
    }
}

/// The number by which the map DOMAINS has the domain of `length` octets at `start`: a hash of its
/// octets, ASCII letters in lower case, without a final dot. None for an empty one.
///
/// Two domains can have the same number. The map has one fact about a domain (that its refusal is
/// temporary), which does no harm to another one.
#[inline(always)]
pub fn domain_key<B: Bytes + ?Sized>(bytes: &B, start: usize, length: usize) -> Option<u64> {
    let mut length = bytes.forget_range(length);
    if length == 0 || length > PATH_DOMAIN_MAX {
        return None;
    }
    if bytes.octet(start + length - 1)? == b'.' {
        length -= 1;
    }
    let (mut hash, mut at) = (length as u64, 0);
    for _ in 0..PATH_DOMAIN_MAX / 8 {
        if at + 8 > length {
            break;
        }
        hash = mix(hash, u64::from_le_bytes(*bytes.view::<8>(start + at)?));
        at = bytes.forget_range(at + 8);
    }
    let (mut word, mut shift) = (0, 0);
    for _ in 0..7 {
        if at >= length {
            break;
        }
        word |= u64::from(bytes.octet(start + at)?) << shift;
        (at, shift) = (bytes.forget_range(at + 1), shift + 8);
    }
    if length == 0 { None } else { Some(mix(hash, word)) }
}

/// Adds eight octets to the hash that [`domain_key`] computes, ASCII letters in lower case: the
/// first hash is the domain's length; eight octets at a time follow, then those that are left,
/// which may be none.
#[must_use]
#[inline(always)]
pub const fn mix(hash: u64, octets: u64) -> u64 {
    let mixed = (hash ^ lower_case(octets)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}

/// Eight octets, ASCII capitals among them made small.
#[inline(always)]
const fn lower_case(octets: u64) -> u64 {
    let low = octets & !(ONES << 7);
    let from_a = low + ONES * (0x80 - b'A' as u64);
    let beyond_z = low + ONES * (0x7f - b'Z' as u64);
    let capitals = (from_a ^ beyond_z) & !octets & (ONES << 7);
    octets | capitals >> 2
}

/// Where the first `>` stands, if nothing before it is quoted, as almost always; none as well if
/// there is no `>`.
#[inline(always)]
fn plain_path_end<B: Bytes + ?Sized>(bytes: &B, start: usize, length: usize) -> Option<usize> {
    let mut at = 0;
    for _ in 0..LINE_MAX / 8 {
        let Some(word) = bytes.u64_ne(start + at).filter(|_| at + 8 <= length) else {
            break;
        };
        if has_octet(word, b'"') | has_octet(word, b'\\') != 0 {
            return None;
        }
        if has_octet(word, b'>') != 0 {
            break;
        }
        at += 8;
    }
    at = bytes.forget_range(at);
    for _ in 0..8 {
        if at >= length {
            break;
        }
        match bytes.octet(start + at)? {
            b'>' => return Some(bytes.forget_range(at)),
            b'"' | b'\\' => return None,
            _ => at += 1,
        }
    }
    None
}

/// The domain that ends before `end`, behind an `@`: read backwards, since a name reads the same in
/// both directions.
#[inline(always)]
fn domain_before<B: Bytes + ?Sized>(bytes: &B, start: usize, end: usize) -> Option<PathDomain> {
    let mut path = Path { state: LABEL_STARTS, domain: 0, label: 0 };
    for length in 0..=PATH_DOMAIN_MAX {
        if length >= end {
            break;
        }
        let octet = bytes.octet(start + end - 1 - length)?;
        let is_label = length.wrapping_sub(path.label) <= LABEL_MAX;
        if octet == b'@' {
            let is_name = path.state == IN_LABEL && is_label && length <= DOMAIN_MAX;
            return Some(PathDomain { span: Span { start: end - length, length }, is_name });
        }
        // nothing leads from what is not a name back to a name, but an `@`
        path.step(octet, length);
        path = Path::unpacked(bytes.forget_range(path.packed()));
    }
    None
}

/// The same for a path that may have quoted parts.
#[inline(always)]
fn domain_after_quotes<B: Bytes + ?Sized>(bytes: &B, start: usize, length: usize) -> Option<PathDomain> {
    let mut path = Path { state: NO_NAME, domain: 0, label: 0 };
    for at in 0..LINE_MAX {
        if at >= length {
            break;
        }
        let state = path.step(bytes.octet(start + at)?, at);
        if matches!(state, NAME_ENDS | NO_NAME_ENDS) {
            let length = at.wrapping_sub(path.domain);
            if path.domain == 0 || length > PATH_DOMAIN_MAX {
                return None;
            }
            let is_name = state == NAME_ENDS && length <= DOMAIN_MAX;
            return Some(PathDomain { span: Span { start: path.domain, length }, is_name });
        }
        path = Path::unpacked(bytes.forget_range(path.packed()));
    }
    None
}

/// Whether `text` is a domain name as RFC 5321 4.1.2 writes them: labels of letters, digits and
/// inner hyphens, separated by single dots.
#[must_use]
pub fn is_domain_name(text: &[u8]) -> bool {
    let mut path = Path { state: LABEL_STARTS, domain: 0, label: 0 };
    for (at, octet) in text.iter().enumerate() {
        match path.step(*octet, at) {
            IN_LABEL | AFTER_HYPHEN => {}
            LABEL_STARTS if path.domain == 0 => {}
            _ => return false,
        }
    }
    path.step(b'>', text.len()) == NAME_ENDS && text.len() <= DOMAIN_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_domain_name_is_taken_from_a_recipient() {
        for (line, wanted) in [
            (&b"RCPT TO:<user@contoso.com>"[..], Some(&b"contoso.com"[..])),
            (b"RCPT TO:<user@Contoso.COM> NOTIFY=NEVER", Some(b"Contoso.COM")),
            (b"RCPT TO:<@relay.example,@b.example:user@contoso.com>", Some(b"contoso.com")),
            (b"RCPT TO:<\"a@b>c\"@contoso.com>", Some(b"contoso.com")),
            (b"RCPT TO:<\"a\\\"@x\"@contoso.com>", Some(b"contoso.com")),
            (b"RCPT TO:<postmaster>", None),
            (b"RCPT TO:<user@[IPv6:2001:db8::1]>", None),
            (b"RCPT TO:<user@under_score.example>", None),
            (b"RCPT TO:<user@.example>", None),
            (b"RCPT TO:<user@example.>", None),
            (b"RCPT TO:<user@-a.example>", None),
            (b"RCPT TO:<user@a-.example>", None),
            (b"RCPT TO:<user@a\x1b[2J.example>", None),
            (b"RCPT TO:<user@>", None),
            (b"RCPT TO:user@contoso.com", None),
            (b"RCPT TO:<\"a\"b@contoso.com>", Some(b"contoso.com")),
            (b"RCPT TO:<a@b@contoso.com>", Some(b"contoso.com")),
            (b"RCPT TO:<a@b..c>", None),
            (b"RCPT TO:<a@b.c.>", None),
            (
                b"RCPT TO:<a@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b>",
                Some(
                    &b"RCPT TO:<a@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b>"[11..76],
                ),
            ),
            (b"RCPT TO:<a@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b>", None),
            (b"RCPT TO:<a@b.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa>", None),
        ] {
            let found = recipient_domain(line, 0, line.len());
            let found = found.map(|span| &line[span.start..span.start + span.length]);
            assert_eq!(found, wanted, "{line:?}");
        }
    }

    #[test]
    fn the_key_is_that_of_the_path_domain_in_any_case_of_letters() {
        let of_line = |line: &[u8]| {
            let PathDomain { span, .. } = path_domain(line, 0, line.len())?;
            domain_key(line, span.start, span.length)
        };
        let of = |text: &str| domain_key(text.as_bytes(), 0, text.len());
        for (line, domain) in [
            ("RCPT TO:<u@contoso.com>", "contoso.com"),
            ("RCPT TO:<u@CONTOSO.com>", "contoso.com"),
            ("RCPT TO:<u@Contoso.Com.>", "contoso.com"),
            ("RCPT TO:<\"a b\"@contoso.com> NOTIFY=NEVER", "contoso.com"),
            ("RCPT TO:<@relay.example:u@contoso.com>", "contoso.com"),
            ("RCPT TO:<u@a_b.example>", "a_b.example"),
            ("RCPT TO:<\u{fc}@B\u{fc}cher.EXAMPLE>", "b\u{fc}cher.example"),
            ("RCPT TO:<u@a>", "a"),
            ("RCPT TO:<u@abcdefgh>", "abcdefgh"),
        ] {
            assert_eq!(of_line(line.as_bytes()), of(domain), "{line}");
            assert!(of(domain).is_some(), "{domain}");
        }
        for line in ["RCPT TO:<u@>", "RCPT TO:<u@.>", "RCPT TO:<postmaster>", "RCPT TO:u@contoso.com"] {
            assert_eq!(of_line(line.as_bytes()), None, "{line}");
        }
        let others =
            ["contoso.co", "contoso.comm", "ontoso.com", "contoso\u{e}com", "contoso.com..", "@", "["];
        assert!(others.into_iter().all(|other| of(other) != of("contoso.com")));
        assert_ne!(of("`"), of("@"));
        assert_ne!(of("{"), of("["));
    }

    #[test]
    fn capitals_alone_are_made_small() {
        for octet in 0..=u8::MAX {
            let word = u64::from_le_bytes([octet, b'A', octet, b'z', 0xff, octet, b'Z', octet]);
            let small = octet.to_ascii_lowercase();
            let wanted = [small, b'a', small, b'z', 0xff, small, b'z', small];
            assert_eq!(lower_case(word), u64::from_le_bytes(wanted), "{octet:#x}");
        }
    }

    #[test]
    fn a_domain_name_has_whole_labels() {
        for (text, wanted) in [
            ("contoso.com", true),
            ("a", true),
            ("a-b.c", true),
            ("", false),
            (".", false),
            ("a.", false),
            (".a", false),
            ("a..b", false),
            ("-a", false),
            ("a-", false),
            ("a-.b", false),
            ("a@b", false),
            ("a>b", false),
            ("a b", false),
            ("\"a\"", false),
        ] {
            assert_eq!(is_domain_name(text.as_bytes()), wanted, "{text:?}");
        }
        assert!(is_domain_name(&[b'a'; 63]));
        assert!(!is_domain_name(&[b'a'; 64]));
    }

    #[test]
    fn a_domain_reads_the_same_in_both_directions() {
        const ROUNDS: usize = if cfg!(debug_assertions) { 20_000 } else { 200_000 };
        let alphabet = b"ab0-..@@>\"\\< xy";
        let mut seed = 1_u64;
        let mut names = 0;
        for _ in 0..ROUNDS {
            let mut line = [0; 24];
            for octet in &mut line {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *octet = alphabet[(seed >> 33) as usize % alphabet.len()];
            }
            let found = path_domain(&line[..], 0, line.len());
            assert_eq!(found, domain_after_quotes(&line[..], 0, line.len()), "{}", line.escape_ascii());
            names += usize::from(found.is_some_and(|domain| domain.is_name));
        }
        assert!(names > ROUNDS / 200, "{names}");
    }
}
