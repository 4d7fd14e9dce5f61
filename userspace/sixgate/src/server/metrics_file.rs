//! The metrics file: when it is written, and what is counted elsewhere and copied into it.
//!
//! Its form is in `metrics`.

use std::{sync::Arc, time::Duration};

use sixgate_auth::dns::Resolver;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    budget::Budgets,
    mirror::{kernel_maps::KernelMaps, reverse_dns::ReverseDns},
    server::files_watch::{FilesWatch, METRICS, TEMPORARY, check_space},
    services::InForce,
};

/// Pause between two writes.
const INTERVAL: Duration = Duration::from_secs(15);

/// Writes the file that the configuration names, if it names one.
pub(super) struct MetricsFile {
    pub(super) in_force: InForce,
    pub(super) maps: Arc<KernelMaps>,
    pub(super) dns: Resolver,
    pub(super) reverse_dns: Arc<ReverseDns>,
    pub(super) budgets: Arc<Budgets>,
    pub(super) files: FilesWatch,
}

impl MetricsFile {
    /// Writes it again and again.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            self.write_aside().await;
        }
    }

    /// Writes it once, and looks whether large messages fit into the temporary directory. It may
    /// wait for a disk.
    pub(super) async fn write_aside(self: &Arc<Self>) {
        let file = Arc::clone(self);
        let _ = tokio::task::spawn_blocking(move || file.write()).await;
    }

    fn write(&self) {
        let services = self.in_force.get();
        let written = services.config.metrics.file.as_ref().map(|path| {
            let metrics = &services.metrics;
            metrics.xdp(&self.maps.stats());
            metrics.limits(&self.dns.reached());
            metrics.limits(&self.budgets.reached());
            metrics.limits(&[("ptr_cache", self.reverse_dns.evicted())]);
            metrics.limits(&services.next_hop.reached());
            metrics.write(path).map_err(|error| format!("cannot write {}: {error}", path.display()))
        });
        self.files.note(METRICS, written);
        self.files.note(TEMPORARY, Some(check_space(&services.spill_directory, &services.config)));
    }

    /// What cannot be written, as sentences.
    pub(super) fn problems(&self) -> Vec<String> {
        self.files.problems()
    }
}
