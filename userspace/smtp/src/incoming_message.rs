//! A message while it arrives, after DATA or in chunks: dot-stuffing removed, and the rules that
//! its octets have to keep.
//!
//! It owns the rules on size, header, lines and hops, and which of them shadow mode waives; it
//! keeps and copies no octet, and judges nothing that depends on the sender.

use std::{mem, ops::Range};

use bytes::Bytes;

use super::{
    chunk::{BareLineEnd, ChunkReceiver},
    command::Chunk,
    data::{DataProgress, DataReceiver},
    message_id::MessageId,
    message_octets::MessageOctets,
    reply::ReplyKind,
};
use crate::policy::Mode;

/// Octets of a header, with the empty line that ends it. It is the only bound of headers: so many
/// octets of a message stay in memory, and the readers of headers find them whole there.
pub const HEADER_MAX: u64 = 256 << 10;

/// Bounds of one message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ContentLimits {
    /// Octets of the message (RFC 1870 5: CRLF counts, dot-stuffing does not).
    pub size: u64,
    /// Octets of a line without its CRLF (RFC 5322 2.1.1: 998).
    pub line: u64,
    /// Received fields (RFC 5321 6.3: at least 100).
    pub received: u32,
    /// In shadow mode a message may break the rules on header, lines and hops: see
    /// `ReplyKind::is_waived_in_shadow`.
    pub mode: Mode,
}

/// A message while it arrives.
#[derive(Debug)]
pub(crate) struct IncomingMessage {
    form: MessageFraming,
    rules: Rules,
    /// Where in the input that was received last its octets lie.
    ranges: Vec<Range<usize>>,
    /// What follows them and was not in the input: CRLF or nothing.
    line_end: &'static [u8],
    /// Octets that came, of what is dropped, too.
    octets: u64,
    message_id: MessageId,
    /// Set once the message is lost; the rest is read and dropped.
    lost: Option<ReplyKind>,
}

/// The form in which it arrives.
#[derive(Debug)]
enum MessageFraming {
    /// After DATA (RFC 5321 4.5.2), to its end or not yet.
    Dots { receiver: DataReceiver, ended: bool },
    /// In chunks (RFC 3030 2), to the end of the present one, of which so many octets are to come,
    /// or not yet.
    Chunks { receiver: ChunkReceiver, chunk: Chunk, left: u64, ended: bool },
}

/// How a piece of input was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TakenInput {
    /// So many octets of it belong to the message.
    Octets(usize),
    /// It has a bare CR, a bare LF or a NUL.
    BareLineEnd,
}

impl IncomingMessage {
    /// A message after DATA.
    pub(crate) fn after_data(limits: ContentLimits) -> Self {
        Self::new(limits, MessageFraming::Dots { receiver: DataReceiver::default(), ended: false })
    }

    /// A message in chunks, of which none was announced yet.
    pub(crate) fn in_chunks(limits: ContentLimits) -> Self {
        let receiver = ChunkReceiver::default();
        let chunk = Chunk { size: 0, last: false };
        Self::new(limits, MessageFraming::Chunks { receiver, chunk, left: 0, ended: true })
    }

    fn new(limits: ContentLimits, form: MessageFraming) -> Self {
        Self {
            form,
            rules: Rules::new(limits),
            ranges: Vec::new(),
            line_end: &[],
            octets: 0,
            message_id: MessageId::default(),
            lost: None,
        }
    }

    /// A chunk begins; the one before has ended. A message that it would make too big is lost at
    /// once.
    pub(crate) fn expect(&mut self, next: Chunk) {
        if let MessageFraming::Chunks { chunk, left, ended, .. } = &mut self.form {
            (*chunk, *left, *ended) = (next, next.size, false);
        }
        if self.rules.octets.saturating_add(next.size) > self.rules.limits.size {
            self.lose(ReplyKind::TooBig);
        }
    }

    /// Reads what follows DATA or BDAT, up to its end at most. [`Self::take`] gives its octets.
    pub(crate) fn receive(&mut self, input: &[u8]) -> TakenInput {
        let taken = self.read(input);
        self.octets += match taken {
            TakenInput::Octets(count) => count as u64,
            TakenInput::BareLineEnd => input.len() as u64,
        };
        taken
    }

    fn read(&mut self, input: &[u8]) -> TakenInput {
        let Self { form, rules, ranges, line_end, lost, message_id, .. } = self;
        ranges.clear();
        let mut check = |text: &[u8]| {
            message_id.read(text);
            if lost.is_none() {
                *lost = rules.check(text).err();
            }
        };
        let mut keep = |range: Range<usize>| {
            check(input.get(range.clone()).unwrap_or_default());
            ranges.push(range);
        };
        match form {
            MessageFraming::Dots { receiver, ended } => match receiver.receive(input, keep) {
                DataProgress::More => TakenInput::Octets(input.len()),
                DataProgress::End(count) => {
                    *ended = true;
                    TakenInput::Octets(count)
                }
                DataProgress::BareLineEnd => TakenInput::BareLineEnd,
            },
            MessageFraming::Chunks { receiver, chunk, left, ended } => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= count as u64;
                *ended = *left == 0;
                if receiver.receive(input.get(..count).unwrap_or_default()) == Err(BareLineEnd) {
                    return TakenInput::BareLineEnd;
                }
                keep(0..count);
                if *ended && chunk.last {
                    match receiver.finish() {
                        Ok(lacking) => *line_end = lacking,
                        Err(BareLineEnd) => return TakenInput::BareLineEnd,
                    }
                    check(line_end);
                }
                TakenInput::Octets(count)
            }
        }
    }

    /// The octets that are to be kept of the `input` that was received last, which lies in a buffer
    /// of so many octets; `None` if there are none.
    pub(crate) fn take(&mut self, input: &Bytes, buffer: usize) -> Option<MessageOctets> {
        let line_end = mem::take(&mut self.line_end);
        let ranges = self.ranges.drain(..).filter(|_| self.lost.is_none());
        let mut slices: Vec<Bytes> = ranges.map(|range| input.slice(range)).collect();
        if self.lost.is_none() && !line_end.is_empty() {
            slices.push(Bytes::from_static(line_end));
        }
        slices.retain(|slice| !slice.is_empty());
        (!slices.is_empty()).then(|| MessageOctets::new(slices, buffer))
    }

    /// Gives the message up, for the first reason that is given.
    pub(crate) fn lose(&mut self, why: ReplyKind) {
        self.lost.get_or_insert(why);
    }

    /// Whether the end of what follows the command has been read: of the message, or of a chunk.
    pub(crate) fn has_ended(&self) -> bool {
        match self.form {
            MessageFraming::Dots { ended, .. } | MessageFraming::Chunks { ended, .. } => ended,
        }
    }

    /// Octets that came so far.
    pub(crate) fn octets(&self) -> u64 {
        self.octets
    }

    /// Its Message-ID, as far as it came; empty if it has none.
    pub(crate) fn message_id(&self) -> String {
        self.message_id.text()
    }

    /// Whether it comes by BDAT.
    pub(crate) fn is_in_chunks(&self) -> bool {
        matches!(self.form, MessageFraming::Chunks { .. })
    }

    /// Whether more chunks are to come.
    pub(crate) fn has_more_chunks(&self) -> bool {
        matches!(self.form, MessageFraming::Chunks { chunk: Chunk { last: false, .. }, .. })
    }

    /// Octets of the chunk that was announced last; 0 after DATA.
    pub(crate) fn chunk_size(&self) -> u64 {
        match self.form {
            MessageFraming::Dots { .. } => 0,
            MessageFraming::Chunks { chunk, .. } => chunk.size,
        }
    }

    /// Why it is lost.
    pub(crate) fn lost(&self) -> Option<ReplyKind> {
        self.lost
    }

    /// Why enforce would have lost it, once for each rule.
    pub(crate) fn waived(&self) -> &[ReplyKind] {
        &self.rules.waived
    }
}

/// The rules, and what they need to know of the octets before.
#[derive(Debug)]
struct Rules {
    limits: ContentLimits,
    octets: u64,
    /// Octets of the present line, its CR included.
    line: u64,
    /// The first octets of the present line, while the header lasts.
    start: Vec<u8>,
    in_header: bool,
    /// Whether the last whole line of the header belongs to a field Authentication-Results.
    in_results: bool,
    received: u32,
    /// The rules that are broken already and hold no more.
    waived: Vec<ReplyKind>,
}

/// As many octets of a line as are needed to tell a Received field with some blanks before its
/// colon.
const START: usize = 32;

impl Rules {
    fn new(limits: ContentLimits) -> Self {
        Self {
            limits,
            octets: 0,
            line: 0,
            start: Vec::new(),
            in_header: true,
            in_results: false,
            received: 0,
            waived: Vec::new(),
        }
    }

    /// Looks at the next octets, which consist of whole and partial lines that end with CRLF.
    fn check(&mut self, octets: &[u8]) -> Result<(), ReplyKind> {
        for part in octets.split_inclusive(|octet| *octet == b'\n') {
            let ends = part.ends_with(b"\n");
            while let Err(broken) = self.check_lengths(part.len() as u64, ends) {
                self.waive(broken)?;
            }
            self.octets += part.len() as u64;
            self.line += part.len() as u64;
            if self.in_header {
                self.check_header(part, ends)?;
            }
            if ends {
                self.line = 0;
            }
        }
        Ok(())
    }

    /// Takes a broken rule out of force, if shadow mode does that.
    fn waive(&mut self, broken: ReplyKind) -> Result<(), ReplyKind> {
        if self.limits.mode == Mode::Enforce || !broken.is_waived_in_shadow() {
            return Err(broken);
        }
        self.waived.push(broken);
        Ok(())
    }

    /// Of several bounds the one that is reached first counts, so that it does not matter in which
    /// pieces a message comes.
    fn check_lengths(&self, more: u64, ends: bool) -> Result<(), ReplyKind> {
        let size = (self.limits.size.saturating_sub(self.octets), more, ReplyKind::TooBig);
        let header =
            self.in_header.then(|| (HEADER_MAX.saturating_sub(self.octets), more, ReplyKind::HeaderTooBig));
        // the CR may still be to come, or be the last octet here
        let room = (self.limits.line + 1).saturating_sub(self.line);
        let line = (room, more.saturating_sub(u64::from(ends)), ReplyKind::LineTooLong);
        let broken = [Some(size), header, Some(line)].into_iter().flatten();
        let holds = |broken: &ReplyKind| !self.waived.contains(broken);
        let first =
            broken.filter(|(room, more, broken)| more > room && holds(broken)).min_by_key(|(room, ..)| *room);
        first.map_or(Ok(()), |(.., broken)| Err(broken))
    }

    fn check_header(&mut self, part: &[u8], ends: bool) -> Result<(), ReplyKind> {
        let room = START - self.start.len();
        self.start.extend_from_slice(part.get(..room).unwrap_or(part));
        if ends {
            self.in_header = self.line > CRLF;
            self.received += u32::from(is_received(&self.start));
            if !matches!(self.start.first(), Some(b' ' | b'\t')) {
                self.in_results = is_results(&self.start);
            }
            self.start.clear();
            // forged results are found in the first HEADER_MAX octets only: never pass on what lies
            // beyond
            if self.in_results && self.waived.contains(&ReplyKind::HeaderTooBig) {
                return Err(ReplyKind::HeaderTooBig);
            }
        }
        if self.received > self.limits.received && !self.waived.contains(&ReplyKind::TooManyHops) {
            self.waive(ReplyKind::TooManyHops)?;
        }
        Ok(())
    }
}

const CRLF: u64 = 2;

/// Whether a reader could take the line for the beginning of a field Authentication-Results: the
/// colon may come after blanks and a fold, too.
fn is_results(line: &[u8]) -> bool {
    const NAME: &[u8] = b"Authentication-Results";
    let (name, rest) = line.split_at_checked(NAME.len()).unwrap_or((line, &[]));
    name.eq_ignore_ascii_case(NAME) && rest.first().is_some_and(|octet| b": \t\r".contains(octet))
}

/// Whether a line begins a Received field (RFC 5322 4.5 allows blanks before the colon).
fn is_received(line: &[u8]) -> bool {
    const NAME: &[u8] = b"Received";
    let (name, rest) = line.split_at_checked(NAME.len()).unwrap_or((line, &[]));
    name.eq_ignore_ascii_case(NAME) && rest.trim_ascii_start().starts_with(b":")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ContentLimits =
        ContentLimits { size: 1 << 20, line: 998, received: 3, mode: Mode::Enforce };

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
            (
                "an empty line too much",
                [&header(max - 1)[..], b"\r\n"].concat(),
                Some(ReplyKind::HeaderTooBig),
            ),
            ("a full message", [b"\r\n", &b"0123456789abcd\r\n".repeat((1 << 16) - 1)[..]].concat(), None),
            (
                "one octet too much",
                b"0123456789abcd\r\n".repeat((1 << 16) + 1),
                Some(ReplyKind::HeaderTooBig),
            ),
            (
                "too big",
                [b"\r\n", &b"0123456789abcd\r\n".repeat(1 << 16)[..]].concat(),
                Some(ReplyKind::TooBig),
            ),
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
            (
                "results in the body",
                [&header(max)[..], b"A: b\r\n\r\n", results].concat(),
                None,
                &[HeaderTooBig],
            ),
        ];
        for (claim, message, lost, waived) in rows {
            let chunks: &[usize] = if message.len() > 10_000 { &[997, 32_768] } else { &[1, 2, 7, 32_768] };
            for chunk in chunks {
                let wanted = (lost.map_or_else(|| Ok(message.clone()), Err), waived.to_vec());
                assert!(shadowed(&message, *chunk, limits) == wanted, "{claim} by {chunk}");
            }
        }
    }
}
