//! Canonicalization (RFC 6376 3.4), of headers at once and of bodies octet by octet as they are
//! read. Pure: what becomes of the canonical octets is the caller's business.

use std::{collections::HashMap, ops::Range};

use crate::{dkim::tags::without_signature, fields::Field};

/// How much a message may change on its way.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Canonicalization {
    /// White space may (3.4.2, 3.4.4).
    Relaxed,
    /// Nothing may but empty lines at the end (3.4.1, 3.4.3).
    Simple,
}

impl Canonicalization {
    /// The name in `c=`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Relaxed => "relaxed",
            Self::Simple => "simple",
        }
    }
}

/// The fields of a header, to be found by name.
pub(super) struct Header<'a> {
    fields: Vec<Field<'a>>,
    /// In lower case; which of the fields, from the top.
    by_name: HashMap<Vec<u8>, Vec<usize>>,
}

impl<'a> Header<'a> {
    /// Sorts `fields` by name.
    pub(super) fn new(fields: Vec<Field<'a>>) -> Self {
        let mut by_name: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (index, field) in fields.iter().enumerate() {
            by_name.entry(field.relaxed_name()).or_default().push(index);
        }
        Self { fields, by_name }
    }

    /// The octets that a signature over the fields `names` signs (3.7): each name takes the lowest
    /// field of that name that none before it took, and nothing once there is none left; then
    /// `own`, the index of the signature's own field, without the signature. Its own field did not
    /// exist when the names were looked up, and so none takes it.
    pub(super) fn signed(&self, names: &[String], own: usize, form: Canonicalization) -> Vec<u8> {
        let mut octets = Vec::new();
        let mut left: HashMap<&str, &[usize]> = HashMap::new();
        for name in names {
            let indices = left
                .entry(name.as_str())
                .or_insert_with(|| self.by_name.get(name.as_bytes()).map(Vec::as_slice).unwrap_or_default());
            if let [above @ .., last] = indices
                && *last == own
            {
                *indices = above;
            }
            if let [above @ .., last] = indices {
                if let Some(field) = self.fields.get(*last) {
                    write_field(field, field.value, form, &mut octets);
                    octets.extend_from_slice(CRLF);
                }
                *indices = above;
            }
        }
        if let Some(field) = self.fields.get(own) {
            write_field(field, &without_signature(field.value), form, &mut octets);
        }
        octets
    }
}

/// Name, colon and `value`, without the last CRLF.
fn write_field(field: &Field<'_>, value: &[u8], form: Canonicalization, octets: &mut Vec<u8>) {
    match form {
        Canonicalization::Simple => {
            octets.extend_from_slice(field.name);
            octets.push(b':');
            octets.extend_from_slice(value.strip_suffix(CRLF).unwrap_or(value));
        }
        Canonicalization::Relaxed => {
            octets.extend_from_slice(&field.relaxed_name());
            octets.push(b':');
            write_relaxed(value, octets);
        }
    }
}

/// One line, without blanks at its ends, and one space for any blanks within.
fn write_relaxed(value: &[u8], octets: &mut Vec<u8>) {
    let start = octets.len();
    let mut blank = false;
    let mut rest = value;
    loop {
        rest = match rest {
            [] => return,
            [b'\r', b'\n', rest @ ..] => rest,
            [b' ' | b'\t', rest @ ..] => {
                blank = true;
                rest
            }
            [octet, rest @ ..] => {
                if blank && octets.len() > start {
                    octets.push(b' ');
                }
                blank = false;
                octets.push(*octet);
                rest
            }
        };
    }
}

/// A body on its way to its canonical form, in pieces of any size.
#[derive(Debug)]
pub(super) struct Body {
    form: Canonicalization,
    /// CRLFs that count only if something follows.
    lines: u64,
    /// Blanks that count only if something follows on the line.
    blank: bool,
    /// The last octet was a CR.
    cr: bool,
    /// Something has been given out.
    begun: bool,
}

impl Body {
    /// A body of which no octet has been read.
    pub(super) fn new(form: Canonicalization) -> Self {
        Self { form, lines: 0, blank: false, cr: false, begun: false }
    }

    /// Takes the next octets, and gives `sink` what is certain of their canonical form: slices of
    /// `piece`, each as long as nothing in it changes.
    pub(super) fn write(&mut self, piece: &[u8], sink: &mut impl FnMut(&[u8])) {
        let (mut run, mut at) = (0..0, 0);
        while let Some(rest @ [octet, ..]) = piece.get(at..) {
            if self.cr {
                self.cr = false;
                if *octet == b'\n' {
                    self.lines += 1;
                    self.blank = false;
                    at += 1;
                    continue;
                }
                flush(piece, &run, sink);
                self.begin_text(sink);
                sink(b"\r");
                run = at..at;
            }
            match octet {
                b'\r' => {
                    self.cr = true;
                    at += 1;
                }
                b' ' | b'\t' if self.form == Canonicalization::Relaxed => {
                    self.blank = true;
                    at += 1;
                }
                _ => {
                    let gap = piece.get(run.end..at).unwrap_or_default();
                    if run.is_empty() || !self.is_unchanged(gap) {
                        flush(piece, &run, sink);
                        self.begin_text(sink);
                        run.start = at;
                    }
                    (self.lines, self.blank) = (0, false);
                    at += rest.iter().position(|octet| self.matters(*octet)).unwrap_or(rest.len());
                    run.end = at;
                }
            }
        }
        flush(piece, &run, sink);
    }

    /// Gives `sink` what was left open.
    pub(super) fn finish(mut self, sink: &mut impl FnMut(&[u8])) {
        if self.cr {
            self.begin_text(sink);
            sink(b"\r");
        }
        // an empty body is one CRLF in one form and nothing in the other
        if self.begun || self.form == Canonicalization::Simple {
            sink(CRLF);
        }
    }

    fn matters(&self, octet: u8) -> bool {
        octet == b'\r' || (self.form == Canonicalization::Relaxed && matches!(octet, b' ' | b'\t'))
    }

    /// Whether the white space before a text, `gap`, is canonical as it stands.
    fn is_unchanged(&self, gap: &[u8]) -> bool {
        let length = 2 * self.lines + u64::from(self.blank);
        gap.len() as u64 == length && (!self.blank || gap.ends_with(b" "))
    }

    /// Text follows, which makes the white space before it count.
    fn begin_text(&mut self, sink: &mut impl FnMut(&[u8])) {
        while self.lines > 0 {
            let lines = self.lines.min(LINES.len() as u64 / 2);
            let octets = usize::try_from(lines * 2).unwrap_or(LINES.len());
            sink(LINES.get(..octets).unwrap_or(LINES));
            self.lines -= lines;
        }
        if self.blank {
            sink(b" ");
            self.blank = false;
        }
        self.begun = true;
    }
}

fn flush(piece: &[u8], run: &Range<usize>, sink: &mut impl FnMut(&[u8])) {
    if let Some(octets) = piece.get(run.clone()).filter(|octets| !octets.is_empty()) {
        sink(octets);
    }
}

const CRLF: &[u8] = b"\r\n";
const LINES: &[u8] = b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n";

#[cfg(test)]
mod tests;
