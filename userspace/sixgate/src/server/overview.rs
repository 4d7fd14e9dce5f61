//! The overview of a running daemon: its statistics kept up to date, and one moment of them for the
//! status page and `sixgate top`.
//!
//! It shows nothing: the page is `status_page`'s, the terminal `cli`'s.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::broadcast::error::RecvError,
    time::{MissedTickBehavior, interval},
};

use crate::{
    metrics::TextFormat,
    server::{metrics_sources::MetricsSources, problems::Problems},
    services::InForce,
    statistics::{Health, Snapshot, Statistics, Totals},
};

/// How often the totals are read while nothing asks for them.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);

/// The statistics, and where they come from.
pub(crate) struct Overview {
    in_force: InForce,
    sources: Arc<MetricsSources>,
    problems: Arc<Problems>,
    statistics: Statistics,
    since: Timestamp,
}

impl Overview {
    pub(super) fn new(in_force: InForce, sources: Arc<MetricsSources>, problems: Arc<Problems>) -> Self {
        Self { in_force, sources, problems, statistics: Statistics::new(), since: Timestamp::now() }
    }

    /// Everything as it is now; of the last refusals those that contain `search`, `rows` at most.
    /// Blocks.
    pub(crate) fn snapshot(&self, search: &str, rows: usize) -> Snapshot {
        self.sample();
        self.statistics.snapshot(self.health(), search, rows)
    }

    /// Takes note of sessions and totals, for ever.
    pub(super) async fn keep(self: Arc<Self>) {
        tokio::join!(self.follow_sessions(), self.follow_totals());
    }

    async fn follow_sessions(&self) {
        let mut sessions = self.in_force.get().session_log.subscribe();
        loop {
            match sessions.recv().await {
                Ok(summary) => self.statistics.note(&summary),
                Err(RecvError::Lagged(missed)) => self.statistics.miss(missed),
                // never, as long as there are services
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn follow_totals(self: &Arc<Self>) {
        let mut ticks = interval(SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let overview = Arc::clone(self);
            let _ = tokio::task::spawn_blocking(move || overview.sample()).await;
        }
    }

    fn sample(&self) {
        if let Ok(text) = self.in_force.get().metrics.text(TextFormat::Prometheus) {
            self.statistics.sample(Totals::of(&text));
        }
    }

    fn health(&self) -> Health {
        let services = self.in_force.get();
        Health {
            hostname: services.hostname().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: services.policy.mode.name().to_owned(),
            now: format!("{:.0}", Timestamp::now()),
            since: format!("{:.0}", self.since),
            open: self.sources.budgets.connections.open(),
            is_xdp_attached: self.sources.maps.is_attached(),
            problems: self.problems.present(),
            next_hop_problem: self.problems.of_next_hop(&services),
            dns_problem: self.problems.of_dns(),
        }
    }
}
