//! Permits for what may be done at one time, such as open questions or connections, shared among
//! the networks that cause it.
//!
//! It does none of it. How many permits are whose is the rule of [`FairShare`].

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

use crate::fair_share::{FairShare, Network, Shortage};

/// Permits, and who waits for one.
#[derive(Debug)]
pub struct FairSemaphore {
    state: Mutex<SemaphoreState>,
    wait_max: Duration,
    missed: AtomicU64,
    missed_share: AtomicU64,
    /// Whether any task waits.
    waited_for: watch::Sender<bool>,
}

#[derive(Debug)]
struct SemaphoreState {
    shares: FairShare,
    /// Permits that only sources without a network may have.
    reserve: FairShare,
    /// The waiting tasks by number, of the networks that have any. No waiter could have a permit
    /// now.
    waiters: HashMap<Option<Network>, BTreeMap<u64, oneshot::Sender<Permit>>>,
    next_number: u64,
}

/// A permit; dropping it lets another task have it.
#[derive(Debug)]
pub struct Permit {
    semaphore: Arc<FairSemaphore>,
    network: Option<Network>,
    from: Supply,
}

/// Where a permit was taken from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Supply {
    Shares,
    Reserve,
}

/// A task that waits; dropping it ends the wait.
struct Waiter {
    semaphore: Arc<FairSemaphore>,
    network: Option<Network>,
    number: u64,
    woken: oneshot::Receiver<Permit>,
}

impl FairSemaphore {
    /// So many permits, for one of which a task waits `wait_max` at most.
    pub fn new(permits: NonZeroU32, wait_max: Duration) -> Arc<Self> {
        Self::with_reserve(permits, 0, wait_max)
    }

    /// The same, `reserve` of them for sources without a network only, which may have the others as
    /// well.
    pub fn with_reserve(permits: NonZeroU32, reserve: u32, wait_max: Duration) -> Arc<Self> {
        let [shared, reserve] = split(permits, reserve);
        let state = SemaphoreState {
            shares: FairShare::new(shared),
            reserve: FairShare::new(reserve),
            waiters: HashMap::new(),
            next_number: 0,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            wait_max,
            missed: AtomicU64::new(0),
            missed_share: AtomicU64::new(0),
            waited_for: watch::Sender::new(false),
        })
    }

    /// Waits for a permit for what `network` causes; none if it takes too long.
    pub async fn acquire(self: &Arc<Self>, network: Option<Network>) -> Option<Permit> {
        let mut waiter = match self.enter(network) {
            Ok(permit) => return Some(permit),
            Err(waiter) => waiter,
        };
        let permit = timeout(self.wait_max, &mut waiter.woken).await.ok().and_then(Result::ok);
        if permit.is_none() {
            let is_own_share = self.lock().shares.check(network, 0, 1) == Err(Shortage::Network);
            let counter = if is_own_share { &self.missed_share } else { &self.missed };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        permit
    }

    /// Makes them more or fewer. Those that are held stay so, even if that is more than there are
    /// now.
    pub fn resize(self: &Arc<Self>, permits: NonZeroU32, reserve: u32) {
        let [shared, reserve] = split(permits, reserve);
        self.change(|state| {
            state.shares.resize(shared);
            state.reserve.resize(reserve);
        });
    }

    /// Changes the state, after which other tasks may have permits.
    fn change(self: &Arc<Self>, change: impl FnOnce(&mut SemaphoreState)) {
        let woken: Vec<_> = {
            let mut state = self.lock();
            change(&mut state);
            let woken = std::iter::from_fn(|| state.wake()).collect();
            self.tell(&state);
            woken
        };
        for (network, from, waker) in woken {
            // a task that has gone meanwhile leaves the permit to the next, by dropping it: the
            // state must not be locked
            drop(waker.send(Permit { semaphore: Arc::clone(self), network, from }));
        }
    }

    /// How often there was no permit in time, since the start: for want of any, and because the
    /// rest was for other networks.
    pub fn missed(&self) -> [u64; 2] {
        [&self.missed, &self.missed_share].map(|counter| counter.load(Ordering::Relaxed))
    }

    /// A permit, or a position among the waiters.
    fn enter(self: &Arc<Self>, network: Option<Network>) -> Result<Permit, Waiter> {
        let mut state = self.lock();
        if let Some(from) = state.take(network) {
            return Ok(Permit { semaphore: Arc::clone(self), network, from });
        }
        let (waker, woken) = oneshot::channel();
        let number = state.next_number;
        state.next_number += 1;
        state.waiters.entry(network).or_default().insert(number, waker);
        self.tell(&state);
        Err(Waiter { semaphore: Arc::clone(self), network, number, woken })
    }

    /// Resolves once a task waits for a permit, and never if the semaphore is gone before.
    pub async fn is_waited_for(&self) {
        if self.waited_for.subscribe().wait_for(|waited_for| *waited_for).await.is_err() {
            std::future::pending().await
        }
    }

    fn tell(&self, state: &SemaphoreState) {
        let is_waited_for = !state.waiters.is_empty();
        self.waited_for
            .send_if_modified(|waited_for| std::mem::replace(waited_for, is_waited_for) != is_waited_for);
    }

    /// Numbers stay whole at every instant, so that a panic elsewhere does not matter to them.
    fn lock(&self) -> MutexGuard<'_, SemaphoreState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SemaphoreState {
    fn take(&mut self, network: Option<Network>) -> Option<Supply> {
        if network.is_none() && self.reserve.take(None, 0, 1).is_ok() {
            return Some(Supply::Reserve);
        }
        self.shares.take(network, 0, 1).is_ok().then_some(Supply::Shares)
    }

    fn has_one_for(&self, network: Option<Network>) -> bool {
        let is_reserved = network.is_none() && self.reserve.check(None, 0, 1).is_ok();
        is_reserved || self.shares.check(network, 0, 1).is_ok()
    }

    /// Takes a permit for the task that has waited longest of those whose networks may have one
    /// more.
    fn wake(&mut self) -> Option<(Option<Network>, Supply, oneshot::Sender<Permit>)> {
        let may = self.waiters.iter().filter(|(network, _)| self.has_one_for(**network));
        let network = *may.min_by_key(|(_, line)| line.keys().next().copied())?.0;
        let line = self.waiters.get_mut(&network)?;
        let (_, waker) = line.pop_first()?;
        if line.is_empty() {
            self.waiters.remove(&network);
        }
        Some((network, self.take(network)?, waker))
    }
}

/// Permits that are shared, and those of the reserve; one is shared at least.
fn split(permits: NonZeroU32, reserve: u32) -> [u64; 2] {
    let reserve = reserve.min(permits.get() - 1);
    [permits.get() - reserve, reserve].map(u64::from)
}

impl Drop for Permit {
    fn drop(&mut self) {
        let (network, from) = (self.network, self.from);
        self.semaphore.change(|state| match from {
            Supply::Shares => state.shares.give_back(network, 1),
            Supply::Reserve => state.reserve.give_back(None, 1),
        });
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = self.semaphore.lock();
        if let Some(line) = state.waiters.get_mut(&self.network) {
            line.remove(&self.number);
            if line.is_empty() {
                state.waiters.remove(&self.network);
            }
        }
        self.semaphore.tell(&state);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    const WAIT_MAX: Duration = Duration::from_secs(5);

    fn semaphore(permits: u32) -> Arc<FairSemaphore> {
        FairSemaphore::new(NonZeroU32::new(permits).unwrap(), WAIT_MAX)
    }

    fn network(text: &str) -> Option<Network> {
        Some(text.parse::<Ipv6Addr>().unwrap().into())
    }

    /// All that a network gets without waiting.
    fn all_it_can(semaphore: &Arc<FairSemaphore>, text: &str) -> Vec<Permit> {
        std::iter::from_fn(|| semaphore.enter(network(text)).ok()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_without_a_permit_in_time_is_counted() {
        let semaphore = semaphore(1);
        let (one, other) = (network("2001:db8::1"), network("2001:db8:1::1"));
        let first = semaphore.acquire(one).await;
        assert!(first.is_some() && semaphore.acquire(other).await.is_none());
        assert_eq!(semaphore.missed(), [1, 0]);
        drop(first);
        assert!(semaphore.acquire(other).await.is_some());
        let semaphore = self::semaphore(8);
        let held = all_it_can(&semaphore, "2001:db8::1");
        assert!(held.len() == 2 && semaphore.acquire(one).await.is_none());
        assert_eq!(semaphore.missed(), [0, 1]);
        assert!(semaphore.lock().waiters.is_empty(), "no task waits any more");
    }

    #[test]
    fn a_permit_goes_to_the_longest_wait_of_those_that_may_have_more() {
        let semaphore = semaphore(3);
        let mut trusted: Vec<_> = std::iter::from_fn(|| semaphore.enter(None).ok()).collect();
        let sources = ["2001:db8::1", "2001:db8::2", "2001:db8:1::1", "2001:db8:2::1"];
        let mut places: Vec<_> =
            sources.iter().filter_map(|source| semaphore.enter(network(source)).err()).collect();
        let mut woken = Vec::new();
        for wanted in [0, 2, 3] {
            trusted.pop();
            woken.extend(
                places.iter_mut().enumerate().filter_map(|(place, waiting)| {
                    waiting.woken.try_recv().ok().map(|permit| (place, permit))
                }),
            );
            assert_eq!(woken.last().map(|(place, _)| *place), Some(wanted));
        }
        woken.clear();
        assert!(places[1].woken.try_recv().is_ok(), "its network had one until now");
    }

    #[tokio::test]
    async fn a_task_that_gave_up_is_not_woken() {
        let semaphore = semaphore(1);
        let first = semaphore.acquire(network("2001:db8::1")).await;
        let gone = semaphore.enter(network("2001:db8:1::1")).err();
        let later = semaphore.enter(network("2001:db8:2::1")).err();
        drop(gone);
        drop(first);
        let mut later = later.unwrap();
        assert!(later.woken.try_recv().is_ok());
    }

    #[test]
    fn a_reserve_is_for_sources_without_a_network() {
        let semaphore = FairSemaphore::with_reserve(NonZeroU32::new(10).unwrap(), 2, WAIT_MAX);
        let sources: Vec<String> = (0..64).map(|number| format!("2001:db8:{number:x}::1")).collect();
        let held: Vec<Permit> = sources.iter().flat_map(|source| all_it_can(&semaphore, source)).collect();
        assert_eq!(held.len(), 8);
        let mut waiter = semaphore.enter(network("2001:db8:ffff::1")).err().unwrap();
        let trusted: Vec<Permit> = std::iter::from_fn(|| semaphore.enter(None).ok()).collect();
        assert_eq!(trusted.len(), 2);
        drop(trusted);
        assert!(waiter.woken.try_recv().is_err(), "the reserve stays one");
        drop(held);
        assert!(waiter.woken.try_recv().is_ok());
        let trusted: Vec<Permit> = std::iter::from_fn(|| semaphore.enter(None).ok()).collect();
        assert_eq!(trusted.len(), 10, "and the others are for all");
    }

    #[test]
    fn one_permit_is_for_all() {
        let semaphore = FairSemaphore::with_reserve(NonZeroU32::MIN, 8, WAIT_MAX);
        assert!(semaphore.enter(network("2001:db8::1")).is_ok());
    }

    #[test]
    fn permits_become_more_for_those_that_wait_and_fewer_for_those_that_come() {
        let semaphore = semaphore(1);
        let held = semaphore.enter(network("2001:db8::1")).ok().unwrap();
        let mut waiter = semaphore.enter(network("2001:db8:1::1")).err().unwrap();
        semaphore.resize(NonZeroU32::new(2).unwrap(), 0);
        let woken = waiter.woken.try_recv().unwrap();
        semaphore.resize(NonZeroU32::MIN, 0);
        drop(held);
        assert!(semaphore.enter(None).is_err(), "the other one is held still");
        drop(woken);
        assert!(semaphore.enter(None).is_ok());
    }
}
