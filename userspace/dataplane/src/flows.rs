//! SLOTS and FLOWS: the connections that the program answers by itself or has tagged, as they are
//! now.
//!
//! It changes none; tags are taken by `maps`.

use std::{cmp::Reverse, net::SocketAddrV6, ops::ControlFlow, time::Duration};

use serde::{Deserialize, Serialize};
use sixgate_common::{
    flow::{FlowKey, Tag},
    names,
    refuse::{Phase, Reason},
    slot::{SLOTS_ENTRIES, Slot, SlotKey},
};

use super::{
    cookies::random,
    error::DataplaneError,
    events::{destination, source},
    maps::Maps,
    monotonic_nanoseconds,
};

/// A connection that is refused.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
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
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowState {
    /// It is tagged: the daemon refuses it.
    Tag,
    /// The program refuses it, and the dialogue goes on.
    Live(Phase),
    /// One side has ended the dialogue; the entry only answers stragglers.
    Over,
}

impl FlowRecord {
    /// Records with the oldest first, each tagged connection once.
    #[must_use]
    pub fn sorted(mut records: Vec<Self>) -> Vec<Self> {
        records.sort_by_key(|record| (Reverse(record.age), record.source, record.destination));
        records.dedup_by(|later, first| {
            (later.source, later.destination, later.state)
                == (first.source, first.destination, FlowState::Tag)
        });
        records
    }
}

impl Maps {
    /// The connections, the oldest first.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn flows(&self) -> Result<Vec<FlowRecord>, DataplaneError> {
        let mut found = Vec::new();
        self.each_flow(&mut |record| {
            found.push(record);
            ControlFlow::Continue(())
        })?;
        Ok(FlowRecord::sorted(found))
    }

    /// Gives `take` the connections, in no order, until it breaks off. A tagged one may come twice.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn each_flow(
        &self,
        take: &mut dyn FnMut(FlowRecord) -> ControlFlow<()>,
    ) -> Result<(), DataplaneError> {
        let now = monotonic_nanoseconds();
        // The map changes meanwhile, and a walk that loses its position starts anew: no more steps
        // than entries.
        for entry in self.flows.iter().take(self.sizes().flows as usize) {
            let (key, tag) = entry.map_err(|error| DataplaneError::map("read", names::FLOWS, error))?;
            if tagged(&key, &tag, now).is_some_and(|record| take(record).is_break()) {
                return Ok(());
            }
        }
        for index in 0..SLOTS_ENTRIES {
            let record = answered(&self.slot_at(index)?, now);
            if record.is_some_and(|record| take(record).is_break()) {
                break;
            }
        }
        Ok(())
    }

    /// The slot of a connection that the program answers by itself.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn slot(&self, key: &FlowKey) -> Result<Option<Slot>, DataplaneError> {
        let slot_key = self.slot_key()?;
        for index in slot_key.places_of(key) {
            let slot = self.slot_at(index)?;
            if slot.state != 0 && slot.key() == *key {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    /// Draws the key of the hash that tells where a connection's slot is, unless there is one.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`], [`DataplaneError::System`].
    pub fn draw_slot_key(&mut self) -> Result<(), DataplaneError> {
        if self.slot_key()? != SlotKey::NONE {
            return Ok(());
        }
        let octets: [u8; 56] = random()?;
        let mut words = [0; 7];
        for (word, octets) in words.iter_mut().zip(octets.as_chunks().0) {
            *word = u64::from_ne_bytes(*octets);
        }
        let key = SlotKey::new(words);
        self.slot_key.set(0, key, 0).map_err(|error| DataplaneError::map("write", names::SLOT_KEY, error))
    }

    fn slot_key(&self) -> Result<SlotKey, DataplaneError> {
        self.slot_key.get(&0, 0).map_err(|error| DataplaneError::map("read", names::SLOT_KEY, error))
    }

    fn slot_at(&self, index: u32) -> Result<Slot, DataplaneError> {
        self.slots.get(&index, 0).map_err(|error| DataplaneError::map("read", names::SLOTS, error))
    }
}

/// The record of a tag; `None` if the tag is damaged.
fn tagged(key: &FlowKey, tag: &Tag, now: u64) -> Option<FlowRecord> {
    Some(FlowRecord {
        source: source(key),
        destination: destination(key),
        reason: Reason::from_number(u8::try_from(tag.reason).ok()?)?,
        state: FlowState::Tag,
        commands: 0,
        age: Duration::from_nanos(now.saturating_sub(tag.opened)),
    })
}

/// The record of a slot; `None` if the slot is free or damaged.
fn answered(slot: &Slot, now: u64) -> Option<FlowRecord> {
    let key = slot.key();
    Some(FlowRecord {
        source: source(&key),
        destination: destination(&key),
        reason: slot.reason()?,
        state: match slot.phase()? {
            _ if slot.is_over() => FlowState::Over,
            phase => FlowState::Live(phase),
        },
        commands: slot.commands.into(),
        age: Duration::from_nanos(now.saturating_sub(slot.opened_at(now))),
    })
}

#[cfg(test)]
mod tests {
    use sixgate_common::{
        refuse::REASON_NO_PTR,
        slot::{FLAG_ACKNOWLEDGED, FLAG_FIN_RECEIVED, FLAG_FIN_SENT, OPENED_SHIFT},
    };

    use super::*;

    const KEY: FlowKey =
        FlowKey { source: [1; 16], destination: [2; 16], source_port: [0, 9], destination_port: [0, 25] };

    #[test]
    fn a_tag_is_a_record() {
        let record = tagged(&KEY, &Tag::new(REASON_NO_PTR, 40), 100).unwrap();
        assert_eq!((record.state, record.age), (FlowState::Tag, Duration::from_nanos(60)));
        assert_eq!((record.source, record.destination), (source(&KEY), destination(&KEY)));
        assert_eq!(tagged(&KEY, &Tag::new(0, 40), 100), None);
    }

    #[test]
    fn a_slot_is_live_or_over_or_free() {
        let slot = Slot {
            source: [u64::from_ne_bytes([1; 8]); 2],
            destination: [u64::from_ne_bytes([2; 8]); 2],
            source_port: u16::from_ne_bytes([0, 9]),
            opened: 40,
            ..Slot::FREE
        };
        let state = |phase| Slot { state: Slot::state_of(REASON_NO_PTR, phase), ..slot };
        for (slot, wanted) in [
            (state(Phase::Mail as u8), Some(FlowState::Live(Phase::Mail))),
            (
                Slot { flags: FLAG_ACKNOWLEDGED, ..state(Phase::Connected as u8) },
                Some(FlowState::Live(Phase::Connected)),
            ),
            (Slot { flags: FLAG_FIN_SENT, ..state(Phase::Closing as u8) }, Some(FlowState::Over)),
            (Slot { flags: FLAG_FIN_RECEIVED, ..state(Phase::Mail as u8) }, Some(FlowState::Over)),
            (slot, None),
            (Slot { state: Slot::state_of(0, 2), ..slot }, None),
        ] {
            let record = answered(&slot, 100 << OPENED_SHIFT);
            assert_eq!(record.map(|record| record.state), wanted, "{slot:?}");
            assert!(record.is_none_or(|record| record.age == Duration::from_nanos(60 << OPENED_SHIFT)));
            assert!(record.is_none_or(|record| record.source == source(&KEY)));
        }
    }
}
