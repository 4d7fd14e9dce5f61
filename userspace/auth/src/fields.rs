//! The header fields of a message (RFC 5322 2.2), found once and in one way for all checks.
//!
//! It reads strictly: lines end with CRLF, the header ends before the first empty line. It changes
//! nothing.

use std::ops::Range;

/// One header field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Field<'a> {
    /// Where it lies in the message, its last CRLF included.
    pub(super) range: Range<usize>,
    /// The text before the colon, blanks at its end included; empty if the line is not a header
    /// field at all.
    pub(super) name: &'a [u8],
    /// What stands after the colon, folding and last CRLF included.
    pub(super) value: &'a [u8],
}

impl Field<'_> {
    /// Whether it is a field of this name (RFC 5322 4.5 allows blanks before the colon).
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.trim_ascii_end().eq_ignore_ascii_case(name.as_bytes())
    }

    /// Its name as RFC 6376 3.4.2 compares it: in lower case, without the blanks before the colon.
    pub(super) fn relaxed_name(&self) -> Vec<u8> {
        without_blank_end(self.name).to_ascii_lowercase()
    }

    /// Whether it is a field at all: a colon after at least one printable octet, and nothing else
    /// in the name but blanks at its end (RFC 5322 3.6.8, 4.5). Servers differ in what they take
    /// for the end of the header when one is not.
    pub(super) fn is_well_formed(&self) -> bool {
        let name = without_blank_end(self.name);
        !name.is_empty() && name.iter().all(|octet| matches!(octet, b'!'..=b'~'))
    }
}

/// The fields of `message`, from the top to the empty line or to the end of the message.
pub(super) fn fields(message: &[u8]) -> Fields<'_> {
    Fields { message, at: 0 }
}

/// The iterator that [`fields`] returns.
pub(super) struct Fields<'a> {
    message: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    /// Where the next field starts; after the last one, where the header ends.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// Where the body starts, once the last field has been taken: behind the empty line, if there
    /// is one.
    pub(super) fn body(&self) -> usize {
        self.at + if self.rest().starts_with(CRLF) { CRLF.len() } else { 0 }
    }

    fn rest(&self) -> &[u8] {
        self.message.get(self.at..).unwrap_or_default()
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let rest = self.message.get(self.at..)?;
        if rest.is_empty() || rest.starts_with(CRLF) {
            return None;
        }
        let mut length = line(rest);
        while matches!(rest.get(length), Some(b' ' | b'\t')) {
            length += rest.get(length..).map_or(0, line);
        }
        let range = self.at..self.at + length;
        self.at = range.end;
        let field = rest.get(..length)?;
        let (name, value) = match field.iter().position(|octet| *octet == b':') {
            Some(colon) => (field.get(..colon)?, field.get(colon + 1..)?),
            None => (&field[..0], field),
        };
        Some(Field { range, name, value })
    }
}

fn without_blank_end(mut name: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = name {
        name = rest;
    }
    name
}

/// The length of the first line, its CRLF included.
fn line(text: &[u8]) -> usize {
    text.windows(CRLF.len()).position(|window| window == CRLF).map_or(text.len(), |at| at + CRLF.len())
}

const CRLF: &[u8] = b"\r\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_header_ends_before_the_first_empty_line() {
        let message = b"A: 1\r\nb : 2\r\n folded: 3\r\n\r\nC: 4\r\n";
        let mut fields = fields(message);
        let names: Vec<_> = fields.by_ref().map(|field| (field.name, field.value)).collect();
        assert_eq!(names, [(&b"A"[..], &b" 1\r\n"[..]), (b"b ", b" 2\r\n folded: 3\r\n")]);
        assert_eq!(&message[fields.body()..], b"C: 4\r\n");
    }

    #[test]
    fn lines_that_are_not_fields_are_reported() {
        let rows: [(&[u8], bool); 8] = [
            (b"A: 1\r\n", true),
            (b"A \t: 1\r\n", true),
            (b"A\x0c: 1\r\n", false),
            (b"no colon\r\n", false),
            (b"From sender@a.example Mon\r\n", false),
            (b": nameless\r\n", false),
            (b" folded: at the top\r\n", false),
            (b"A\0B: 1\r\n", false),
        ];
        for (text, wanted) in rows {
            let field = fields(text).next().expect("one line");
            assert_eq!(field.is_well_formed(), wanted, "{:?}", text.escape_ascii().to_string());
        }
    }

    proptest! {
        #[test]
        fn every_octet_belongs_to_a_field_to_the_empty_line_or_to_the_body(message in "(a|:|\r\n|\r|\n| ){0,40}") {
            let mut fields = fields(message.as_bytes());
            let mut end = 0;
            for field in fields.by_ref() {
                prop_assert_eq!(field.range.start, end);
                prop_assert!(field.range.end > end);
                end = field.range.end;
            }
            prop_assert_eq!(fields.offset(), end);
            let gap = &message[end..fields.body()];
            prop_assert!(gap == "\r\n" || (gap.is_empty() && end == message.len()));
        }
    }
}
