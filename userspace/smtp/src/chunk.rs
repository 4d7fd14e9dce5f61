//! The content after BDAT (RFC 3030 2): octets as they are, in lines that end with CRLF.
//!
//! It owns the state between two pieces of a message, wherever chunks begin and end; it keeps and
//! copies no content and knows no limit on its size.

/// Reads content as it arrives.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ChunkReceiver {
    position: ChunkPosition,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum ChunkPosition {
    /// At the start of a line.
    #[default]
    LineStart,
    /// Within a line.
    InLine,
    /// After a CR.
    AfterCr,
}

/// A bare CR, a bare LF or a NUL: what a mail server behind would make of it is unknown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct BareLineEnd;

impl ChunkReceiver {
    /// Reads `input`, all of which is content unless this fails.
    pub(crate) fn receive(&mut self, input: &[u8]) -> Result<(), BareLineEnd> {
        let mut rest = input;
        if let (ChunkPosition::AfterCr, Some((first, after))) = (self.position, rest.split_first()) {
            if *first != b'\n' {
                return Err(BareLineEnd);
            }
            self.position = ChunkPosition::LineStart;
            rest = after;
        }
        // the LF of a CR at the end may be still to come
        let whole = rest.strip_suffix(b"\r").unwrap_or(rest);
        check_line_ends(whole)?;
        match (rest, whole) {
            ([.., b'\r'], _) => self.position = ChunkPosition::AfterCr,
            (_, [.., b'\n']) => self.position = ChunkPosition::LineStart,
            (_, [_, ..]) => self.position = ChunkPosition::InLine,
            (_, []) => {}
        }
        Ok(())
    }

    /// Ends the content, and gives what its last line lacks, CRLF or nothing: without CRLF the
    /// message could not leave as DATA, and a DKIM signature holds either way (RFC 6376 3.4.3,
    /// 3.4.4).
    pub(crate) fn finish(&mut self) -> Result<&'static [u8], BareLineEnd> {
        let lacking = match self.position {
            ChunkPosition::LineStart => &[],
            ChunkPosition::InLine => CRLF,
            ChunkPosition::AfterCr => return Err(BareLineEnd),
        };
        self.position = ChunkPosition::LineStart;
        Ok(lacking)
    }
}

fn check_line_ends(octets: &[u8]) -> Result<(), BareLineEnd> {
    let mut rest = octets;
    while let Some(at) = rest.iter().position(|octet| matches!(octet, b'\r' | b'\n' | 0)) {
        let end = rest.get(at..).unwrap_or_default();
        rest = end.strip_prefix(CRLF).ok_or(BareLineEnd)?;
    }
    Ok(())
}

const CRLF: &[u8] = b"\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    /// The content of a message in chunks of `length` octets.
    fn read(message: &[u8], length: usize) -> Result<Vec<u8>, BareLineEnd> {
        let mut receiver = ChunkReceiver::default();
        for chunk in message.chunks(length) {
            receiver.receive(chunk)?;
        }
        Ok([message, receiver.finish()?].concat())
    }

    #[test]
    fn lines_are_taken_as_they_are_however_they_are_cut() {
        let rows: [(&[u8], Option<&[u8]>); 22] = [
            (b"", Some(b"")),
            (b"\r\n", Some(b"\r\n")),
            (b"a\r\nb\r\n", Some(b"a\r\nb\r\n")),
            (b"a\r\nb", Some(b"a\r\nb\r\n")),
            (b"a", Some(b"a\r\n")),
            (b".\r\n", Some(b".\r\n")),
            (b"..\r\n", Some(b"..\r\n")),
            (b"a\r\n.\r\nQUIT\r\n", Some(b"a\r\n.\r\nQUIT\r\n")),
            (b"\xff\x80\x01", Some(b"\xff\x80\x01\r\n")),
            (b"\r\n\r\n\r\n", Some(b"\r\n\r\n\r\n")),
            (b"a\nb\r\n", None),
            (b"a\rb\r\n", None),
            (b"a\r\r\n", None),
            (b"a\r\n\n", None),
            (b"\n", None),
            (b"\r", None),
            (b"a\r", None),
            (b"a\r\n\r", None),
            (b"a\r\n.\n", None),
            (b"a\r\n.\r.\r\n", None),
            (b"\0", None),
            (b"a\0b\r\n", None),
        ];
        for (message, wanted) in rows {
            for length in 1..=message.len().max(1) {
                let content = read(message, length).ok();
                assert_eq!(content.as_deref(), wanted, "{} by {length}", message.escape_ascii());
            }
        }
    }
}
