//! The content after BDAT (RFC 3030 2): octets as they are, in lines that end with CRLF.
//!
//! It owns the state between two pieces of a message, wherever chunks begin and end; it keeps no
//! content and knows no limit on its size.

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
    /// After a CR, which was not given on yet.
    AfterCr,
}

/// A bare CR, a bare LF or a NUL: what a mail server behind would make of it is unknown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct BareLineEnd;

impl ChunkReceiver {
    /// Reads `input` and gives the content in it, in pieces, to `content`.
    pub(crate) fn receive(
        &mut self,
        input: &[u8],
        content: &mut impl FnMut(&[u8]),
    ) -> Result<(), BareLineEnd> {
        let mut rest = input;
        if let (ChunkPosition::AfterCr, Some((first, after))) = (self.position, rest.split_first()) {
            if *first != b'\n' {
                return Err(BareLineEnd);
            }
            content(CRLF);
            self.position = ChunkPosition::LineStart;
            rest = after;
        }
        let whole = complete(rest)?;
        if let Some(last) = whole.last() {
            content(whole);
            self.position = if *last == b'\n' { ChunkPosition::LineStart } else { ChunkPosition::InLine };
        }
        if whole.len() < rest.len() {
            self.position = ChunkPosition::AfterCr;
        }
        Ok(())
    }

    /// Ends the content. A last line without CRLF gets one: without it the message could not leave
    /// as DATA, and a DKIM signature holds either way (RFC 6376 3.4.3, 3.4.4).
    pub(crate) fn finish(&mut self, content: &mut impl FnMut(&[u8])) -> Result<(), BareLineEnd> {
        match self.position {
            ChunkPosition::LineStart => {}
            ChunkPosition::InLine => content(CRLF),
            ChunkPosition::AfterCr => return Err(BareLineEnd),
        }
        self.position = ChunkPosition::LineStart;
        Ok(())
    }
}

/// The octets without a CR at their end, whose LF may be still to come.
fn complete(octets: &[u8]) -> Result<&[u8], BareLineEnd> {
    let whole = octets.strip_suffix(b"\r").unwrap_or(octets);
    let mut rest = whole;
    while let Some(at) = rest.iter().position(|octet| matches!(octet, b'\r' | b'\n' | 0)) {
        let end = rest.get(at..).unwrap_or_default();
        rest = end.strip_prefix(CRLF).ok_or(BareLineEnd)?;
    }
    Ok(whole)
}

const CRLF: &[u8] = b"\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    /// The content of a message in chunks of `length` octets.
    fn read(message: &[u8], length: usize) -> Result<Vec<u8>, BareLineEnd> {
        let mut receiver = ChunkReceiver::default();
        let mut content = Vec::new();
        let mut keep = |piece: &[u8]| content.extend_from_slice(piece);
        for chunk in message.chunks(length) {
            receiver.receive(chunk, &mut keep)?;
        }
        receiver.finish(&mut keep)?;
        Ok(content)
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
