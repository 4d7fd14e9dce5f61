//! Command lines of the refusing dialogue (RFC 5321 4.1): where one ends, what its verb is, which domain a recipient
//! names. The kernel reads them in the driver's buffer, the daemon in its own, with this code.
//!
//! It keeps nothing between two calls, and it knows no reply.

use crate::{
    bytes::Bytes,
    flow::WINDOW,
    refuse::{LINE_MAX, MAIL_LINE_MAX, Verb},
};

/// Octets that [`cut`] looks at in one call: more than the window of a refused session.
pub const SCAN_MAX: usize = 2560;
/// Longest domain name, in octets (RFC 1035 2.3.4, without the root's length octet).
pub const DOMAIN_MAX: usize = 253;
const LABEL_MAX: usize = 63;
const _: () = assert!(SCAN_MAX > WINDOW as usize);

/// What stands at the front of the input.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cut {
    /// No whole line yet.
    Incomplete,
    /// A line of so many octets, and its CRLF.
    Line(usize),
    /// The end of a line that is longer than [`MAIL_LINE_MAX`]: so many octets, its CRLF included.
    TooLong(usize),
    /// So many octets of such a line, whose end is not there yet.
    Skipped(usize),
    /// A bare CR, a bare LF or a NUL: where the line ends is a matter of opinion.
    BareLineEnd,
}

/// Cuts the first line from the `available` octets at `start`: CRLF ends it and nothing else does (RFC 5321 2.3.8).
/// `skipping`: the octets continue a line of which [`Cut::Skipped`] was told.
#[inline(always)]
pub fn cut<B: Bytes + ?Sized>(bytes: &B, start: usize, available: usize, skipping: bool) -> Cut {
    let scanned = bytes.opaque(if available > SCAN_MAX { SCAN_MAX } else { available });
    let is_over = |length: usize| skipping || length + 2 > MAIL_LINE_MAX;
    let Some(end) = terminator(bytes, start, scanned) else {
        return if is_over(scanned) && scanned > 0 { Cut::Skipped(scanned) } else { Cut::Incomplete };
    };
    match bytes.octet(start + end) {
        Some(b'\r') => {}
        _ => return Cut::BareLineEnd,
    }
    if end + 1 >= available {
        return if is_over(end) && end > 0 { Cut::Skipped(end) } else { Cut::Incomplete };
    }
    match bytes.octet(start + end + 1) {
        Some(b'\n') if is_over(end) => Cut::TooLong(end + 2),
        Some(b'\n') => Cut::Line(end),
        _ => Cut::BareLineEnd,
    }
}

/// Where the first CR, LF or NUL stands within `length` octets from `start` on.
#[inline(always)]
fn terminator<B: Bytes + ?Sized>(bytes: &B, start: usize, length: usize) -> Option<usize> {
    let mut at = 0;
    for _ in 0..SCAN_MAX / BLOCK {
        if at + BLOCK > length || has_terminator(bytes.view::<BLOCK>(start + at)?) {
            break;
        }
        at += BLOCK;
    }
    at = bytes.opaque(at);
    for _ in 0..BLOCK / 8 {
        if at + 8 > length || has_terminator(bytes.view::<8>(start + at)?) {
            break;
        }
        at += 8;
    }
    at = bytes.opaque(at);
    for _ in 0..8 {
        if at >= length {
            break;
        }
        if matches!(bytes.octet(start + at)?, b'\r' | b'\n' | 0) {
            return Some(bytes.opaque(at));
        }
        at += 1;
    }
    None
}

/// Whether a CR, LF or NUL is among the octets, eight of which are looked at together.
#[inline(always)]
fn has_terminator<const N: usize>(octets: &[u8; N]) -> bool {
    let (words, _) = octets.as_chunks::<8>();
    let found = words.iter().fold(0, |found, word| {
        let word = u64::from_ne_bytes(*word);
        found | has_octet(word, 0) | has_octet(word, b'\r') | has_octet(word, b'\n')
    });
    found != 0
}

/// Not 0 if `octet` is among the eight of `word`.
#[inline(always)]
const fn has_octet(word: u64, octet: u8) -> u64 {
    let word = word ^ (ONES * octet as u64);
    word.wrapping_sub(ONES) & !word & (ONES << 7)
}

const ONES: u64 = 0x0101_0101_0101_0101;
/// Octets of a long line that are looked at together.
const BLOCK: usize = 32;

/// The verb of the line of `length` octets at `start`, its CRLF not counted. Verbs are compared without regard to case
/// (RFC 5321 2.4). Arguments matter only where their absence does.
#[inline(always)]
pub fn verb<B: Bytes + ?Sized>(bytes: &B, start: usize, length: usize) -> Verb {
    let word = match bytes.word(start) {
        Some(word) if length >= 4 && ends(bytes, start, length, 4) => word & UPPER_CASE,
        _ => return longer_verb(bytes, start, length),
    };
    let limit = if word == MAIL { MAIL_LINE_MAX } else { LINE_MAX };
    if length + 2 > limit {
        return Verb::TooLong;
    }
    match word {
        EHLO => named(bytes, start, length, Verb::Ehlo),
        HELO => named(bytes, start, length, Verb::Helo),
        MAIL => match (bytes.word(start + 5), bytes.octet(start + 9)) {
            (Some(word), Some(b':')) if length >= 10 && word & UPPER_CASE == FROM => Verb::Mail,
            _ => Verb::Syntax,
        },
        RCPT => match (bytes.half(start + 5), bytes.octet(start + 7)) {
            (Some(word), Some(b':')) if length >= 8 && word & UPPER_CASE as u16 == TO => Verb::Rcpt,
            _ => Verb::Syntax,
        },
        DATA => Verb::Data,
        RSET => Verb::Rset,
        NOOP => Verb::Noop,
        VRFY | EXPN => Verb::Vrfy,
        HELP => Verb::Help,
        QUIT => Verb::Quit,
        AUTH => Verb::Auth,
        _ => Verb::Unknown,
    }
}

/// The verb of a line whose first word has not four letters.
#[inline(always)]
fn longer_verb<B: Bytes + ?Sized>(bytes: &B, start: usize, length: usize) -> Verb {
    if length + 2 > LINE_MAX {
        return Verb::TooLong;
    }
    match (bytes.word(start), bytes.word(start + 4)) {
        (Some(first), Some(second))
            if length >= 8
                && first & UPPER_CASE == STAR
                && second & UPPER_CASE == TTLS
                && ends(bytes, start, length, 8) =>
        {
            Verb::StartTls
        }
        _ => Verb::Unknown,
    }
}

/// Whether the first word of the line ends at `at`.
#[inline(always)]
fn ends<B: Bytes + ?Sized>(bytes: &B, start: usize, length: usize, at: usize) -> bool {
    length == at || length > at && bytes.octet(start + at) == Some(b' ')
}

/// `verb` if anything but blanks follows it.
#[inline(always)]
fn named<B: Bytes + ?Sized>(bytes: &B, start: usize, length: usize, verb: Verb) -> Verb {
    let mut at = 4;
    for _ in 0..LINE_MAX / 8 {
        if at + 8 > length || bytes.double(start + at) != Some(BLANKS) {
            break;
        }
        at += 8;
    }
    at = bytes.opaque(at);
    for _ in 0..8 {
        if at >= length {
            break;
        }
        if bytes.octet(start + at).is_some_and(|octet| octet != b' ') {
            return verb;
        }
        at += 1;
    }
    Verb::NoName
}

const BLANKS: u64 = ONES * b' ' as u64;

/// Turns letters into upper case; no octet that is no letter becomes one.
const UPPER_CASE: u32 = 0xdfdf_dfdf;

const AUTH: u32 = u32::from_ne_bytes(*b"AUTH");
const DATA: u32 = u32::from_ne_bytes(*b"DATA");
const EHLO: u32 = u32::from_ne_bytes(*b"EHLO");
const EXPN: u32 = u32::from_ne_bytes(*b"EXPN");
const FROM: u32 = u32::from_ne_bytes(*b"FROM");
const HELO: u32 = u32::from_ne_bytes(*b"HELO");
const HELP: u32 = u32::from_ne_bytes(*b"HELP");
const MAIL: u32 = u32::from_ne_bytes(*b"MAIL");
const NOOP: u32 = u32::from_ne_bytes(*b"NOOP");
const QUIT: u32 = u32::from_ne_bytes(*b"QUIT");
const RCPT: u32 = u32::from_ne_bytes(*b"RCPT");
const RSET: u32 = u32::from_ne_bytes(*b"RSET");
const STAR: u32 = u32::from_ne_bytes(*b"STAR");
const TO: u16 = u16::from_ne_bytes(*b"TO");
const TTLS: u32 = u32::from_ne_bytes(*b"TTLS");
const VRFY: u32 = u32::from_ne_bytes(*b"VRFY");

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
    fn verbs_are_read_without_regard_to_case() {
        let mut longest_mail = [b'x'; MAIL_LINE_MAX - 2];
        longest_mail[..10].copy_from_slice(b"MAIL FROM:");
        for (line, wanted) in [
            (&b"EHLO a.example"[..], Verb::Ehlo),
            (b"ehlo a.example", Verb::Ehlo),
            (b"EHLO", Verb::NoName),
            (b"EHLO  ", Verb::NoName),
            (b"HELO a", Verb::Helo),
            (b"mail from:<a@b.example>", Verb::Mail),
            (b"MAIL  FROM:<a@b.example>", Verb::Syntax),
            (b"MAIL", Verb::Syntax),
            (b"RCPT TO:<a@b.example>", Verb::Rcpt),
            (b"RCPT <a@b.example>", Verb::Syntax),
            (b"DATA", Verb::Data),
            (b"DATAX", Verb::Unknown),
            (b"expn list", Verb::Vrfy),
            (b"quit ", Verb::Quit),
            (b"", Verb::Unknown),
            (b"STARTTLS", Verb::StartTls),
            (b"StartTLS x", Verb::StartTls),
            (b"STARTTLSX", Verb::Unknown),
            (b"QUI", Verb::Unknown),
            (b"MAIL FROM\x1a<a@b.example>", Verb::Syntax),
            (b"RCPT TO", Verb::Syntax),
            (b"AUTH PLAIN", Verb::Auth),
            (&[b'x'; LINE_MAX - 2], Verb::Unknown),
            (&[b'x'; LINE_MAX - 1], Verb::TooLong),
            (&longest_mail, Verb::Mail),
        ] {
            assert_eq!(verb(line, 0, line.len()), wanted, "{line:?}");
        }
    }

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

    #[test]
    fn a_line_is_cut_at_its_crlf_and_nowhere_else() {
        let long = |count: usize, end: &[u8]| {
            let mut octets = [b'x'; 4000];
            octets[count..count + end.len()].copy_from_slice(end);
            (octets, count + end.len())
        };
        for (count, end, skipping, wanted) in [
            (4, &b"\r\n"[..], false, Cut::Line(4)),
            (4, b"\r\nNOOP\r\n", false, Cut::Line(4)),
            (0, b"\r\n", false, Cut::Line(0)),
            (9, b"\t\r\n", false, Cut::Line(10)),
            (0, b"", false, Cut::Incomplete),
            (17, b"", false, Cut::Incomplete),
            (17, b"\r", false, Cut::Incomplete),
            (17, b"\n", false, Cut::BareLineEnd),
            (17, b"\0", false, Cut::BareLineEnd),
            (17, b"\rx\r\n", false, Cut::BareLineEnd),
            (17, b"\r\r\n", false, Cut::BareLineEnd),
            (563, b"\r\n", false, Cut::Line(563)),
            (564, b"\r\n", false, Cut::TooLong(566)),
            (563, b"", false, Cut::Incomplete),
            (564, b"", false, Cut::Skipped(564)),
            (563, b"\r", false, Cut::Incomplete),
            (564, b"\r", false, Cut::Skipped(564)),
            (3000, b"\r\n", false, Cut::Skipped(SCAN_MAX)),
            (4, b"\r\n", true, Cut::TooLong(6)),
            (0, b"\r\n", true, Cut::TooLong(2)),
            (4, b"", true, Cut::Skipped(4)),
            (4, b"\r", true, Cut::Skipped(4)),
            (0, b"\r", true, Cut::Incomplete),
            (0, b"", true, Cut::Incomplete),
            (4, b"\n", true, Cut::BareLineEnd),
        ] {
            let (octets, length) = long(count, end);
            assert_eq!(cut(&octets[..length], 0, length, skipping), wanted, "{count} {end:?} {skipping}");
        }
    }
}
