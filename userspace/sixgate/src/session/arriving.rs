//! The message that arrives: its octets, in memory or in a temporary file, within the budgets.
//!
//! It does not look at what it keeps.

use std::io::ErrorKind;

use sixgate_base::fair_share::Network;
use sixgate_smtp::session::StoreFailure;
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
        octets: Vec<u8>,
        directory: &SpillDirectory,
    ) -> Result<(), StoreFailure> {
        let kept = self.try_keep(octets, directory).await;
        if kept.is_err() {
            self.forget();
        }
        kept
    }

    async fn try_keep(&mut self, octets: Vec<u8>, directory: &SpillDirectory) -> Result<(), StoreFailure> {
        let buffer = self.buffer.get_or_insert_with(|| MessageBuffer::new(directory.clone()));
        if !self.memory.cover(buffer.memory_with(octets.len())) {
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
