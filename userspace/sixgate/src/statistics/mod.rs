//! The last hour and the last day of a daemon, for people: rates, refusals by reason, the networks
//! and addresses with most sessions, and the last refusals. The status page and `sixgate top` show
//! them.
//!
//! It keeps bounded numbers and texts; where they come from is the caller's business. It is not a
//! log: a restart forgets it.

mod interval;
mod percentiles;
mod recent;
mod snapshot;
mod space_saving;
mod totals;

use std::{
    net::Ipv6Addr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ipnet::Ipv6Net;

use self::{
    interval::Ring,
    recent::RecentRefusals,
    space_saving::{Recount, SpaceSaving},
};
use crate::session_log::SessionSummary;

pub use self::snapshot::{Health, Period, RefusalRow, Snapshot, TopRow};

pub(crate) use self::{
    percentiles::Distribution,
    recent::is_plain,
    totals::{Timing, Totals},
};

/// The statistics since the start of the daemon.
#[derive(Debug)]
pub(crate) struct Statistics(Mutex<State>);

#[derive(Debug)]
struct State {
    started: Instant,
    /// As they were read last.
    last: Totals,
    hour: Ring,
    day: Ring,
    sources: HourlyTop<Ipv6Net>,
    destinations: HourlyTop<Ipv6Addr>,
    recent: RecentRefusals,
    /// Sessions that ended too fast one after the other to be looked at one by one.
    missed: u64,
}

/// The keys with most sessions of each of the last hours.
#[derive(Debug)]
struct HourlyTop<K>(Vec<(u64, SpaceSaving<K>)>);

impl Statistics {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State {
            started: Instant::now(),
            last: Totals::default(),
            hour: Ring::new(MINUTE, MINUTES),
            day: Ring::new(QUARTER, QUARTERS),
            sources: HourlyTop(Vec::new()),
            destinations: HourlyTop(Vec::new()),
            recent: RecentRefusals::default(),
            missed: 0,
        }))
    }

    /// Takes over the totals of the metrics, as they are now.
    pub(crate) fn sample(&self, totals: Totals) {
        let mut state = self.state();
        let age = state.started.elapsed();
        let since = totals.since(&state.last);
        state.hour.add(age, &since);
        state.day.add(age, &since);
        state.last = totals;
    }

    /// A session is over.
    pub(crate) fn note(&self, summary: &SessionSummary) {
        let mut state = self.state();
        let hour = state.started.elapsed().as_secs() / HOUR.as_secs();
        let is_refused = !summary.reasons.is_empty();
        // a prefix of 64 bits is one of a source always
        if let Ok(network) = Ipv6Net::new(summary.source, 64) {
            state.sources.note(hour, network.trunc(), is_refused);
        }
        state.destinations.note(hour, summary.destination, is_refused);
        state.recent.note(summary);
    }

    /// So many sessions were missed.
    pub(crate) fn miss(&self, sessions: u64) {
        self.state().missed += sessions;
    }

    /// Everything that is kept, for one moment. Of the last refusals those that contain `search`,
    /// `rows` at most.
    pub(crate) fn snapshot(&self, health: Health, search: &str, rows: usize) -> Snapshot {
        let state = self.state();
        let age = state.started.elapsed();
        let hour = age.as_secs() / HOUR.as_secs();
        let (recent, found) = state.recent.find(search, rows);
        Snapshot {
            health,
            hour: state.hour.period(age),
            day: state.day.period(age),
            sources: state.sources.rows(hour),
            destinations: state.destinations.rows(hour),
            missed: state.missed,
            kept: state.recent.len(),
            found,
            recent,
        }
    }

    /// Single values, whole at every instant.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + std::hash::Hash + std::fmt::Display> HourlyTop<K> {
    fn note(&mut self, hour: u64, key: K, is_refused: bool) {
        if self.0.last().is_none_or(|(last, _)| *last != hour) {
            self.0.retain(|(kept, _)| kept + HOURS > hour);
            self.0.push((hour, SpaceSaving::new(TOP_KEPT)));
        }
        if let Some((_, top)) = self.0.last_mut() {
            top.note(key, is_refused);
        }
    }

    /// Those of the last day.
    fn rows(&self, hour: u64) -> Vec<TopRow> {
        let mut recount = Recount::default();
        for (_, top) in self.0.iter().filter(|(kept, _)| kept + HOURS > hour) {
            recount.add(top);
        }
        let row = |(key, count): (K, space_saving::Count)| TopRow {
            name: key.to_string(),
            sessions: count.total,
            refused: count.refused,
        };
        recount.largest(TOP_SHOWN).into_iter().map(row).collect()
    }
}

const MINUTE: Duration = Duration::from_secs(60);
/// Bars of the last hour.
pub(crate) const MINUTES: usize = 60;
const QUARTER: Duration = Duration::from_secs(15 * 60);
/// Bars of the last day.
pub(crate) const QUARTERS: usize = 96;
const HOUR: Duration = Duration::from_secs(60 * 60);
/// Hours of the top lists.
const HOURS: u64 = 24;
/// Networks, and addresses, that are counted in one hour.
pub(crate) const TOP_KEPT: usize = 64;
/// Rows of a top list.
pub(crate) const TOP_SHOWN: usize = 10;
/// Refusals that are kept.
pub(crate) const RECENT_KEPT: usize = 500;

#[cfg(test)]
mod tests;
