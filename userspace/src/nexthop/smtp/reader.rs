//! Reads a mail server's replies (RFC 5321 4.2) out of octets that arrive in any pieces.
//!
//! It owns their form and their bounds; it does no IO and gives no code a meaning. It is strict: lines end with
//! CRLF only, because a reader that also takes a bare LF can be led to see replies that were never given. The text
//! of a line is kept as it came; whoever shows it makes it printable.

use std::fmt;

/// Longest line of a reply, CRLF included, in octets (RFC 5321 4.5.3.1.5 allows 512).
const LINE_MAX: usize = 2048;
/// Most lines of one reply.
const LINES_MAX: usize = 100;
/// What a log shows of a reply, in octets of its text.
const SHOWN_MAX: usize = 200;

/// A complete reply of a mail server.
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

    /// 2yz.
    pub(super) fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 5yz.
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

/// Why octets are no reply.
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
    /// A line is over the bound.
    #[error("a line is longer than {LINE_MAX} octets")]
    LineTooLong,
    /// Lines are over the bound.
    #[error("a reply has more than {LINES_MAX} lines")]
    TooManyLines,
}

/// Takes octets in, gives replies out.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    /// Octets that are not taken apart yet: less than a line after each [`Self::poll_reply`] that gave none.
    input: Vec<u8>,
    /// The lines of a reply whose last line has not come.
    begun: Option<ServerReply>,
}

impl ReplyReader {
    /// Where octets that arrived are to be appended.
    pub(super) fn input(&mut self) -> &mut Vec<u8> {
        &mut self.input
    }

    /// Whether everything that arrived has been given out.
    pub(super) fn is_empty(&self) -> bool {
        self.input.is_empty() && self.begun.is_none()
    }

    /// The next complete reply; none while more octets are needed.
    ///
    /// # Errors
    /// What arrived is no reply. Nothing after it can be understood either.
    pub(super) fn poll_reply(&mut self) -> Result<Option<ServerReply>, BadReply> {
        while let Some(line) = self.take_line()? {
            let (code, last, text) = split_line(&line)?;
            let reply = self.begun.get_or_insert_with(|| ServerReply { code, lines: Vec::new() });
            if reply.code != code {
                return Err(BadReply::DifferentCodes);
            }
            if reply.lines.len() == LINES_MAX {
                return Err(BadReply::TooManyLines);
            }
            reply.lines.push(text.to_owned());
            if last {
                return Ok(self.begun.take());
            }
        }
        Ok(None)
    }

    /// The next line without its CRLF.
    fn take_line(&mut self) -> Result<Option<Vec<u8>>, BadReply> {
        let Some(end) = self.input.iter().take(LINE_MAX).position(|octet| *octet == b'\n') else {
            return if self.input.len() < LINE_MAX { Ok(None) } else { Err(BadReply::LineTooLong) };
        };
        let mut line: Vec<u8> = self.input.drain(..=end).collect();
        line.truncate(end);
        if line.pop() != Some(b'\r') {
            return Err(BadReply::BareLf);
        }
        Ok(Some(line))
    }
}

/// Code, whether the line is the reply's last, and text.
fn split_line(line: &[u8]) -> Result<(u16, bool, &[u8]), BadReply> {
    let Some((digits @ [b'2'..=b'5', ..], rest)) = line.split_first_chunk::<3>() else {
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
        let longest = [b"250 ".as_slice(), &[b'x'; LINE_MAX - 6], b"\r\n"].concat();
        let rows: &[(&[u8], Result<ServerReply, BadReply>)] = &[
            (b"250 Ok\r\n", Ok(reply(250, &[b"Ok"]))),
            (b"250\r\n", Ok(reply(250, &[b""]))),
            (b"250 \r\n", Ok(reply(250, &[b""]))),
            (b"250-a\r\n250-\r\n250 b\r\n", Ok(reply(250, &[b"a", b"", b"b"]))),
            (b"250-a\r\n250\r\n", Ok(reply(250, &[b"a", b""]))),
            (b"599 a\rb\0\xff\r\n", Ok(reply(599, &[b"a\rb\0\xff"]))),
            (&longest, Ok(reply(250, &[&longest[4..LINE_MAX - 2]]))),
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
            (&[b'2'; LINE_MAX], Err(BadReply::LineTooLong)),
            (&b"250-\r\n".repeat(LINES_MAX + 1), Err(BadReply::TooManyLines)),
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
