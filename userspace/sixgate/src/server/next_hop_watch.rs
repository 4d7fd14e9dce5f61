//! What the probes of the next hop came to, for log and status.
//!
//! It probes when it is told to; what a next hop can do is `nexthop`'s.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::{info, warn};

use crate::nexthop::NextHop;

/// The outcome of the last probe.
#[derive(Debug, Default)]
pub(crate) struct NextHopWatch(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Whether it answered at all since the daemon's start, or since another next hop was set.
    was_reached: bool,
    /// Whether a reload named it.
    is_reloaded: bool,
    /// Whether any was probed.
    is_probed: bool,
    /// Why it cannot be used now.
    failure: Option<String>,
}

impl NextHopWatch {
    /// Probes `next_hop`; `is_new`: it takes the place of another one. A change is logged. Why it cannot be used, if so.
    pub(crate) async fn probe(&self, next_hop: &NextHop, is_new: bool) -> Option<String> {
        let failure = next_hop.probe().await.err().map(|error| format!("{:#}", anyhow::Error::new(error)));
        let mut state = self.state();
        if is_new {
            let is_reloaded = state.is_probed;
            *state = State { is_reloaded, is_probed: true, ..State::default() };
        }
        match (&failure, &state.failure) {
            (None, Some(_)) => info!("the next hop is usable again"),
            (Some(failure), None) if !state.was_reached => {
                warn!(error = failure, "the next hop is not usable yet");
                if next_hop.capabilities().is_none() {
                    warn!("the next hop has never answered: clients are greeted with 421 until it does");
                }
            }
            (Some(failure), before) if before.as_ref() != Some(failure) => {
                warn!(error = failure, "the next hop is not usable");
            }
            (None | Some(_), _) => {}
        }
        state.was_reached |= failure.is_none();
        state.failure.clone_from(&failure);
        failure
    }

    /// What is wrong with it, as a sentence.
    pub(crate) fn problem(&self) -> Option<String> {
        let state = self.state();
        let failure = state.failure.as_ref()?;
        let since = match (state.was_reached, state.is_reloaded) {
            (true, _) => "",
            (false, false) => ", and was not since the start",
            (false, true) => ", and was not since the reload that named it",
        };
        Some(format!("the next hop is not usable{since}: {failure}"))
    }

    /// Nothing here is left half done, so that a panic elsewhere does not matter to it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
