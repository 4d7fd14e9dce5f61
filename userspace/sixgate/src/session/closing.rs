//! The end of a session: its summary, for the subscribers of `session_log`, and the closing line of
//! a served one.
//!
//! It owns the form of that line. The lines about single refusals are `record`'s and `judge`'s, the
//! line of a session that was refused as a whole is in `refused`.

use jiff::Timestamp;
use sixgate_auth::ptr::PtrResult;
use sixgate_common::refuse::Reason;
use sixgate_smtp::{
    command::{MailFrom, RcptTo},
    policy::evidence::Endpoints,
    reply::Reply,
    session::{
        Admission, CommandName, Event, Hello, Incident, RefusedRecipient, Session, SessionProgress,
        SessionTally, Stage, Tally, Tls, Transaction,
    },
};
use tracing::info;

use super::{
    connection::{Broken, Connection},
    message_line, record,
};
use crate::{
    log_limit::CLOSED,
    session_log::{PostfixClient, Rejection, SessionSummary, reasons_text},
    shown::{RefusalFields, path, reason_name, reply_text},
};

/// Where a rejection stands that is about a whole message, and about a whole session.
const END_OF_MESSAGE: &str = "END-OF-MESSAGE";
const CONNECT: &str = "CONNECT";

impl Connection {
    /// Logs the session, if it was served, and publishes its summary.
    pub(super) fn close(&mut self, session: &Session, admission: Admission) {
        let refused = &session.refused().hello;
        let helo = match session.hello() {
            Some(Hello { name, .. }) => Some(name.to_string()),
            None => (!refused.is_empty()).then(|| path(refused)),
        };
        let summary = self.summary(helo, session.tls().cloned(), session.tally().clone());
        let is_served = !matches!(admission, Admission::Refuse { .. });
        match self.services.session_log.is_postfix() {
            true => PostfixClient::of(&summary).disconnect(&summary),
            false if is_served => log(&summary),
            // its own line has all of it
            false => {}
        }
        self.services.session_log.publish(summary);
    }

    /// The same of a session that was refused by a reset.
    pub(super) fn close_by_reset(&mut self, reason: Reason) {
        self.summary.end("reset_by_us");
        self.summary.add(Rejection {
            command: CONNECT,
            reason: reason_name(reason),
            reply: "connection reset".to_owned(),
            ..Rejection::default()
        });
        let summary = self.summary(None, None, SessionTally::default());
        if self.services.session_log.is_postfix() {
            let client = PostfixClient::of(&summary);
            summary.rejections.iter().for_each(|rejection| client.reject(rejection));
            client.disconnect(&summary);
        }
        self.services.session_log.publish(summary);
    }

    fn summary(&mut self, helo: Option<String>, tls: Option<Tls>, tally: SessionTally) -> SessionSummary {
        let Endpoints { source, source_port, destination, .. } = self.endpoints;
        let draft = std::mem::take(&mut self.summary);
        SessionSummary {
            id: self.id,
            by_kernel: false,
            ended: Timestamp::now(),
            duration: self.elapsed(),
            source,
            source_port,
            destination,
            client_name: self.checks.ptr().and_then(PtrResult::confirmed_name).map(str::to_owned),
            helo,
            tls,
            trusted_by: self.checks.trusted_by(),
            tally,
            ending: draft.ending(),
            rejections: draft.rejections,
            reasons: draft.reasons,
        }
    }

    /// Keeps for the summary what has happened; `left` is why the client is gone, if it is.
    pub(super) fn keep(&mut self, incident: &Incident, left: &Broken) {
        match incident.event {
            Event::Left => self.summary.end(left.name()),
            // the next hop's reply was kept already
            Event::Deferred => {}
            Event::Session(kind) => {
                self.summary.end(kind.reason());
                if incident.event.refused().is_some() {
                    self.summary.add(rejection(kind.reason(), incident));
                }
            }
            Event::Command(kind) | Event::Message(kind) | Event::Waived(kind) => {
                self.summary.add(rejection(kind.reason(), incident));
            }
        }
    }
}

impl Broken {
    /// How the session ended, as the closing line names it.
    const fn name(&self) -> &'static str {
        match self {
            Self::Gone => "client_left",
            Self::Handshake(_) => "tls_failed",
            Self::HandshakeTime => "tls_timeout",
            Self::Io(_) => "connection_failed",
            Self::Stuck => "reply_timeout",
            Self::CutOff => "stopping",
        }
    }
}

impl Rejection {
    /// Of a recipient that was judged.
    pub(super) fn of_recipient(
        reason: &'static str,
        reply: &Reply,
        mail: &MailFrom,
        recipient: &RcptTo,
        shadow: bool,
    ) -> Self {
        Self {
            command: CommandName::Rcpt.name(),
            reason,
            reply: reply_text(reply),
            mail_from: Some(message_line::sender(mail)),
            recipient: Some(recipient.to_string()),
            shadow,
            ..Self::default()
        }
    }

    /// Of a message that was judged.
    pub(super) fn of_message(
        reason: &'static str,
        reply: &Reply,
        Transaction { mail, recipients, .. }: &Transaction,
        message_id: &str,
        shadow: bool,
    ) -> Self {
        Self {
            command: END_OF_MESSAGE,
            reason,
            reply: reply_text(reply),
            mail_from: Some(message_line::sender(mail)),
            recipient: only(recipients),
            recipients: recipients.len(),
            message_id: (!message_id.is_empty()).then(|| message_id.to_owned()),
            shadow,
        }
    }

    /// Of a recipient in a session that is refused as a whole.
    pub(super) fn of_refused(reason: Reason, refused: &RefusedRecipient) -> Self {
        let fields = RefusalFields::of(&refused.sender, &refused.recipient, Some(&refused.reply));
        Self {
            command: CommandName::Rcpt.name(),
            reason: reason_name(reason),
            reply: reply_text(&refused.reply),
            mail_from: Some(path(&refused.sender)),
            recipient: fields.recipient,
            ..Self::default()
        }
    }

    /// Of a session that is refused by its greeting.
    pub(super) fn of_greeting(reason: Reason, greeting: &Reply) -> Self {
        Self { command: CONNECT, reason: reason_name(reason), reply: reply_text(greeting), ..Self::default() }
    }
}

pub(super) fn rejection(reason: &'static str, incident: &Incident) -> Rejection {
    let Incident { event, progress, reply } = incident;
    let is_about_message = match event {
        Event::Message(_) => true,
        Event::Waived(_) => progress.argument.is_none(),
        _ => false,
    };
    let is_arriving = matches!(progress.stage, Stage::Data | Stage::Bdat | Stage::EndOfData);
    let SessionProgress { command, to, .. } = progress;
    Rejection {
        command: match command {
            _ if is_about_message => END_OF_MESSAGE,
            Some(command) => command.name(),
            None => CONNECT,
        },
        reason,
        reply: reply.as_ref().map(reply_text).unwrap_or_default(),
        mail_from: record::mail_from(progress),
        recipient: record::recipient(progress).or_else(|| only(to)),
        recipients: if is_arriving { to.len() } else { 0 },
        message_id: record::message_id(progress).map(str::to_owned),
        shadow: matches!(event, Event::Waived(_)),
    }
}

/// The recipient, if there is one and no other.
fn only(recipients: &[RcptTo]) -> Option<String> {
    match recipients {
        [recipient] => Some(recipient.to_string()),
        _ => None,
    }
}

/// The closing line. Numbers that are 0 are left out.
fn log(summary: &SessionSummary) {
    let SessionSummary { tally, tls, reasons, .. } = summary;
    let some = |count: u32| (count > 0).then_some(count);
    let mail = tally.of(CommandName::Mail);
    let rcpt = tally.of(CommandName::Rcpt);
    let Tally { accepted, deferred, rejected, .. } = tally.messages;
    info!(
        name: CLOSED,
        ending = summary.ending,
        client_name = summary.client_name,
        helo = summary.helo,
        tls = tls.as_ref().map(|Tls { version, cipher }| format!("{version} {cipher}")),
        trusted_by = summary.trusted_by,
        commands = tally.all().total,
        mail_accepted = some(mail.accepted),
        mail_deferred = some(mail.deferred),
        mail_rejected = some(mail.rejected),
        rcpt_accepted = some(rcpt.accepted),
        rcpt_deferred = some(rcpt.deferred),
        rcpt_rejected = some(rcpt.rejected),
        messages_accepted = some(accepted),
        messages_deferred = some(deferred),
        messages_rejected = some(rejected),
        octets = (tally.octets > 0).then_some(tally.octets),
        reasons = (!reasons.is_empty()).then(|| reasons_text(reasons)),
        duration_ms = u64::try_from(summary.duration.as_millis()).unwrap_or(u64::MAX),
        "session closed"
    );
}
