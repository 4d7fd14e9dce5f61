//! A message as it leaves: our header fields, then what is kept of the content.
//!
//! It owns the order of octets on the way out; which are left out is decided elsewhere.

use std::{io, ops::Range};

use bytes::Bytes;

use super::StoredMessage;

/// A message as it leaves.
#[derive(Clone, Debug)]
pub struct Outgoing {
    headers: Bytes,
    content: StoredMessage,
    kept: Vec<Range<u64>>,
}

impl Outgoing {
    /// `headers`, then `content` without the ranges `left_out`, which are in order and do not
    /// overlap.
    #[must_use]
    pub fn new(headers: impl Into<Bytes>, content: StoredMessage, left_out: &[Range<usize>]) -> Self {
        let mut kept = Vec::new();
        let mut from = 0;
        for range in left_out {
            kept.push(from..range.start as u64);
            from = range.end as u64;
        }
        kept.push(from..content.len());
        kept.retain(|range| range.start < range.end);
        Self { headers: headers.into(), content, kept }
    }

    /// Reads from the beginning.
    #[must_use]
    pub fn chunks(&self) -> Chunks<'_> {
        Chunks { message: self, headers_read: false, range: 0, at: 0 }
    }
}

/// The octets of an [`Outgoing`] one after the other, in pieces of a bounded size.
#[derive(Debug)]
pub struct Chunks<'a> {
    message: &'a Outgoing,
    headers_read: bool,
    /// Which range is being read, and how many octets of it have been.
    range: usize,
    at: u64,
}

impl Chunks<'_> {
    /// The next octets, never an empty piece; none at the end. Those in memory are not copied.
    ///
    /// # Errors
    /// The temporary file cannot be read. The message must be abandoned then.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let message = self.message;
        if !self.headers_read {
            self.headers_read = true;
            if !message.headers.is_empty() {
                return Ok(Some(message.headers.clone()));
            }
        }
        let Some(range) = message.kept.get(self.range) else {
            return Ok(None);
        };
        let octets = message.content.read(range.start + self.at..range.end).await?;
        if octets.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += octets.len() as u64;
        if range.start + self.at >= range.end {
            (self.range, self.at) = (self.range + 1, 0);
        }
        Ok(Some(octets))
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::message_store::{HEAD_MAX, MessageBuffer, SpillDirectory};

    async fn read(message: &Outgoing) -> Vec<u8> {
        let (mut chunks, mut octets) = (message.chunks(), Vec::new());
        while let Some(chunk) = chunks.next().await.expect("a readable file") {
            assert!(!chunk.is_empty());
            octets.extend_from_slice(&chunk);
        }
        octets
    }

    #[tokio::test]
    async fn what_is_kept_follows_our_fields_octet_for_octet() {
        let rows: [(&str, &str, &[Range<usize>], &str); 6] = [
            ("H\r\n", "abcdef", &[], "H\r\nabcdef"),
            ("", "abcdef", &[], "abcdef"),
            ("H", "", &[], "H"),
            ("H", "abcdef", &[0..2, 4..6], "Hcd"),
            ("H", "abcdef", &[0..3, 3..5], "Hf"),
            ("H", "abcdef", &[0..3, 3..6], "H"),
        ];
        for (headers, content, left_out, wanted) in rows {
            let content = StoredMessage::from(content.as_bytes().to_vec());
            let message = Outgoing::new(headers, content, left_out);
            for _ in 0..2 {
                assert_eq!(String::from_utf8_lossy(&read(&message).await), wanted, "{left_out:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_message_is_read_across_the_border_between_memory_and_file() {
        let directory = TempDir::new().expect("a directory");
        let mut buffer = MessageBuffer::new(SpillDirectory::new(directory.path().to_owned()));
        let octets: Vec<u8> = (0..2 * HEAD_MAX + 5).map(|at| (at ^ (at >> 8)) as u8).collect();
        buffer.append(octets.clone()).await.expect("room");
        let message = Outgoing::new("H", buffer.freeze(), &[1..3, HEAD_MAX - 1..HEAD_MAX + 7]);
        let mut wanted = b"H".to_vec();
        wanted.extend_from_slice(&octets[..1]);
        wanted.extend_from_slice(&octets[3..HEAD_MAX - 1]);
        wanted.extend_from_slice(&octets[HEAD_MAX + 7..]);
        assert!(read(&message).await == wanted);
    }
}
