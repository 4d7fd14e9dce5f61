//! Reads a mail server's replies (RFC 5321 4.2) out of octets that arrive in any pieces.
//!
//! It owns their form and their bounds; it does no IO and gives no code a meaning. It is strict:
//! lines end with CRLF only, because a reader that also takes a bare LF can be led to see replies
//! that were never given. It is lenient about lengths: what a server decided stands in the first
//! octets of a line, however much it goes on, and a message that it took must not be sent again.
//! The text of a line is kept as it came; the code that shows it makes it printable.

use std::{fmt, mem};

/// Octets that are kept of a line, CRLF included (RFC 5321 4.5.3.1.5 allows 512).
const LINE_KEPT: usize = 2048;
/// Lines that are kept of one reply.
const LINES_KEPT: usize = 100;
/// Octets of one reply. One that is longer counts, by its code, and nothing after it is understood.
const REPLY_MAX: usize = 1024 * 1024;
/// Digits of a code.
const CODE: usize = 3;
/// The part of a reply that a log shows, in octets of its text.
const SHOWN_MAX: usize = 200;

/// A reply of a mail server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ServerReply {
    code: u16,
    lines: Vec<Vec<u8>>,
}

impl ServerReply {
    /// 200 to 599.
    pub(super) fn code(&self) -> u16 {
        self.code
    }

    /// The texts of its lines, without code and CRLF; at least one.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().map(Vec::as_slice)
    }

    /// A reply 2yz (RFC 5321 4.2.1).
    pub(super) fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// A reply 5yz (RFC 5321 4.2.1).
    pub(super) fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
}

/// The reply for a log: escaped, bounded, on one line.
impl fmt::Display for ServerReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.lines.join(b" / ".as_slice());
        let shown = text.get(..SHOWN_MAX).unwrap_or(&text);
        write!(f, "{} {}", self.code, shown.escape_ascii())
    }
}

/// Why octets cannot be read as a reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadReply {
    /// LF without CR before it.
    #[error("a line ends with a bare LF")]
    BareLf,
    /// Not three digits from 200 to 599, followed by a space, a hyphen or the end of the line.
    #[error("a line does not begin with a reply code")]
    NoCode,
    /// The codes of a reply of several lines differ.
    #[error("the lines of one reply have different codes")]
    DifferentCodes,
    /// It follows a reply that did not come to its end within the bound.
    #[error("the reply before had more than {REPLY_MAX} octets")]
    AfterTooLong,
}

/// Takes octets in, gives replies out.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    /// Octets that are not taken apart yet.
    input: Vec<u8>,
    /// The beginning of a line whose end has not come.
    line: IncomingLine,
    /// The lines of a reply whose last line has not come.
    begun: Option<ServerReply>,
    /// Octets of that reply so far.
    size: usize,
    /// A reply had no end within the bound, so that the start of the next one is unknown.
    lost: bool,
}

/// A line while it arrives.
#[derive(Debug, Default)]
struct IncomingLine {
    /// At most [`LINE_KEPT`] octets.
    kept: Vec<u8>,
    /// Octets, kept or not.
    length: usize,
    /// The last one of them.
    last: Option<u8>,
}

impl ReplyReader {
    /// Where octets that arrived are to be appended.
    pub(super) fn input(&mut self) -> &mut Vec<u8> {
        &mut self.input
    }

    /// Whether everything that arrived has been given out.
    pub(super) fn is_empty(&self) -> bool {
        self.input.is_empty() && self.line.last.is_none() && self.begun.is_none() && !self.lost
    }

    /// The next reply; none while more octets are needed.
    ///
    /// # Errors
    /// The octets that arrived are not a reply. Nothing after them can be understood either.
    pub(super) fn poll_reply(&mut self) -> Result<Option<ServerReply>, BadReply> {
        if self.lost {
            return Err(BadReply::AfterTooLong);
        }
        while let Some(line) = self.take_line()? {
            if self.add(&line)? {
                self.size = 0;
                return Ok(self.begun.take());
            }
        }
        if self.size > REPLY_MAX { self.cut() } else { Ok(None) }
    }

    /// The next line without its CRLF, as far as it is kept; none within [`REPLY_MAX`] octets, or
    /// as far as they came.
    fn take_line(&mut self) -> Result<Option<Vec<u8>>, BadReply> {
        if self.size > REPLY_MAX {
            return Ok(None);
        }
        let end = self.input.iter().position(|octet| *octet == b'\n');
        let part = self.input.drain(..end.unwrap_or(self.input.len()));
        self.size += part.len();
        self.line.extend(part.as_slice());
        drop(part);
        if end.is_none() {
            return Ok(None);
        }
        // the LF
        self.input.drain(..1);
        self.size += 1;
        mem::take(&mut self.line).end().map(Some)
    }

    /// Adds a line to the reply; whether it is the last one.
    fn add(&mut self, line: &[u8]) -> Result<bool, BadReply> {
        let (code, last, text) = split_line(line)?;
        let reply = self.begun.get_or_insert_with(|| ServerReply { code, lines: Vec::new() });
        if reply.code != code {
            return Err(BadReply::DifferentCodes);
        }
        if reply.lines.len() < LINES_KEPT {
            reply.lines.push(text.to_owned());
        }
        Ok(last)
    }

    /// The reply as far as it came.
    fn cut(&mut self) -> Result<Option<ServerReply>, BadReply> {
        self.lost = true;
        let line = mem::take(&mut self.line).kept;
        // A line that has just begun may lack its code; the ones before have it.
        if self.begun.is_none() || line.len() > CODE {
            self.add(&line)?;
        }
        Ok(self.begun.take())
    }
}

impl IncomingLine {
    fn extend(&mut self, octets: &[u8]) {
        let free = LINE_KEPT - self.kept.len();
        self.kept.extend_from_slice(octets.get(..free).unwrap_or(octets));
        self.length += octets.len();
        self.last = octets.last().copied().or(self.last);
    }

    /// The line without its CR, before its LF.
    fn end(mut self) -> Result<Vec<u8>, BadReply> {
        if self.last != Some(b'\r') {
            return Err(BadReply::BareLf);
        }
        if self.kept.len() == self.length {
            self.kept.pop();
        }
        Ok(self.kept)
    }
}

/// Code, whether the line is the reply's last, and text.
fn split_line(line: &[u8]) -> Result<(u16, bool, &[u8]), BadReply> {
    let Some((digits @ [b'2'..=b'5', ..], rest)) = line.split_first_chunk::<CODE>() else {
        return Err(BadReply::NoCode);
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(BadReply::NoCode);
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest {
        [] => Ok((code, true, rest)),
        [b' ', text @ ..] => Ok((code, true, text)),
        [b'-', text @ ..] => Ok((code, false, text)),
        _ => Err(BadReply::NoCode),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything that a reader makes of `pieces`.
    fn read(pieces: &[&[u8]]) -> (Vec<ServerReply>, Option<BadReply>) {
        let (mut reader, mut replies) = (ReplyReader::default(), Vec::new());
        for piece in pieces {
            reader.input().extend_from_slice(piece);
            loop {
                match reader.poll_reply() {
                    Ok(Some(reply)) => replies.push(reply),
                    Ok(None) => break,
                    Err(error) => return (replies, Some(error)),
                }
            }
        }
        (replies, None)
    }

    fn reply(code: u16, lines: &[&[u8]]) -> ServerReply {
        ServerReply { code, lines: lines.iter().map(|line| line.to_vec()).collect() }
    }

    #[test]
    fn a_reply_is_what_rfc_5321_says() {
        let of_length = |length| [b"250 ".as_slice(), &vec![b'x'; length - 6], b"\r\n"].concat();
        let [shorter, equal, longer] = [LINE_KEPT - 1, LINE_KEPT + 1, 100_000].map(of_length);
        let many = b"250-x\r\n".repeat(10_000);
        let cut: Vec<&[u8]> = vec![b"x"; LINES_KEPT];
        let rows: &[(&[u8], Result<ServerReply, BadReply>)] = &[
            (b"250 Ok\r\n", Ok(reply(250, &[b"Ok"]))),
            (b"250\r\n", Ok(reply(250, &[b""]))),
            (b"250 \r\n", Ok(reply(250, &[b""]))),
            (b"250-a\r\n250-\r\n250 b\r\n", Ok(reply(250, &[b"a", b"", b"b"]))),
            (b"250-a\r\n250\r\n", Ok(reply(250, &[b"a", b""]))),
            (b"599 a\rb\0\xff\r\n", Ok(reply(599, &[b"a\rb\0\xff"]))),
            (&shorter, Ok(reply(250, &[&shorter[4..LINE_KEPT - 3]]))),
            (&equal, Ok(reply(250, &[&equal[4..LINE_KEPT - 1]]))),
            (&longer, Ok(reply(250, &[&longer[4..LINE_KEPT]]))),
            (&[many.as_slice(), b"250 Ok\r\n"].concat(), Ok(reply(250, &cut))),
            (&[many.as_slice(), b"251 Ok\r\n"].concat(), Err(BadReply::DifferentCodes)),
            (&[&longer[..99_998], b"\n"].concat(), Err(BadReply::BareLf)),
            (b"250 Ok\n", Err(BadReply::BareLf)),
            (b"\n", Err(BadReply::BareLf)),
            (b"\r\n", Err(BadReply::NoCode)),
            (b"25\r\n", Err(BadReply::NoCode)),
            (b"2x0 Ok\r\n", Err(BadReply::NoCode)),
            (b"199 Ok\r\n", Err(BadReply::NoCode)),
            (b"600 Ok\r\n", Err(BadReply::NoCode)),
            (b"250_Ok\r\n", Err(BadReply::NoCode)),
            (b"2500 Ok\r\n", Err(BadReply::NoCode)),
            (b"250-a\r\n251 b\r\n", Err(BadReply::DifferentCodes)),
            (&[b'2'; 2 * REPLY_MAX], Err(BadReply::NoCode)),
        ];
        for (input, wanted) in rows {
            let got = match read(&[input]) {
                (mut replies, None) => Ok(replies.pop().expect("a reply")),
                (_, Some(error)) => Err(error),
            };
            assert_eq!(got, *wanted, "{}", input.escape_ascii());
        }
    }

    #[test]
    fn a_reply_without_end_is_known_by_its_code_and_is_the_last_one() {
        let line = [b'x'; 2 * REPLY_MAX].as_slice();
        let rows: &[(&[&[u8]], ServerReply)] = &[
            (&[b"250 a", line], reply(250, &[&[b"a".as_slice(), &line[..LINE_KEPT - 5]].concat()])),
            (
                &[b"250-a\r\n250-b", line],
                reply(250, &[b"a", &[b"b".as_slice(), &line[..LINE_KEPT - 5]].concat()]),
            ),
            (&[&b"550-\r\n".repeat(REPLY_MAX / 6 + 1), b"55"], reply(550, &[b"".as_slice(); LINES_KEPT])),
        ];
        for (pieces, wanted) in rows {
            let mut reader = ReplyReader::default();
            for piece in pieces.iter().flat_map(|piece| piece.chunks(4096)) {
                assert!(!reader.lost, "the bound is reached early");
                reader.input().extend_from_slice(piece);
                let Some(reply) = reader.poll_reply().expect("no error yet") else { continue };
                assert_eq!(reply, *wanted);
                break;
            }
            assert!(!reader.is_empty(), "what follows cannot be told from the reply");
            reader.input().extend_from_slice(b"\r\n250 Ok\r\n");
            assert_eq!(reader.poll_reply(), Err(BadReply::AfterTooLong));
        }
    }

    #[test]
    fn a_logged_reply_is_escaped_and_bounded() {
        let long = reply(550, &[b"a\x1b[2J", &[b'x'; 1000]]);
        let text = long.to_string();
        assert!(text.starts_with("550 a\\x1b[2J / xxx"), "{text}");
        assert!(text.len() < 2 * SHOWN_MAX, "{}", text.len());
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            input in "(250[- ][a\r\n]{0,3}\r\n|[2-5][0-9]{2}|\r\n|\n|x){0,12}",
            cut in 0_usize..100,
        ) {
            let input = input.as_bytes();
            let (front, back) = input.split_at(cut.min(input.len()));
            let octets: Vec<&[u8]> = input.chunks(1).collect();
            prop_assert_eq!(read(&[front, back]), read(&[input]));
            prop_assert_eq!(read(&octets), read(&[input]));
        }
    }
}
