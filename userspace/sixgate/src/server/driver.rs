//! One connection: moves octets between a socket and the sans-IO session, and performs the session's tasks.
//!
//! It owns the socket and the order in which things are waited for. What is found out about the sender is in
//! `inspection`, what is decided about it in `policy`.

mod judge;
mod record;
mod refused;
mod start_tls;

use std::{
    io::{self, ErrorKind},
    net::Ipv6Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sixgate_common::{refuse::Reason, settings};
use sixgate_smtp::{
    policy::{Refusal, Stage, Verdict, evidence::Endpoints},
    session::{Admission, Offer, Session, SessionParameters, Task, Unkept},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    content::Draft,
    nexthop::Transport,
    server::{
        context::Context, driver::record::Refusals, inspection::Inspection, limits::OctetShare,
        services::Services, session_id::SessionId, store_view::StoreFacts, stream::Stream,
    },
};

/// Octets read at once.
const READ_SIZE: usize = 32 * 1024;
/// Wait for a client to take a reply.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// After the last reply: how long, and for how many octets, input is still taken, so that the reply is not
/// destroyed by a reset (RFC 9293 3.6.1 leaves unread data to a reset).
const LINGER_TIMEOUT: Duration = Duration::from_secs(10);
const LINGER_SIZE: usize = 4 * 1024 * 1024;

/// A connection and everything that belongs to it.
pub(crate) struct Connection {
    context: Arc<Context>,
    /// What the present transaction is judged by.
    services: Arc<Services>,
    endpoints: Endpoints,
    id: SessionId,
    stream: Stream,
    buffer: Box<[u8]>,
    stop: CancellationToken,
    /// Whether the last message has gone to the next hop, whose reply may still be to come.
    handed_over: Arc<AtomicBool>,
    inspection: Inspection,
    transport: Transport,
    /// Its source, unless that is trusted.
    untrusted: Option<Ipv6Addr>,
    /// The message that is arriving, and its parts of the budgets.
    draft: Option<Draft>,
    memory: OctetShare,
    disk: OctetShare,
    refusals: Refusals,
    opened: Instant,
}

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the client is gone")]
    Gone,
    #[error("the TLS handshake failed")]
    Handshake(String),
    #[error("the TLS handshake took too long")]
    HandshakeTime,
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error("the client does not take our replies")]
    Stuck,
}

impl Connection {
    pub(crate) fn new(
        context: Arc<Context>,
        endpoints: Endpoints,
        facts: StoreFacts,
        stream: TcpStream,
        id: SessionId,
        stop: CancellationToken,
    ) -> Self {
        let untrusted = facts.trusted.is_none().then_some(endpoints.source);
        let network = untrusted.map(Into::into);
        let services = context.services();
        Self {
            inspection: Inspection::new(Arc::clone(&context), Arc::clone(&services), endpoints, facts),
            transport: services.next_hop.transport(untrusted),
            untrusted,
            draft: None,
            memory: context.memory.share(network),
            disk: context.disk.share(network),
            buffer: vec![0; READ_SIZE].into_boxed_slice(),
            refusals: Refusals::default(),
            opened: Instant::now(),
            context,
            services,
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

    /// Serves the connection to its end.
    pub(crate) async fn serve(mut self) {
        let admission = self.admit().await;
        if let Admission::Refuse { refuse_at: settings::REFUSE_AT_RESET, reason: Reason::NotOptedIn } =
            admission
        {
            return self.reset();
        }
        let mut session = Session::new(self.parameters(admission), Instant::now());
        if let Err(broken) = self.converse(&mut session).await {
            session.handle_end_of_input();
            self.record(&mut session, &broken);
        }
        match admission {
            Admission::Refuse { reason, .. } => self.log_refused(&session, reason),
            Admission::Serve | Admission::Unavailable => {
                debug!(duration_ms = self.elapsed_ms(), "done");
            }
        }
        self.refusals.end();
        self.inspection.forget_message();
        self.transport.close().await;
    }

    /// Decides whether the session is served, from what is known without asking anybody.
    async fn admit(&mut self) -> Admission {
        if self.context.kernel.take_tag(self.endpoints) {
            self.context.metrics.tag();
        }
        self.inspection.recall_ptr().await;
        let reason = match self.inspection.decide(Stage::Connection, None) {
            Verdict::Refuse(Refusal::AddressNotOptedIn) => Reason::NotOptedIn,
            Verdict::Refuse(Refusal::NoPtr) => Reason::NoPtr,
            _ if self.services.next_hop.capabilities().is_none() => {
                self.context.metrics.session("next_hop_unknown");
                return Admission::Unavailable;
            }
            Verdict::Accept | Verdict::AcceptInShadow(_) | Verdict::Refuse(_) => {
                self.context.metrics.session("served");
                self.inspection.begin_session();
                return Admission::Serve;
            }
        };
        self.context.metrics.session(reason_name(reason));
        Admission::Refuse { reason, refuse_at: self.services.refuse_at }
    }

    fn parameters(&self, admission: Admission) -> SessionParameters {
        let limits = &self.services.limits;
        let capabilities = self.services.next_hop.capabilities().unwrap_or_default();
        SessionParameters {
            table: Arc::clone(&self.services.replies),
            endpoints: self.endpoints,
            admission,
            mode: self.services.policy.mode,
            offer: Offer {
                eight_bit_mime: capabilities.eight_bit_mime,
                size: capabilities.size.is_some(),
                smtp_utf8: capabilities.smtp_utf8,
                start_tls: self.services.tls.is_some(),
                message_size: u64::from(limits.message_size.get()).min(capabilities.size.unwrap_or(u64::MAX)),
            },
            limits: limits.session(),
            temporary: self.context.store.temporary_domains(),
        }
    }

    /// Ends the connection with a reset, so that the client turns to IPv4 at once.
    fn reset(self) {
        let reason = Reason::NotOptedIn;
        info!(reason = reason_name(reason), list = list_name(reason), "refused by reset");
        if let Err(error) = self.stream.reset_on_close() {
            debug!("cannot set SO_LINGER: {error}");
        }
    }

    async fn converse(&mut self, session: &mut Session) -> Result<(), Broken> {
        let stop = self.stop.clone();
        let mut told_to_stop = false;
        let mut stress = self.context.connections.stress();
        loop {
            while let Some(task) = session.poll_task() {
                self.send(session).await?;
                self.perform(session, task).await?;
            }
            self.send(session).await?;
            if session.is_closing() {
                self.transport.give_back().await;
                return self.linger().await;
            }
            // trusted sources have a reserve: nobody waits for their connections
            session.handle_stress(*stress.borrow_and_update() && !self.inspection.is_trusted());
            let due = session.poll_timeout().map(tokio::time::Instant::from_std);
            tokio::select! {
                read = self.stream.read(&mut self.buffer), if session.has_room() => match read? {
                    0 => session.handle_end_of_input(),
                    count => {
                        if session.is_between_transactions() {
                            self.adopt(session).await;
                        }
                        session.handle_input(Instant::now(), self.buffer.get(..count).unwrap_or_default());
                    }
                },
                () = sleep_until(due.unwrap_or_else(far_future)), if due.is_some() => {
                    session.handle_timeout(Instant::now());
                }
                Ok(()) = stress.changed() => {}
                () = stop.cancelled(), if !told_to_stop => {
                    told_to_stop = true;
                    session.handle_shutdown();
                }
                never = self.transport.rest() => match never {},
            }
        }
    }

    async fn perform(&mut self, session: &mut Session, task: Task) -> Result<(), Broken> {
        match task {
            Task::Begin => {
                self.handed_over.store(false, Ordering::Relaxed);
                self.adopt(session).await;
                self.inspection.ask_store(None);
                self.inspection.begin_message(session.hello(), session.transaction());
            }
            Task::Abandon => {
                self.inspection.forget_message();
                self.forget_content();
                self.transport.reset().await;
            }
            Task::StartTls => {
                self.transport.give_back().await;
                self.inspection.ask_store(None);
                self.start_tls(session).await?;
            }
            Task::Recipient(recipient) => {
                self.inspection.ask_store(Some(&recipient));
                let answer = self.judge_recipient(session, &recipient).await?;
                self.heed_stop(session);
                session.answer_recipient(Instant::now(), answer);
            }
            Task::Content(octets) => {
                let kept = self.keep(octets).await;
                if kept.is_err() {
                    self.forget_content();
                }
                self.heed_stop(session);
                session.answer_content(Instant::now(), kept);
            }
            Task::Message => {
                let content = self.draft.take().map_or_else(|| Vec::new().into(), Draft::freeze);
                self.inspection.ask_store(None);
                let answer = self.judge_message(session, content).await?;
                self.forget_content();
                self.heed_stop(session);
                session.answer_message(Instant::now(), answer);
            }
        }
        Ok(())
    }

    /// Takes over the settings in force for the transaction that begins, or for what comes before one.
    async fn adopt(&mut self, session: &mut Session) {
        let services = self.context.services();
        if Arc::ptr_eq(&services, &self.services) {
            return;
        }
        let mode = services.policy.mode;
        session.handle_settings(Arc::clone(&services.replies), services.limits.session(), mode);
        if !services.next_hop.is_same(&self.services.next_hop) {
            std::mem::replace(&mut self.transport, services.next_hop.transport(self.untrusted)).close().await;
        }
        self.inspection.adopt(Arc::clone(&services));
        self.services = services;
    }

    /// Tells the session of a stop before it hears an answer: it would take the next command otherwise.
    fn heed_stop(&self, session: &mut Session) {
        if self.stop.is_cancelled() {
            session.handle_shutdown();
        }
    }

    /// Keeps octets of the arriving message, within the budgets.
    async fn keep(&mut self, octets: Vec<u8>) -> Result<(), Unkept> {
        let directory = &self.services.spill_directory;
        let draft = self.draft.get_or_insert_with(|| Draft::new(directory.clone()));
        if !self.memory.cover(draft.memory_with(octets.len())) {
            return Err(Unkept::Memory);
        }
        if !self.disk.cover(draft.disk_with(octets.len())) {
            return Err(Unkept::Disk);
        }
        draft.append(octets).await.map_err(|error| {
            warn!("cannot write a temporary file in {}: {error}", directory.path().display());
            match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Unkept::Disk,
                _ => Unkept::Failure,
            }
        })
    }

    /// Lets go of the message, wherever its octets lie.
    fn forget_content(&mut self) {
        self.draft = None;
        self.memory.release();
        self.disk.release();
    }

    /// What is said is counted before it is sent: whoever means harm does not wait for it.
    async fn send(&mut self, session: &mut Session) -> Result<(), Broken> {
        self.record(session, &Broken::Gone);
        let output = session.poll_output();
        if output.is_empty() {
            return Ok(());
        }
        let Self { stream, transport, .. } = self;
        let write = async {
            stream.write_all(&output).await?;
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

    /// Ends the connection so that the client can still read the last reply.
    async fn linger(&mut self) -> Result<(), Broken> {
        let Self { stream, buffer, .. } = self;
        // TLS says goodbye, which a client that reads no more would hold up
        let drain = async {
            stream.shutdown().await?;
            let mut read = 0;
            while read < LINGER_SIZE {
                match stream.read(buffer).await? {
                    0 => break,
                    count => read += count,
                }
            }
            Ok(())
        };
        timeout(LINGER_TIMEOUT, drain).await.unwrap_or(Ok(()))
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn far_future() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(86_400)
}

/// Which list of the store refuses, if one does.
pub(super) const fn list_name(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::NoPtr => None,
        Reason::NotOptedIn => Some("optin"),
    }
}

pub(super) fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::NoPtr => "no_ptr",
        Reason::NotOptedIn => "not_opted_in",
    }
}
