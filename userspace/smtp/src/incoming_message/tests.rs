//! Messages in pieces of each length, and what becomes of them. Whole sessions are the business of
//! the tests of `session`.

use super::*;

const LIMITS: ContentLimits = ContentLimits { size: 1 << 20, line: 998, received: 3, mode: Mode::Enforce };

/// What becomes of a message that comes in pieces of `chunk` octets: kept octets, or the
/// reason.
fn outcome(message: &[u8], chunk: usize) -> Result<Vec<u8>, ReplyKind> {
    shadowed(message, chunk, LIMITS).0
}

/// The same within `limits`, and the rules that were waived.
fn shadowed(
    message: &[u8],
    chunk: usize,
    limits: ContentLimits,
) -> (Result<Vec<u8>, ReplyKind>, Vec<ReplyKind>) {
    let mut arriving = IncomingMessage::after_data(limits);
    let mut kept = Vec::new();
    let wire = [message, b".\r\n"].concat();
    for input in wire.chunks(chunk) {
        assert_eq!(arriving.receive(input), TakenInput::Octets(input.len()));
        let octets = arriving.take(&Bytes::copy_from_slice(input), input.len());
        kept.extend(octets.iter().flat_map(MessageOctets::slices).flatten());
    }
    assert!(arriving.has_ended());
    (arriving.lost().map_or(Ok(kept), Err), arriving.waived().to_vec())
}

fn header(octets: usize) -> Vec<u8> {
    let line = format!("X: {}\r\n", "x".repeat(59)).into_bytes();
    let mut header = line.repeat(octets / line.len());
    header.extend(format!("Y: {}\r\n", "y".repeat(octets % line.len() + 59)).bytes());
    header.truncate(octets - 2);
    header.extend(b"\r\n");
    header
}

#[test]
fn a_message_passes_or_breaks_a_rule_however_it_is_cut() {
    let max = usize::try_from(HEADER_MAX).unwrap();
    let received = "Received: from a by b; c\r\n";
    let rows: Vec<(&str, Vec<u8>, Option<ReplyKind>)> = vec![
        ("nothing", Vec::new(), None),
        ("998 octets", [&[b'a'; 998][..], b"\r\n"].concat(), None),
        ("999 octets", [&[b'a'; 999][..], b"\r\n"].concat(), Some(ReplyKind::LineTooLong)),
        ("998 octets in the body", [b"\r\n\r\n", &[b'a'; 998][..], b"\r\n"].concat(), None),
        (
            "999 octets there",
            [b"A: b\r\n\r\n", &[b'a'; 999][..], b"\r\n"].concat(),
            Some(ReplyKind::LineTooLong),
        ),
        ("three hops", received.repeat(3).into_bytes(), None),
        ("four", received.repeat(4).into_bytes(), Some(ReplyKind::TooManyHops)),
        ("odd spelling", b"RECEIVED \t: x\r\n".repeat(4), Some(ReplyKind::TooManyHops)),
        ("another name", b"Received-SPF: x\r\n".repeat(4), None),
        ("folded lines", b"A:\r\n Received: x\r\n".repeat(4), None),
        ("hops in the body", format!("\r\n{}", received.repeat(4)).into_bytes(), None),
        ("a full header", header(max), None),
        ("a header too long", header(max + 10), Some(ReplyKind::HeaderTooBig)),
        ("a full header and a body", [&header(max - 2)[..], b"\r\nbody\r\n"].concat(), None),
        ("an empty line too much", [&header(max - 1)[..], b"\r\n"].concat(), Some(ReplyKind::HeaderTooBig)),
        ("a full message", [b"\r\n", &b"0123456789abcd\r\n".repeat((1 << 16) - 1)[..]].concat(), None),
        ("one octet too much", b"0123456789abcd\r\n".repeat((1 << 16) + 1), Some(ReplyKind::HeaderTooBig)),
        ("too big", [b"\r\n", &b"0123456789abcd\r\n".repeat(1 << 16)[..]].concat(), Some(ReplyKind::TooBig)),
        (
            "a line too long before it is too big",
            [b"\r\n", &[b'a'; 2 << 20][..], b"\r\n"].concat(),
            Some(ReplyKind::LineTooLong),
        ),
        (
            "too long in a header that is too long",
            [&header(max - 4)[..], &[b'a'; 2000], b"\r\n"].concat(),
            Some(ReplyKind::HeaderTooBig),
        ),
    ];
    for (claim, message, broken) in rows {
        let chunks: &[usize] = if message.len() > 10_000 { &[997, 32_768] } else { &[1, 2, 7, 32_768] };
        for chunk in chunks {
            let wanted = broken.map_or_else(|| Ok(message.clone()), Err);
            assert!(outcome(&message, *chunk) == wanted, "{claim} by {chunk}");
        }
    }
}

#[test]
fn shadow_waives_what_is_a_matter_of_taste_and_says_each_once() {
    use ReplyKind::{HeaderTooBig, LineTooLong, TooBig, TooManyHops};
    let limits = ContentLimits { mode: Mode::Shadow, ..LIMITS };
    let max = usize::try_from(HEADER_MAX).unwrap();
    let long_line = [&[b'a'; 5000][..], b"\r\n"].concat();
    let results = b"Authentication-Results : gate.example; spf=pass\r\n";
    let folded = b"Authentication-Results\r\n : gate.example; spf=pass\r\n";
    type Row<'a> = (&'a str, Vec<u8>, Option<ReplyKind>, &'a [ReplyKind]);
    let rows: Vec<Row<'_>> = vec![
        ("nothing to waive", b"A: b\r\n\r\nc\r\n".to_vec(), None, &[]),
        ("long lines", [b"A: b\r\n\r\n", &long_line[..], &long_line].concat(), None, &[LineTooLong]),
        ("hops", b"Received: x\r\n".repeat(9), None, &[TooManyHops]),
        ("a large header", [&header(2 * max)[..], b"\r\nbody\r\n"].concat(), None, &[HeaderTooBig]),
        (
            "all of them",
            [&b"Received: x\r\n".repeat(4), &header(max)[..], b"B: ", &long_line, b"\r\n"].concat(),
            None,
            &[TooManyHops, HeaderTooBig, LineTooLong],
        ),
        (
            "too big all the same",
            [b"\r\n", &b"0123456789abcd\r\n".repeat(1 << 16)[..]].concat(),
            Some(TooBig),
            &[],
        ),
        (
            "results where they are found",
            [&results[..], &header(max), b"\r\n"].concat(),
            None,
            &[HeaderTooBig],
        ),
        (
            "results beyond",
            [&header(max)[..], results, b"\r\n"].concat(),
            Some(HeaderTooBig),
            &[HeaderTooBig],
        ),
        (
            "results beyond whose colon is on the next line",
            [&header(max)[..], folded, b"\r\n"].concat(),
            Some(HeaderTooBig),
            &[HeaderTooBig],
        ),
        (
            "results across the border",
            [&header(max - 10)[..], results, b"\r\n"].concat(),
            Some(HeaderTooBig),
            &[HeaderTooBig],
        ),
        (
            "results folded across it",
            [&header(max - results.len())[..], results, b"\tdkim=pass\r\n\r\n"].concat(),
            Some(HeaderTooBig),
            &[HeaderTooBig],
        ),
        ("results in the body", [&header(max)[..], b"A: b\r\n\r\n", results].concat(), None, &[HeaderTooBig]),
    ];
    for (claim, message, lost, waived) in rows {
        let chunks: &[usize] = if message.len() > 10_000 { &[997, 32_768] } else { &[1, 2, 7, 32_768] };
        for chunk in chunks {
            let wanted = (lost.map_or_else(|| Ok(message.clone()), Err), waived.to_vec());
            assert!(shadowed(&message, *chunk, limits) == wanted, "{claim} by {chunk}");
        }
    }
}
