//! Domain names in command lines: which one a recipient names, and what is a name at all (RFC 5321 4.1.2).
//!
//! It says where a name stands; who echoes it is elsewhere.

use super::has_octet;
use crate::{bytes::Bytes, refuse::LINE_MAX};

/// Longest domain name, in octets (RFC 1035 2.3.4, without the root's length octet).
pub const DOMAIN_MAX: usize = 253;
const LABEL_MAX: usize = 63;

/// A part of a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// Where it starts, counted from the line's start.
    pub start: usize,
    /// How many octets it has.
    pub length: usize,
}

/// The recipient's domain in the `RCPT TO:` line of `length` octets at `start`: what stands between the last `@`
/// outside quotes and the `>` that ends the path, if it is a domain name. What is not a domain name is never echoed.
#[inline(always)]
pub fn recipient_domain<B: Bytes + ?Sized>(bytes: &B, start: usize, length: usize) -> Option<Span> {
    match plain_path_end(bytes, start, length) {
        Some(end) => domain_before(bytes, start, end),
        None => domain_after_quotes(bytes, start, length),
    }
}

/// Where the first `>` stands, if nothing before it is quoted, as almost always; none as well if there is no `>`.
#[inline(always)]
fn plain_path_end<B: Bytes + ?Sized>(bytes: &B, start: usize, length: usize) -> Option<usize> {
    let mut at = 0;
    for _ in 0..LINE_MAX / 8 {
        let Some(word) = bytes.double(start + at).filter(|_| at + 8 <= length) else {
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
    at = bytes.opaque(at);
    for _ in 0..8 {
        if at >= length {
            break;
        }
        match bytes.octet(start + at)? {
            b'>' => return Some(bytes.opaque(at)),
            b'"' | b'\\' => return None,
            _ => at += 1,
        }
    }
    None
}

/// The domain name that ends before `end`, behind an `@`: read backwards, since a name reads the same in both directions.
#[inline(always)]
fn domain_before<B: Bytes + ?Sized>(bytes: &B, start: usize, end: usize) -> Option<Span> {
    let mut path = Path { state: LABEL_STARTS, domain: 0, label: 0 };
    for length in 0..=DOMAIN_MAX {
        if length >= end {
            break;
        }
        let octet = bytes.octet(start + end - 1 - length)?;
        let is_label = length.wrapping_sub(path.label) <= LABEL_MAX;
        if octet == b'@' {
            let is_name = path.state == IN_LABEL && is_label;
            return if is_name { Some(Span { start: end - length, length }) } else { None };
        }
        let state = path.step(octet, length);
        if !matches!(state, LABEL_STARTS | IN_LABEL | AFTER_HYPHEN) {
            return None;
        }
        path = Path::unpacked(bytes.opaque(path.packed()));
    }
    None
}

/// The same for a path that may have quoted parts.
#[inline(always)]
fn domain_after_quotes<B: Bytes + ?Sized>(bytes: &B, start: usize, length: usize) -> Option<Span> {
    let mut path = Path { state: NO_NAME, domain: 0, label: 0 };
    for at in 0..LINE_MAX {
        if at >= length {
            break;
        }
        match path.step(bytes.octet(start + at)?, at) {
            NAME_ENDS => {
                let length = at.wrapping_sub(path.domain);
                return if length <= DOMAIN_MAX { Some(Span { start: path.domain, length }) } else { None };
            }
            NO_NAME_ENDS => return None,
            _ => {}
        }
        path = Path::unpacked(bytes.opaque(path.packed()));
    }
    None
}

/// Whether `text` is a domain name as RFC 5321 4.1.2 writes them: labels of letters, digits and inner
/// hyphens, separated by single dots.
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

/// How far the reading of a path is: an automaton over a table, since a program that branches at each octet has more
/// ways than the kernel's verifier follows.
struct Path {
    state: u8,
    /// Where the name after the last `@` starts.
    domain: usize,
    /// Where its last label starts.
    label: usize,
}

impl Path {
    /// All of it in one word; places are less than 2^16.
    #[inline(always)]
    const fn packed(&self) -> usize {
        self.state as usize | self.label << 16 | self.domain << 32
    }

    #[inline(always)]
    const fn unpacked(word: usize) -> Self {
        Self { state: word as u8, label: word >> 16 & 0xffff, domain: word >> 32 & 0xffff }
    }

    /// Reads the octet at `at`; the new state.
    #[inline(always)]
    fn step(&mut self, octet: u8, at: usize) -> u8 {
        let class = CLASSES[octet as usize];
        let mut state = NEXT[(self.state << 3 | class) as usize % NEXT.len()];
        let ends_label = state == LABEL_STARTS && class == DOT || state == NAME_ENDS;
        if ends_label && at.wrapping_sub(self.label) > LABEL_MAX {
            state = if class == DOT { NO_NAME } else { NO_NAME_ENDS };
        }
        if state == LABEL_STARTS {
            self.label = at + 1;
            if class == AT {
                self.domain = at + 1;
            }
        }
        self.state = state;
        state
    }
}

/// Outside quotes, where no name can be.
const NO_NAME: u8 = 0;
const LABEL_STARTS: u8 = 1;
const IN_LABEL: u8 = 2;
const AFTER_HYPHEN: u8 = 3;
const QUOTED: u8 = 4;
const ESCAPED: u8 = 5;
/// The path ended with a name.
const NAME_ENDS: u8 = 6;
/// The path ended without one.
const NO_NAME_ENDS: u8 = 7;

const OTHER: u8 = 0;
const ALPHANUMERIC: u8 = 1;
const HYPHEN: u8 = 2;
const DOT: u8 = 3;
const AT: u8 = 4;
const QUOTE: u8 = 5;
const BACKSLASH: u8 = 6;
const END: u8 = 7;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [OTHER; 256];
    let mut octet = 0;
    while octet < 256 {
        classes[octet] = match octet as u8 {
            b'-' => HYPHEN,
            b'.' => DOT,
            b'@' => AT,
            b'"' => QUOTE,
            b'\\' => BACKSLASH,
            b'>' => END,
            other if other.is_ascii_alphanumeric() => ALPHANUMERIC,
            _ => OTHER,
        };
        octet += 1;
    }
    classes
}

/// A row for each state, a column for each class.
#[rustfmt::skip]
static NEXT: [u8; 64] = [
    // other    alphanumeric hyphen        dot           at            quote    backslash  end
    NO_NAME,    NO_NAME,     NO_NAME,      NO_NAME,      LABEL_STARTS, QUOTED,  NO_NAME,   NO_NAME_ENDS,
    NO_NAME,    IN_LABEL,    NO_NAME,      NO_NAME,      LABEL_STARTS, QUOTED,  NO_NAME,   NO_NAME_ENDS,
    NO_NAME,    IN_LABEL,    AFTER_HYPHEN, LABEL_STARTS, LABEL_STARTS, QUOTED,  NO_NAME,   NAME_ENDS,
    NO_NAME,    IN_LABEL,    AFTER_HYPHEN, NO_NAME,      LABEL_STARTS, QUOTED,  NO_NAME,   NO_NAME_ENDS,
    QUOTED,     QUOTED,      QUOTED,       QUOTED,       QUOTED,       NO_NAME, ESCAPED,   QUOTED,
    QUOTED,     QUOTED,      QUOTED,       QUOTED,       QUOTED,       QUOTED,  QUOTED,    QUOTED,
    NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS,
    NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS,
];

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
        let alphabet = b"ab0-..@@>\"\\< xy";
        let mut seed = 1_u64;
        let mut names = 0;
        for _ in 0..200_000 {
            let mut line = [0; 24];
            for octet in &mut line {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *octet = alphabet[(seed >> 33) as usize % alphabet.len()];
            }
            let found = recipient_domain(&line[..], 0, line.len());
            assert_eq!(found, domain_after_quotes(&line[..], 0, line.len()), "{}", line.escape_ascii());
            names += usize::from(found.is_some());
        }
        assert!(names > 1000, "{names}");
    }
}
