//! Fields Authentication-Results that came with a message and that could be taken for ours
//! (RFC 8601 5).
//!
//! It reads more than the grammar allows, because those who read the message later may do so too.
//! It removes nothing.

use std::ops::Range;

use super::{NAME, is_token_octet};
use crate::{dns::ascii_name, fields::fields};

/// The fields Authentication-Results of `message` that claim `authserv_id`, the name of this host,
/// or that have an unknown version: where they lie, so that they can be left out. Only after
/// verification, as a signature may cover them. One whose identifier cannot be read counts as this
/// host's if the name stands anywhere in it.
#[must_use]
pub fn forged(message: &[u8], authserv_id: &str) -> Vec<Range<usize>> {
    let unwanted = |value: &[u8]| match Claim::read(value) {
        Some(claim) => claim.is_of(authserv_id) || !claim.version_is_known,
        None => names(value, authserv_id),
    };
    fields(message).filter(|field| field.is(NAME) && unwanted(field.value)).map(|field| field.range).collect()
}

/// Whose results a field claims to hold.
#[derive(Debug, Eq, PartialEq)]
struct Claim {
    /// The authserv-id to the letter: a token or a quoted string.
    exact: String,
    /// The host name that is left without quotes, comments and blanks, up to the first semicolon, a
    /// version included.
    loose: String,
    /// There is no version, or it is 1.
    version_is_known: bool,
}

impl Claim {
    /// Reads a field's value; none without an end to a comment or a quoted string before the first
    /// semicolon, or if the identifier is not text.
    fn read(value: &[u8]) -> Option<Self> {
        let pieces = pieces(value)?;
        let mut parts = pieces.split(|piece| *piece == Piece::Gap).filter(|part| !part.is_empty());
        let exact = parts.next().map(token).unwrap_or_default();
        let second: Vec<u8> = parts.next().unwrap_or_default().iter().filter_map(Piece::octet).collect();
        let is_number = !second.is_empty() && second.iter().all(u8::is_ascii_digit);
        let is_one = second.iter().skip_while(|digit| **digit == b'0').eq(b"1");
        let loose: Vec<u8> =
            pieces.iter().filter_map(Piece::octet).filter(|octet| !matches!(octet, b' ' | b'\t')).collect();
        let loose = loose.split(|octet| !is_name_octet(*octet)).next().unwrap_or_default();
        Some(Self {
            exact: String::from_utf8(exact).ok()?,
            loose: String::from_utf8(loose.to_vec()).ok()?,
            version_is_known: !is_number || is_one,
        })
    }

    /// Whether anybody could read `authserv_id` there.
    fn is_of(&self, authserv_id: &str) -> bool {
        let without_version = self.loose.trim_end_matches(|character: char| character.is_ascii_digit());
        [self.exact.as_str(), &self.loose, without_version].iter().any(|id| is_same(id, authserv_id))
    }
}

/// What stands before the first semicolon.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Piece {
    /// Blanks, folding, comments.
    Gap,
    /// An octet outside of quotes.
    Plain(u8),
    /// An octet of a quoted string, unescaped.
    Quoted(u8),
}

impl Piece {
    fn octet(&self) -> Option<u8> {
        match self {
            Self::Gap => None,
            Self::Plain(octet) | Self::Quoted(octet) => Some(*octet),
        }
    }
}

/// Reads up to the first semicolon. Comments may be nested (RFC 5322 3.2.2), and folding in a
/// quoted string stands for nothing (3.2.4).
fn pieces(value: &[u8]) -> Option<Vec<Piece>> {
    let (mut pieces, mut depth, mut quoted) = (Vec::new(), 0_usize, false);
    let mut octets = value.iter().copied();
    while let Some(octet) = octets.next() {
        match (octet, depth, quoted) {
            (b'\\', 1.., _) => drop(octets.next()),
            (b'(', _, false) => depth += 1,
            (b')', 1.., _) => depth -= 1,
            (_, 1.., _) => pieces.push(Piece::Gap),
            (b'"', 0, _) => quoted = !quoted,
            (b'\\', 0, true) => pieces.extend(octets.next().map(Piece::Quoted)),
            (b'\r' | b'\n', 0, true) => {}
            (octet, 0, true) => pieces.push(Piece::Quoted(octet)),
            (b';', 0, false) => return Some(pieces),
            (b' ' | b'\t' | b'\r' | b'\n', 0, false) => pieces.push(Piece::Gap),
            (octet, 0, false) => pieces.push(Piece::Plain(octet)),
        }
    }
    (depth == 0 && !quoted).then_some(pieces)
}

/// The token at the beginning of a term; all of a quoted string.
fn token(part: &[Piece]) -> Vec<u8> {
    let is_token = |piece: &&Piece| match piece {
        Piece::Plain(octet) => is_token_octet(*octet) || !octet.is_ascii(),
        Piece::Quoted(_) => true,
        Piece::Gap => false,
    };
    let octets: Vec<u8> = part.iter().take_while(is_token).filter_map(Piece::octet).collect();
    octets.trim_ascii().to_vec()
}

fn is_name_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_') || !octet.is_ascii()
}

/// Whether two names mean the same host: A-labels and U-labels, upper and lower case, the final
/// dot.
fn is_same(claimed: &str, ours: &str) -> bool {
    match (ascii_name(claimed), ascii_name(ours)) {
        (Some(claimed), Some(ours)) => claimed == ours,
        _ => claimed.eq_ignore_ascii_case(ours),
    }
}

/// Whether `ours` stands anywhere in `value`.
fn names(value: &[u8], ours: &str) -> bool {
    value.windows(ours.len().max(1)).any(|part| part.eq_ignore_ascii_case(ours.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_claims_our_name_is_found_however_it_is_written() {
        let rows = [
            ("Authentication-Results: gate.example; spf=pass\r\n", true),
            ("authentication-RESULTS:GATE.Example;none\r\n", true),
            ("Authentication-Results : gate.example; none\r\n", true),
            ("Authentication-Results \t:\r\n\tgate.example; none\r\n", true),
            ("Authentication-Results: gate.example 1; spf=pass\r\n", true),
            ("Authentication-Results: gate.example/1; spf=pass\r\n", true),
            ("Authentication-Results: gate.example(c)1; spf=pass\r\n", true),
            ("Authentication-Results: gate.example. 99; none\r\n", true),
            ("Authentication-Results:\r\n gate.example;\r\n spf=pass\r\n", true),
            ("Authentication-Results: (a (nested \\) one)) gate.example (c) ; none\r\n", true),
            ("Authentication-Results: \"gate.example\"; none\r\n", true),
            ("Authentication-Results: \"ga\\te.example\"; none\r\n", true),
            ("Authentication-Results: \"gate\r\n .example\"; none\r\n", true),
            ("Authentication-Results: \"gate\".\"example\"; none\r\n", true),
            ("Authentication-Results: gate . example; none\r\n", true),
            ("Authentication-Results: gate.(c)example 1; none\r\n", true),
            ("Authentication-Results: \" gate.example \"; none\r\n", true),
            ("Authentication-Results: gate.example spf=pass\r\n", true),
            ("Authentication-Results: gate.example\r\n", true),
            ("Authentication-Results: mail.gate.example; none\r\n", false),
            ("Authentication-Results: gate.example.net; none\r\n", false),
            ("Authentication-Results: gate.examplex; none\r\n", false),
            ("Authentication-Results: other; none (gate.example)\r\n", false),
            ("Authentication-Results: other; spf=pass smtp.helo=gate.example\r\n", false),
            ("Authentication-Results: (gate.example) other; none\r\n", false),
            ("Authentication-Results: spf=pass smtp.helo=gate.example\r\n", false),
            ("Authentication-Results:\r\n", false),
            ("ARC-Authentication-Results: i=1; gate.example; none\r\n", false),
            ("Subject: Authentication-Results: gate.example; none\r\n", false),
        ];
        for (field, wanted) in rows {
            let message = format!("From: a@a.example\r\n{field}To: b@b.example\r\n\r\n{field}");
            let start = message.find(field).expect("it was just put in");
            let range = start..start + field.len();
            let found = forged(message.as_bytes(), "Gate.Example");
            assert_eq!(found, if wanted { vec![range] } else { vec![] }, "{field:?}");
        }
    }

    #[test]
    fn an_unknown_version_does_not_get_through_under_any_name() {
        for (head, wanted) in [
            ("other.example", 0),
            ("other.example 1", 0),
            ("other.example (c) 001 (c)", 0),
            ("other.example 2", 1),
            ("other.example(c)99", 1),
            ("\"other.example\" 0", 1),
            ("other.example x2", 0),
            ("other.example 12345678901234567890123", 1),
        ] {
            let field = format!("Authentication-Results: {head}; spf=pass\r\n");
            assert_eq!(forged(field.as_bytes(), "gate.example").len(), wanted, "{head}");
        }
    }

    #[test]
    fn a_field_that_cannot_be_read_is_ours_if_it_names_us() {
        for (field, wanted) in [
            (b"Authentication-Results: \"gate.example; spf=pass\r\n".as_slice(), 1),
            (b"Authentication-Results: (c GATE.example; spf=pass\r\n", 1),
            (b"Authentication-Results: \xff; gate.example\r\n", 1),
            (b"Authentication-Results: \"other.example; spf=pass\r\n", 0),
            (b"Authentication-Results: \xff; other.example\r\n", 0),
        ] {
            assert_eq!(forged(field, "gate.example").len(), wanted, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn our_name_in_the_other_alphabet_is_ours() {
        for (claimed, ours) in [
            ("tor.b\u{fc}cher.example", "tor.xn--bcher-kva.example"),
            ("TOR.B\u{dc}CHER.example 1", "tor.xn--bcher-kva.example"),
            ("\"tor.b\u{fc}cher.example\"", "tor.xn--bcher-kva.example"),
            ("XN--BCHER-KVA.example", "b\u{fc}cher.example"),
            ("\u{ff47}ate.example", "gate.example"),
        ] {
            let field = format!("Authentication-Results: {claimed}; none\r\n");
            assert_eq!(forged(field.as_bytes(), ours).len(), 1, "{claimed}");
        }
    }

    #[test]
    fn the_body_and_a_header_without_end_are_safe() {
        let field = b"Authentication-Results: gate.example; none".as_slice();
        assert_eq!(forged(field, "gate.example"), vec![0..field.len()]);
        let body = [b"\r\n".as_slice(), field].concat();
        assert!(forged(&body, "gate.example").is_empty());
        assert!(forged(b"", "gate.example").is_empty());
    }

    prop_compose! {
        /// Blanks, folding and comments.
        fn cfws(least: usize)(parts in proptest::collection::vec("( |\t|\r\n |\\(([a-z;\"]|\\\\.|\\([a-z]*\\))*\\))", least..4)) -> String {
            parts.concat()
        }
    }

    proptest! {
        #[test]
        fn no_decoration_hides_our_name(
            before in cfws(0), between in cfws(1), after in cfws(0),
            capitals in proptest::collection::vec(any::<bool>(), 12),
            quoted in any::<bool>(), dot in any::<bool>(), version in proptest::option::of("[0-9]{1,3}"),
        ) {
            let id: String = "gate.example".chars().zip(capitals)
                .map(|(character, capital)| if capital { character.to_ascii_uppercase() } else { character })
                .chain(dot.then_some('.'))
                .collect();
            let id = if quoted { format!("\"{id}\"") } else { id };
            let version = version.map(|version| format!("{between}{version}")).unwrap_or_default();
            let field = format!("Authentication-Results:{before}{id}{version}{after}; spf=pass\r\n");
            prop_assert_eq!(forged(field.as_bytes(), "gate.example"), vec![0..field.len()], "{}", field);
        }

        #[test]
        fn any_message_is_searched_to_its_end(message in any::<Vec<u8>>(), value in any::<Vec<u8>>()) {
            let field = [b"Authentication-Results:".as_slice(), &value].concat();
            for message in [message, field] {
                for range in forged(&message, "gate.example") {
                    prop_assert!(range.end <= message.len());
                }
            }
        }
    }
}
