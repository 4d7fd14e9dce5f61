//! What enforce would have refused: the refusals that shadow mode passes on, kept for a report.
//!
//! It owns the file `shadow.db` beside the opt-in store. No session waits for it: it follows the
//! summaries that `session_log` publishes, and what it cannot keep is counted.

mod database;
mod report;

use std::{path::PathBuf, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, timeout_at},
};
use tracing::{info, warn};

use crate::{
    config::{Config, SHADOW_FILE},
    services::InForce,
    session_log::SessionSummary,
};

pub(crate) use database::ShadowDatabase;
pub use database::ShadowError;
pub(crate) use report::{Report, ReportOptions};

/// A refusal that shadow mode passed on.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Waived {
    /// Seconds since 1970.
    pub(crate) at: i64,
    /// The session's id.
    pub(crate) session: String,
    pub(crate) source: String,
    /// The client's name that DNS confirms, or empty.
    pub(crate) client_name: String,
    pub(crate) destination: String,
    pub(crate) mail_from: String,
    /// The recipient, or the only one of a message.
    pub(crate) recipient: String,
    pub(crate) message_id: String,
    pub(crate) command: String,
    pub(crate) reason: String,
    /// The reply that enforce would have given.
    pub(crate) reply: String,
}

impl Waived {
    /// Those of a session.
    fn of(summary: &SessionSummary) -> impl Iterator<Item = Self> {
        let waived = summary.rejections.iter().filter(|rejection| rejection.shadow);
        waived.map(|rejection| Self {
            at: summary.ended.as_second(),
            session: summary.id.to_string(),
            source: summary.source.to_string(),
            client_name: summary.client_name.clone().unwrap_or_default(),
            destination: summary.destination.to_string(),
            mail_from: rejection.mail_from.clone().unwrap_or_default(),
            recipient: rejection.recipient.clone().unwrap_or_default(),
            message_id: rejection.message_id.clone().unwrap_or_default(),
            command: rejection.command.to_owned(),
            reason: rejection.reason.to_owned(),
            reply: rejection.reply.clone(),
        })
    }
}

/// The file of a configuration.
pub(crate) fn path(config: &Config) -> PathBuf {
    config.store.with_file_name(SHADOW_FILE)
}

/// Keeps what sessions that end from now on were spared by shadow mode, until the daemon stops.
pub(crate) async fn keep(in_force: InForce) {
    let mut sessions = in_force.get().session_log.subscribe();
    let (mut batch, mut works) = (Vec::new(), true);
    let (mut due, mut looked) = (Instant::now(), Instant::now());
    loop {
        match timeout_at(due, sessions.recv()).await {
            Ok(Ok(summary)) if batch.len() < BATCH_MAX => batch.extend(Waived::of(&summary)),
            // full: written at once
            Ok(Ok(summary)) => {
                batch.extend(Waived::of(&summary));
                works = write(&in_force, std::mem::take(&mut batch), works).await;
            }
            Ok(Err(RecvError::Lagged(missed))) => {
                in_force.get().metrics.add_limit("shadow_report", missed);
            }
            Ok(Err(RecvError::Closed)) => return,
            Err(_) => {
                let keeps_nothing = in_force.get().config.shadow.keep.is_zero();
                if !batch.is_empty() || keeps_nothing || looked.elapsed() >= LOOK_INTERVAL {
                    works = write(&in_force, std::mem::take(&mut batch), works).await;
                    looked = Instant::now();
                }
                due = Instant::now() + WRITE_INTERVAL;
            }
        }
    }
}

/// Writes a batch on a thread for blocking work; whether the file works.
async fn write(in_force: &InForce, batch: Vec<Waived>, worked: bool) -> bool {
    let services = in_force.get();
    let (path, settings) = (path(&services.config), services.config.shadow.clone());
    let count = batch.len() as u64;
    let now = Timestamp::now().as_second();
    let work = move || ShadowDatabase::update(&path, &batch, &settings, now);
    let Ok(result) = tokio::task::spawn_blocking(work).await else {
        // the runtime ends
        return worked;
    };
    match result {
        Ok(()) => {
            if !worked {
                info!("the shadow report is kept again");
            }
            true
        }
        Err(error) => {
            services.metrics.add_limit("shadow_report", count);
            if worked {
                warn!("the shadow report is not kept, retrying: {:#}", anyhow::Error::new(error));
            }
            false
        }
    }
}

/// Longest time until a refusal is in the file.
const WRITE_INTERVAL: Duration = Duration::from_secs(2);
/// Longest time until a refusal that is too old is removed.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// Refusals that are written at once; a session adds 20 at most.
const BATCH_MAX: usize = 1000;
