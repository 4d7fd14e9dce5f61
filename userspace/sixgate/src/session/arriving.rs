//! The message that arrives: its octets, in memory or in a temporary file, within the budgets.
//!
//! It does not look at what it keeps.

use std::io::ErrorKind;

use sixgate_base::fair_share::Network;
use sixgate_smtp::{MessageOctets, session::StoreFailure};
use tracing::warn;

use crate::{
    budget::{Budgets, OctetShare},
    message_store::{MessageBuffer, SpillDirectory, StoredMessage},
};

/// The message that is arriving, and its parts of the budgets.
#[derive(Debug)]
pub(super) struct ArrivingMessage {
    buffer: Option<MessageBuffer>,
    memory: OctetShare,
    disk: OctetShare,
}

impl ArrivingMessage {
    /// None yet, of a client in `network`; none: of one that is trusted.
    pub(super) fn new(budgets: &Budgets, network: Option<Network>) -> Self {
        Self { buffer: None, memory: budgets.memory.share(network), disk: budgets.disk.share(network) }
    }

    /// Keeps the next octets. A message of which octets cannot be kept is forgotten.
    ///
    /// # Errors
    ///
    /// Why they cannot be kept.
    pub(super) async fn keep(
        &mut self,
        octets: MessageOctets,
        directory: &SpillDirectory,
    ) -> Result<(), StoreFailure> {
        let kept = self.try_keep(octets, directory).await;
        if kept.is_err() {
            self.forget();
        }
        kept
    }

    async fn try_keep(
        &mut self,
        octets: MessageOctets,
        directory: &SpillDirectory,
    ) -> Result<(), StoreFailure> {
        let buffer = self.buffer.get_or_insert_with(|| MessageBuffer::new(directory.clone()));
        if !self.memory.cover(buffer.memory_with(&octets)) {
            return Err(StoreFailure::Memory);
        }
        if !self.disk.cover(buffer.disk_with(octets.len())) {
            return Err(StoreFailure::Disk);
        }
        buffer.append(octets).await.map_err(|error| {
            warn!("cannot write a temporary file in {}: {error}", directory.path().display());
            match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreFailure::Disk,
                _ => StoreFailure::Failure,
            }
        })
    }

    /// The whole message, which holds its parts of the budgets until it is forgotten.
    pub(super) fn complete(&mut self) -> StoredMessage {
        self.buffer.take().map_or_else(|| Vec::new().into(), MessageBuffer::freeze)
    }

    /// Lets go of the message, wherever its octets lie.
    pub(super) fn forget(&mut self) {
        self.buffer = None;
        self.memory.release();
        self.disk.release();
    }
}

#[cfg(test)]
mod tests {
    use std::{io::BufRead, sync::Arc, time::Instant};

    use bytes::{BufMut, Bytes};
    use sixgate_smtp::{
        policy::{Mode, evidence::Endpoints},
        reply::{Reply, ReplyTable},
        session::{Admission, Offer, Session, SessionParameters, Task},
    };

    use super::*;
    use crate::{config::Limits, message_store::Outgoing};

    /// A session to which DATA was sent.
    fn session(now: Instant) -> Session {
        let limits = Limits::default();
        let mut session = Session::new(
            SessionParameters {
                id: String::new(),
                table: Arc::new(ReplyTable::new("gate.example", 1 << 20)),
                endpoints: Endpoints {
                    source: "2001:db8::1".parse().expect("an address"),
                    source_port: 1024,
                    destination: "2001:db8::25".parse().expect("an address"),
                    destination_port: 25,
                },
                admission: Admission::Serve,
                mode: Mode::Enforce,
                offer: Offer {
                    eight_bit_mime: true,
                    size: true,
                    smtp_utf8: true,
                    start_tls: false,
                    message_size: 1 << 20,
                },
                limits: limits.session(),
                temporary: Arc::default(),
            },
            now,
        );
        for command in ["EHLO a", "MAIL FROM:<>", "RCPT TO:<a@b.example>", "DATA"] {
            session.poll_space(1024).put_slice(format!("{command}\r\n").as_bytes());
            session.handle_input(now);
            while let Some(task) = session.poll_task() {
                if let Task::Recipient { .. } = task {
                    let reply = Reply::from_next_hop(250, [&b"2.1.5 ok"[..]]).expect("a reply");
                    session.answer_recipient(now, &reply);
                }
            }
        }
        session
    }

    #[tokio::test]
    async fn an_accepted_octet_stays_where_it_was_read_until_it_leaves() {
        const READ: usize = 32 * 1024;
        let line = [&[b'x'; 62][..], b"\r\n"].concat();
        let message = [b"Subject: x\r\n\r\n..a\r\n".as_slice(), &line.repeat(1700), b".\r\n"].concat();
        let (now, mut reads) = (Instant::now(), Vec::new());
        let mut session = session(now);
        let mut buffer = MessageBuffer::new(SpillDirectory::new("/nonexistent".into()));
        for part in message.chunks(READ) {
            let mut space = session.poll_space(READ);
            space.put_slice(part);
            let read = space.into_inner();
            reads.push(read.as_ptr_range());
            session.handle_input(now);
            let Some(Task::Content(octets)) = session.poll_task() else { panic!("content") };
            buffer.append(octets).await.expect("memory");
            session.answer_content(now, Ok(()));
        }
        assert!(matches!(session.poll_task(), Some(Task::Message { .. })));
        let content = buffer.freeze();
        let is_where_it_was_read = |octets: &[u8]| reads.iter().any(|read| read.contains(&octets.as_ptr()));
        let counted = |octets: &[u8], in_place: &mut usize| {
            *in_place += if is_where_it_was_read(octets) { octets.len() } else { 0 };
            octets.len()
        };

        // what DKIM hashes
        let (mut hashed, mut in_place, mut reader) = (0, 0, content.reader());
        while let Ok(octets @ [_, ..]) = reader.fill_buf() {
            let count = counted(octets, &mut in_place);
            hashed += count;
            reader.consume(count);
        }
        let size = message.len() - ".".len() - ".\r\n".len();
        assert_eq!((hashed, in_place), (size, 3 * READ - ".".len()));

        // what leaves: all but the last read, which did not fill its buffer and was copied
        let outgoing = Outgoing::new("H: h\r\n", content, &[]);
        let (mut chunks, mut left, mut in_place) = (outgoing.chunks(), Vec::<Bytes>::new(), 0);
        while let Some(chunk) = chunks.next().await.expect("it is in memory") {
            counted(&chunk, &mut in_place);
            left.push(chunk);
        }
        assert_eq!(in_place, 3 * READ - ".".len());
        let wanted = [b"H: h\r\nSubject: x\r\n\r\n.a\r\n".as_slice(), &line.repeat(1700)].concat();
        assert!(left.concat() == wanted);
    }
}
