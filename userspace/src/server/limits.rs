//! Bounds that all sessions share: connections in all and per source, and the room for messages.
//!
//! It counts and admits; what a sender hears when a bound is reached is said elsewhere.

use std::{
    collections::HashMap,
    net::Ipv6Addr,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Counts connections.
#[derive(Debug)]
pub(crate) struct ConnectionLimits {
    total_max: u32,
    per_source_max: u32,
    open: Mutex<OpenConnections>,
}

#[derive(Debug, Default)]
struct OpenConnections {
    total: u32,
    /// Only sources with an open connection: never more than `total` entries.
    per_source: HashMap<Ipv6Addr, u32>,
}

/// A bound that was reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Excess {
    PerSource,
    Total,
}

/// A connection's place; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    limits: Arc<ConnectionLimits>,
    source: Ipv6Addr,
}

impl ConnectionLimits {
    pub(crate) fn new(total_max: NonZeroU32, per_source_max: NonZeroU32) -> Arc<Self> {
        let (total_max, per_source_max) = (total_max.get(), per_source_max.get());
        Arc::new(Self { total_max, per_source_max, open: Mutex::default() })
    }

    pub(crate) fn admit(self: &Arc<Self>, source: Ipv6Addr) -> Result<ConnectionPermit, Excess> {
        let mut open = self.lock();
        if open.total >= self.total_max {
            return Err(Excess::Total);
        }
        let of_source = open.per_source.get(&source).copied().unwrap_or(0);
        if of_source >= self.per_source_max {
            return Err(Excess::PerSource);
        }
        open.total += 1;
        open.per_source.insert(source, of_source + 1);
        Ok(ConnectionPermit { limits: Arc::clone(self), source })
    }

    pub(crate) fn open(&self) -> u32 {
        self.lock().total
    }

    /// Counters stay whole at every instant, so that a panic elsewhere does not matter to them.
    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.limits.lock();
        open.total = open.total.saturating_sub(1);
        match open.per_source.get_mut(&self.source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.per_source.remove(&self.source);
            }
        }
    }
}

/// Room for all messages together, in memory or on the disk, octets.
#[derive(Debug)]
pub(crate) struct OctetBudget {
    max: u64,
    used: AtomicU64,
}

/// One message's part of the budget; dropping it gives the part back.
#[derive(Debug)]
pub(crate) struct OctetShare {
    budget: Arc<OctetBudget>,
    held: u64,
}

impl OctetBudget {
    pub(crate) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { max, used: AtomicU64::new(0) })
    }

    pub(crate) fn share(self: &Arc<Self>) -> OctetShare {
        OctetShare { budget: Arc::clone(self), held: 0 }
    }
}

impl OctetShare {
    /// Makes the share cover `octets`; false, and no change, if the budget does not allow it.
    pub(crate) fn cover(&mut self, octets: u64) -> bool {
        let more = octets.saturating_sub(self.held);
        if more == 0 {
            return true;
        }
        let allow = |used: u64| used.checked_add(more).filter(|used| *used <= self.budget.max);
        let allowed = self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, allow).is_ok();
        if allowed {
            self.held += more;
        }
        allowed
    }

    /// Gives everything back.
    pub(crate) fn release(&mut self) {
        self.budget.used.fetch_sub(self.held, Ordering::Relaxed);
        self.held = 0;
    }
}

impl Drop for OctetShare {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
    }

    #[test]
    fn a_place_is_given_back_when_its_permit_is_dropped() {
        let limits = ConnectionLimits::new(NonZeroU32::new(3).unwrap(), NonZeroU32::new(2).unwrap());
        let first = limits.admit(source(1)).unwrap();
        let second = limits.admit(source(1)).unwrap();
        assert_eq!(limits.admit(source(1)).unwrap_err(), Excess::PerSource);
        let _third = limits.admit(source(2)).unwrap();
        assert_eq!(limits.admit(source(3)).unwrap_err(), Excess::Total);
        drop((first, second));
        assert_eq!(limits.open(), 1);
        assert!(limits.admit(source(1)).is_ok());
    }

    #[test]
    fn room_is_covered_whole_or_not_at_all() {
        let budget = OctetBudget::new(100);
        let (mut one, mut other) = (budget.share(), budget.share());
        assert!(one.cover(60));
        assert!(one.cover(50));
        assert!(!other.cover(41));
        assert!(other.cover(40));
        one.release();
        assert!(other.cover(100));
        drop(other);
        assert!(one.cover(100));
    }
}
