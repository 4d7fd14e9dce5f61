//! A connection and everything that belongs to it.
//!
//! It owns the parts. The files beside it use them.

use std::{
    io,
    net::Ipv6Addr,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use sixgate_smtp::policy::evidence::Endpoints;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    arriving::ArrivingMessage,
    refusal_lines::RefusalLines,
    sender_checks::{FactSources, SenderChecks},
    stream::Stream,
};
use crate::{
    budget::Budgets,
    nexthop::Transport,
    services::{InForce, Services},
    session_id::SessionId,
    session_log::SummaryDraft,
    store_view::StoreFacts,
};

/// Wait for a client to take a reply.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// A client that was accepted.
pub(crate) struct Client {
    pub(crate) endpoints: Endpoints,
    pub(crate) facts: StoreFacts,
    pub(crate) id: SessionId,
    pub(crate) stream: TcpStream,
}

/// A connection and everything that belongs to it.
pub(crate) struct Connection {
    pub(super) in_force: InForce,
    /// The services by which the present transaction is judged.
    pub(super) services: Arc<Services>,
    pub(super) budgets: Arc<Budgets>,
    pub(super) endpoints: Endpoints,
    pub(super) id: SessionId,
    pub(super) stream: Stream,
    pub(super) stop: CancellationToken,
    /// Whether the last message has gone to the next hop, whose reply may still be to come.
    pub(super) handed_over: Arc<AtomicBool>,
    pub(super) checks: SenderChecks,
    pub(super) transport: Transport,
    /// Its source, unless that is trusted.
    pub(super) untrusted: Option<Ipv6Addr>,
    pub(super) message: ArrivingMessage,
    pub(super) refusals: RefusalLines,
    pub(super) summary: SummaryDraft,
    opened: Instant,
}

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the client is gone")]
    Gone,
    #[error("the TLS handshake failed")]
    Handshake(String),
    #[error("the TLS handshake took too long")]
    HandshakeTime,
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error("timeout while sending a reply")]
    Stuck,
    #[error("the daemon is stopping")]
    CutOff,
}

impl Connection {
    pub(crate) fn new(
        in_force: InForce,
        sources: Arc<FactSources>,
        budgets: Arc<Budgets>,
        Client { endpoints, facts, id, stream }: Client,
        stop: CancellationToken,
    ) -> Self {
        let untrusted = facts.trusted.is_none().then_some(endpoints.source);
        let services = in_force.get();
        Self {
            checks: SenderChecks::new(sources, Arc::clone(&services), endpoints, facts),
            transport: services.next_hop.transport(untrusted),
            message: ArrivingMessage::new(&budgets, untrusted.map(Into::into)),
            untrusted,
            refusals: RefusalLines::default(),
            summary: SummaryDraft::default(),
            opened: Instant::now(),
            in_force,
            services,
            budgets,
            endpoints,
            id,
            stream: Stream::Plain(stream),
            stop,
            handed_over: Arc::default(),
        }
    }

    /// Whether the last message has gone to the next hop, as it changes.
    pub(crate) fn handed_over(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.handed_over)
    }

    /// Writes replies to the client.
    pub(super) async fn write(&mut self, output: &[u8]) -> Result<(), Broken> {
        let Self { stream, transport, .. } = self;
        let write = async {
            stream.write_all(output).await?;
            stream.flush().await
        };
        tokio::select! {
            written = timeout(WRITE_TIMEOUT, write) => match written {
                Ok(written) => Ok(written?),
                Err(_) => Err(Broken::Stuck),
            },
            never = transport.rest() => match never {},
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.opened.elapsed()
    }

    pub(super) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Resolves at `due`; never, if there is no such time.
pub(super) async fn reached(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(tokio::time::Instant::from_std(due)).await,
        None => std::future::pending().await,
    }
}
