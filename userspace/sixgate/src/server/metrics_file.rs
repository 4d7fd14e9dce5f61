//! The metrics file: when it is written, and what is counted elsewhere and copied into it.
//!
//! Its form is in `metrics`.

use std::{sync::Arc, time::Duration};

use sixgate_auth::dns::Dns;
use tokio::time::{MissedTickBehavior, interval};
use tracing::error;

use crate::{
    mirror::{kernel_maps::KernelMaps, reverse_dns::ReverseDns},
    server::{budget::Budgets, services::InForce},
};

/// Pause between two writes.
const INTERVAL: Duration = Duration::from_secs(15);

/// Writes the file that the configuration names, if it names one.
pub(super) struct MetricsFile {
    pub(super) in_force: InForce,
    pub(super) maps: Arc<KernelMaps>,
    pub(super) dns: Dns,
    pub(super) reverse_dns: Arc<ReverseDns>,
    pub(super) budgets: Arc<Budgets>,
}

impl MetricsFile {
    /// Writes it again and again.
    pub(super) async fn keep(&self) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            self.write();
        }
    }

    /// Writes it once.
    pub(super) fn write(&self) {
        let services = self.in_force.get();
        let Some(path) = &services.config.metrics.file else {
            return;
        };
        let metrics = &services.metrics;
        metrics.xdp(&self.maps.stats());
        metrics.limits(&self.dns.reached());
        metrics.limits(&self.budgets.reached());
        metrics.limits(&[("ptr_cache", self.reverse_dns.evicted())]);
        metrics.limits(&services.next_hop.reached());
        if let Err(error) = metrics.write(path) {
            error!("cannot write {}: {error}", path.display());
        }
    }
}
