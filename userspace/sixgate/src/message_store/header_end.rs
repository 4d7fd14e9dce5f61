//! The end of a header in octets that come in pieces: the first empty line (RFC 5322 2.1).
//!
//! It keeps no octet, and relies on lines that end with CRLF.

use bytes::Bytes;

/// How far a header has been read.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderEnd {
    /// Octets of CRLFCRLF that were read last.
    matched: usize,
}

const END: &[u8] = b"\r\n\r\n";

impl HeaderEnd {
    /// Whether the header has ended.
    pub(super) fn is_over(self) -> bool {
        self.matched == END.len()
    }

    /// Reads the first `count` octets of `slices`, and gives how many of them belong to the header,
    /// the empty line included.
    pub(super) fn read(&mut self, slices: &[Bytes], count: usize) -> usize {
        let mut read = 0;
        for octet in slices.iter().flatten().take(count) {
            if self.is_over() {
                break;
            }
            read += 1;
            self.matched = match END.get(self.matched) {
                Some(next) if next == octet => self.matched + 1,
                _ => usize::from(*octet == b'\r'),
            };
        }
        read
    }
}

/// At the start of a message: its first line may be the empty one.
impl Default for HeaderEnd {
    fn default() -> Self {
        Self { matched: 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_ends_with_the_first_empty_line_however_it_is_cut() {
        let rows: [(&[u8], usize, bool); 7] = [
            (b"A: b\r\n\r\nbody\r\n\r\n", 8, true),
            (b"\r\nbody", 2, true),
            (b"A: b\r\n c\r\n\r\n", 12, true),
            (b"A: b\r\n \r\nB: c\r\n\r\nbody", 17, true),
            (b"A: b\r\n", 6, false),
            (b"A: b\r\n\r", 7, false),
            (b"", 0, false),
        ];
        for (message, wanted, is_over) in rows {
            for length in 1..=message.len().max(1) {
                let slices: Vec<Bytes> = message.chunks(length).map(Bytes::from_static).collect();
                let mut end = HeaderEnd::default();
                let read: usize = slices.chunks(2).map(|slices| end.read(slices, usize::MAX)).sum();
                assert_eq!(
                    (read, end.is_over()),
                    (wanted, is_over),
                    "{} by {length}",
                    message.escape_ascii()
                );
            }
        }
    }
}
