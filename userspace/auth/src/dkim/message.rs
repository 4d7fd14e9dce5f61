//! A message as DKIM reads it: its header at once, its body as a stream.
//!
//! Where its octets lie is its owner's business.

use std::{
    io::{self, BufRead},
    sync::Arc,
};

/// Octets within which a header has to end, the empty line after it included. Signatures in a
/// longer one do not count.
pub const MAX_HEADER: usize = 256 << 10;

/// A complete message (RFC 5322) whose octets do not change: what SMTP's DATA transferred, without
/// dot-stuffing. All its lines end with CRLF.
pub trait Message: Clone + Send + Sync + 'static {
    /// Octets in all.
    fn size(&self) -> u64;

    /// The beginning of the message: at least the header with the empty line after it, if that ends
    /// within [`MAX_HEADER`] octets; else so many octets, or all there are.
    fn head(&self) -> &[u8];

    /// Reads the message from its beginning. It is read on a thread that may wait. The octets are
    /// hashed where the reader shows them: they are copied only if it does that.
    fn reader(&self) -> impl BufRead + Send + 'static;
}

/// A message in memory.
impl Message for Arc<[u8]> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn head(&self) -> &[u8] {
        self
    }

    fn reader(&self) -> impl BufRead + Send + 'static {
        io::Cursor::new(Self::clone(self))
    }
}
