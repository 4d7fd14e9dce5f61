//! What becomes of sessions, for those who follow it: the log's closing line and the parts of the
//! daemon that subscribe.
//!
//! It owns the values, not the checks that fill them. No session waits for a subscriber: one that
//! is too slow misses sessions, and learns how many.

mod postfix;
mod summary;

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::config::LogFormat;

pub(crate) use postfix::PostfixClient;
pub(crate) use summary::{Rejection, SessionSummary, SummaryDraft, reasons_text};

/// Where the summaries of sessions go; the same for each configuration.
#[derive(Clone, Debug)]
pub(crate) struct SessionLog {
    is_postfix: bool,
    closed: broadcast::Sender<Arc<SessionSummary>>,
}

impl SessionLog {
    pub(crate) fn new(format: LogFormat) -> Self {
        Self { is_postfix: format == LogFormat::Postfix, closed: broadcast::Sender::new(SUMMARIES_MAX) }
    }

    /// Whether lines about sessions have Postfix's form.
    pub(crate) fn is_postfix(&self) -> bool {
        self.is_postfix
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
