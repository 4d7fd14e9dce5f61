//! The refusals and ends of a served session, counted and written to the log: one line for each.
//!
//! It owns the form of these lines. The line about a message that was judged is in `message_line`,
//! the lines of a session that was refused as a whole are in `refused`.

use sixgate_smtp::{
    reply::ReplyKind,
    session::{Argument, Event, Incident, Session, SessionProgress, Stage},
};
use tracing::{debug, info};

use super::{
    connection::{Broken, Connection},
    message_line,
};
use crate::shown::{path, reply_text};

impl Connection {
    /// A reply is counted before it is sent: a client that means harm does not wait for it.
    pub(super) async fn send(&mut self, session: &mut Session) -> Result<(), Broken> {
        self.record(session, &Broken::Gone);
        let output = session.poll_output();
        if output.is_empty() {
            return Ok(());
        }
        self.write(&output).await
    }

    /// Counts and logs what has happened since the last call; `left` is why the client is gone, if
    /// it is.
    pub(super) fn record(&mut self, session: &mut Session, left: &Broken) {
        for incident in session.poll_incidents() {
            self.keep(&incident, left);
            let event = incident.event;
            if let Some(bound) = event.bound() {
                self.services.metrics.limit(bound);
            }
            if let (Some(kind), true) = (event.refused(), self.checks.is_shadow()) {
                self.services.metrics.not_shadowed(kind.reason());
            }
            if let Event::Waived(kind) = event {
                self.services.metrics.shadow(kind.reason());
            }
            // a session that is refused from its first packet on has one line, regardless of its
            // commands
            if self.services.session_log.is_postfix() {
                self.log_as_postfix(session, &incident);
            } else if incident.progress.stage != Stage::Refused {
                self.log(&incident, left);
            }
        }
    }

    fn log(&mut self, incident: &Incident, left: &Broken) {
        let progress = &incident.progress;
        match incident.event {
            Event::Command(kind) if self.refusals.admit() => self.log_command(kind, incident),
            Event::Left if left.is_of_interest(progress) => {
                self.log_left(left, progress);
            }
            Event::Message(kind) => self.log_message(kind, incident),
            Event::Session(kind) => self.log_end(kind, incident),
            // of commands there may be many
            Event::Waived(kind) if progress.argument.is_none() || self.refusals.admit() => {
                self.log_waived(kind, incident);
            }
            // a client that connects and leaves has lost nothing
            Event::Left => {
                debug!(after = progress.stage.name(), error = left.cause(), "disconnected: {left}");
            }
            // the next hop's reply has a line already
            Event::Command(_) | Event::Deferred | Event::Waived(_) => {}
        }
    }

    /// For a line about something that shadow mode refuses, too.
    fn not_shadowed(&self, kind: ReplyKind) -> Option<bool> {
        (self.checks.is_shadow() && Event::Session(kind).refused().is_some()).then_some(true)
    }

    fn log_waived(&self, kind: ReplyKind, incident @ Incident { progress, .. }: &Incident) {
        info!(
            reason = kind.reason(),
            mail_from = mail_from(progress),
            recipient = recipient(progress),
            recipients = progress.recipients,
            octets = progress.octets,
            to = to(progress),
            message_id = message_id(progress),
            reply = reply(incident),
            "enforce would have refused"
        );
    }

    fn log_command(&self, kind: ReplyKind, incident @ Incident { progress, .. }: &Incident) {
        info!(
            reason = kind.reason(),
            after = progress.stage.name(),
            mail_from = mail_from(progress),
            recipient = recipient(progress),
            not_shadowed = self.not_shadowed(kind),
            reply = reply(incident),
            "command refused"
        );
    }

    fn log_message(&self, kind: ReplyKind, incident @ Incident { progress, .. }: &Incident) {
        info!(
            outcome = kind.reason(),
            mail_from = progress.mail_from,
            recipients = progress.recipients,
            octets = progress.octets,
            to = to(progress),
            message_id = message_id(progress),
            not_shadowed = self.not_shadowed(kind),
            reply = reply(incident),
            "message"
        );
    }

    fn log_end(&self, kind: ReplyKind, incident @ Incident { progress, .. }: &Incident) {
        info!(
            reason = kind.reason(),
            after = progress.stage.name(),
            octets = octets(progress),
            mail_from = mail_from(progress),
            recipient = recipient(progress),
            recipients = progress.recipients,
            to = to(progress),
            message_id = message_id(progress),
            messages = progress.messages,
            duration_ms = self.elapsed_ms(),
            not_shadowed = self.not_shadowed(kind),
            reply = reply(incident),
            "session ended"
        );
    }

    fn log_left(&self, left: &Broken, progress: &SessionProgress) {
        info!(
            after = progress.stage.name(),
            octets = octets(progress),
            mail_from = progress.mail_from,
            recipients = progress.recipients,
            to = to(progress),
            message_id = message_id(progress),
            messages = progress.messages,
            duration_ms = self.elapsed_ms(),
            error = left.cause(),
            "disconnected: {left}"
        );
    }
}

impl Broken {
    /// The error of a library or of the system: a value, since it may repeat what the client sent.
    fn cause(&self) -> Option<String> {
        match self {
            Self::Handshake(reason) => Some(reason.clone()),
            Self::Io(error) => Some(error.to_string()),
            Self::CutOff | Self::Gone | Self::HandshakeTime | Self::Stuck => None,
        }
    }

    /// Whether a client that left so may have lost something.
    fn is_of_interest(&self, progress: &SessionProgress) -> bool {
        match self {
            Self::Gone | Self::Io(_) => progress.mail_from.is_some(),
            Self::Handshake(_) | Self::HandshakeTime | Self::Stuck => true,
            // the daemon has a line about it
            Self::CutOff => false,
        }
    }
}

/// The reply that was sent or, for a waived refusal, would have been.
fn reply(incident: &Incident) -> Option<String> {
    incident.reply.as_ref().map(reply_text)
}

/// The sender of the transaction, or the one that the refused command named.
pub(super) fn mail_from(progress: &SessionProgress) -> Option<String> {
    match &progress.argument {
        Some(Argument::Sender(argument)) => Some(path(argument)),
        _ => progress.mail_from.clone(),
    }
}

/// The recipient that the refused command named.
pub(super) fn recipient(progress: &SessionProgress) -> Option<String> {
    match &progress.argument {
        Some(Argument::Recipient(argument)) => Some(path(argument)),
        _ => None,
    }
}

/// The recipients of the transaction, if it has any.
fn to(progress: &SessionProgress) -> Option<String> {
    (!progress.to.is_empty()).then(|| message_line::recipients(&progress.to))
}

pub(super) fn message_id(progress: &SessionProgress) -> Option<&str> {
    Some(progress.message_id.as_str()).filter(|id| !id.is_empty())
}

/// Those of the message, if one was arriving.
fn octets(progress: &SessionProgress) -> Option<u64> {
    matches!(progress.stage, Stage::Data | Stage::Bdat | Stage::EndOfData).then_some(progress.octets)
}
