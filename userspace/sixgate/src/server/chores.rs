//! The tasks that the daemon does again and again beside its sessions, each until the daemon stops.
//!
//! It owns the pauses. The work is done in the modules that are called.

use std::{sync::Arc, time::Duration};

use sd_notify::NotifyState;
use sixgate_auth::dns::Resolver;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::{
    log_limit::LogLimiter,
    mirror::follow::Mirror,
    nexthop::NextHop,
    server::{accept::Acceptor, dns_watch::DnsWatch, listening::Listening},
    services::InForce,
    store_view::StoreView,
};

/// Pause between two probes of the next hop.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);
/// The same, as long as the next hop has never answered: clients are rejected so long.
const FIRST_PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Pause between two looks at the store while no session asks.
const STORE_INTERVAL: Duration = Duration::from_secs(1);
/// Least time between two backups of the store while the daemon runs.
const BACKUP_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Pause between two looks at the backup's age.
const BACKUP_LOOK: Duration = Duration::from_secs(5);
/// Pause between two attempts to listen where an interface was not there.
const LISTEN_INTERVAL: Duration = Duration::from_secs(1);
/// Pause between two looks at the files for STARTTLS.
const TLS_INTERVAL: Duration = Duration::from_secs(5);
/// Pause between two looks at what became of questions to DNS.
const DNS_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two looks for lines that were not logged.
const LINES_INTERVAL: Duration = Duration::from_secs(1);
/// How often systemd gets a report in the time after which it would restart the daemon.
const WATCHDOG_REPORTS: u32 = 3;

/// Listens on addresses whose interface was not there at the start.
pub(super) async fn keep_listening(acceptor: Arc<Acceptor>, listening: Arc<Listening>) {
    let accepting = TaskTracker::new();
    let follow = async {
        loop {
            sleep(LISTEN_INTERVAL).await;
            for (listener, address) in listening.open_missing() {
                info!(%address, "listening");
                accepting.spawn(Arc::clone(&acceptor).accept(listener));
            }
        }
    };
    acceptor.while_accepting(follow).await;
    accepting.close();
    accepting.wait().await;
}

/// Reports to systemd that tasks run, if the unit has `WatchdogSec=`: without a report for that
/// long systemd restarts the daemon.
pub(super) async fn keep_watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    loop {
        sleep(limit / WATCHDOG_REPORTS).await;
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
    }
}

/// Asks the next hop what it takes.
pub(super) async fn keep_probing(in_force: InForce) {
    let mut waited = Duration::ZERO;
    loop {
        sleep(FIRST_PROBE_INTERVAL).await;
        waited += FIRST_PROBE_INTERVAL;
        // a reload may have put another next hop in force
        let next_hop = in_force.get().next_hop.clone();
        if waited >= PROBE_INTERVAL || next_hop.capabilities().is_none() {
            waited = Duration::ZERO;
            tokio::select! {
                _ = next_hop.examine() => {}
                () = replaced(&in_force, &next_hop) => continue,
            }
            next_hop.keep_offer().await;
        }
    }
}

/// Resolves once another next hop is in force.
async fn replaced(in_force: &InForce, next_hop: &NextHop) {
    while in_force.get().next_hop.is_same(next_hop) {
        sleep(FIRST_PROBE_INTERVAL).await;
    }
}

/// Makes the store's backup that of its present revision: at the start, and where the one that is
/// there is older than [`BACKUP_INTERVAL`]. What fails is tried again after that time.
pub(super) async fn keep_backup(store: Arc<StoreView>) {
    let mut last = Instant::now();
    let mut is_due = true;
    let mut is_good = true;
    loop {
        let store = Arc::clone(&store);
        let may_try = is_good || last.elapsed() >= BACKUP_INTERVAL;
        let work = move || {
            let is_old = is_due || may_try && store.is_backup_older_than(BACKUP_INTERVAL);
            is_old.then(|| store.back_up())
        };
        if let Ok(Some(done)) = tokio::task::spawn_blocking(work).await {
            (is_due, is_good, last) = (false, done, Instant::now());
        }
        sleep(BACKUP_LOOK).await;
    }
}

/// Follows the store, and copies its changes into the maps. Each connection looks for itself; this
/// is for the maps and the log.
pub(super) async fn keep_store(store: Arc<StoreView>, mirror: Arc<Mirror>) {
    loop {
        let store = Arc::clone(&store);
        let _ = tokio::task::spawn_blocking(move || store.refresh()).await;
        mirror.follow(false).await;
        sleep(STORE_INTERVAL).await;
    }
}

/// Notices when DNS does not answer, and when it does again.
pub(super) async fn keep_dns(watch: Arc<DnsWatch>, dns: Resolver, in_force: InForce) {
    loop {
        sleep(DNS_INTERVAL).await;
        watch.look(&dns, in_force.get().config.hostname.as_str()).await;
    }
}

/// Notices when the certificate has changed. Each handshake looks for itself; this is for the log.
pub(super) async fn keep_tls(in_force: InForce) {
    loop {
        if let Some(tls) = &in_force.get().tls {
            tls.refresh();
        }
        sleep(TLS_INTERVAL).await;
    }
}

/// Logs how many lines the limits kept out of the log.
pub(super) async fn keep_log(log: Arc<LogLimiter>) {
    loop {
        sleep(LINES_INTERVAL).await;
        log_suppressed(&log, false);
    }
}

/// The same once; `at_once`: whether or not the present second is over.
pub(super) fn log_suppressed(log: &LogLimiter, at_once: bool) {
    for (kind, suppressed) in log.take_suppressed(at_once) {
        info!(suppressed, kind = &*kind, "log rate limit: {suppressed} lines suppressed");
    }
}
