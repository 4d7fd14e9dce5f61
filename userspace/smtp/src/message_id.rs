//! The Message-ID of a message while it arrives, for the log.
//!
//! It owns what is taken for the field and how much of it is kept; it refuses nothing.

/// Octets of a Message-ID that are kept for the log.
pub const MESSAGE_ID_KEPT: usize = 256;
/// Octets of a line that are looked at: the field's name, and as much of its value as is kept.
const LINE_KEPT: usize = MESSAGE_ID_KEPT + 64;
const NAME: &[u8] = b"Message-ID";

/// The Message-ID in a whole header, or the beginning of a message; empty if there is none.
#[must_use]
pub fn message_id(header: &[u8]) -> String {
    let mut found = MessageId::default();
    found.read(header);
    found.text()
}

/// Looks for the first Message-ID field (RFC 5322 3.6.4) in a header that comes in pieces, folded
/// lines included.
#[derive(Debug, Default)]
pub(super) struct MessageId {
    /// The beginning of the present line.
    line: Vec<u8>,
    value: Vec<u8>,
    is_in_field: bool,
    /// The field or the header has ended.
    is_over: bool,
}

impl MessageId {
    /// Takes the next octets of the message.
    pub(super) fn read(&mut self, octets: &[u8]) {
        for part in octets.split_inclusive(|octet| *octet == b'\n') {
            if self.is_over {
                return;
            }
            let room = LINE_KEPT - self.line.len();
            self.line.extend_from_slice(part.get(..room).unwrap_or(part));
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let is_folded = line.starts_with(b" ") || line.starts_with(b"\t");
        if is_folded && self.is_in_field {
            self.keep(&line);
        } else if self.is_in_field || line.trim_ascii().is_empty() {
            self.is_over = true;
        } else if let Some(value) = value(&line) {
            self.is_in_field = true;
            self.keep(value);
        }
    }

    fn keep(&mut self, value: &[u8]) {
        let (value, room) = (value.trim_ascii(), MESSAGE_ID_KEPT - self.value.len());
        self.value.extend_from_slice(value.get(..room).unwrap_or(value));
    }

    /// The Message-ID found so far; empty if there is none.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.value).into_owned()
    }
}

/// The value, if the line begins the field (RFC 5322 4.5 allows blanks before the colon).
fn value(line: &[u8]) -> Option<&[u8]> {
    let (name, rest) = line.split_at_checked(NAME.len())?;
    let rest = rest.trim_ascii_start().strip_prefix(b":")?;
    name.eq_ignore_ascii_case(NAME).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_field_of_the_header_is_found_however_it_is_cut() {
        let long = format!("Message-ID: <{}>\r\n", "x".repeat(2000));
        let kept = format!("<{}", "x".repeat(MESSAGE_ID_KEPT - 1));
        for (message, wanted) in [
            ("A: b\r\nMessage-ID: <1@a.example>\r\nB: c\r\n", "<1@a.example>"),
            ("message-id : <1@a.example>\r\n", "<1@a.example>"),
            ("Message-ID:\r\n <1@a.example>\r\nMessage-ID: <2@a.example>\r\n\r\n", "<1@a.example>"),
            ("Message-ID-X: <1@a.example>\r\n", ""),
            ("A: b\r\n Message-ID: <1@a.example>\r\n", ""),
            ("A: b\r\n\r\nMessage-ID: <1@a.example>\r\n", ""),
            ("Message-ID: <1@a.example>", ""),
            ("", ""),
            (&long, &kept),
        ] {
            for chunk in [1, 2, 7, 5000] {
                let mut found = MessageId::default();
                message.as_bytes().chunks(chunk).for_each(|octets| found.read(octets));
                assert_eq!(found.text(), wanted, "{message:?} by {chunk}");
            }
        }
    }
}
