//! Command lines of the refusing dialogue (RFC 5321 4.1): where one ends, what its verb is, which
//! domain a recipient names (`domain`). The kernel reads them in the driver's buffer, the daemon in
//! its own, with this code.
//!
//! It keeps nothing between two calls, and it knows no reply.

use crate::{
    bytes::{Bytes, ONES, has_octet},
    flow::WINDOW,
    refuse::{LINE_MAX, MAIL_LINE_MAX, Verb},
};

/// Octets that [`cut`] looks at in one call: more than the window of a refused session.
pub const SCAN_MAX: usize = 2560;
const _: () = assert!(SCAN_MAX > WINDOW as usize);

/// Octets of a line that is too long after which it counts as a command and is replied to, although
/// its end is not there: a line without an end is bounded by [`crate::refuse::COMMANDS_MAX`] like
/// everything else that a client sends.
pub const ENDLESS_MAX: u32 = 1 << 16;
const _: () = assert!(ENDLESS_MAX as usize > SCAN_MAX, "one look crosses the bound once at most");

/// Counts `octets` more of a line that is too long to the `skipped` ones before them: whether the
/// bound is crossed, and what counts from here on.
#[must_use]
#[inline(always)]
pub const fn skip(skipped: u16, octets: usize) -> (bool, u16) {
    let total = skipped as u32 + octets as u32;
    (total >= ENDLESS_MAX, (total % ENDLESS_MAX) as u16)
}

/// The beginning of the input.
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
    /// A bare CR, a bare LF or a NUL: implementations differ in where such a line ends.
    BareLineEnd,
}

/// Cuts the first line from the `available` octets at `start`: CRLF ends it and nothing else does
/// (RFC 5321 2.3.8). `skipping`: the octets continue a line of which a part was [`Cut::Skipped`].
#[inline(always)]
pub fn cut<B: Bytes + ?Sized>(bytes: &B, start: usize, available: usize, skipping: bool) -> Cut {
    let scanned = bytes.forget_range(if available > SCAN_MAX { SCAN_MAX } else { available });
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
    at = bytes.forget_range(at);
    for _ in 0..BLOCK / 8 {
        if at + 8 > length || has_terminator(bytes.view::<8>(start + at)?) {
            break;
        }
        at += 8;
    }
    at = bytes.forget_range(at);
    for _ in 0..8 {
        if at >= length {
            break;
        }
        if matches!(bytes.octet(start + at)?, b'\r' | b'\n' | 0) {
            return Some(bytes.forget_range(at));
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

/// Octets of a long line that are looked at together.
const BLOCK: usize = 32;

/// The verb of the line of `length` octets at `start`, its CRLF not counted. Verbs are compared
/// without regard to case (RFC 5321 2.4). Arguments matter only where their absence does.
#[inline(always)]
pub fn verb<B: Bytes + ?Sized>(bytes: &B, start: usize, length: usize) -> Verb {
    let word = match bytes.u32_ne(start) {
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
        MAIL => match (bytes.u32_ne(start + 5), bytes.octet(start + 9)) {
            (Some(word), Some(b':')) if length >= 10 && word & UPPER_CASE == FROM => Verb::Mail,
            _ => Verb::Syntax,
        },
        RCPT => match (bytes.u16_ne(start + 5), bytes.octet(start + 7)) {
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

/// The verb of a line that does not begin with four letters and a blank.
#[inline(always)]
fn longer_verb<B: Bytes + ?Sized>(bytes: &B, start: usize, length: usize) -> Verb {
    if length + 2 > LINE_MAX {
        return Verb::TooLong;
    }
    match (bytes.u32_ne(start), bytes.u32_ne(start + 4)) {
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

/// Whether a blank or the end of the line is at `at`.
#[inline(always)]
fn ends<B: Bytes + ?Sized>(bytes: &B, start: usize, length: usize, at: usize) -> bool {
    length == at || length > at && bytes.octet(start + at) == Some(b' ')
}

/// `verb` if anything but blanks follows it.
#[inline(always)]
fn named<B: Bytes + ?Sized>(bytes: &B, start: usize, length: usize, verb: Verb) -> Verb {
    let mut at = 4;
    for _ in 0..LINE_MAX / 8 {
        if at + 8 > length || bytes.u64_ne(start + at) != Some(BLANKS) {
            break;
        }
        at += 8;
    }
    at = bytes.forget_range(at);
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

/// Whether octets are surely the beginning of a line: `word` has the first four of them, in the
/// machine's order, and `next` is the fifth one. Known commands begin so, and a line's later parts
/// hardly ever.
#[must_use]
#[inline(always)]
pub const fn begins_a_line(word: u32, next: u8) -> bool {
    let word = word & UPPER_CASE;
    let mut index = 0;
    while index < VERBS.len() {
        if word == VERBS[index] {
            return matches!(next, b' ' | b'\r');
        }
        index += 1;
    }
    false
}

/// The first four letters of each command.
const VERBS: [u32; 12] = [EHLO, MAIL, RCPT, QUIT, HELO, DATA, RSET, NOOP, VRFY, EXPN, HELP, AUTH];

const BLANKS: u64 = ONES * b' ' as u64;

/// Maps letters to upper case; other octets do not become letters.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_command_is_known() {
        let known = |octets: &[u8; 5]| {
            let [a, b, c, d, next] = *octets;
            begins_a_line(u32::from_ne_bytes([a, b, c, d]), next)
        };
        for octets in [b"EHLO ", b"rcpt ", b"Quit\r", b"DATA\r", b"mail "] {
            assert!(known(octets), "{octets:?}");
        }
        for octets in [b"mail.", b"OOP\r\n", b"T TO:", b"XYZZ ", b"EHLOx", b"\0\0\0\0\0"] {
            assert!(!known(octets), "{octets:?}");
        }
    }

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
