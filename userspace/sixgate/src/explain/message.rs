//! The message of a file, as it would come over the wire.
//!
//! It changes ends of lines, and nothing else.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use crate::{config::Config, explain::ExplainError};

/// Octets that are read beyond the largest message: what is larger is refused in any case.
const BEYOND: u64 = 64 << 10;

/// A message whose lines end with CRLF.
#[derive(Debug)]
pub(super) struct WireMessage {
    pub(super) octets: Vec<u8>,
    /// Changes to the file, for the reader of the explanation.
    pub(super) remarks: Vec<String>,
}

/// Reads the message in `path`, or of the standard input, as far as it can be accepted.
///
/// # Errors
/// [`ExplainError::Message`].
pub(super) fn read(path: &Path, config: &Config) -> Result<WireMessage, ExplainError> {
    let most = u64::from(config.limits.message_size.get()) + BEYOND;
    let read = || {
        let mut octets = Vec::new();
        if path == Path::new("-") {
            io::stdin().take(most).read_to_end(&mut octets)?;
        } else {
            File::open(path)?.take(most).read_to_end(&mut octets)?;
        }
        Ok(octets)
    };
    read().map(on_the_wire).map_err(|source| ExplainError::Message { path: path.to_owned(), source })
}

fn on_the_wire(file: Vec<u8>) -> WireMessage {
    let mut remarks = Vec::new();
    if file.is_empty() {
        remarks.push("the message is empty".to_owned());
    } else if file.starts_with(b"From ") {
        remarks.push(
            "the file begins with `From `, as in a mailbox: that line is not a part of the message that came; \
             remove it"
                .to_owned(),
        );
    }
    let line_feeds = file.iter().filter(|octet| **octet == b'\n').count();
    let pairs = file.windows(2).filter(|pair| *pair == b"\r\n").count();
    if line_feeds == pairs && (file.is_empty() || file.ends_with(b"\n")) {
        return WireMessage { octets: file, remarks };
    }
    if line_feeds > pairs {
        remarks.push(format!(
            "{} of {line_feeds} lines of the file end with LF alone: they are taken as CRLF, as mail has it",
            line_feeds - pairs
        ));
    }
    let mut octets = Vec::with_capacity(file.len() + line_feeds);
    for octet in file {
        if octet == b'\n' && octets.last() != Some(&b'\r') {
            octets.push(b'\r');
        }
        octets.push(octet);
    }
    if !octets.ends_with(b"\n") {
        remarks.push("the last line of the file has no end: CRLF is added".to_owned());
        octets.extend_from_slice(b"\r\n");
    }
    WireMessage { octets, remarks }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_crlf_whatever_the_file_has() {
        for (file, wanted, remarks) in [
            (&b"A: 1\r\n\r\nb\r\n"[..], &b"A: 1\r\n\r\nb\r\n"[..], 0),
            (b"A: 1\n\nb\n", b"A: 1\r\n\r\nb\r\n", 1),
            (b"A: 1\r\n\r\nb\n", b"A: 1\r\n\r\nb\r\n", 1),
            (b"A: 1\n\nb", b"A: 1\r\n\r\nb\r\n", 2),
            (b"A: 1\r\n\r\na\rb\r\n", b"A: 1\r\n\r\na\rb\r\n", 0),
            (b"From a Mon\nA: 1\n", b"From a Mon\r\nA: 1\r\n", 2),
            (b"", b"", 1),
        ] {
            let message = on_the_wire(file.to_vec());
            assert_eq!(message.octets, wanted, "{}", file.escape_ascii());
            assert_eq!(message.remarks.len(), remarks, "{:?}", message.remarks);
        }
    }
}
