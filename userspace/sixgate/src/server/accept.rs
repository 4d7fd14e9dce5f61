//! Connections as they come in: accepted, counted, served or rejected.
//!
//! It does not talk to a client beyond the one line that rejects it.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sixgate_smtp::{policy::evidence::Endpoints, reply::ReplyKind, session::Session};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, error_span, info, warn};

use crate::{
    budget::{
        Budgets,
        connections::{Excess, Origin},
    },
    log_limit::SESSION,
    mirror::kernel_maps::KernelMaps,
    services::InForce,
    session::{Client, Connection, FactSources},
    session_id::SessionId,
};

/// Admits clients, and starts their sessions.
pub(super) struct Acceptor {
    pub(super) in_force: InForce,
    pub(super) sources: Arc<FactSources>,
    pub(super) budgets: Arc<Budgets>,
    pub(super) maps: Arc<KernelMaps>,
    pub(super) sessions: TaskTracker,
    /// Cancelled when this daemon accepts no connection any more.
    pub(super) accept_no_more: CancellationToken,
    /// Cancelled when sessions are to end as soon as they can.
    pub(super) stop: CancellationToken,
    /// Cancelled when sessions have had their time to finish after the signal to stop.
    pub(super) cut_off: CancellationToken,
}

impl Acceptor {
    /// Accepts connections until no more are to be accepted. A client that cannot be accepted for
    /// want of a resource is not lost: it waits in the kernel's queue, and is accepted once the
    /// resource is free.
    pub(super) async fn accept(self: Arc<Self>, listener: Arc<TcpListener>) {
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.accept_no_more.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    if std::mem::take(&mut failing) {
                        info!("connections are accepted again");
                    }
                    self.admit(stream);
                }
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    self.in_force.get().metrics.limit("accept");
                    if !std::mem::replace(&mut failing, true) {
                        warn!("cannot accept connections, clients wait in the listen queue: {error}");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream) {
        let Some(endpoints) = endpoints(&stream) else {
            return;
        };
        let Endpoints { source, destination, .. } = endpoints;
        let facts = self.sources.store.facts(source, destination, None);
        let origin = if facts.trusted.is_some() { Origin::Trusted } else { Origin::Anonymous };
        let permit = match self.budgets.connections.admit(source, origin) {
            Ok(permit) => permit,
            Err(excess) => return self.reject(&stream, source, excess),
        };
        let id = SessionId::new();
        // at every level of the log: a warning, too, names the session that it is about
        let span = error_span!(SESSION, %id, %source, %destination);
        let connection = Connection::new(
            self.in_force.clone(),
            Arc::clone(&self.sources),
            Arc::clone(&self.budgets),
            Client { endpoints, facts, id, stream },
            self.stop.clone(),
        );
        let acceptor = Arc::clone(self);
        let serve = async move {
            acceptor.serve(connection, endpoints).await;
            drop(permit);
            acceptor.show_open();
        };
        self.show_open();
        self.sessions.spawn(serve.instrument(span));
    }

    async fn serve(&self, connection: Connection, endpoints: Endpoints) {
        if self.maps.take_tag(endpoints) {
            self.in_force.get().metrics.tag();
        }
        let handed_over = connection.handed_over();
        connection.serve(self.cut_off(&handed_over)).await;
    }

    /// Resolves when the daemon stops and waits no longer, but never once the session's message is
    /// with the next hop: its reply is the sender's, who would send the message again without it.
    async fn cut_off(&self, handed_over: &AtomicBool) {
        self.cut_off.cancelled().await;
        if handed_over.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    }

    /// Rejects a connection that exceeds a bound, without waiting for anything.
    fn reject(&self, stream: &TcpStream, source: Ipv6Addr, excess: Excess) {
        let services = self.in_force.get();
        services.metrics.limit(excess.name());
        info!(%source, limit = excess.name(), "connection rejected: limit reached");
        let kind = match excess {
            Excess::Total => ReplyKind::TooManyConnections,
            Excess::Share | Excess::OfSource(_) => ReplyKind::TooManyFromNetwork,
        };
        // A fresh socket's buffer takes the few octets; if it does not, the close tells enough.
        let _ = stream.try_write(&Session::rejected_at_once(&services.replies, kind));
    }

    fn show_open(&self) {
        self.in_force.get().metrics.open(self.budgets.connections.open());
    }

    /// What `chore` comes to, if connections are accepted so long.
    pub(super) async fn while_accepting<T>(&self, chore: impl Future<Output = T>) -> Option<T> {
        self.accept_no_more.run_until_cancelled(chore).await
    }
}

/// Whether the client's connection failed while it waited, which accept(2) reports as its own
/// failure.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// Both ends; none if the client is gone already.
fn endpoints(stream: &TcpStream) -> Option<Endpoints> {
    let (source, source_port) = address(stream.peer_addr())?;
    let (destination, destination_port) = address(stream.local_addr())?;
    Some(Endpoints { source, source_port, destination, destination_port })
}

fn address(address: io::Result<SocketAddr>) -> Option<(Ipv6Addr, u16)> {
    match address.ok()? {
        SocketAddr::V4(_) => None,
        SocketAddr::V6(address) => Some((*address.ip(), address.port())),
    }
}

/// Pause after an accept that failed for want of a resource.
const PAUSE: Duration = Duration::from_millis(100);
