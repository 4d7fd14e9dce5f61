//! A message while it arrives.
//!
//! It alone writes octets to a disk. How many may arrive is the caller's business.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use sixgate_smtp::MessageOctets;

use super::{HEAD_MAX, Rest, StoredMessage, pieces::Pieces};

/// Where temporary files are made. They never have a name there (`O_TMPFILE`, or removed at once),
/// so that nothing is left behind by a crash.
#[derive(Clone, Debug)]
pub struct SpillDirectory(Arc<Path>);

impl SpillDirectory {
    /// `path` must exist and be writable when it is needed; see [`Self::probe`].
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path.into())
    }

    /// The path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a file and lets it go again.
    ///
    /// # Errors
    /// What would keep large messages from being taken.
    pub fn probe(&self) -> io::Result<()> {
        self.file().map(drop)
    }

    fn file(&self) -> io::Result<File> {
        tempfile::tempfile_in(self.path())
    }
}

/// A message while it arrives. Octets that were appended before an error, or before an
/// [`Self::append`] that was not awaited to its end, are of no use any more.
#[derive(Debug)]
pub struct MessageBuffer {
    directory: SpillDirectory,
    head: Pieces,
    rest: Option<Rest>,
}

impl MessageBuffer {
    /// Nothing yet. A file is made in `directory` when one is needed.
    #[must_use]
    pub fn new(directory: SpillDirectory) -> Self {
        Self { directory, head: Pieces::default(), rest: None }
    }

    /// Memory that will be held once `more` has been appended, octets: of each read buffer all,
    /// even if a part of it is kept.
    #[must_use]
    pub fn memory_with(&self, more: &MessageOctets) -> u64 {
        self.head.memory_with(more, more.len().min(self.space_left())) as u64
    }

    /// Octets on the disk once `more` octets have been appended.
    #[must_use]
    pub fn disk_with(&self, more: usize) -> u64 {
        let written = self.rest.as_ref().map_or(0, |rest| rest.length);
        written.saturating_add(more.saturating_sub(self.space_left()) as u64)
    }

    /// Takes the next octets.
    ///
    /// # Errors
    /// The temporary file cannot be made or written: the disk is full, for instance.
    pub async fn append(&mut self, octets: impl Into<MessageOctets>) -> io::Result<()> {
        let mut rest = octets.into();
        self.head.add(rest.split_to(self.space_left()));
        if rest.is_empty() { Ok(()) } else { self.spill(rest).await }
    }

    /// The message, complete.
    #[must_use]
    pub fn freeze(self) -> StoredMessage {
        StoredMessage::new(self.head.into_pieces(), self.rest)
    }

    /// Octets that memory takes beyond those that it has.
    fn space_left(&self) -> usize {
        HEAD_MAX.saturating_sub(self.head.length())
    }

    async fn spill(&mut self, octets: MessageOctets) -> io::Result<()> {
        let (file, mut offset) = match &self.rest {
            Some(rest) => (Some(Arc::clone(&rest.file)), rest.length),
            None => (None, 0),
        };
        let (directory, length) = (self.directory.clone(), offset + octets.len() as u64);
        let write = move || {
            let file = file.map_or_else(|| directory.file().map(Arc::new), Ok)?;
            for octets in few(octets) {
                file.write_all_at(&octets, offset)?;
                offset += octets.len() as u64;
            }
            Ok::<_, io::Error>(file)
        };
        let file = tokio::task::spawn_blocking(write).await.map_err(io::Error::other)??;
        self.rest = Some(Rest { file, length });
        Ok(())
    }
}

/// The octets, to be written one after the other: copied if they are cut into crumbs.
fn few(octets: MessageOctets) -> Vec<Bytes> {
    match octets.slices() {
        slices if slices.len() <= WRITES_MAX => slices.to_vec(),
        slices => vec![slices.concat().into()],
    }
}

/// Writes for octets that were read at once.
const WRITES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::{fs, io::Read};

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    fn buffer() -> (TempDir, MessageBuffer) {
        let directory = TempDir::new().expect("a directory");
        let buffer = MessageBuffer::new(SpillDirectory::new(directory.path().to_owned()));
        (directory, buffer)
    }

    /// Octets that tell where they stood.
    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
    }

    #[tokio::test]
    async fn only_what_is_beyond_the_head_goes_to_a_file_without_a_name() {
        let rows = [(0, false), (1, false), (HEAD_MAX, false), (HEAD_MAX + 1, true), (3 * HEAD_MAX, true)];
        for (length, spills) in rows {
            let (directory, mut buffer) = buffer();
            let octets = pattern(length);
            for piece in octets.chunks(100_000) {
                let piece = MessageOctets::from(piece.to_vec());
                let disk = buffer.disk_with(piece.len());
                buffer.append(piece).await.expect("room");
                assert_eq!(buffer.rest.as_ref().map_or(0, |rest| rest.length), disk, "{length}");
            }
            assert_eq!(buffer.rest.is_some(), spills, "{length}");
            let names = fs::read_dir(directory.path()).expect("the directory").count();
            assert_eq!(names, 0, "{length}");
            let content = buffer.freeze();
            assert_eq!(content.len(), length as u64);
            assert_eq!(content.head(), &octets[..length.min(HEAD_MAX)], "{length}");
            let mut read = Vec::new();
            content.reader().read_to_end(&mut read).expect("a readable file");
            assert!(read == octets, "{length}");
        }
    }

    #[tokio::test]
    async fn a_directory_that_is_not_there_is_an_error_only_for_large_messages() {
        let mut buffer = MessageBuffer::new(SpillDirectory::new("/nonexistent/sixgate".into()));
        buffer.append(pattern(HEAD_MAX)).await.expect("memory");
        buffer.append(vec![0]).await.expect_err("no directory");
        assert!(buffer.directory.probe().is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn it_does_not_matter_in_which_pieces_a_message_comes(
            pieces in prop::collection::vec(0_usize..200_000, 0..6),
        ) {
            let octets = pattern(pieces.iter().sum());
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let (_directory, mut buffer) = buffer();
            let mut rest = octets.as_slice();
            for length in pieces {
                let (piece, later) = rest.split_at(length);
                rest = later;
                runtime.block_on(buffer.append(piece.to_vec())).expect("room");
            }
            let mut read = Vec::new();
            buffer.freeze().reader().read_to_end(&mut read).expect("a readable file");
            prop_assert!(read == octets);
        }
    }
}
