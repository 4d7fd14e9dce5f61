//! The end of the daemon: at a stop, or when a successor takes over.
//!
//! It owns the order in which things are given up, and how long sessions have. The requests for the
//! end come from `signals` and `succession`.

use std::{sync::Arc, time::Duration};

use sd_notify::NotifyState;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    budget::Budgets,
    server::{
        accept::Acceptor,
        administration::Administration,
        chores,
        listening::Listening,
        parent::Parent,
        signals::{SignalRequest, Signals},
        succession::{Succession, SuccessionEvent},
        traces::Traces,
        watching::Watching,
    },
};

/// How long sessions may finish their message after the signal to stop.
const STOP_GRACE: Duration = Duration::from_secs(30);
/// How long those wait after that whose message is with the next hop: as long as a sender does (RFC
/// 5321 4.5.3.2.6).
const HANDED_OVER_GRACE: Duration = Duration::from_secs(10 * 60);
/// How long sessions go on unchanged when a successor has taken over; then they end as at a stop.
const FINISH_GRACE: Duration = Duration::from_secs(10 * 60);
/// How long a successor waits for tasks to end.
const TASKS_GRACE: Duration = Duration::from_secs(10);

/// Tasks beside the sessions, until they are stopped together.
pub(super) struct Chores {
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl Chores {
    pub(super) fn new() -> Self {
        Self { tasks: TaskTracker::new(), stop: CancellationToken::new() }
    }

    pub(super) fn spawn(&self, chore: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move { stop.run_until_cancelled(chore).await });
    }

    async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Why the daemon ends.
pub(super) enum End {
    /// It was told to stop: by what.
    Stop(&'static str),
    /// A successor serves from now on.
    Succeeded,
}

/// The daemon that serves, and all that it has to give up.
pub(super) struct Running {
    pub(super) acceptor: Arc<Acceptor>,
    pub(super) administration: Arc<Administration>,
    pub(super) budgets: Arc<Budgets>,
    pub(super) listening: Arc<Listening>,
    pub(super) traces: Arc<Traces>,
    pub(super) watching: Watching,
    pub(super) succession: Succession,
    pub(super) parent: Parent,
    /// The tasks of which only one daemon may have any.
    pub(super) chores: Chores,
    /// The tasks that sessions need until they have ended.
    pub(super) upkeep: Chores,
    /// Ends the answers to commands.
    pub(super) end_control: CancellationToken,
}

impl Running {
    /// Serves until it is told to stop or a successor takes over, and all sessions have ended.
    pub(super) async fn run(mut self, mut signals: Signals) {
        match self.wait(&mut signals).await {
            End::Stop(reason) => self.stop(reason).await,
            End::Succeeded => self.leave(&mut signals).await,
        }
        self.upkeep.end().await;
        chores::log_suppressed(&self.budgets.log, true);
    }

    /// Does what signals and a successor ask for until one of them means the end.
    async fn wait(&mut self, signals: &mut Signals) -> End {
        let mut has_parent = self.parent.is_there();
        loop {
            tokio::select! {
                request = signals.next() => match request {
                    SignalRequest::Stop(name) => return End::Stop(name),
                    SignalRequest::Reload => {
                        info!("SIGHUP: reading the configuration again");
                        // what came of it is logged
                        let _ = self.administration.reload().await;
                    }
                    SignalRequest::ParentEnded if has_parent => {
                        if !self.succession.is_held() {
                            return End::Stop(PARENT_ENDED);
                        }
                        has_parent = false;
                        info!("{PARENT_ENDED}: serving until the next daemon takes over");
                    }
                    SignalRequest::ParentEnded => {}
                },
                event = self.succession.next() => match event {
                    SuccessionEvent::AskedForSockets => {
                        self.succession.give_sockets(&self.listening.sockets()).await;
                    }
                    SuccessionEvent::AskedForAll => return End::Succeeded,
                    SuccessionEvent::Unheld if has_parent || !self.parent.is_there() => {}
                    SuccessionEvent::Unheld => return End::Stop("the service was stopped"),
                },
            }
        }
    }

    async fn stop(&mut self, reason: &str) {
        info!("{reason}: stopping");
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        self.administration.begin_stop();
        self.watching.http.begin_stop();
        self.chores.stop.cancel();
        self.acceptor.stop.cancel();
        self.traces.end().await;
        end_sessions(&self.acceptor).await;
        self.end_control.cancel();
        self.chores.end().await;
        // once more: sessions that the stop waited for have counted meanwhile
        self.watching.metrics_file.write_aside().await;
    }

    /// Gives up everything that only one daemon may have, and finishes the sessions. The metrics
    /// file and systemd's view of the service are the successor's from then on.
    async fn leave(&mut self, signals: &mut Signals) {
        self.chores.stop.cancel();
        self.end_control.cancel();
        self.traces.end().await;
        if timeout(TASKS_GRACE, self.chores.end()).await.is_err() {
            warn!("the next daemon takes over before all tasks of this one have ended");
        }
        self.succession.given_up().await;
        let Acceptor { sessions, stop, .. } = &*self.acceptor;
        info!(sessions = sessions.len(), "the next daemon has taken over: finishing the sessions");
        sessions.close();
        let stopped = async {
            loop {
                if let SignalRequest::Stop(name) = signals.next().await {
                    return name;
                }
            }
        };
        tokio::select! {
            () = sessions.wait() => {}
            () = tokio::time::sleep(FINISH_GRACE) => {}
            name = stopped => info!("{name}: stopping"),
        }
        stop.cancel();
        end_sessions(&self.acceptor).await;
        info!("the sessions have ended");
    }
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

const PARENT_ENDED: &str = "the parent process has ended";
