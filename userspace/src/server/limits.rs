//! Bounds that all sessions share: the room for messages. Those of connections are in `connections`.
//!
//! It counts and admits; what a sender hears when a bound is reached is said elsewhere.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

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
