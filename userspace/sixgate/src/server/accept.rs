//! Connections as they come in: accepted, counted, served or turned away.
//!
//! It does not talk to a client beyond the one line that turns it away.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sixgate_smtp::{policy::evidence::Endpoints, reply::Say, session::Session};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, error_span, info, warn};

use crate::{
    log_limit::SESSION,
    server::{
        connections::{Excess, Origin},
        context::Context,
        driver::Connection,
        session_id::SessionId,
    },
};

/// Accepts connections until `stop`. A client that cannot be accepted for want of a resource is not lost: it waits in
/// the kernel's queue, and is accepted once there is room.
pub(super) async fn accept(
    listener: TcpListener,
    context: Arc<Context>,
    sessions: TaskTracker,
    stop: CancellationToken,
) {
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                if std::mem::take(&mut failing) {
                    info!("connections are accepted again");
                }
                admit(stream, &context, &sessions, &stop);
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                context.metrics.limit("accept");
                if !std::mem::replace(&mut failing, true) {
                    warn!("cannot accept connections, they wait: {error}");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// Whether the client's connection failed while it waited, which accept(2) reports as its own failure.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

fn admit(stream: TcpStream, context: &Arc<Context>, sessions: &TaskTracker, stop: &CancellationToken) {
    let Some(endpoints) = endpoints(&stream) else {
        return;
    };
    let Endpoints { source, destination, .. } = endpoints;
    let facts = context.store.facts(source, destination, None);
    let origin = if facts.trusted.is_some() { Origin::Trusted } else { Origin::Anonymous };
    let permit = match context.connections.admit(source, origin) {
        Ok(permit) => permit,
        Err(excess) => return turn_away(context, &stream, source, excess),
    };
    context.metrics.open(context.connections.open());
    let id = SessionId::new();
    // at every level of the log: a warning, too, says whose session it is about
    let span = error_span!(SESSION, %id, %source, %destination);
    let connection = Connection::new(Arc::clone(context), endpoints, facts, stream, id, stop.clone());
    let context = Arc::clone(context);
    let serve = async move {
        let handed_over = connection.handed_over();
        tokio::select! {
            () = connection.serve() => {}
            () = cut_off(&context, &handed_over) => info!("cut off: the daemon stops"),
        }
        drop(permit);
        context.metrics.open(context.connections.open());
    };
    sessions.spawn(serve.instrument(span));
}

/// Resolves when the daemon stops and waits no longer, but never once the session's message is with the next hop: its reply
/// is the sender's, who would send the message again without it.
async fn cut_off(context: &Context, handed_over: &AtomicBool) {
    context.cut_off.cancelled().await;
    if handed_over.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}

/// Turns a connection away that exceeds a bound, without waiting for anything.
fn turn_away(context: &Context, stream: &TcpStream, source: Ipv6Addr, excess: Excess) {
    context.metrics.limit(excess.name());
    info!(%source, limit = excess.name(), "turned away");
    let say = match excess {
        Excess::Total => Say::TooManyConnections,
        Excess::Share | Excess::OfSource(_) => Say::TooManyFromNetwork,
    };
    // A fresh socket's buffer takes the few octets; if it does not, the close says enough.
    let _ = stream.try_write(&Session::turned_away(&context.services().replies, say));
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
