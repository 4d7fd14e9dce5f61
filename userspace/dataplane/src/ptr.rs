//! The PTR map: results of reverse DNS for sending addresses, for the program to use.
//!
//! Only results get here; the asker of DNS decides how long one holds.

use std::{net::Ipv6Addr, ops::ControlFlow, time::Duration};

use aya::maps::MapError;
use serde::{Deserialize, Serialize};
use sixgate_common::{
    names,
    ptr::{ORIGIN_COMMAND, ORIGIN_DNS, PTR_ABSENT, PTR_EXISTS, PtrEntry},
};

use super::{
    error::{DataplaneError, is_absent},
    maps::Maps,
    monotonic_nanoseconds,
};

/// The result of reverse DNS for an address.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PtrState {
    /// It has at least one PTR record.
    Exists,
    /// It has none (NXDOMAIN or NODATA).
    Absent,
}

/// The source of a result.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PtrOrigin {
    /// DNS: another answer takes its place.
    Dns,
    /// A command: it holds until it expires.
    Command,
}

/// One entry that still holds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PtrRecord {
    /// The sending address.
    pub address: Ipv6Addr,
    /// The result of reverse DNS.
    pub state: PtrState,
    /// The source of the result.
    pub origin: PtrOrigin,
    /// For how long it still holds.
    pub remaining: Duration,
}

impl PtrRecord {
    /// Records in the order of their addresses, each address once.
    #[must_use]
    pub fn sorted(mut records: Vec<Self>) -> Vec<Self> {
        records.sort_by_key(|record| record.address);
        records.dedup_by_key(|record| record.address);
        records
    }
}

impl Maps {
    /// All entries that still hold, in the order of their addresses.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn ptr_list(&self) -> Result<Vec<PtrRecord>, DataplaneError> {
        let mut found = Vec::new();
        self.each_ptr(&mut |record| {
            found.push(record);
            ControlFlow::Continue(())
        })?;
        Ok(PtrRecord::sorted(found))
    }

    /// Gives `take` the entries that still hold, in no order, until it breaks off. One may come
    /// twice.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn each_ptr(&self, take: &mut dyn FnMut(PtrRecord) -> ControlFlow<()>) -> Result<(), DataplaneError> {
        let now = monotonic_nanoseconds();
        // The map changes meanwhile, and a walk that loses its position starts anew: no more steps
        // than entries.
        for entry in self.ptr.iter().take(self.sizes().ptr as usize) {
            let (address, entry) = entry.map_err(failed("read"))?;
            let record = record(address.into(), &entry, now);
            if record.is_some_and(|record| take(record).is_break()) {
                break;
            }
        }
        Ok(())
    }

    /// The entry of one address, if it still holds.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn ptr_get(&self, address: Ipv6Addr) -> Result<Option<PtrRecord>, DataplaneError> {
        match self.ptr.get(&address.octets(), 0) {
            Ok(entry) => Ok(record(address, &entry, monotonic_nanoseconds())),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(failed("read")(error)),
        }
    }

    /// Tells the program what is known about an address, for `lifetime` from now on.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn ptr_set(
        &mut self,
        address: Ipv6Addr,
        state: PtrState,
        origin: PtrOrigin,
        lifetime: Duration,
    ) -> Result<(), DataplaneError> {
        let lifetime = u64::try_from(lifetime.as_nanos()).unwrap_or(u64::MAX);
        let entry = entry(state, origin, monotonic_nanoseconds().saturating_add(lifetime));
        self.ptr.insert(address.octets(), entry, 0).map_err(failed("write"))
    }

    /// Forgets an address; whether there was an entry.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn ptr_remove(&mut self, address: Ipv6Addr) -> Result<bool, DataplaneError> {
        match self.ptr.remove(&address.octets()) {
            Ok(()) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(failed("delete from")(error)),
        }
    }

    /// Forgets all addresses; how many there were.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn ptr_flush(&mut self) -> Result<usize, DataplaneError> {
        let addresses = self
            .ptr
            .keys()
            .take(self.sizes().ptr as usize)
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed("read"))?;
        let mut removed = 0;
        for address in addresses {
            removed += usize::from(self.ptr_remove(address.into())?);
        }
        Ok(removed)
    }
}

const fn entry(state: PtrState, origin: PtrOrigin, expires: u64) -> PtrEntry {
    let state = match state {
        PtrState::Exists => PTR_EXISTS,
        PtrState::Absent => PTR_ABSENT,
    };
    let origin = match origin {
        PtrOrigin::Dns => ORIGIN_DNS,
        PtrOrigin::Command => ORIGIN_COMMAND,
    };
    PtrEntry { expires, state, origin }
}

fn record(address: Ipv6Addr, entry: &PtrEntry, now: u64) -> Option<PtrRecord> {
    let state = match entry.state {
        PTR_EXISTS => PtrState::Exists,
        PTR_ABSENT => PtrState::Absent,
        _ => return None,
    };
    let origin = if entry.origin == ORIGIN_COMMAND { PtrOrigin::Command } else { PtrOrigin::Dns };
    let remaining = entry.expires.checked_sub(now).filter(|left| *left > 0)?;
    Some(PtrRecord { address, state, origin, remaining: Duration::from_nanos(remaining) })
}

fn failed(operation: &'static str) -> impl Fn(MapError) -> DataplaneError {
    move |error| DataplaneError::map(operation, names::PTR, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_entry_is_no_record() {
        let address = "2001:db8::1".parse().unwrap();
        let entry = entry(PtrState::Exists, PtrOrigin::Dns, 1000);
        let record_at = |now| record(address, &entry, now);
        assert_eq!(record_at(999).unwrap().remaining, Duration::from_nanos(1));
        assert!(record_at(1000).is_none());
        assert!(record_at(1001).is_none());
    }
}
