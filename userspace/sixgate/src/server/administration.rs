//! What an administrator asks of the running daemon: how it is, and to take over a changed
//! configuration.
//!
//! It owns the order of a reload. By which way the request comes, signal or control socket, is not
//! its business.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::Timestamp;
use sixgate_smtp::policy::Mode;
use tokio::sync::Mutex as AsyncMutex;
use tracing::{error, info, warn};

use crate::{
    budget::Budgets,
    config::{Config, LogLevel, SettingChanges},
    mirror::follow::Mirror,
    sandbox::Sandbox,
    server::{
        control_socket::{DaemonIdentity, DaemonStatus, LastReload, Reloaded},
        descriptors,
        http::HttpServer,
        listening::Listening,
        metrics_file::MetricsFile,
        next_hop_watch::NextHopWatch,
        problems::Problems,
        warnings as doubts,
    },
    services::{InForce, Services, connection_bounds},
    store_view::StoreView,
};

/// Sets how much is logged; an error as text if that cannot be set.
pub type SetLogLevel = Box<dyn Fn(LogLevel) -> Result<(), String> + Send + Sync>;

/// The parts that are looked after beside mail, each with its present problems.
pub(crate) struct Watches {
    pub(crate) next_hop: Arc<NextHopWatch>,
    pub(crate) files: Arc<MetricsFile>,
    pub(crate) problems: Arc<Problems>,
    pub(crate) http: Arc<HttpServer>,
}

/// The parts of a reload that concern the whole process.
pub(crate) struct ProcessSettings {
    pub(crate) set_log_level: SetLogLevel,
    pub(crate) sandbox: Arc<Sandbox>,
}

/// A running daemon, as its administrator sees it.
pub(crate) struct Administration {
    in_force: InForce,
    mirror: Arc<Mirror>,
    budgets: Arc<Budgets>,
    store: Arc<StoreView>,
    watches: Watches,
    process: ProcessSettings,
    since: Timestamp,
    listening: Arc<Listening>,
    last_reload: Mutex<Option<LastReload>>,
    /// One reload at a time.
    reload_lock: AsyncMutex<()>,
    is_stopping: AtomicBool,
}

impl Administration {
    pub(crate) fn new(
        in_force: InForce,
        mirror: Arc<Mirror>,
        budgets: Arc<Budgets>,
        store: Arc<StoreView>,
        watches: Watches,
        listening: Arc<Listening>,
        process: ProcessSettings,
    ) -> Self {
        Self {
            in_force,
            mirror,
            budgets,
            store,
            watches,
            process,
            since: Timestamp::now(),
            listening,
            last_reload: Mutex::default(),
            reload_lock: AsyncMutex::default(),
            is_stopping: AtomicBool::new(false),
        }
    }

    /// Which daemon it is.
    pub(crate) fn identity(&self) -> DaemonIdentity {
        DaemonIdentity { pid: std::process::id(), store: self.store.path().to_owned() }
    }

    /// Reports that the daemon stops, and waits for its sessions.
    pub(crate) fn begin_stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// That the daemon is stopping, as a sentence, if it is.
    fn stopping(&self) -> Option<String> {
        let sessions = self.budgets.connections.open();
        let pid = std::process::id();
        let is_stopping = self.is_stopping.load(Ordering::Relaxed);
        is_stopping.then(|| format!("the daemon (pid {pid}) is stopping, {sessions} sessions open"))
    }

    /// How the daemon is.
    pub(crate) async fn status(&self) -> DaemonStatus {
        let stopping = self.stopping();
        // one that stops attaches nothing any more
        let is_settled = stopping.is_some() || self.mirror.settled().await;
        // as it is now, not as it was some seconds ago
        self.watches.files.write_aside().await;
        let services = self.in_force.get();
        let watched = Arc::clone(&self.watches.problems);
        let mut problems = blocking(move || Ok(watched.present())).await.unwrap_or_default();
        let is_stopping = stopping.is_some();
        problems.extend(stopping);
        if !is_settled {
            problems.push("the daemon is still attaching the XDP program".to_owned());
        }
        let running = services.config.clone();
        let file = tokio::task::spawn_blocking(move || {
            Config::load(&running.file).map(|config| running.reloaded(&config).1)
        });
        let changes = match file.await {
            Ok(Ok(changes)) => changes,
            Ok(Err(error)) => {
                let reason = anyhow::Error::new(error);
                problems.push(format!(
                    "the configuration cannot be used, the daemon goes on with the one that it has: {reason:#}"
                ));
                SettingChanges::default()
            }
            Err(_) => SettingChanges::default(),
        };
        DaemonStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            since: format!("{:.0}", self.since),
            config: services.config.file.clone(),
            sandbox: self.process.sandbox.report().clone(),
            listening: self.listening.addresses().iter().map(SocketAddr::to_string).collect(),
            settings: services.config.refusal_settings(),
            last_reload: self.last_reload.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            changes,
            connections: self.budgets.connections.open(),
            is_stopping,
            trace: None,
            problems,
        }
    }

    /// Takes over the configuration from its file: all that can be changed while the daemon runs,
    /// or nothing, with the reason. Either is logged.
    pub(crate) async fn reload(&self) -> Result<Reloaded, String> {
        if let Some(stopping) = self.stopping() {
            return Err(format!("{stopping}: the configuration is read at the next start"));
        }
        let _reload = self.reload_lock.lock().await;
        let outcome = self.try_reload().await;
        match &outcome {
            Ok(Reloaded { changes, warnings }) => {
                info!(
                    changed = changes.reload.join(", "),
                    needs_restart = changes.restart.join(", "),
                    "the configuration was reloaded"
                );
                warnings.iter().for_each(|warning| warn!("{warning}"));
            }
            Err(reason) => {
                error!("the configuration was not reloaded, the one of before stays in force: {reason}");
            }
        }
        let last =
            LastReload { at: format!("{:.0}", Timestamp::now()), refused: outcome.as_ref().err().cloned() };
        *self.last_reload.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
        outcome
    }

    /// Makes the checks of a reload; nothing is put in force or logged, and the next hop is not
    /// tried. Returns the keys that would change.
    pub(crate) async fn try_out(&self) -> Result<Reloaded, String> {
        if let Some(stopping) = self.stopping() {
            return Err(format!("{stopping}: the configuration is read at the next start"));
        }
        let (next, changes, _) = self.prepare().await?;
        drop(self.watches.http.prepare(next.config.http.listen.as_ref())?);
        let mut warnings: Vec<String> = self.store.trouble().into_iter().collect();
        warnings.extend(self.store.look(|contents| doubts::of(&next.config, contents)));
        warnings.extend(doubts::of_files(&next.config));
        Ok(Reloaded { changes, warnings })
    }

    /// The services by the changed configuration, the keys that differ, and whether the next hop is
    /// another.
    async fn prepare(&self) -> Result<(Services, SettingChanges, bool), String> {
        let running = self.in_force.get();
        let sandbox = Arc::clone(&self.process.sandbox);
        let prepare = move || {
            let file = Config::load(&running.config.file).map_err(error_text)?;
            let (config, changes) = running.config.reloaded(&file);
            // before any of its files is opened
            sandbox.check(&config).map_err(error_text)?;
            let next = running.replaced(&config).map_err(error_text)?;
            let is_new_hop = !next.next_hop.is_same(&running.next_hop);
            Ok((next, changes, is_new_hop))
        };
        blocking(prepare).await
    }

    async fn try_reload(&self) -> Result<Reloaded, String> {
        let (next, changes, is_new_hop) = self.prepare().await?;
        let listener = self.watches.http.prepare(next.config.http.listen.as_ref())?;
        let mut warnings = Vec::new();
        if is_new_hop {
            // before the first session asks what it may offer
            let failure = self.watches.next_hop.begin(&next.next_hop).await;
            // quoted: what the mail server sent may be in it
            warnings.extend(failure.map(|failure| format!("the next hop is not usable yet: {failure:?}")));
        }
        let store = Arc::clone(&self.store);
        let damage = blocking(move || Ok(store.damage())).await?;
        warnings.extend(self.store.trouble().or(damage));
        warnings.extend(self.store.look(|contents| doubts::of(&next.config, contents)));
        warnings.extend(doubts::of_files(&next.config));
        let is_now_shadow =
            next.policy.mode == Mode::Shadow && self.in_force.get().policy.mode != Mode::Shadow;
        let level = next.config.log.level;
        descriptors::raise_limit(next.limits());
        self.put_in_force(next).await?;
        self.watches.http.adopt(listener);
        if is_now_shadow {
            info!("{}", doubts::NOT_SHADOWED);
        }
        if changes.reload.iter().any(|key| key == "log.level") {
            warnings.extend((self.process.set_log_level)(level).err());
        }
        Ok(Reloaded { changes, warnings })
    }

    /// All of it or, on an error, nothing: the maps first, which may fail.
    async fn put_in_force(&self, next: Services) -> Result<(), String> {
        let (in_force, budgets) = (self.in_force.clone(), Arc::clone(&self.budgets));
        let mirror = Arc::clone(&self.mirror);
        let replace = move || {
            mirror.reconfigure(&next.config).map_err(error_text)?;
            budgets.resize(next.limits());
            next.next_hop.set_bounds(connection_bounds(next.limits()));
            let next_hop = next.next_hop.clone();
            in_force.replace(next);
            // after that, so that no session adds any
            mirror.clear_absent();
            Ok(next_hop)
        };
        // only now is it the one whose offer the next start needs
        blocking(replace).await?.keep_offer().await;
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error_text(error)))
}

fn error_text(error: impl std::error::Error + Send + Sync + 'static) -> String {
    format!("{:#}", anyhow::Error::new(error))
}
