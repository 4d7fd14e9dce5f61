//! The form of a message between DATA and the final dot (RFC 5321 4.5.2).
//!
//! It owns dot-stuffing, and the check that makes smuggling impossible: octets that are not
//! complete lines ending in CRLF are never followed by our final dot. It copies no octet and does
//! no IO.

use bytes::Bytes;

/// The line that ends a message. It follows a complete line, so it needs no CRLF before it.
pub(super) const FINAL_DOT: &[u8] = b".\r\n";

/// The message is not made of complete lines. It was promised to be, so this is a defect on our
/// side.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the message has a bare CR or LF, or its last line is not complete")]
pub struct Unframed;

/// Doubles the dots at the starts of lines; a message may come in any pieces.
#[derive(Debug, Default)]
pub(super) struct DotStuffer {
    position: LinePosition,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum LinePosition {
    #[default]
    LineStart,
    InLine,
    AfterCr,
}

impl DotStuffer {
    /// Gives `octets` to `send` in the form in which they are sent: as they are, in one slice, but
    /// that a dot which is doubled ends one slice and begins the next.
    ///
    /// # Errors
    /// A bare CR or LF. The message must be abandoned then.
    pub(super) fn stuff(&mut self, octets: &Bytes, mut send: impl FnMut(Bytes)) -> Result<(), Unframed> {
        let (mut start, mut at) = (0, 0);
        while let Some(rest @ [first, ..]) = octets.get(at..) {
            if self.position == LinePosition::AfterCr {
                if *first != b'\n' {
                    return Err(Unframed);
                }
                at += 1;
                self.position = LinePosition::LineStart;
                continue;
            }
            if self.position == LinePosition::LineStart && *first == b'.' {
                send(octets.slice(start..=at));
                start = at;
            }
            let end = rest.iter().position(|octet| matches!(octet, b'\r' | b'\n'));
            self.position = LinePosition::InLine;
            at += end.unwrap_or(rest.len());
            match octets.get(at) {
                None => {}
                Some(b'\r') => {
                    at += 1;
                    self.position = LinePosition::AfterCr;
                }
                Some(_) => return Err(Unframed),
            }
        }
        if start < octets.len() {
            send(octets.slice(start..));
        }
        Ok(())
    }

    /// Checks that the final dot may follow.
    ///
    /// # Errors
    /// The last line is not complete.
    pub(super) fn finish(self) -> Result<(), Unframed> {
        if self.position == LinePosition::LineStart { Ok(()) } else { Err(Unframed) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stuffed(pieces: &[&[u8]]) -> Result<Vec<u8>, Unframed> {
        let (mut stuffer, mut out) = (DotStuffer::default(), Vec::new());
        for piece in pieces {
            stuffer.stuff(&Bytes::copy_from_slice(piece), |slice| out.extend_from_slice(&slice))?;
        }
        stuffer.finish()?;
        Ok(out)
    }

    #[test]
    fn only_dots_at_the_start_of_a_line_are_doubled() {
        let rows: &[(&[u8], Option<&[u8]>)] = &[
            (b"", Some(b"")),
            (b"\r\n", Some(b"\r\n")),
            (b".\r\n", Some(b"..\r\n")),
            (b"..\r\n", Some(b"...\r\n")),
            (b"a.b.\r\n", Some(b"a.b.\r\n")),
            (b"a\r\n.\r\n.b\r\n\r\n.", None),
            (b"a\r\n.\r\n.b\r\n\r\n.\r\n", Some(b"a\r\n..\r\n..b\r\n\r\n..\r\n")),
            (b"\0\xff\x80\r\n", Some(b"\0\xff\x80\r\n")),
            (b"a", None),
            (b"a\r", None),
            (b"a\n.\r\n", None),
            (b"a\n.\n", None),
            (b"\n", None),
            (b"a\r.\r\n", None),
            (b"a\r\r\n", None),
        ];
        for (message, wanted) in rows {
            assert_eq!(stuffed(&[message]).ok().as_deref(), *wanted, "{}", message.escape_ascii());
        }
    }

    #[test]
    fn a_message_is_cut_at_doubled_dots_only_and_stays_where_it_is() {
        let message = Bytes::from_static(b"a\r\n.\r\nb.\r\n..c\r\n");
        let mut slices = Vec::new();
        DotStuffer::default().stuff(&message, |slice| slices.push(slice)).expect("complete lines");
        assert!(slices.iter().all(|slice| message.as_ptr_range().contains(&slice.as_ptr())));
        assert_eq!(slices, ["a\r\n.", ".\r\nb.\r\n.", "..c\r\n"]);
    }

    /// RFC 5321 4.5.2, read from the receiver's side, which ends at the first `CRLF . CRLF`.
    fn received(mut wire: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        while let Some(end) = wire.windows(2).position(|pair| pair == b"\r\n") {
            let (line, rest) = wire.split_at(end + 2);
            wire = rest;
            if line == FINAL_DOT {
                assert!(rest.is_empty(), "the message ends early");
                return message;
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        panic!("the message does not end");
    }

    proptest! {
        #[test]
        fn what_is_received_is_what_was_given(
            lines in prop::collection::vec("[.a]{0,4}", 0..8),
            cut in 0_usize..50,
        ) {
            let message: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let (front, back) = message.as_bytes().split_at(cut.min(message.len()));
            let mut wire = stuffed(&[front, back]).expect("complete lines");
            wire.extend_from_slice(FINAL_DOT);
            prop_assert_eq!(received(&wire), message.as_bytes());
        }

        #[test]
        fn nothing_but_complete_lines_is_ever_ended(message in "[.a\r\n]{0,12}") {
            let lone = message.replace("\r\n", "");
            let complete = message.is_empty() || message.ends_with("\r\n");
            let wanted = complete && !lone.contains(['\r', '\n']);
            prop_assert_eq!(stuffed(&[message.as_bytes()]).is_ok(), wanted);
        }
    }
}
