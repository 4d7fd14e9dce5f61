//! Command lines cut from a stream of octets: CRLF ends a line and nothing else does (RFC 5321
//! 2.3.8).
//!
//! It owns the buffer into which the input of a session is read, and what of it is unread; how much
//! that may be is the session's business. It knows no command.

use bytes::{Buf, BufMut, Bytes, BytesMut, buf::Limit};
use sixgate_common::line::{Cut, cut, skip};

/// What stands at the front of the input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InputLine {
    /// A line without its CRLF, at most [`sixgate_common::refuse::MAIL_LINE_MAX`] octets long with
    /// it.
    Complete(Bytes),
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
    /// The unread input, and space behind it.
    octets: BytesMut,
    /// Octets of the whole buffer in which it lies.
    buffer: usize,
    /// The rest of the present line is dropped.
    skipping: bool,
    /// Octets of it that were dropped since it was last told of.
    skipped: u16,
}

impl LineBuffer {
    /// Space for `size` octets of input, behind the unread ones. Those are moved only if they are
    /// in the way; what was taken stays where it is.
    pub fn space(&mut self, size: usize) -> Limit<&mut BytesMut> {
        if !self.octets.try_reclaim(size) {
            let mut larger = BytesMut::with_capacity((self.octets.len() + size).next_power_of_two());
            larger.extend_from_slice(&self.octets);
            self.buffer = larger.capacity();
            self.octets = larger;
        }
        (&mut self.octets).limit(size)
    }

    /// The unread input, for content that is not a command line.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.octets
    }

    /// Takes the first `count` octets of [`Self::unread`], or all of them. They are not copied.
    #[must_use = "the octets are gone otherwise"]
    pub fn take(&mut self, count: usize) -> Bytes {
        self.octets.split_to(count.min(self.octets.len())).freeze()
    }

    /// Octets of the buffer in which the input lies, all of which [`Self::take`] holds.
    #[must_use]
    pub fn buffer(&self) -> usize {
        self.buffer
    }

    /// Marks `count` octets of [`Self::unread`] as read.
    pub fn consume(&mut self, count: usize) {
        self.octets.advance(count.min(self.octets.len()));
    }

    /// Forgets the unread input.
    pub fn clear(&mut self) {
        self.octets.clear();
    }

    /// The next line; none if more input is needed.
    pub fn next_line(&mut self) -> Option<InputLine> {
        loop {
            let unread = self.unread();
            match cut(unread, 0, unread.len(), self.skipping) {
                Cut::Incomplete => return None,
                Cut::Line(length) => {
                    let line = self.take(length);
                    self.consume(CRLF);
                    return Some(InputLine::Complete(line));
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

    fn push(buffer: &mut LineBuffer, octets: &[u8]) {
        buffer.space(octets.len()).put_slice(octets);
    }

    fn lines(input: &[u8], chunk: usize) -> Vec<InputLine> {
        let mut buffer = LineBuffer::default();
        let mut lines = Vec::new();
        for octets in input.chunks(chunk) {
            push(&mut buffer, octets);
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
        let complete = |text: &[u8]| InputLine::Complete(Bytes::copy_from_slice(text));
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
    fn an_endless_line_needs_no_memory_and_is_reported_every_64_kib() {
        for chunk in [1, 1000, 1220, 70_000, 200_000] {
            let (mut buffer, mut told) = (LineBuffer::default(), 0);
            let endless = vec![b'x'; 1_000_000];
            for octets in endless.chunks(chunk) {
                push(&mut buffer, octets);
                while let Some(line) = buffer.next_line() {
                    assert_eq!(line, InputLine::Endless);
                    told += 1;
                }
                assert!(buffer.unread().len() <= MAIL_LINE_MAX);
            }
            assert_eq!(told, 1_000_000 / 65_536, "by {chunk}");
            push(&mut buffer, b"\r\nQUIT\r\n");
            assert_eq!(buffer.next_line(), Some(InputLine::TooLong));
            assert_eq!(buffer.next_line(), Some(InputLine::Complete(Bytes::from_static(b"QUIT"))));
        }
    }

    #[test]
    fn what_is_taken_lies_where_it_was_read() {
        let mut buffer = LineBuffer::default();
        push(&mut buffer, b"MAIL\r\ncontentRSET");
        let read = buffer.unread().as_ptr_range();
        let lies_there = |octets: &Bytes| read.contains(&octets.as_ptr());
        let Some(InputLine::Complete(line)) = buffer.next_line() else { panic!("a line") };
        let content = buffer.take(7);
        assert!(line == "MAIL" && content == "content" && lies_there(&line) && lies_there(&content));
        // the unread rest goes to a buffer of its own
        let (first, size) = (buffer.buffer(), 1000);
        push(&mut buffer, &vec![b'x'; size]);
        assert!(buffer.buffer() >= size && buffer.buffer() != first);
        assert!(buffer.unread().starts_with(b"RSETxxx") && content == "content");
    }

    #[test]
    fn a_buffer_of_which_nothing_is_held_is_used_again() {
        let mut buffer = LineBuffer::default();
        push(&mut buffer, &[b'x'; 1024]);
        let (read, size) = (buffer.unread().as_ptr(), buffer.buffer());
        for _ in 0..3 {
            drop(buffer.take(1024));
            push(&mut buffer, &[b'y'; 1024]);
            assert_eq!((buffer.unread().as_ptr(), buffer.buffer()), (read, size));
        }
        let held = buffer.take(1024);
        push(&mut buffer, &[b'z'; 1024]);
        assert!(buffer.unread().as_ptr() != read && held.iter().all(|octet| *octet == b'y'));
    }
}
