//! The content after DATA (RFC 5321 4.1.1.4, 4.5.2): dot-stuffing removed, and one end only,
//! CRLF.CRLF.
//!
//! It owns the state between two pieces of input; it keeps no content and knows no limit on its
//! size.

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
    /// Reads `input` and gives the content in it, in pieces, to `content`.
    pub fn receive(&mut self, input: &[u8], mut content: impl FnMut(&[u8])) -> DataProgress {
        let mut at = 0;
        while let Some(octet) = input.get(at) {
            let next = match (self.state, octet) {
                (DataPosition::Cr, b'\n') => {
                    content(b"\r\n");
                    DataPosition::LineStart
                }
                (DataPosition::DotCr, b'\n') => return DataProgress::End(at + 1),
                (DataPosition::LineStart, b'.') => DataPosition::Dot,
                (DataPosition::LineStart | DataPosition::Line, b'\r') => DataPosition::Cr,
                (DataPosition::Dot, b'\r') => DataPosition::DotCr,
                (DataPosition::Cr | DataPosition::DotCr, _) | (_, b'\n' | 0) => {
                    return DataProgress::BareLineEnd;
                }
                (DataPosition::LineStart | DataPosition::Line | DataPosition::Dot, _) => {
                    let text = input.get(at..).unwrap_or_default();
                    let length = text.iter().position(|octet| matches!(octet, b'\r' | b'\n' | 0));
                    let text = text.get(..length.unwrap_or(text.len())).unwrap_or_default();
                    content(text);
                    self.state = DataPosition::Line;
                    at += text.len();
                    continue;
                }
            };
            self.state = next;
            at += 1;
        }
        DataProgress::More
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
            match receiver.receive(octets, |piece| content.extend_from_slice(piece)) {
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
        let rows: [(&[u8], &[u8], &str); 22] = [
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
}
