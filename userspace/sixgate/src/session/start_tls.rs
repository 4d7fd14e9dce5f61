//! STARTTLS on a connection (RFC 3207): from its plain stream to an encrypted one.
//!
//! It owns the time that a handshake has. What TLS is, and who the client is by its certificate, is
//! in `server::tls`.

use std::time::{Duration, Instant};

use sixgate_smtp::session::{Session, Tls, TlsProgress};
use tokio::time::timeout;
use tracing::{info, warn};

use super::{
    connection::{Broken, Connection, reached},
    stream::Stream,
};
use crate::{
    log_limit::DETAIL,
    tls::{ClientCertificate, Secured},
};

/// Longest time for a handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(30);
/// Octets that came in the clear before our reply and are dropped at most; more than that is left
/// to the handshake, which they break.
const DROPPED_MAX: usize = 1 << 20;
/// Octets of them that are read at once.
const DROPPED_READ: usize = 4 << 10;

impl Connection {
    pub(super) async fn start_tls(&mut self, session: &mut Session) -> Result<(), Broken> {
        let source = self.endpoints.source;
        if !self.checks.is_trusted() && !self.budgets.handshakes.admits(source) {
            self.services.metrics.limit("tls_rate");
            info!(name: DETAIL, "STARTTLS rejected: rate limit of TLS handshakes for this network");
            session.answer_start_tls(Instant::now(), TlsProgress::Unavailable);
            return Ok(());
        }
        let handshake = match self.services.tls.as_ref().map(|tls| tls.handshake()) {
            Some(Ok(handshake)) => handshake,
            failed => {
                if let Some(Err(error)) = failed {
                    warn!("no TLS: {error}");
                }
                session.answer_start_tls(Instant::now(), TlsProgress::Unavailable);
                return Ok(());
            }
        };
        self.drop_waiting();
        session.answer_start_tls(Instant::now(), TlsProgress::Ready);
        self.send(session).await?;
        let plain = self.stream.take_plain().ok_or(Broken::Gone)?;
        let due = session.poll_timeout();
        let shake = timeout(HANDSHAKE_MAX, self.budgets.handshakes.accept(handshake, plain));
        let secured = tokio::select! {
            secured = shake => secured.ok(),
            () = reached(due) => None,
        };
        match secured {
            Some(Ok(secured)) => {
                self.go_on_encrypted(session, secured);
                Ok(())
            }
            Some(Err(error)) => {
                self.services.metrics.handshake("failed");
                Err(Broken::Handshake(error.to_string().chars().take(REASON_MAX).collect()))
            }
            None => {
                self.services.metrics.handshake("failed");
                self.services.metrics.limit("tls_handshake");
                Err(Broken::HandshakeTime)
            }
        }
    }

    fn go_on_encrypted(&mut self, session: &mut Session, secured: Secured) {
        let Secured { stream, tls, credential } = secured;
        let (trusted_by, flaw) = match credential {
            ClientCertificate::Absent => (None, None),
            ClientCertificate::Flawed(flaw) => (None, Some(flaw.name())),
            ClientCertificate::Trusted(by) => (Some(by), None),
        };
        self.services.metrics.handshake(if trusted_by.is_some() { "trusted" } else { "done" });
        if let Some(trusted_by) = &trusted_by {
            self.checks.certify(trusted_by);
        }
        let Tls { version, cipher } = &tls;
        info!(name: DETAIL, version, cipher, client_certificate = flaw, trusted_by, "tls");
        self.stream = Stream::Tls(Box::new(stream));
        session.answer_start_tls(Instant::now(), TlsProgress::Done(tls));
    }

    /// Drops the octets that the client sent in the clear after STARTTLS and before our reply
    /// (CVE-2011-0411): it has to wait, and anybody on the way could have sent them.
    fn drop_waiting(&self) {
        let Stream::Plain(stream) = &self.stream else {
            return;
        };
        let (mut dropped, mut buffer) = (0, [0; DROPPED_READ]);
        while dropped < DROPPED_MAX {
            match stream.try_read(&mut buffer) {
                Ok(count) if count > 0 => dropped += count,
                _ => return,
            }
        }
    }
}

/// Characters of a reason in the log.
const REASON_MAX: usize = 200;
