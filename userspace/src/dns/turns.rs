//! Turns for questions: how many may be open at one time, shared among the networks that cause them.
//!
//! It asks nothing. How much of the turns is whose is the rule of [`Shares`].

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

use crate::shares::{Network, Shares, Shortage};

/// How long a question waits for its turn.
pub const TURN_LIMIT: Duration = Duration::from_secs(5);

/// Turns, and who waits for one.
pub(super) struct Turns {
    hall: Mutex<Hall>,
    missed: AtomicU64,
    missed_share: AtomicU64,
}

struct Hall {
    shares: Shares,
    /// Who waits, by number; only networks of which somebody waits. None of them could have a turn now.
    lines: HashMap<Option<Network>, BTreeMap<u64, oneshot::Sender<Turn>>>,
    next_number: u64,
}

/// A turn; dropping it lets somebody else have it.
pub(super) struct Turn {
    turns: Arc<Turns>,
    payer: Option<Network>,
}

/// A place in a line; dropping it leaves the line.
struct Place {
    turns: Arc<Turns>,
    payer: Option<Network>,
    number: u64,
    called: oneshot::Receiver<Turn>,
}

impl Turns {
    pub(super) fn new(concurrency: NonZeroU32) -> Arc<Self> {
        let shares = Shares::new(concurrency.get().into());
        Arc::new(Self {
            hall: Mutex::new(Hall { shares, lines: HashMap::new(), next_number: 0 }),
            missed: AtomicU64::new(0),
            missed_share: AtomicU64::new(0),
        })
    }

    /// Waits for a turn for a question that `payer` causes; none after [`TURN_LIMIT`].
    pub(super) async fn take(self: &Arc<Self>, payer: Option<Network>) -> Option<Turn> {
        let mut place = match self.enter(payer) {
            Ok(turn) => return Some(turn),
            Err(place) => place,
        };
        let turn = timeout(TURN_LIMIT, &mut place.called).await.ok().and_then(Result::ok);
        if turn.is_none() {
            let is_own_share = self.lock().shares.check(payer, 0, 1) == Err(Shortage::Network);
            let counter = if is_own_share { &self.missed_share } else { &self.missed };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        turn
    }

    /// Questions that got no turn since the start: for want of any, and because the rest was for other networks.
    pub(super) fn missed(&self) -> [u64; 2] {
        [&self.missed, &self.missed_share].map(|counter| counter.load(Ordering::Relaxed))
    }

    /// A turn, or a place in the line of `payer`.
    fn enter(self: &Arc<Self>, payer: Option<Network>) -> Result<Turn, Place> {
        let mut hall = self.lock();
        if hall.shares.take(payer, 0, 1).is_ok() {
            return Ok(Turn { turns: Arc::clone(self), payer });
        }
        let (caller, called) = oneshot::channel();
        let number = hall.next_number;
        hall.next_number += 1;
        hall.lines.entry(payer).or_default().insert(number, caller);
        Err(Place { turns: Arc::clone(self), payer, number, called })
    }

    /// Numbers stay whole at every instant, so that a panic elsewhere does not matter to them.
    fn lock(&self) -> MutexGuard<'_, Hall> {
        self.hall.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hall {
    /// Takes a turn for whoever has waited longest of those whose networks may have one more.
    fn call(&mut self) -> Option<(Option<Network>, oneshot::Sender<Turn>)> {
        let Self { shares, lines, .. } = self;
        let may = lines.iter().filter(|(payer, _)| shares.check(**payer, 0, 1).is_ok());
        let payer = *may.min_by_key(|(_, line)| line.keys().next().copied())?.0;
        let line = lines.get_mut(&payer)?;
        let (_, caller) = line.pop_first()?;
        if line.is_empty() {
            lines.remove(&payer);
        }
        shares.take(payer, 0, 1).ok()?;
        Some((payer, caller))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let called: Vec<_> = {
            let mut hall = self.turns.lock();
            hall.shares.give_back(self.payer, 1);
            std::iter::from_fn(|| hall.call()).collect()
        };
        for (payer, caller) in called {
            // who has gone meanwhile leaves the turn to the next, by dropping it: the hall must not be locked here
            drop(caller.send(Self { turns: Arc::clone(&self.turns), payer }));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut hall = self.turns.lock();
        if let Some(line) = hall.lines.get_mut(&self.payer) {
            line.remove(&self.number);
            if line.is_empty() {
                hall.lines.remove(&self.payer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn turns(concurrency: u32) -> Arc<Turns> {
        Turns::new(NonZeroU32::new(concurrency).unwrap())
    }

    fn payer(text: &str) -> Option<Network> {
        Some(text.parse::<Ipv6Addr>().unwrap().into())
    }

    /// All that `payer` gets without waiting.
    fn all_it_can(turns: &Arc<Turns>, text: &str) -> Vec<Turn> {
        std::iter::from_fn(|| turns.enter(payer(text)).ok()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_gets_no_turn_in_time_goes_without_and_is_counted() {
        let turns = turns(1);
        let (one, other) = (payer("2001:db8::1"), payer("2001:db8:1::1"));
        let first = turns.take(one).await;
        assert!(first.is_some() && turns.take(other).await.is_none());
        assert_eq!(turns.missed(), [1, 0]);
        drop(first);
        assert!(turns.take(other).await.is_some());
        let turns = self::turns(8);
        let held = all_it_can(&turns, "2001:db8::1");
        assert!(held.len() == 2 && turns.take(one).await.is_none());
        assert_eq!(turns.missed(), [0, 1]);
        assert!(turns.lock().lines.is_empty(), "nobody waits any more");
    }

    #[test]
    fn a_turn_goes_to_who_has_waited_longest_of_those_that_may_have_more() {
        let turns = turns(3);
        let mut nobodys: Vec<_> = std::iter::from_fn(|| turns.enter(None).ok()).collect();
        let sources = ["2001:db8::1", "2001:db8::2", "2001:db8:1::1", "2001:db8:2::1"];
        let mut places: Vec<_> =
            sources.iter().filter_map(|source| turns.enter(payer(source)).err()).collect();
        let mut called = Vec::new();
        for wanted in [0, 2, 3] {
            nobodys.pop();
            called.extend(
                places
                    .iter_mut()
                    .enumerate()
                    .filter_map(|(place, waiting)| waiting.called.try_recv().ok().map(|turn| (place, turn))),
            );
            assert_eq!(called.last().map(|(place, _)| *place), Some(wanted));
        }
        called.clear();
        assert!(places[1].called.try_recv().is_ok(), "its network had one until now");
    }

    #[tokio::test]
    async fn whoever_leaves_a_line_is_not_called() {
        let turns = turns(1);
        let first = turns.take(payer("2001:db8::1")).await;
        let gone = turns.enter(payer("2001:db8:1::1")).err();
        let later = turns.enter(payer("2001:db8:2::1")).err();
        drop(gone);
        drop(first);
        let mut later = later.unwrap();
        assert!(later.called.try_recv().is_ok());
    }
}
