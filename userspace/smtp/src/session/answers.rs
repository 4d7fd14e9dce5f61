//! Answers to the tasks of a session, which then goes on.
//!
//! It owns what an answer changes. Pieces of a message are in `content`.

use std::time::Instant;

use super::{Event, Session, SessionState, TlsProgress};
use crate::reply::{Reply, ReplyKind};

/// Refused recipients that a session may name, for each one that a message may have.
pub(super) const REFUSED_RECIPIENTS_FACTOR: usize = 10;

impl Session {
    /// Answers a [`Task::Recipient`](super::Task::Recipient); without effect if the session has
    /// ended meanwhile.
    pub fn answer_recipient(&mut self, now: Instant, reply: &Reply) {
        let SessionState::Recipient(recipient) = &self.state else {
            return;
        };
        let recipient = recipient.clone();
        self.send(reply);
        match &mut self.transaction {
            Some(transaction) if reply.is_positive() => transaction.recipients.push(recipient),
            // the next hop takes so many at a time: no fault of the sender, who comes back with
            // this one
            _ if reply.is_too_many_recipients() => {
                self.note(Event::Deferred, None);
                self.counts.deferred_recipients += 1;
            }
            _ => self.counts.refused_recipients += 1,
        }
        self.resume(now);
    }

    /// Answers a [`Task::Message`](super::Task::Message), and so ends the transaction; without
    /// effect if the session has ended meanwhile.
    pub fn answer_message(&mut self, now: Instant, reply: &Reply) {
        if !matches!(self.state, SessionState::Message) {
            return;
        }
        self.send(reply);
        self.count_message_reply(reply.code());
        self.end_transaction();
        self.count_message();
        self.resume(now);
    }

    /// Answers a [`Task::StartTls`](super::Task::StartTls): it cannot be done, or it can be done,
    /// and later it was done. Commands from before are forgotten (RFC 3207 4.2). Without effect if
    /// the session has ended meanwhile.
    pub fn answer_start_tls(&mut self, now: Instant, progress: TlsProgress) {
        if !matches!(self.state, SessionState::StartingTls) {
            return;
        }
        match progress {
            TlsProgress::Ready => return self.reply(ReplyKind::StartTls),
            TlsProgress::Unavailable => self.reply(ReplyKind::TlsNotAvailable),
            TlsProgress::Done(tls) => {
                self.tls = Some(tls);
                self.hello = None;
            }
        }
        self.resume(now);
    }

    /// Waits for the next command, after an answer.
    fn resume(&mut self, now: Instant) {
        self.state = SessionState::Command;
        (self.times.now, self.times.active) = (now, now);
        if self.has_too_many_recipients() {
            self.hang_up(ReplyKind::TooManyRejected);
        }
        self.advance();
    }

    /// Whether more recipients were named in vain than any sender has reason to.
    pub(super) fn has_too_many_recipients(&self) -> bool {
        let most = self.parameters.limits.recipients.saturating_mul(REFUSED_RECIPIENTS_FACTOR);
        self.counts.refused_recipients > most || self.counts.deferred_recipients > most
    }
}
