//! Start and stop of the daemon. It accepts no connection itself.

use std::sync::Arc;

use sd_notify::NotifyState;
use sixgate_auth::dns::Resolver;
use sixgate_smtp::policy::Mode;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    budget::Budgets,
    config::Config,
    control::Control,
    evidence,
    log_limit::LogLimiter,
    mirror::{follow::Mirror, keep_interfaces, kernel_events, reverse_dns::ReverseDns},
    sandbox::Sandbox,
    server::{
        accept::Acceptor,
        administration::{Administration, ProcessSettings, SetLogLevel},
        chores,
        control_socket::{ControlSocket, Handlers},
        descriptors,
        ending::{Chores, Running},
        error::ServeError,
        http::HttpServer,
        listening::{Listener, Listening},
        next_hop_watch::NextHopWatch,
        parent::Parent,
        passed::Passed,
        signals::Signals,
        succession::{Predecessor, Succession},
        traces::Traces,
        warnings,
        watching::{Watched, Watching},
    },
    services::{InForce, Services},
    session::FactSources,
    shadow,
    store::Store,
    store_view::StoreView,
};

/// How the daemon is started.
#[derive(Clone, Debug, Default)]
pub struct ServeOptions {
    /// Work from store and DNS alone, without the XDP program and its maps.
    pub no_xdp: bool,
    /// The restrictions that are in force in this process.
    pub sandbox: Arc<Sandbox>,
}

/// Runs the daemon until SIGTERM, SIGINT or SIGQUIT, or until a successor has taken over. SIGHUP
/// makes it read its configuration again; no other signal ends it that a process can handle.
///
/// # Errors
/// The reason why it cannot start. Afterwards no error ends it.
pub async fn run(
    config: Config,
    options: ServeOptions,
    set_log_level: SetLogLevel,
    log_limiter: Arc<LogLimiter>,
) -> Result<(), ServeError> {
    let signals = Signals::take()?;
    let parent = Parent::watch();
    let store = StoreView::open(Store::new(&config.store), || Control::new(&config).shown());
    let store = Arc::new(store.map_err(ServeError::Store)?);
    descriptors::raise_limit(&config.limits);
    let in_force = InForce::new(Services::new(&config)?);
    let budgets = Arc::new(Budgets::new(&config.limits, log_limiter).map_err(ServeError::Threads)?);
    // before the maps: a start that finds the port in use must not change them under the daemon
    // that has it
    let (listening, listeners, before) = listen(&config).await?;
    let next_hop_watch = watch_next_hop(&in_force).await;
    // a daemon that serves goes on until nothing is left that may fail here
    let is_successor = matches!(before.take_over().await, Before::Finishing);
    let mirror = Mirror::open(&config, options.no_xdp, in_force.clone(), is_successor);
    let mirror = Arc::new(mirror.map_err(ServeError::Control)?);
    let dns = evidence::resolver(&config);
    let reverse_dns = Arc::new(ReverseDns::new(Arc::clone(mirror.maps()), dns.clone(), in_force.clone()));
    info!("sandbox: {}", options.sandbox.report());
    warn_of_settings(&store, &config);

    let (chores, upkeep) = (Chores::new(), Chores::new());
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
        accept_no_more: chores.stop.clone(),
        stop: CancellationToken::new(),
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
        ProcessSettings { set_log_level, sandbox: options.sandbox },
    ));
    let traces = Arc::new(Traces::new(Arc::clone(&mirror), chores.stop.clone()));
    let handlers = watching.handlers(&administration, &traces);
    for (listener, address) in listeners {
        info!(%address, "listening");
        chores.tasks.spawn(Arc::clone(&acceptor).accept(listener));
    }
    chores.tasks.spawn(chores::keep_listening(Arc::clone(&acceptor), Arc::clone(&listening)));
    chores.spawn(chores::keep_dns(Arc::clone(&watching.dns_watch), dns.clone(), in_force.clone()));
    chores.spawn(warn_of_ipv4(dns, config.clone(), Arc::clone(&store)));
    let end_control = serve_control(&chores, &config, handlers, Arc::clone(&watching.http));
    chores.spawn(chores::keep_probing(in_force.clone()));
    chores.spawn(chores::keep_backup(Arc::clone(&store)));
    chores.spawn(chores::keep_store(Arc::clone(&store), Arc::clone(&mirror)));
    chores.spawn(keep_interfaces(Arc::clone(&mirror), store));
    upkeep.spawn(chores::keep_tls(in_force.clone()));
    upkeep.spawn(shadow::keep(in_force.clone()));
    chores.spawn(kernel_events::follow(Arc::clone(mirror.maps()), in_force));
    upkeep.spawn(chores::keep_log(Arc::clone(&budgets.log)));
    chores.spawn(Arc::clone(&watching.metrics_file).keep());
    chores.spawn(Arc::clone(&watching.overview).keep());
    let succession = report_ready(&chores, parent);

    let running = Running {
        acceptor,
        administration,
        budgets,
        listening,
        watching,
        traces,
        succession,
        parent,
        chores,
        upkeep,
        end_control,
    };
    running.run(signals).await;
    Ok(())
}

/// Waits for the first probe of the next hop, for a while.
async fn watch_next_hop(in_force: &InForce) -> Arc<NextHopWatch> {
    let (watch, next_hop) = (NextHopWatch::default(), in_force.get().next_hop.clone());
    watch.begin(&next_hop).await;
    next_hop.keep_offer().await;
    Arc::new(watch)
}

/// The listening sockets: those that were passed, else of our own; and the daemon that serves until
/// this one is ready.
async fn listen(config: &Config) -> Result<(Arc<Listening>, Vec<Listener>, Before), ServeError> {
    let mut passed = Passed::take()?;
    let mut before = match passed.predecessor() {
        Some(predecessor) => Before::Serving(predecessor),
        None => Before::Nothing,
    };
    if !passed.cover(&config.listen.addresses) {
        // its sockets may be in the way of new ones
        before = before.take_over().await;
    }
    let opened = Listening::open(&config.listen.addresses, passed);
    let (listening, listeners) = opened.map_err(|error| error.naming_other(config))?;
    Ok((Arc::new(listening), listeners, before))
}

/// The daemon that served before this one.
enum Before {
    /// No daemon of this service is running.
    Nothing,
    /// The daemon that serves until this one takes over.
    Serving(Predecessor),
    /// It finishes its sessions.
    Finishing,
}

impl Before {
    /// Has it give up everything but its sessions.
    async fn take_over(self) -> Self {
        let Self::Serving(predecessor) = self else {
            return self;
        };
        let taken = tokio::task::spawn_blocking(|| predecessor.take_over()).await;
        match taken.map_err(anyhow::Error::new).and_then(|taken| taken.map_err(anyhow::Error::new)) {
            Ok(()) => info!("taking over from the daemon that served before, which finishes its sessions"),
            Err(error) => warn!("the daemon that served before did not give up everything: {error:#}"),
        }
        Self::Finishing
    }
}

/// Reports to systemd that connections are served, and from then on that tasks run; and has it keep
/// what a successor needs.
fn report_ready(chores: &Chores, parent: Parent) -> Succession {
    chores.spawn(chores::keep_watchdog());
    let succession = if parent.is_there() { Succession::offer() } else { Succession::default() };
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    succession
}

/// Answers commands and HTTP until the token that it returns is cancelled: after the last session.
fn serve_control(
    chores: &Chores,
    config: &Config,
    handlers: Handlers,
    http: Arc<HttpServer>,
) -> CancellationToken {
    let end = CancellationToken::new();
    let socket = ControlSocket::open(config.control_socket()).serve(handlers);
    let ended = end.clone();
    chores.tasks.spawn(async move { ended.run_until_cancelled(socket).await });
    let ended = end.clone();
    chores.tasks.spawn(async move { ended.run_until_cancelled(http.keep()).await });
    end
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
