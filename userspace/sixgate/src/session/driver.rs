//! The life of a connection: moves octets between the socket and the sans-IO session, and performs
//! the session's tasks.
//!
//! It owns the order in which things are waited for. The facts about the client are found out in
//! `sender_checks`, the decisions about it are made in `sixgate_smtp::policy`.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use sixgate_common::{refuse::Reason, settings};
use sixgate_smtp::{
    policy::Stage,
    session::{Admission, Session, SessionParameters, Task},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tracing::{debug, info};

use super::{
    connection::{Broken, Connection, reached},
    stream::Stream,
};
use crate::{
    evidence,
    shown::{list_name, reason_name},
};

/// After the last reply: how long, and for how many octets, input is still taken, so that the reply
/// is not destroyed by a reset (RFC 9293 3.6.1 leaves unread data to a reset).
const LINGER_TIMEOUT: Duration = Duration::from_secs(10);
const LINGER_SIZE: usize = 4 * 1024 * 1024;
/// Octets of it that are read at once.
const LINGER_READ: usize = 4 * 1024;

impl Connection {
    /// Serves the connection to its end, or until `cut_off` is over.
    pub(crate) async fn serve(mut self, cut_off: impl Future<Output = ()>) {
        if self.services.session_log.is_postfix() {
            self.checks.postfix(self.id, None).connect();
        }
        let admission = self.admit().await;
        if let Admission::Refuse { refuse_at: settings::REFUSE_AT_RESET, reason: Reason::NotOptedIn } =
            admission
        {
            return self.reset();
        }
        let mut session = Session::new(self.parameters(admission), Instant::now());
        let conversed = tokio::select! {
            conversed = self.converse(&mut session) => conversed,
            () = cut_off => {
                info!("connection closed: the daemon is stopping");
                Err(Broken::CutOff)
            }
        };
        let is_cut_off = matches!(conversed, Err(Broken::CutOff));
        if let Err(broken) = conversed {
            session.handle_end_of_input();
            self.record(&mut session, &broken);
        }
        if let Admission::Refuse { reason, .. } = admission {
            self.log_refused(&session, reason);
        }
        self.refusals.end();
        self.close(&session, admission);
        self.checks.forget_message();
        if !is_cut_off {
            self.transport.close().await;
        }
    }

    /// Decides whether the session is served, from what is known without asking anybody.
    async fn admit(&mut self) -> Admission {
        self.checks.recall_ptr().await;
        match evidence::refused_from_the_start(self.checks.decide(Stage::Connection, None)) {
            Some(reason) => {
                self.services.metrics.session(reason_name(reason));
                evidence::refusing(&self.services.config, reason)
            }
            None if self.services.next_hop.capabilities().is_none() => {
                self.services.metrics.session("next_hop_unknown");
                Admission::Unavailable
            }
            None => {
                self.services.metrics.session("served");
                self.checks.begin_session();
                Admission::Serve
            }
        }
    }

    fn parameters(&self, admission: Admission) -> SessionParameters {
        let capabilities = self.services.next_hop.capabilities().unwrap_or_default();
        SessionParameters {
            id: self.id.to_string(),
            table: Arc::clone(&self.services.replies),
            endpoints: self.endpoints,
            admission,
            mode: self.services.policy.mode,
            offer: evidence::offer(&self.services.config, capabilities, self.services.tls.is_some()),
            limits: self.services.limits().session(),
            temporary: self.checks.temporary_domains(),
        }
    }

    /// Ends the connection with a reset, so that the client falls back to IPv4 at once.
    fn reset(mut self) {
        let reason = Reason::NotOptedIn;
        if !self.services.session_log.is_postfix() {
            info!(reason = reason_name(reason), list = list_name(reason), "refused by reset");
        }
        self.close_by_reset(reason);
        if let Err(error) = self.stream.reset_on_close() {
            debug!("cannot set SO_LINGER: {error}");
        }
    }

    async fn converse(&mut self, session: &mut Session) -> Result<(), Broken> {
        let stop = self.stop.clone();
        let mut told_to_stop = false;
        let mut stress = self.budgets.connections.stress();
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
            // trusted sources have a reserve: no other client waits for their connections
            session.handle_stress(*stress.borrow_and_update() && !self.checks.is_trusted());
            let due = session.poll_timeout();
            tokio::select! {
                read = read(&mut self.stream, session), if session.accepts_input() => match read? {
                    0 => session.handle_end_of_input(),
                    _ => {
                        if session.is_between_transactions() {
                            self.adopt(session).await;
                        }
                        session.handle_input(Instant::now());
                    }
                },
                () = reached(due) => session.handle_timeout(Instant::now()),
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
            Task::Begin { hello, mail } => {
                self.handed_over.store(false, Ordering::Relaxed);
                self.adopt(session).await;
                self.checks.ask_store(None);
                self.checks.begin_message(&hello, &mail);
            }
            Task::Abandon => {
                self.checks.forget_message();
                self.message.forget();
                self.transport.reset().await;
            }
            Task::StartTls => {
                self.transport.give_back().await;
                self.checks.ask_store(None);
                self.start_tls(session).await?;
            }
            Task::Recipient { recipient, mail, hello } => {
                self.checks.ask_store(Some(&recipient));
                let reply = self.judge_recipient(session, &recipient, &mail, &hello).await?;
                self.heed_stop(session);
                session.answer_recipient(Instant::now(), &reply);
            }
            Task::Content(octets) => {
                let kept = self.message.keep(octets, &self.services.spill_directory).await;
                self.heed_stop(session);
                session.answer_content(Instant::now(), kept);
            }
            Task::Message { transaction, tls } => {
                let content = self.message.complete();
                self.checks.ask_store(None);
                let reply = self.judge_message(session, &transaction, tls.as_ref(), content).await?;
                self.message.forget();
                self.heed_stop(session);
                session.answer_message(Instant::now(), &reply);
            }
        }
        Ok(())
    }

    /// Takes over the settings in force for the transaction that begins, or for what comes before
    /// one.
    async fn adopt(&mut self, session: &mut Session) {
        let services = self.in_force.get();
        if Arc::ptr_eq(&services, &self.services) {
            return;
        }
        let mode = services.policy.mode;
        session.handle_settings(Arc::clone(&services.replies), services.limits().session(), mode);
        if !services.next_hop.is_same(&self.services.next_hop) {
            std::mem::replace(&mut self.transport, services.next_hop.transport(self.untrusted)).close().await;
        }
        self.checks.adopt(Arc::clone(&services));
        self.services = services;
    }

    /// Tells the session of a stop before it gets an answer: it would take the next command
    /// otherwise.
    fn heed_stop(&self, session: &mut Session) {
        if self.stop.is_cancelled() {
            session.handle_shutdown();
        }
    }

    /// Ends the connection so that the client can still read the last reply.
    async fn linger(&mut self) -> Result<(), Broken> {
        let (stream, mut buffer) = (&mut self.stream, vec![0; LINGER_READ]);
        // TLS sends close_notify, which a client that reads no more would hold up
        let drain = async {
            stream.shutdown().await?;
            let mut read = 0;
            while read < LINGER_SIZE {
                match stream.read(&mut buffer).await? {
                    0 => break,
                    count => read += count,
                }
            }
            Ok(())
        };
        timeout(LINGER_TIMEOUT, drain).await.unwrap_or(Ok(()))
    }
}

/// Reads into the session's space, and gives the number of octets; the session does not know of
/// them yet.
pub(super) async fn read(stream: &mut Stream, session: &mut Session) -> io::Result<usize> {
    let size = stream.read_size();
    stream.read_buf(&mut session.poll_space(size)).await
}
