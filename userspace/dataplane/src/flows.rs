//! FLOWS: the connections that the program refuses or has tagged, as they are now.
//!
//! It changes none; tags are taken by `maps`.

use std::{net::SocketAddrV6, time::Duration};

use sixgate_common::{
    flow::{Flow, FlowKey, PHASE_TAG},
    names,
    refuse::{Phase, Reason},
};

use super::{
    error::{DataplaneError, is_absent},
    events::{destination, source},
    maps::Maps,
    monotonic_nanoseconds,
};

/// One entry of FLOWS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FlowRecord {
    /// The client's address and port.
    pub source: SocketAddrV6,
    /// The server's address and port.
    pub destination: SocketAddrV6,
    /// Why it is refused.
    pub reason: Reason,
    /// How far it is.
    pub state: FlowState,
    /// The number of commands answered.
    pub commands: u16,
    /// How long it has been there.
    pub age: Duration,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FlowState {
    /// It is tagged: the daemon refuses it.
    Tag,
    /// The program refuses it, and the dialogue goes on.
    Live(Phase),
    /// One side has ended the dialogue; the entry only answers stragglers.
    Over,
}

impl Maps {
    /// Every entry, the oldest first.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn flows(&self) -> Result<Vec<FlowRecord>, DataplaneError> {
        let now = monotonic_nanoseconds();
        let mut found = std::collections::HashMap::new();
        // The map changes meanwhile, and a walk that loses its position starts anew: no more steps
        // than entries.
        for entry in self.flows.iter().take(self.sizes().flows as usize) {
            let (key, flow) = entry.map_err(|error| DataplaneError::map("read", names::FLOWS, error))?;
            found.insert(key, flow);
        }
        let mut records: Vec<FlowRecord> =
            found.iter().filter_map(|(key, flow)| record(key, flow, now)).collect();
        records.sort_by_key(|record| (std::cmp::Reverse(record.age), record.source));
        Ok(records)
    }

    /// One entry.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn flow(&self, key: &FlowKey) -> Result<Option<Flow>, DataplaneError> {
        match self.flows.get(key, 0) {
            Ok(flow) => Ok(Some(flow)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(DataplaneError::map("read", names::FLOWS, error)),
        }
    }
}

/// The record of an entry; `None` if the entry is damaged.
fn record(key: &FlowKey, flow: &Flow, now: u64) -> Option<FlowRecord> {
    let state = match Phase::from_number(flow.phase) {
        None if flow.phase == PHASE_TAG => FlowState::Tag,
        Some(_) if flow.is_over() => FlowState::Over,
        Some(phase) => FlowState::Live(phase),
        None => return None,
    };
    Some(FlowRecord {
        source: source(key),
        destination: destination(key),
        reason: Reason::from_number(flow.reason)?,
        state,
        commands: flow.commands,
        age: Duration::from_nanos(now.saturating_sub(flow.opened)),
    })
}

#[cfg(test)]
mod tests {
    use sixgate_common::{
        flow::{FLAG_ACKNOWLEDGED, FLAG_FIN_RECEIVED, FLAG_FIN_SENT},
        refuse::REASON_NO_PTR,
    };

    use super::*;

    const KEY: FlowKey =
        FlowKey { source: [1; 16], destination: [2; 16], source_port: [0, 9], destination_port: [0, 25] };

    #[test]
    fn an_entry_is_a_tag_or_live_or_over() {
        let tag = Flow::tag(REASON_NO_PTR, 40);
        for (flow, wanted) in [
            (tag, Some(FlowState::Tag)),
            (Flow { phase: Phase::Mail as u8, ..tag }, Some(FlowState::Live(Phase::Mail))),
            (
                Flow { phase: Phase::Connected as u8, flags: FLAG_ACKNOWLEDGED, ..tag },
                Some(FlowState::Live(Phase::Connected)),
            ),
            (Flow { phase: Phase::Closing as u8, flags: FLAG_FIN_SENT, ..tag }, Some(FlowState::Over)),
            (Flow { phase: Phase::Mail as u8, flags: FLAG_FIN_RECEIVED, ..tag }, Some(FlowState::Over)),
            (Flow { phase: 9, ..tag }, None),
            (Flow { reason: 0, ..tag }, None),
        ] {
            let record = record(&KEY, &flow, 100);
            assert_eq!(record.map(|record| record.state), wanted, "{flow:?}");
            assert!(record.is_none_or(|record| record.age == Duration::from_nanos(60)));
        }
    }
}
