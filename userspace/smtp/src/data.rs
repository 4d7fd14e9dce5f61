//! The content after DATA (RFC 5321 4.1.1.4, 4.5.2): dot-stuffing removed, and one end only,
//! CRLF.CRLF.
//!
//! It owns the state between two pieces of input; it keeps and copies no content and knows no limit
//! on its size.

use std::ops::Range;

/// Reads content as it arrives.
#[derive(Clone, Copy, Debug, Default)]
pub struct DataReceiver {
    state: DataPosition,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum DataPosition {
    /// At the start of a line.
    #[default]
    LineStart,
    /// Within a line.
    Line,
    /// After a CR within a line.
    Cr,
    /// After a dot at the start of a line.
    Dot,
    /// After a dot and a CR at the start of a line.
    DotCr,
}

/// How far [`DataReceiver::receive`] came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DataProgress {
    /// All input was read; more is needed.
    More,
    /// The end was read, after this many octets of the input.
    End(usize),
    /// A bare CR, a bare LF or a NUL: what a mail server behind would make of it is unknown.
    BareLineEnd,
}

impl DataReceiver {
    /// Reads `input` and tells `content` where in it content lies, in order. Only a removed dot
    /// cuts a range.
    pub fn receive(&mut self, input: &[u8], mut content: impl FnMut(Range<usize>)) -> DataProgress {
        let (mut start, mut at) = (0, 0);
        while let Some(octet) = input.get(at) {
            let next = match (self.state, octet) {
                (DataPosition::Cr, b'\n') => DataPosition::LineStart,
                (DataPosition::DotCr, b'\n') => return DataProgress::End(at + 1),
                (DataPosition::LineStart, b'.') => {
                    tell(start..at, &mut content);
                    start = at + 1;
                    DataPosition::Dot
                }
                (DataPosition::LineStart | DataPosition::Line, b'\r') => DataPosition::Cr,
                (DataPosition::Dot, b'\r') => DataPosition::DotCr,
                (DataPosition::Cr | DataPosition::DotCr, _) | (_, b'\n' | 0) => {
                    tell(start..at, &mut content);
                    return DataProgress::BareLineEnd;
                }
                (DataPosition::LineStart | DataPosition::Line | DataPosition::Dot, _) => {
                    let text = input.get(at..).unwrap_or_default();
                    let length = text.iter().position(|octet| matches!(octet, b'\r' | b'\n' | 0));
                    self.state = DataPosition::Line;
                    at += length.unwrap_or(text.len());
                    continue;
                }
            };
            self.state = next;
            at += 1;
        }
        // a CR after a dot is content only if no LF follows, and then the message is lost
        if self.state != DataPosition::DotCr {
            tell(start..at, &mut content);
        }
        DataProgress::More
    }
}

fn tell(range: Range<usize>, content: &mut impl FnMut(Range<usize>)) {
    if !range.is_empty() {
        content(range);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Content, and what followed: the input after the end, "more", or "bare".
    fn read(input: &[u8], chunk: usize) -> (Vec<u8>, String) {
        let mut receiver = DataReceiver::default();
        let mut content = Vec::new();
        for (index, octets) in input.chunks(chunk).enumerate() {
            match receiver.receive(octets, |range| content.extend_from_slice(&octets[range])) {
                DataProgress::More => {}
                DataProgress::End(at) => {
                    let rest = &input[index * chunk + at..];
                    return (content, String::from_utf8_lossy(rest).into_owned());
                }
                DataProgress::BareLineEnd => return (Vec::new(), "bare".to_owned()),
            }
        }
        (content, "more".to_owned())
    }

    #[test]
    fn only_crlf_dot_crlf_ends_the_data_however_it_is_cut() {
        let rows: [(&[u8], &[u8], &str); 23] = [
            (b".\r\n", b"", ""),
            (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", "QUIT\r\n"),
            (b"\r\n.\r\n", b"\r\n", ""),
            (b"..\r\n.\r\n", b".\r\n", ""),
            (b"...\r\n.\r\n", b"..\r\n", ""),
            (b".a\r\n.\r\n", b"a\r\n", ""),
            (b"a.\r\n.\r\n", b"a.\r\n", ""),
            (b"a\r\n. \r\n.\r\n", b"a\r\n \r\n", ""),
            (b"a\r\n\xff\x80\r\n.\r\n", b"a\r\n\xff\x80\r\n", ""),
            (b"a\r\n", b"a\r\n", "more"),
            (b"a\r\n.", b"a\r\n", "more"),
            (b"a\r\n.\r", b"a\r\n", "more"),
            (b"a\r", b"a\r", "more"),
            (b"a\n.\n", b"", "bare"),
            (b"a\n.\r\n", b"", "bare"),
            (b"a\r\n.\n", b"", "bare"),
            (b"a\r.\r\n", b"", "bare"),
            (b"a\r\n.\r.\r\n", b"", "bare"),
            (b"a\r\n.\r\r\n", b"", "bare"),
            (b"a\r\r\n.\r\n", b"", "bare"),
            (b"a\n\r\n.\r\n", b"", "bare"),
            (b"a\r\n\r.\r\n", b"", "bare"),
            (b"a\0b\r\n.\r\n", b"", "bare"),
        ];
        for (input, content, rest) in rows {
            for chunk in 1..=input.len() {
                let wanted = (content.to_vec(), rest.to_owned());
                assert_eq!(read(input, chunk), wanted, "{:?} by {chunk}", String::from_utf8_lossy(input));
            }
        }
    }

    #[test]
    fn content_is_cut_at_removed_dots_only() {
        let input = b"a\r\n.b\r\n\r\n..c\r\nd\r\n.\r\nQUIT\r\n";
        let mut ranges = Vec::new();
        let progress = DataReceiver::default().receive(input, |range| ranges.push(range));
        assert_eq!((ranges, progress), (vec![0..3, 4..9, 10..17], DataProgress::End(20)));
    }
}
