//! The first probe of a next hop, and its present problem for status.
//!
//! It probes at a start and at a reload. The capabilities of a next hop, and the log's lines about
//! it, are `nexthop`'s.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::timeout;

use crate::nexthop::{NextHop, SLOW};

/// The facts about the next hop beside those that it keeps itself.
#[derive(Debug, Default)]
pub(crate) struct NextHopWatch {
    /// Whether any was probed.
    is_probed: AtomicBool,
    /// Whether a reload named the present one.
    is_reloaded: AtomicBool,
}

impl NextHopWatch {
    /// Probes `next_hop`, which replaces another one, and waits [`SLOW`] at most: the probe goes on
    /// meanwhile. Why it cannot be used, if so.
    pub(crate) async fn begin(&self, next_hop: &NextHop) -> Option<String> {
        self.is_reloaded.store(self.is_probed.swap(true, Ordering::Relaxed), Ordering::Relaxed);
        let probed = next_hop.clone();
        let probe = tokio::spawn(async move { probed.examine().await });
        if let Ok(outcome) = timeout(SLOW, probe).await {
            return outcome.ok().flatten();
        }
        next_hop.health().note_slow_start();
        Some(format!("it has not replied to a probe for {} s", SLOW.as_secs()))
    }

    /// The present problem of `next_hop`, the one in force, as a sentence.
    pub(crate) fn problem(&self, next_hop: &NextHop) -> Option<String> {
        let since = match self.is_reloaded.load(Ordering::Relaxed) {
            false => ", and was not since the start",
            true => ", and was not since the reload that named it",
        };
        next_hop.health().problem(since, next_hop.capabilities().is_some())
    }
}
