//! A message's octets from their arrival to the next hop: the beginning in memory, the rest in a
//! temporary file that has no name.
//!
//! It owns where octets lie and how they are read again. It knows of SMTP only how long a header
//! may be, and interprets nothing.

mod message_buffer;
mod outgoing;

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Read},
    ops::Range,
    os::unix::fs::FileExt,
    sync::Arc,
};

use sixgate_auth::dkim::Message;
use sixgate_smtp::HEADER_MAX;

pub use message_buffer::{MessageBuffer, SpillDirectory};
pub use outgoing::{Chunks, Outgoing};

/// Octets of a message that stay in memory, from its beginning: as many as a header may have, so
/// that it is there as a whole.
pub const HEAD_MAX: usize = HEADER_MAX as usize;
/// Octets that are read from a file at once.
const CHUNK: usize = 64 << 10;

/// A message that has arrived. A clone is cheap; it cannot be changed.
#[derive(Clone, Debug)]
pub struct StoredMessage(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    head: Vec<u8>,
    rest: Option<Rest>,
}

/// What did not fit into memory.
#[derive(Debug)]
struct Rest {
    file: Arc<File>,
    length: u64,
}

impl StoredMessage {
    /// Octets in all.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.head().len() as u64 + self.0.rest.as_ref().map_or(0, |rest| rest.length)
    }

    /// Whether there is nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first [`HEAD_MAX`] octets, or all there are.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.0.head
    }

    /// Reads from the beginning, for a thread that may wait for a disk.
    #[must_use]
    pub fn reader(&self) -> MessageReader {
        MessageReader { content: self.clone(), at: 0 }
    }

    /// The first octets of `range`, some at least unless it is empty; without waiting if they are
    /// in memory.
    ///
    /// # Errors
    /// The file cannot be read.
    async fn read(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        let head = self.head();
        let wanted = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX).min(CHUNK);
        if let Some(text) = usize::try_from(range.start).ok().and_then(|start| head.get(start..))
            && !text.is_empty()
        {
            return Ok(Cow::Borrowed(text.get(..wanted).unwrap_or(text)));
        }
        let Some(rest) = self.0.rest.as_ref().filter(|_| wanted > 0) else {
            return Ok(Cow::Borrowed(&[]));
        };
        let (file, offset) = (Arc::clone(&rest.file), range.start - head.len() as u64);
        let read = move || {
            let mut octets = vec![0; wanted];
            file.read_exact_at(&mut octets, offset).map(|()| octets)
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?.map(Cow::Owned)
    }
}

impl Message for StoredMessage {
    fn size(&self) -> u64 {
        self.len()
    }

    fn head(&self) -> &[u8] {
        self.head()
    }

    fn reader(&self) -> impl Read + Send + 'static {
        self.reader()
    }
}

// a header that may arrive is one that can be signed
const _: () = assert!(HEAD_MAX >= sixgate_auth::dkim::MAX_HEADER);

/// All octets in memory, regardless of their number.
impl From<Vec<u8>> for StoredMessage {
    fn from(head: Vec<u8>) -> Self {
        Self(Arc::new(Parts { head, rest: None }))
    }
}

/// Reads a [`StoredMessage`] from its beginning to its end.
#[derive(Debug)]
pub struct MessageReader {
    content: StoredMessage,
    at: u64,
}

impl Read for MessageReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let head = self.content.head();
        let count = match usize::try_from(self.at).ok().and_then(|at| head.get(at..)) {
            Some(mut text) if !text.is_empty() => text.read(into)?,
            _ => match &self.content.0.rest {
                Some(rest) => {
                    let at = self.at - head.len() as u64;
                    let left = usize::try_from(rest.length.saturating_sub(at)).unwrap_or(usize::MAX);
                    let wanted = into.len().min(left);
                    let into = into.get_mut(..wanted).unwrap_or_default();
                    rest.file.read_exact_at(into, at)?;
                    wanted
                }
                None => 0,
            },
        };
        self.at += count as u64;
        Ok(count)
    }
}
