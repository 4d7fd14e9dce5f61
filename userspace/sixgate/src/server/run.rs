//! Start, chores and stop of the daemon. It accepts no connection itself.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use sd_notify::NotifyState;
use sixgate_base::endpoint::Endpoint;
use sixgate_smtp::policy::Mode;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use crate::{
    config::Config,
    control::{Control, ControlError},
    log_limit::LogLimiter,
    nexthop::Address,
    server::{
        accept::accept,
        administration::{Administration, SetLogLevel},
        context::Context,
        control_socket::ControlSocket,
        descriptors, interfaces,
        listening::Listening,
        refused,
        signals::{Request as SignalRequest, Signals},
        store_view::StoreView,
        tls::TlsError,
        warnings,
    },
    store::{Store, StoreError},
};

/// How long sessions may finish their message after the daemon was told to stop.
const STOP_GRACE: Duration = Duration::from_secs(30);
/// How long those wait after that whose message is with the next hop: as long as a sender does (RFC 5321 4.5.3.2.6).
const HANDED_OVER_GRACE: Duration = Duration::from_secs(10 * 60);
/// Pause between two probes of the next hop.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);
/// The same, as long as the next hop has never answered: clients are turned away so long.
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
/// Time between two looks for lines that were not logged.
const LINES_INTERVAL: Duration = Duration::from_secs(1);
/// Pause between two writes of the metrics file.
const METRICS_INTERVAL: Duration = Duration::from_secs(15);

/// How the daemon is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServeOptions {
    /// Work from store and DNS alone, without the XDP program and its maps.
    pub no_xdp: bool,
}

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A listening socket.
    #[error("cannot listen on {address}{}", in_use(source))]
    Listen {
        /// Where.
        address: Endpoint,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The next hop is sixgate.
    #[error(
        "next_hop: {address} is sixgate itself, which listens at {listening}: give the mail server a listener of its own, \
         such as `smtp = \"[::1]:10025\"`"
    )]
    NextHopIsOurselves {
        /// The next hop.
        address: Address,
        /// Which of our addresses takes its connections.
        listening: Endpoint,
    },
    /// A signal handler.
    #[error("cannot handle signal {number}")]
    Signal {
        /// Which, by signal(7).
        number: i32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store.
    #[error("cannot start without the opt-in store")]
    Store(#[source] StoreError),
    /// The XDP program or its maps.
    #[error("cannot use the XDP program")]
    Control(#[source] ControlError),
    /// The directory for temporary files.
    #[error("cannot make a temporary file in {}", path.display())]
    TemporaryDirectory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The threads for TLS handshakes.
    #[error("cannot start the threads for TLS handshakes")]
    Threads(#[source] io::Error),
    /// The files for STARTTLS.
    #[error("cannot offer STARTTLS")]
    Tls(#[source] TlsError),
}

/// Runs the daemon until SIGTERM, SIGINT or SIGQUIT. SIGHUP makes it read its configuration again; no other signal ends it
/// that a process can handle.
///
/// # Errors
/// What keeps it from starting. Afterwards it goes on whatever happens.
pub async fn run(
    config: Config,
    options: ServeOptions,
    set_log_level: SetLogLevel,
    log_limiter: Arc<LogLimiter>,
) -> Result<(), ServeError> {
    let mut signals = Signals::take()?;
    let shown = || Control::new(&config).shown();
    let store = StoreView::open(Store::new(&config.store), shown).map_err(ServeError::Store)?;
    descriptors::raise_limit(&config.limits);
    // before the maps: a start that finds the port in use must not change them under the daemon that has it
    let (listening, listeners) = Listening::open(&config.listen.addresses)?;
    let listening = Arc::new(listening);
    let context = Context::new(&config, store, options.no_xdp, log_limiter)?;
    context.clear_maps();
    context.next_hop_watch.probe(&context.services().next_hop, true).await;

    warn_of_settings(&context, &config);

    let stop = CancellationToken::new();
    let sessions = TaskTracker::new();
    let chores = TaskTracker::new();
    let administration =
        Arc::new(Administration::new(Arc::clone(&context), Arc::clone(&listening), set_log_level));
    for (listener, address) in listeners {
        info!(%address, "listening");
        chores.spawn(accept(listener, Arc::clone(&context), sessions.clone(), stop.clone()));
    }
    chores.spawn(keep_listening(Arc::clone(&context), listening, sessions.clone(), stop.clone()));
    chores.spawn(warn_of_ipv4(Arc::clone(&context), config.clone(), stop.clone()));
    let control = ControlSocket::open(config.control_socket()).serve(Arc::clone(&administration));
    let until_stop = stop.clone();
    chores.spawn(async move { until_stop.run_until_cancelled(control).await });
    chores.spawn(keep_probing(Arc::clone(&context), stop.clone()));
    chores.spawn(keep_backup(Arc::clone(&context), stop.clone()));
    chores.spawn(keep_store(Arc::clone(&context), stop.clone()));
    chores.spawn(keep_interfaces(Arc::clone(&context), stop.clone()));
    chores.spawn(keep_tls(Arc::clone(&context), stop.clone()));
    chores.spawn(keep_refused(Arc::clone(&context), stop.clone()));
    chores.spawn(keep_lines(Arc::clone(&context), stop.clone()));
    chores.spawn(keep_metrics(Arc::clone(&context), stop.clone()));
    let _ = sd_notify::notify(&[NotifyState::Ready]);

    let signal = obey(&mut signals, &administration).await;
    info!("{signal}: stopping");
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    stop.cancel();
    sessions.close();
    chores.close();
    if timeout(STOP_GRACE, sessions.wait()).await.is_err() {
        warn!(
            sessions = sessions.len(),
            "sessions did not end in time: closing those whose message is not yet with the next hop"
        );
        context.cut_off.cancel();
    }
    if timeout(HANDED_OVER_GRACE, sessions.wait()).await.is_err() {
        warn!(sessions = sessions.len(), "sessions are cut off: the next hop did not reply in time");
    }
    chores.wait().await;
    tell_suppressed(&context, true);
    // once more: sessions that the stop waited for have counted meanwhile
    write_metrics(&context);
    Ok(())
}

/// Does what signals ask for until one asks to stop; its name.
async fn obey(signals: &mut Signals, administration: &Administration) -> &'static str {
    loop {
        match signals.next().await {
            SignalRequest::Stop(name) => return name,
            SignalRequest::Reload => {
                info!("SIGHUP: reading the configuration again");
                // what came of it is logged
                let _ = administration.reload().await;
            }
        }
    }
}

/// Says what would hurt, as far as settings and store tell.
fn warn_of_settings(context: &Context, config: &Config) {
    if config.mode == Mode::Shadow {
        info!("{}", warnings::NOT_SHADOWED);
    }
    for warning in context.store.look(|contents| warnings::of(config, contents)) {
        warn!("{warning}");
    }
}

/// Says what would hurt as far as DNS tells, beside everything else.
async fn warn_of_ipv4(context: Arc<Context>, config: Config, stop: CancellationToken) {
    let warnings = warnings::of_ipv4(&context.dns, &config, &context.store);
    let warnings = stop.run_until_cancelled(warnings).await;
    for warning in warnings.unwrap_or_default() {
        warn!("{warning}");
    }
}

/// What to look for when an address is taken.
fn in_use(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            ": a mail server still has this port over IPv6, or a sixgate runs already"
        }
        _ => "",
    }
}

/// Listens on addresses whose interface was not there at the start.
async fn keep_listening(
    context: Arc<Context>,
    listening: Arc<Listening>,
    sessions: TaskTracker,
    stop: CancellationToken,
) {
    let accepting = TaskTracker::new();
    let follow = async {
        loop {
            sleep(LISTEN_INTERVAL).await;
            for (listener, address) in listening.open_missing() {
                info!(%address, "listening");
                accepting.spawn(accept(listener, Arc::clone(&context), sessions.clone(), stop.clone()));
            }
        }
    };
    stop.run_until_cancelled(follow).await;
    accepting.close();
    accepting.wait().await;
}

/// Asks the next hop what it takes, again and again.
async fn keep_probing(context: Arc<Context>, stop: CancellationToken) {
    let probe = async {
        let mut waited = Duration::ZERO;
        loop {
            sleep(FIRST_PROBE_INTERVAL).await;
            waited += FIRST_PROBE_INTERVAL;
            // a reload may have put another next hop in force
            let next_hop = &context.services().next_hop;
            if waited >= PROBE_INTERVAL || next_hop.capabilities().is_none() {
                waited = Duration::ZERO;
                context.next_hop_watch.probe(next_hop, false).await;
            }
        }
    };
    stop.run_until_cancelled(probe).await;
}

/// Makes the store's backup that of its present revision: at the start, and where the one that is there is older than
/// [`BACKUP_INTERVAL`]. What fails is tried again after that time.
async fn keep_backup(context: Arc<Context>, stop: CancellationToken) {
    let mut last = Instant::now();
    let mut is_due = true;
    let mut is_good = true;
    let keep = async {
        loop {
            let store = Arc::clone(&context.store);
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
    };
    stop.run_until_cancelled(keep).await;
}

/// Follows the store, and carries its changes over into the maps. Each connection looks for itself; this is for the maps
/// and the log.
async fn keep_store(context: Arc<Context>, stop: CancellationToken) {
    let follow = async {
        loop {
            let store = Arc::clone(&context.store);
            let _ = tokio::task::spawn_blocking(move || store.refresh()).await;
            context.reconcile(false).await;
            sleep(STORE_INTERVAL).await;
        }
    };
    stop.run_until_cancelled(follow).await;
}

/// Notices when the certificate has changed. Each handshake looks for itself; this is for the log.
async fn keep_tls(context: Arc<Context>, stop: CancellationToken) {
    let follow = async {
        loop {
            if let Some(tls) = &context.services().tls {
                tls.refresh();
            }
            sleep(TLS_INTERVAL).await;
        }
    };
    stop.run_until_cancelled(follow).await;
}

/// Attaches the XDP program, and notices what becomes of it and of the interfaces. Loading may take minutes: it has a thread
/// of its own, and mail does not wait for it.
async fn keep_interfaces(context: Arc<Context>, stop: CancellationToken) {
    stop.run_until_cancelled(interfaces::keep(context)).await;
}

/// Tells of the sessions that the XDP program refuses by itself.
async fn keep_refused(context: Arc<Context>, stop: CancellationToken) {
    stop.run_until_cancelled(refused::follow(&context)).await;
}

/// Tells how many lines the limits kept out of the log.
async fn keep_lines(context: Arc<Context>, stop: CancellationToken) {
    let follow = async {
        loop {
            sleep(LINES_INTERVAL).await;
            tell_suppressed(&context, false);
        }
    };
    stop.run_until_cancelled(follow).await;
}

fn tell_suppressed(context: &Context, at_once: bool) {
    for (kind, suppressed) in context.log_limiter.take_suppressed(at_once) {
        info!(suppressed, kind = &*kind, "log rate limit: {suppressed} lines suppressed");
    }
}

/// Writes the metrics to the file that the configuration names, if it names one.
async fn keep_metrics(context: Arc<Context>, stop: CancellationToken) {
    let mut ticks = interval(METRICS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        write_metrics(&context);
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => break,
        }
    }
}

fn write_metrics(context: &Context) {
    let services = context.services();
    let Some(path) = &services.config.metrics.file else {
        return;
    };
    context.metrics.xdp(&context.kernel.stats());
    context.metrics.limits(&context.dns.reached());
    context.metrics.limits(&context.log_limiter.reached());
    context.metrics.limits(&[
        ("ptr_cache", context.ptr_cache_evicted()),
        ("message_memory_share", context.memory.missed_share()),
        ("message_disk_share", context.disk.missed_share()),
    ]);
    context.metrics.limits(&services.next_hop.reached());
    if let Err(error) = context.metrics.write(path) {
        error!("cannot write {}: {error}", path.display());
    }
}
