//! What happens in a session beside the judgement of recipients and messages, in the form of
//! Postfix's log.
//!
//! It owns which incident has which line. The text of each is `session_log`'s.

use sixgate_smtp::{
    reply::ReplyKind,
    session::{CommandName, Event, Incident, Session, SessionProgress, Stage},
};

use super::{closing::rejection, connection::Connection};
use crate::{session_log::PostfixClient, shown::path};

impl Connection {
    /// Logs an incident of a session.
    pub(super) fn log_as_postfix(&mut self, session: &Session, incident: &Incident) {
        let (event, after) = (incident.event, after(&incident.progress));
        let is_one_of_many = match event {
            Event::Command(_) => true,
            Event::Waived(_) => incident.progress.argument.is_some(),
            Event::Deferred | Event::Left | Event::Message(_) | Event::Session(_) => false,
        };
        if is_one_of_many && !self.refusals.admit() {
            return;
        }
        let client = self.postfix_client(session);
        match event {
            // the next hop's reply has a line already
            Event::Deferred | Event::Session(ReplyKind::ShuttingDown) => {}
            Event::Left => client.broken("lost connection", &after),
            Event::Session(ReplyKind::TooManyErrors) => client.broken("too many errors", &after),
            Event::Session(
                ReplyKind::IdleTimeout
                | ReplyKind::TooSlow
                | ReplyKind::TransactionTooLong
                | ReplyKind::SessionTooLong,
            ) => client.broken("timeout", &after),
            Event::Command(kind) | Event::Message(kind) | Event::Session(kind) | Event::Waived(kind) => {
                client.reject(&rejection(kind.reason(), incident));
            }
        }
    }

    /// Logs the refusals of a session that was refused as a whole.
    pub(super) fn log_rejections(&mut self, session: &Session) {
        let client = self.postfix_client(session);
        let Self { summary, refusals, .. } = self;
        summary.rejections.iter().filter(|_| refusals.admit()).for_each(|rejection| client.reject(rejection));
    }

    fn postfix_client(&self, session: &Session) -> PostfixClient {
        let mut client = self.checks.postfix(self.id, session.hello());
        let refused = session.refused();
        if !refused.hello.is_empty() {
            client.helo = Some(path(&refused.hello));
            client.extended = session.tally().of(CommandName::Ehlo).accepted > 0;
        }
        client
    }
}

/// The step after which a session broke off, as Postfix names it.
fn after(SessionProgress { stage, octets, command, .. }: &SessionProgress) -> String {
    match (stage, command) {
        (Stage::Data, _) => format!("DATA ({octets} bytes)"),
        (Stage::Bdat, _) => format!("BDAT ({octets} bytes)"),
        (Stage::EndOfData, _) => "END-OF-MESSAGE".to_owned(),
        (_, Some(command)) => command.name().to_owned(),
        (_, None) => "CONNECT".to_owned(),
    }
}
