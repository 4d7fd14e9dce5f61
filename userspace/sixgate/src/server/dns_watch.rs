//! Whether DNS answers at all, for log and status.
//!
//! While questions of sessions are answered it asks nothing. That one sender's own servers fail is
//! not a fault of DNS here: before DNS counts as failed, questions of the watch's own have to fail,
//! too.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sixgate_auth::dns::Resolver;
use tracing::{info, warn};

/// The last known state of DNS.
#[derive(Debug, Default)]
pub(crate) struct DnsWatch(Mutex<DnsState>);

#[derive(Debug, Default)]
struct DnsState {
    /// When it asked last.
    asked: Option<Instant>,
    /// Why its last question failed, while DNS does not answer.
    failure: Option<String>,
}

impl DnsWatch {
    /// Looks what became of the last questions; if they failed, asks one of its own, for which
    /// `hostname` is used where the servers do not answer about the root. Begin and end of a
    /// failure are logged.
    pub(crate) async fn look(&self, dns: &Resolver, hostname: &str) {
        if dns.failed_in_a_row() == 0 {
            return self.answers();
        }
        let is_due = self.state().asked.is_none_or(|asked| asked.elapsed() >= QUESTION_INTERVAL);
        if !is_due {
            return;
        }
        self.state().asked = Some(Instant::now());
        match dns.probe(hostname).await {
            Ok(()) => self.answers(),
            Err(failure) if dns.failed_in_a_row() >= FAILED_IN_A_ROW => self.fails(failure.to_string()),
            Err(_) => {}
        }
    }

    fn answers(&self) {
        if self.state().failure.take().is_some() {
            info!("DNS answers again");
        }
    }

    fn fails(&self, failure: String) {
        if self.state().failure.replace(failure.clone()).is_none() {
            warn!(error = failure, "DNS does not answer; {CONSEQUENCE}");
        }
    }

    /// The present problem as a sentence.
    pub(crate) fn problem(&self) -> Option<String> {
        self.state().failure.as_deref().map(sentence)
    }

    /// Single values, whole at every instant.
    fn state(&self) -> MutexGuard<'_, DnsState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sentence(failure: &str) -> String {
    format!("DNS does not answer: {failure}; {CONSEQUENCE}")
}

const CONSEQUENCE: &str = "senders whose reverse DNS, SPF or DKIM is not known yet are asked to try again later; look at \
     servers in [dns], or at /etc/resolv.conf";
/// Questions that have to fail one after the other.
pub(crate) const FAILED_IN_A_ROW: u32 = 3;
/// Pause between two questions of the watch.
pub(crate) const QUESTION_INTERVAL: Duration = Duration::from_secs(5);
