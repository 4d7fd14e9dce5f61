//! How many lines of one kind a flood may leave in the log.
//!
//! It writes none itself.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::shares::Network;

/// How many lines may be logged: [`LINES_MAX`] in each second.
#[derive(Debug)]
pub(crate) struct LineBudget {
    /// When the second began.
    since: Instant,
    logged: u32,
    withheld: u64,
}

impl LineBudget {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { since: now, logged: 0, withheld: 0 }
    }

    /// Whether one more line may be logged now; if not, it is counted.
    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        self.turn(now);
        if self.logged < LINES_MAX {
            self.logged += 1;
            return true;
        }
        self.withheld += 1;
        false
    }

    /// Begins another second if one is over, and says so.
    fn turn(&mut self, now: Instant) -> bool {
        let is_over = now.duration_since(self.since) >= SECOND;
        if is_over {
            self.since = now;
            self.logged = 0;
        }
        is_over
    }

    /// How many lines were not logged, told once, after the second is over.
    pub(crate) fn withheld(&mut self, now: Instant) -> Option<u64> {
        let is_over = now.duration_since(self.since) >= SECOND;
        (is_over && self.withheld > 0).then(|| std::mem::take(&mut self.withheld))
    }
}

/// A [`LineBudget`] that many tasks share. Of its lines, those about one /64 are [`NETWORK_LINES_MAX`] in each second, so
/// that no network silences what is to be said about others.
#[derive(Debug)]
pub(crate) struct SharedLines(Mutex<NetworkLines>);

#[derive(Debug)]
struct NetworkLines {
    all: LineBudget,
    /// Of this second; only those that had a line, so that there are no more than lines.
    of_64: HashMap<Network, u32>,
}

impl SharedLines {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(NetworkLines { all: LineBudget::new(Instant::now()), of_64: HashMap::new() }))
    }

    /// Whether one more line may be logged now, about `network` if it is about one; if not, it is counted.
    pub(crate) fn admit(&self, network: Option<Network>) -> bool {
        self.lock().admits(network, Instant::now())
    }

    /// Counts lines that were not even asked for.
    pub(crate) fn withhold(&self, lines: u64) {
        self.lock().all.withheld += lines;
    }

    /// As [`LineBudget::withheld`].
    pub(crate) fn withheld(&self) -> Option<u64> {
        self.lock().all.withheld(Instant::now())
    }

    /// Counts stay whole at every instant, so that a panic elsewhere does not matter to them.
    fn lock(&self) -> MutexGuard<'_, NetworkLines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NetworkLines {
    fn admits(&mut self, network: Option<Network>, now: Instant) -> bool {
        if self.all.turn(now) {
            self.of_64.clear();
        }
        let logged = network.and_then(|network| self.of_64.get(&network)).copied().unwrap_or(0);
        if logged >= NETWORK_LINES_MAX {
            self.all.withheld += 1;
            return false;
        }
        let admitted = self.all.admits(now);
        if let (Some(network), true) = (network, admitted) {
            self.of_64.insert(network, logged + 1);
        }
        admitted
    }
}

/// Lines in one second.
const LINES_MAX: u32 = 100;
/// Of these, lines about one /64.
const NETWORK_LINES_MAX: u32 = 25;
const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_a_bounded_number_of_lines_and_one_that_counts_the_rest() {
        let start = Instant::now();
        let mut lines = LineBudget::new(start);
        let logged = |lines: &mut LineBudget, at| (0..1000).filter(|_| lines.admits(at)).count();
        assert_eq!(logged(&mut lines, start), 100);
        assert_eq!(logged(&mut lines, start + SECOND / 2), 0);
        assert_eq!(lines.withheld(start + SECOND / 2), None, "the second is not over");
        assert_eq!(lines.withheld(start + SECOND), Some(1900));
        assert_eq!(lines.withheld(start + SECOND), None, "told once");
        assert_eq!(logged(&mut lines, start + SECOND), 100);
        assert_eq!(lines.withheld(start + 3 * SECOND), Some(900));
        assert!(lines.admits(start + 3 * SECOND));
        assert_eq!(lines.withheld(start + 9 * SECOND), None, "nothing was withheld");
    }

    #[test]
    fn one_network_leaves_lines_for_others() {
        let network = |text: &str| Some(Network::from(text.parse::<std::net::Ipv6Addr>().unwrap()));
        let start = Instant::now();
        let mut lines = NetworkLines { all: LineBudget::new(start), of_64: HashMap::new() };
        let mut logged = |source, at| (0..1000).filter(|_| lines.admits(network(source), at)).count();
        assert_eq!(logged("2001:db8::1", start), 25);
        assert_eq!(logged("2001:db8::2", start), 0, "the same /64");
        let others = ["2001:db8:1::1", "2001:db8:2::1", "2001:db8:3::1", "2001:db8:4::1"];
        assert_eq!(others.map(|source| logged(source, start)), [25, 25, 25, 0]);
        assert_eq!(logged("2001:db8::1", start + SECOND), 25);
        assert_eq!(lines.all.withheld(start + 2 * SECOND), Some(7 * 1000 - 125));
        assert_eq!(lines.of_64.len(), 1);
    }
}
