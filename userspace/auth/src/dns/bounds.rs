//! How much may be asked: by each source's network in a minute.
//!
//! It sends nothing, neither to servers nor to clients. How much may be asked at one time is in
//! `fair_semaphore`.

use std::{
    hash::Hash,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use moka::sync::Cache;

/// Networks, and domains of networks, whose spending is remembered. One that was pushed out begins
/// anew, which a holder of more networks than that can have anyway.
pub const NETWORKS: u64 = 65_536;
/// The time for which a budget is given.
const PERIOD: Duration = Duration::from_mins(1);

/// Bounds of a resolver.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DnsBounds {
    /// Questions that the sources of one /64 may cause in a minute.
    pub questions_per_minute: NonZeroU32,
    /// Questions of these that the SPF checks of one domain may cause in a minute.
    pub questions_per_domain: NonZeroU32,
    /// Questions that are open at one time. The sources of one /64 have at most a third of them,
    /// those of one /48 at most a half, and less while others ask much, too.
    pub concurrency: NonZeroU32,
}

impl Default for DnsBounds {
    fn default() -> Self {
        Self {
            questions_per_minute: const { NonZeroU32::new(1200).unwrap() },
            questions_per_domain: const { NonZeroU32::new(300).unwrap() },
            concurrency: const { NonZeroU32::new(256).unwrap() },
        }
    }
}

/// What each network, or each of something else, has spent lately. A token bucket that holds a
/// minute's questions and fills evenly.
pub(super) struct Budgets<K> {
    /// The time that one question costs.
    price: Duration,
    /// Until when each has spent its time; forgotten once that has passed for sure.
    spent_until: Cache<K, Arc<Mutex<Instant>>>,
    exceeded: AtomicU64,
}

impl<K: Eq + Hash + Send + Sync + 'static> Budgets<K> {
    pub(super) fn new(questions_per_minute: NonZeroU32) -> Self {
        let spent_until = Cache::builder().max_capacity(NETWORKS).time_to_idle(PERIOD).build();
        Self { price: PERIOD / questions_per_minute.get(), spent_until, exceeded: AtomicU64::new(0) }
    }

    /// Whether [`Self::spend`] would succeed; counted if not.
    pub(super) fn affords(&self, spender: K, now: Instant) -> bool {
        let Some(spent_until) = self.spent_until.get(&spender) else {
            return true;
        };
        let spent_until = *spent_until.lock().unwrap_or_else(PoisonError::into_inner);
        let affords = (spent_until.max(now) + self.price).duration_since(now) <= PERIOD;
        if !affords {
            self.exceeded.fetch_add(1, Ordering::Relaxed);
        }
        affords
    }

    /// Spends one question; false, and nothing spent, if the budget is used up.
    pub(super) fn spend(&self, spender: K, now: Instant) -> bool {
        let spent_until = self.spent_until.get_with(spender, || Arc::new(Mutex::new(now)));
        // a single value is whole at every instant
        let mut spent_until = spent_until.lock().unwrap_or_else(PoisonError::into_inner);
        let after = (*spent_until).max(now) + self.price;
        let allowed = after.duration_since(now) <= PERIOD;
        if allowed {
            *spent_until = after;
        } else {
            self.exceeded.fetch_add(1, Ordering::Relaxed);
        }
        allowed
    }

    /// How often a budget was used up, since the start.
    pub(super) fn exceeded(&self) -> u64 {
        self.exceeded.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use sixgate_base::fair_share::Network;

    fn network(text: &str) -> Network {
        text.parse::<Ipv6Addr>().unwrap().into()
    }

    #[test]
    fn a_budget_belongs_to_a_64_and_fills_evenly() {
        let budgets = Budgets::new(NonZeroU32::new(60).unwrap());
        let (one, same) = (network("2001:db8:0:1::1"), network("2001:db8:0:1:ffff::2"));
        let start = Instant::now();
        let spend = |network, at| (0..1000).filter(|_| budgets.spend(network, at)).count();
        assert_eq!(spend(one, start), 60, "a minute's questions at once");
        assert_eq!(spend(same, start), 0);
        assert_eq!(spend(network("2001:db8:0:2::1"), start), 60, "another network has its own");
        assert_eq!(spend(one, start + Duration::from_millis(2500)), 2, "one a second comes back");
        assert_eq!(spend(one, start + Duration::from_secs(3)), 1);
        assert_eq!(spend(one, start + Duration::from_secs(1000)), 60, "and never more than a minute's");
        assert_eq!(budgets.exceeded(), 1000 * 6 - 60 - 60 - 2 - 1 - 60);
    }

    #[test]
    fn the_table_of_networks_is_bounded() {
        let budgets = Budgets::new(NonZeroU32::MIN);
        let now = Instant::now();
        for number in 0..NETWORKS + 10_000 {
            let network: Network = Ipv6Addr::from(u128::from(number) << 64).into();
            assert!(budgets.spend(network, now));
        }
        budgets.spent_until.run_pending_tasks();
        assert!(budgets.spent_until.entry_count() <= NETWORKS);
    }
}
