//! A message's octets from their arrival to the next hop: the beginning in memory, where it was
//! read or copied once, the rest in a temporary file that has no name.
//!
//! It owns where octets lie and how they are read again. It knows of SMTP only how long a header
//! may be, and interprets nothing.

mod header_end;
mod message_buffer;
mod outgoing;
mod pieces;

use std::{
    fs::File,
    io::{self, BufRead, Read},
    ops::Range,
    os::unix::fs::FileExt,
    sync::Arc,
};

use bytes::Bytes;
use sixgate_auth::dkim::Message;
use sixgate_smtp::HEADER_MAX;

pub use message_buffer::{MessageBuffer, SpillDirectory};
pub use outgoing::{Chunks, Outgoing};

/// Octets of a message that stay in memory, from its beginning: as many as a header may have, so
/// that it is there as a whole.
pub const HEAD_MAX: usize = HEADER_MAX as usize;
/// The most memory that one message of `size` octets holds, octets.
#[must_use]
pub fn memory_max(size: u64) -> u64 {
    let in_memory = usize::try_from(size).unwrap_or(HEAD_MAX).min(HEAD_MAX);
    pieces::memory_max(in_memory) as u64
}

/// Octets that are read from a file at once.
const CHUNK: usize = 64 << 10;

/// A message that has arrived. A clone is cheap; it cannot be changed.
#[derive(Clone, Debug)]
pub struct StoredMessage(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    /// The beginning; the first one holds the header as a whole, or [`HEAD_MAX`] octets.
    pieces: Vec<Bytes>,
    /// Octets in the pieces.
    length: u64,
    rest: Option<Rest>,
}

/// What did not fit into memory.
#[derive(Debug)]
struct Rest {
    file: Arc<File>,
    length: u64,
}

impl StoredMessage {
    fn new(pieces: Vec<Bytes>, rest: Option<Rest>) -> Self {
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self(Arc::new(Parts { pieces, length, rest }))
    }

    /// Octets in all.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.length + self.0.rest.as_ref().map_or(0, |rest| rest.length)
    }

    /// Whether there is nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The beginning of the message, in one piece: with the whole header and the empty line after
    /// it, if they have no more than [`HEAD_MAX`] octets, or with so many.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        self.0.pieces.first().map(Bytes::as_ref).unwrap_or_default()
    }

    /// Reads from the beginning, for a thread that may wait for a disk.
    #[must_use]
    pub fn reader(&self) -> MessageReader {
        MessageReader { content: self.clone(), at: 0, block: Vec::new(), block_read: 0 }
    }

    /// The first octets of `range`, some at least unless it is empty: where they lie, without being
    /// copied and without waiting, if that is in memory.
    ///
    /// # Errors
    /// The file cannot be read.
    async fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let wanted = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX).min(CHUNK);
        if let Some((piece, at)) = self.piece(range.start) {
            return Ok(piece.slice(at..piece.len().min(at + wanted)));
        }
        let Some(rest) = self.0.rest.as_ref().filter(|_| wanted > 0) else {
            return Ok(Bytes::new());
        };
        let (file, offset) = (Arc::clone(&rest.file), range.start - self.0.length);
        let read = move || {
            let mut octets = vec![0; wanted];
            file.read_exact_at(&mut octets, offset).map(|()| octets)
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?.map(Bytes::from)
    }

    /// The piece in memory that has the octet `at`, and where in the piece that is.
    fn piece(&self, at: u64) -> Option<(&Bytes, usize)> {
        let mut left = usize::try_from(at).ok()?;
        for piece in &self.0.pieces {
            match left.checked_sub(piece.len()) {
                Some(behind) => left = behind,
                None => return Some((piece, left)),
            }
        }
        None
    }
}

impl Message for StoredMessage {
    fn size(&self) -> u64 {
        self.len()
    }

    fn head(&self) -> &[u8] {
        self.head()
    }

    fn reader(&self) -> impl BufRead + Send + 'static {
        self.reader()
    }
}

// a header that may arrive is one that can be signed
const _: () = assert!(HEAD_MAX >= sixgate_auth::dkim::MAX_HEADER);

/// All octets in memory, regardless of their number.
impl From<Vec<u8>> for StoredMessage {
    fn from(octets: Vec<u8>) -> Self {
        Self::new(vec![octets.into()], None)
    }
}

/// Reads a [`StoredMessage`] from its beginning to its end. [`BufRead`] copies no octet that is in
/// memory.
#[derive(Debug)]
pub struct MessageReader {
    content: StoredMessage,
    at: u64,
    /// Octets of the file that were read last, of which so many were consumed.
    block: Vec<u8>,
    block_read: usize,
}

impl BufRead for MessageReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if let Some((piece, at)) = self.content.piece(self.at) {
            return Ok(piece.get(at..).unwrap_or_default());
        }
        if self.block_read == self.block.len() {
            let left = self.content.len().saturating_sub(self.at);
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK);
            self.block.resize(wanted, 0);
            self.block_read = wanted;
            if let Some(rest) = &self.content.0.rest {
                rest.file.read_exact_at(&mut self.block, self.at - self.content.0.length)?;
                self.block_read = 0;
            }
        }
        Ok(self.block.get(self.block_read..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        if self.at >= self.content.0.length {
            self.block_read = self.block.len().min(self.block_read + count);
        }
        self.at += count as u64;
    }
}

impl Read for MessageReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}
