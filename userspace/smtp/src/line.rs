//! Command lines cut from a stream of octets: CRLF ends a line and nothing else does (RFC 5321
//! 2.3.8).
//!
//! It owns the unread input of a session, bounded; it knows no command.

use sixgate_common::line::{Cut, cut, skip};

/// What stands at the front of the input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InputLine {
    /// A line without its CRLF, at most [`sixgate_common::refuse::MAIL_LINE_MAX`] octets long with
    /// it.
    Complete(Vec<u8>),
    /// A longer line, which was dropped up to its CRLF.
    TooLong,
    /// So much of a longer line, whose end is not there yet, that it counts as one in a refused
    /// session ([`sixgate_common::line::ENDLESS_MAX`]). It was dropped.
    Endless,
    /// A bare CR, a bare LF or a NUL: where the line ends is a matter of opinion, so nothing after
    /// it is read.
    BareLineEnd,
}

/// The input that is not read yet.
#[derive(Debug, Default)]
pub struct LineBuffer {
    octets: Vec<u8>,
    /// Octets at the front that are read already.
    read: usize,
    /// The rest of the present line is dropped.
    skipping: bool,
    /// Octets of it that were dropped since it was last told of.
    skipped: u16,
}

impl LineBuffer {
    /// Appends input to the buffer.
    pub fn push(&mut self, octets: &[u8]) {
        if self.read > 0 {
            self.octets.drain(..self.read);
            self.read = 0;
        }
        self.octets.extend_from_slice(octets);
    }

    /// The unread input, for content that is not a command line.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        self.octets.get(self.read..).unwrap_or_default()
    }

    /// Marks `count` octets of [`Self::unread`] as read.
    pub fn consume(&mut self, count: usize) {
        self.read = self.octets.len().min(self.read + count);
    }

    /// Forgets the unread input.
    pub fn clear(&mut self) {
        self.octets.clear();
        self.read = 0;
    }

    /// The next line; none if more input is needed.
    pub fn next_line(&mut self) -> Option<InputLine> {
        loop {
            let unread = self.unread();
            match cut(unread, 0, unread.len(), self.skipping) {
                Cut::Incomplete => return None,
                Cut::Line(length) => {
                    let line = InputLine::Complete(unread.iter().take(length).copied().collect());
                    self.consume(length + CRLF);
                    return Some(line);
                }
                Cut::TooLong(length) => {
                    self.skipping = false;
                    self.skipped = 0;
                    self.consume(length);
                    return Some(InputLine::TooLong);
                }
                // dropped at once, so that memory stays bounded
                Cut::Skipped(length) => {
                    let (is_endless, skipped) = skip(self.skipped, length);
                    self.skipping = true;
                    self.skipped = skipped;
                    self.consume(length);
                    if is_endless {
                        return Some(InputLine::Endless);
                    }
                }
                Cut::BareLineEnd => return Some(InputLine::BareLineEnd),
            }
        }
    }
}

const CRLF: usize = 2;

#[cfg(test)]
mod tests {
    use sixgate_common::refuse::MAIL_LINE_MAX;

    use super::*;

    fn lines(input: &[u8], chunk: usize) -> Vec<InputLine> {
        let mut buffer = LineBuffer::default();
        let mut lines = Vec::new();
        for octets in input.chunks(chunk) {
            buffer.push(octets);
            while let Some(line) = buffer.next_line() {
                let end = line == InputLine::BareLineEnd;
                lines.push(line);
                if end {
                    return lines;
                }
            }
        }
        lines
    }

    #[test]
    fn only_crlf_ends_a_line_however_the_input_is_cut() {
        let complete = |text: &[u8]| InputLine::Complete(text.to_vec());
        let longest = vec![b'x'; MAIL_LINE_MAX - 2];
        let rows: Vec<(Vec<u8>, Vec<InputLine>)> = vec![
            (b"EHLO a\r\nQUIT\r\n".to_vec(), vec![complete(b"EHLO a"), complete(b"QUIT")]),
            (b"\r\n".to_vec(), vec![complete(b"")]),
            (b"QUIT".to_vec(), vec![]),
            (b"QUIT\r".to_vec(), vec![]),
            (b"QUIT\n".to_vec(), vec![InputLine::BareLineEnd]),
            (b"NOOP\r\nQU\rIT\r\n".to_vec(), vec![complete(b"NOOP"), InputLine::BareLineEnd]),
            (b"NOOP\r\r\n".to_vec(), vec![InputLine::BareLineEnd]),
            (b"NO\0OP\r\n".to_vec(), vec![InputLine::BareLineEnd]),
            ([&longest[..], b"\r\nQUIT\r\n"].concat(), vec![complete(&longest), complete(b"QUIT")]),
            ([&longest[..], b"x\r\nQUIT\r\n"].concat(), vec![InputLine::TooLong, complete(b"QUIT")]),
            ([&[b'x'; 5000][..], b"\r\nQUIT\r\n"].concat(), vec![InputLine::TooLong, complete(b"QUIT")]),
            ([&[b'x'; 5000][..], b"\nQUIT\r\n"].concat(), vec![InputLine::BareLineEnd]),
        ];
        for (input, wanted) in rows {
            for chunk in [1, 2, 3, 7, 600, 10_000] {
                assert_eq!(lines(&input, chunk), wanted, "{:?} by {chunk}", String::from_utf8_lossy(&input));
            }
        }
    }

    #[test]
    fn an_endless_line_needs_no_memory_and_is_told_of_every_64_kib() {
        for chunk in [1, 1000, 1220, 70_000, 200_000] {
            let (mut buffer, mut told) = (LineBuffer::default(), 0);
            let endless = vec![b'x'; 1_000_000];
            for octets in endless.chunks(chunk) {
                buffer.push(octets);
                while let Some(line) = buffer.next_line() {
                    assert_eq!(line, InputLine::Endless);
                    told += 1;
                }
                assert!(buffer.unread().len() <= MAIL_LINE_MAX);
            }
            assert_eq!(told, 1_000_000 / 65_536, "by {chunk}");
            buffer.push(b"\r\nQUIT\r\n");
            assert_eq!(buffer.next_line(), Some(InputLine::TooLong));
            assert_eq!(buffer.next_line(), Some(InputLine::Complete(b"QUIT".to_vec())));
        }
    }
}
