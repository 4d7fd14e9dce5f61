//! Whether the next hop can be used, as probes and hand-overs found it: for the log and `status`.
//!
//! It owns what is logged of a change. It asks the next hop nothing, and changes no reply.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::{Duration, Instant};
use tracing::{info, warn};

use sixgate_smtp::reply::Reply;

/// How long a probe may wait for a reply before that is worth a line: no mail server should need
/// it.
pub const SLOW: Duration = Duration::from_secs(10);
/// The same before `status` calls it a problem where mail can be handed on meanwhile.
const SILENT: Duration = Duration::from_secs(30);
/// Rejections in a row that name sixgate's own address or host name, after which `status` reports
/// them.
pub const REJECTIONS_OF_US: u32 = 3;

/// The last known state of one next hop; shared by its probes and its sessions.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<HealthState>);

#[derive(Debug, Default)]
struct HealthState {
    /// Whether it could be used at all since it was set.
    was_usable: bool,
    /// Why it cannot be used now.
    failure: Option<String>,
    /// Since when a probe waits for it.
    probed_since: Option<Instant>,
    /// Whether the last probe waited for longer than [`SLOW`].
    is_slow: bool,
    /// Rejections that name our address or host name, since it last accepted a recipient.
    rejections: u32,
    /// The one that made them a problem.
    rejection: Option<String>,
}

impl Health {
    /// A probe begins.
    pub(crate) fn begin_probe(&self) {
        self.state().probed_since = Some(Instant::now());
    }

    /// A probe ended; `failure`: why the next hop cannot be used. `is_known`: whether its
    /// extensions are.
    pub(crate) fn end_probe(&self, failure: Option<&str>, is_known: bool) {
        let mut state = self.state();
        let waited = state.probed_since.take().map(|since| since.elapsed()).unwrap_or_default();
        let is_slow = failure.is_none() && waited > SLOW;
        if is_slow && !state.is_slow {
            let seconds = waited.as_secs();
            warn!(seconds, "the next hop is slow to reply to a probe; sessions wait for it as long");
        }
        state.is_slow = is_slow;
        state.found(failure, is_known);
    }

    /// A probe has waited for [`SLOW`] before the daemon serves.
    pub(crate) fn note_slow_start(&self) {
        let seconds = SLOW.as_secs();
        warn!(seconds, "the next hop does not reply to its first probe; going on without it");
    }

    /// A session could not open a connection, for a reason that is not about its client.
    pub(super) fn opening_failed(&self, failure: &str) {
        self.state().found(Some(failure), true);
    }

    /// A session delivered a message.
    pub(super) fn delivered(&self) {
        self.state().found(None, true);
    }

    /// The next hop accepted a recipient.
    pub(super) fn accepted(&self) {
        let mut state = self.state();
        state.rejections = 0;
        if state.rejection.take().is_some() {
            info!("the next hop accepts recipients from sixgate again");
        }
    }

    /// The next hop named our own address or host name in a rejection.
    pub(super) fn rejected_us(&self, reply: &Reply) {
        let mut state = self.state();
        state.rejections = state.rejections.saturating_add(1);
        if state.rejections < REJECTIONS_OF_US {
            return;
        }
        let text = reply.to_string().trim_end().escape_debug().to_string();
        if state.rejection.is_none() {
            warn!(
                reply = text,
                "the next hop rejects sixgate's own address or host name instead of the sender's: exempt it there, or set `next_hop.client`"
            );
        }
        state.rejection = Some(text);
    }

    /// The present problem as a sentence; `since`: the end of the sentence where the next hop never
    /// could be used.
    pub(crate) fn problem(&self, since: &str, is_known: bool) -> Option<String> {
        let state = self.state();
        if let Some(failure) = &state.failure {
            let since = if state.was_usable { "" } else { since };
            return Some(format!("the next hop is not usable{since}: {failure}"));
        }
        let waited = state.probed_since.map(|since| since.elapsed()).unwrap_or_default();
        if waited > SILENT || !is_known {
            let seconds = waited.as_secs();
            let meanwhile = if is_known { "" } else { "; clients are greeted with 421 until it does" };
            return Some(format!("the next hop has not replied to a probe for {seconds} s{meanwhile}"));
        }
        let reply = state.rejection.as_ref()?;
        Some(format!(
            "the next hop rejects sixgate's own address or host name instead of the sender's: {reply}: exempt it there, or set `next_hop.client`"
        ))
    }

    /// Nothing here is left half done, so that a panic elsewhere does not matter to it.
    fn state(&self) -> MutexGuard<'_, HealthState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HealthState {
    fn found(&mut self, failure: Option<&str>, is_known: bool) {
        match (failure, self.failure.as_deref()) {
            (None, Some(_)) => info!("the next hop is usable again"),
            (Some(failure), None) if !self.was_usable => {
                warn!(error = failure, "the next hop is not usable yet");
                if !is_known {
                    warn!("the next hop has never answered: clients are greeted with 421 until it does");
                }
            }
            (Some(failure), before) if before != Some(failure) => {
                warn!(error = failure, "the next hop is not usable");
            }
            (None | Some(_), _) => {}
        }
        self.was_usable |= failure.is_none();
        self.failure = failure.map(str::to_owned);
    }
}
