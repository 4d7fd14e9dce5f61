//! What becomes of sessions, for those who follow it: the log's closing line and the parts of the
//! daemon that subscribe.
//!
//! It owns the values, not the checks that fill them. No session waits for a subscriber: one that
//! is too slow misses sessions, and learns how many.

mod summary;

use std::sync::Arc;

use tokio::sync::broadcast;

pub(crate) use summary::{Rejection, SessionSummary, SummaryDraft, reasons_text};

/// Where the summaries of sessions go; the same for each configuration.
#[derive(Clone, Debug)]
pub(crate) struct SessionLog {
    closed: broadcast::Sender<Arc<SessionSummary>>,
}

impl SessionLog {
    pub(crate) fn new() -> Self {
        Self { closed: broadcast::Sender::new(SUMMARIES_MAX) }
    }

    /// The summaries of sessions that end from now on. A receiver that lags behind by more than
    /// [`SUMMARIES_MAX`] loses the oldest, and is told their number (`RecvError::Lagged`).
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<SessionSummary>> {
        self.closed.subscribe()
    }

    /// A session is over.
    pub(crate) fn publish(&self, summary: SessionSummary) {
        // without a subscriber it is dropped
        let _ = self.closed.send(Arc::new(summary));
    }
}

/// Summaries that wait for a subscriber.
pub(crate) const SUMMARIES_MAX: usize = 256;
