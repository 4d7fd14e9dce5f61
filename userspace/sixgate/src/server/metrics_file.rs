//! The metrics file: when it is written.
//!
//! What stands in it is collected in `metrics_sources`, its form is in `metrics`.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    server::{
        files_watch::{FilesWatch, METRICS, TEMPORARY, check_space},
        metrics_sources::MetricsSources,
    },
    services::InForce,
};

/// Pause between two writes.
const INTERVAL: Duration = Duration::from_secs(15);

/// Writes the file that the configuration names, if it names one.
pub(super) struct MetricsFile {
    pub(super) in_force: InForce,
    pub(super) sources: Arc<MetricsSources>,
    pub(super) files: Arc<FilesWatch>,
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
            self.sources.refresh(&services);
            let written = services.metrics.write(path);
            written.map_err(|error| format!("cannot write {}: {error}", path.display()))
        });
        self.files.note(METRICS, written);
        self.files.note(TEMPORARY, Some(check_space(&services.spill_directory, &services.config)));
    }
}
