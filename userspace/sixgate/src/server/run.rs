//! Start and stop of the daemon. It accepts no connection itself.

use std::{sync::Arc, time::Duration};

use sd_notify::NotifyState;
use sixgate_auth::dns::Resolver;
use sixgate_smtp::policy::Mode;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    budget::Budgets,
    config::{self, Config},
    control::Control,
    log_limit::LogLimiter,
    mirror::{follow::Mirror, keep_interfaces, kernel_events, reverse_dns::ReverseDns},
    server::{
        accept::Acceptor,
        administration::{Administration, SetLogLevel},
        chores,
        control_socket::{ControlSocket, Handlers},
        descriptors,
        error::ServeError,
        http::HttpServer,
        listening::{Listener, Listening},
        next_hop_watch::NextHopWatch,
        passed::Passed,
        signals::{SignalRequest, Signals},
        traces::Traces,
        warnings,
        watching::{Watched, Watching},
    },
    services::{InForce, Services},
    session::FactSources,
    store::Store,
    store_view::StoreView,
};

/// How long sessions may finish their message after the signal to stop.
const STOP_GRACE: Duration = Duration::from_secs(30);
/// How long those wait after that whose message is with the next hop: as long as a sender does (RFC
/// 5321 4.5.3.2.6).
const HANDED_OVER_GRACE: Duration = Duration::from_secs(10 * 60);

/// How the daemon is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServeOptions {
    /// Work from store and DNS alone, without the XDP program and its maps.
    pub no_xdp: bool,
}

/// Runs the daemon until SIGTERM, SIGINT or SIGQUIT. SIGHUP makes it read its configuration again;
/// no other signal ends it that a process can handle.
///
/// # Errors
/// The reason why it cannot start. Afterwards no error ends it.
pub async fn run(
    config: Config,
    options: ServeOptions,
    set_log_level: SetLogLevel,
    log_limiter: Arc<LogLimiter>,
) -> Result<(), ServeError> {
    let mut signals = Signals::take()?;
    let shown = || Control::new(&config).shown();
    let store = StoreView::open(Store::new(&config.store), shown).map_err(ServeError::Store)?;
    let store = Arc::new(store);
    descriptors::raise_limit(&config.limits);
    // before the maps: a start that finds the port in use must not change them under the daemon
    // that has it
    let (listening, listeners) = listen(&config)?;
    let in_force = InForce::new(Services::new(&config)?);
    let mirror = Mirror::open(&config, options.no_xdp, in_force.clone()).map_err(ServeError::Control)?;
    let mirror = Arc::new(mirror);
    let budgets = Arc::new(Budgets::new(&config.limits, log_limiter).map_err(ServeError::Threads)?);
    let dns = resolver(&config);
    let reverse_dns = Arc::new(ReverseDns::new(Arc::clone(mirror.maps()), dns.clone(), in_force.clone()));
    let next_hop_watch = watch_next_hop(&in_force).await;

    warn_of_settings(&store, &config);

    let stop = CancellationToken::new();
    let chores = Chores { tasks: TaskTracker::new(), stop: stop.clone() };
    let acceptor = Arc::new(Acceptor {
        in_force: in_force.clone(),
        sources: Arc::new(FactSources {
            store: Arc::clone(&store),
            dns: dns.clone(),
            reverse_dns: Arc::clone(&reverse_dns),
        }),
        budgets: Arc::clone(&budgets),
        maps: Arc::clone(mirror.maps()),
        sessions: TaskTracker::new(),
        stop: stop.clone(),
        cut_off: CancellationToken::new(),
    });
    let watching = Watching::new(Watched {
        in_force: in_force.clone(),
        mirror: Arc::clone(&mirror),
        store: Arc::clone(&store),
        listening: Arc::clone(&listening),
        next_hop: next_hop_watch,
        dns: dns.clone(),
        reverse_dns,
        budgets: Arc::clone(&budgets),
    });
    watching.http.begin(config.http.listen.clone());
    let administration = Arc::new(Administration::new(
        in_force.clone(),
        Arc::clone(&mirror),
        Arc::clone(&budgets),
        Arc::clone(&store),
        watching.watches(),
        Arc::clone(&listening),
        set_log_level,
    ));
    let traces = Arc::new(Traces::new(Arc::clone(&mirror), stop.clone()));
    let handlers = Handlers { administration: Arc::clone(&administration), traces: Arc::clone(&traces) };
    for (listener, address) in listeners {
        info!(%address, "listening");
        chores.tasks.spawn(Arc::clone(&acceptor).accept(listener));
    }
    chores.tasks.spawn(chores::keep_listening(Arc::clone(&acceptor), listening));
    chores.spawn(chores::keep_dns(Arc::clone(&watching.dns_watch), dns.clone(), in_force.clone()));
    chores.spawn(warn_of_ipv4(dns, config.clone(), Arc::clone(&store)));
    let end = chores.serve_control(&config, handlers, Arc::clone(&watching.http));
    chores.spawn(chores::keep_probing(in_force.clone()));
    chores.spawn(chores::keep_backup(Arc::clone(&store)));
    chores.spawn(chores::keep_store(Arc::clone(&store), Arc::clone(&mirror)));
    chores.spawn(keep_interfaces(Arc::clone(&mirror), store));
    chores.spawn(chores::keep_tls(in_force.clone()));
    chores.spawn(kernel_events::follow(Arc::clone(mirror.maps()), in_force));
    chores.spawn(chores::keep_log(Arc::clone(&budgets.log)));
    chores.spawn(Arc::clone(&watching.metrics_file).keep());
    report_ready(&chores);

    let signal = handle_signals(&mut signals, &administration).await;
    info!("{signal}: stopping");
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    administration.begin_stop();
    watching.http.begin_stop();
    stop.cancel();
    traces.end().await;
    end_sessions(&acceptor).await;
    end.cancel();
    chores.tasks.close();
    chores.tasks.wait().await;
    chores::log_suppressed(&budgets.log, true);
    // once more: sessions that the stop waited for have counted meanwhile
    watching.metrics_file.write_aside().await;
    Ok(())
}

/// Waits for the first probe of the next hop, for a while.
async fn watch_next_hop(in_force: &InForce) -> Arc<NextHopWatch> {
    let (watch, next_hop) = (NextHopWatch::default(), in_force.get().next_hop.clone());
    watch.begin(&next_hop).await;
    next_hop.keep_offer().await;
    Arc::new(watch)
}

/// The listening sockets: those that systemd passed, else of our own.
fn listen(config: &Config) -> Result<(Arc<Listening>, Vec<Listener>), ServeError> {
    let opened = Listening::open(&config.listen.addresses, Passed::take()?);
    let (listening, listeners) = opened.map_err(|error| error.naming_other(config))?;
    Ok((Arc::new(listening), listeners))
}

/// Reports to systemd that connections are served, and from then on that tasks run.
fn report_ready(chores: &Chores) {
    chores.spawn(chores::keep_watchdog());
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}

/// Waits for the sessions, and cuts those off that take too long.
async fn end_sessions(Acceptor { sessions, cut_off, .. }: &Acceptor) {
    sessions.close();
    if timeout(STOP_GRACE, sessions.wait()).await.is_err() {
        warn!(
            sessions = sessions.len(),
            "sessions did not end in time: closing those whose message is not yet with the next hop"
        );
        cut_off.cancel();
    }
    if timeout(HANDED_OVER_GRACE, sessions.wait()).await.is_err() {
        warn!(sessions = sessions.len(), "sessions closed: the next hop did not reply in time");
    }
}

/// Does what signals ask for until one asks to stop; its name.
async fn handle_signals(signals: &mut Signals, administration: &Administration) -> &'static str {
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

/// Tasks beside the sessions, each until the daemon stops.
struct Chores {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Chores {
    /// Answers commands and HTTP until the token that it returns is cancelled: after the last
    /// session.
    fn serve_control(&self, config: &Config, handlers: Handlers, http: Arc<HttpServer>) -> CancellationToken {
        let end = CancellationToken::new();
        let socket = ControlSocket::open(config.control_socket()).serve(handlers);
        let ended = end.clone();
        self.tasks.spawn(async move { ended.run_until_cancelled(socket).await });
        let ended = end.clone();
        self.tasks.spawn(async move { ended.run_until_cancelled(http.keep()).await });
        end
    }

    fn spawn(&self, chore: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move { stop.run_until_cancelled(chore).await });
    }
}

fn resolver(config: &Config) -> Resolver {
    let config::Dns { servers, timeout, attempts } = &config.dns;
    Resolver::within(config.dns_bounds(), servers, *timeout, *attempts)
}

/// Warns of what would hurt, as far as settings and store tell.
fn warn_of_settings(store: &StoreView, config: &Config) {
    if config.mode == Mode::Shadow {
        info!("{}", warnings::NOT_SHADOWED);
    }
    let hostname = warnings::of_hostname(config);
    for warning in hostname.into_iter().chain(store.look(|contents| warnings::of(config, contents))) {
        warn!("{warning}");
    }
}

/// Warns of what would hurt as far as DNS tells, beside everything else.
async fn warn_of_ipv4(dns: Resolver, config: Config, store: Arc<StoreView>) {
    for warning in warnings::of_ipv4(&dns, &config, &store).await {
        warn!("{warning}");
    }
}
