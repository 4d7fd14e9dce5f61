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
mod tests;
