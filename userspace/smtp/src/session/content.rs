//! A session while a message arrives: pieces out, and the time that the sender has for them.
//!
//! It owns the states between 354 or BDAT and the end of data. The rules for the octets are in
//! `crate::incoming_message`.

use std::{
    mem,
    time::{Duration, Instant},
};

use super::{Event, Session, SessionLimits, SessionState, StoreFailure, Task, Times};
use crate::{
    command::Chunk,
    incoming_message::{ContentLimits, IncomingMessage, TakenInput},
    reply::ReplyKind,
};

impl Session {
    /// Answers a [`Task::Content`]; without effect if the session has ended meanwhile. A message
    /// that cannot be kept is read to its end and refused.
    pub fn answer_content(&mut self, now: Instant, kept: Result<(), StoreFailure>) {
        self.state = match mem::replace(&mut self.state, SessionState::Closing) {
            SessionState::Keeping(mut arriving) => {
                if let Err(why) = kept {
                    arriving.lose(match why {
                        StoreFailure::Memory => ReplyKind::NoMemory,
                        StoreFailure::Disk => ReplyKind::NoDisk,
                        StoreFailure::Failure => ReplyKind::StorageFailed,
                    });
                }
                // our own slowness is not the sender's
                let waited = now.saturating_duration_since(self.times.now);
                self.times.too_slow = self.times.too_slow.map(|instant| instant + waited);
                (self.times.now, self.times.active) = (now, now);
                SessionState::Data(arriving)
            }
            other => other,
        };
        self.advance();
    }

    /// A message follows DATA.
    pub(super) fn begin_content(&mut self) {
        self.begin_time();
        self.state = SessionState::Data(IncomingMessage::after_data(self.content_limits()));
    }

    /// A chunk of a message follows BDAT. The pace is that of the whole message: a new chunk begins
    /// no time of its own.
    pub(super) fn begin_chunk(&mut self, chunk: Chunk) {
        let mut arriving = self.chunks.take().unwrap_or_else(|| {
            self.begin_time();
            IncomingMessage::in_chunks(self.content_limits())
        });
        arriving.expect(chunk);
        self.state = SessionState::Data(arriving);
    }

    /// Drops the octets that follow an unwanted BDAT; then `kind` is the reply.
    pub(super) fn begin_skipping(&mut self, octets: u64, kind: ReplyKind) {
        self.begin_time();
        self.state = SessionState::Skipping(octets, kind);
    }

    fn begin_time(&mut self) {
        let limits = &self.parameters.limits;
        self.times.too_slow = limits.data_rate.map(|_| self.times.now + limits.data_timeout);
    }

    fn content_limits(&self) -> ContentLimits {
        ContentLimits {
            size: self.parameters.offer.message_size,
            line: self.parameters.limits.line_length,
            received: self.parameters.limits.received,
            mode: self.parameters.mode,
        }
    }

    /// Drops a piece of a chunk; whether there may be more to read at once.
    pub(super) fn skip_content(&mut self) -> bool {
        let SessionState::Skipping(left, kind) = &mut self.state else {
            return false;
        };
        let count = usize::try_from(*left).unwrap_or(usize::MAX).min(self.input.unread().len());
        *left -= count as u64;
        let over = (*left == 0).then_some(*kind);
        self.input.consume(count);
        self.times.received(count, &self.parameters.limits);
        if let Some(kind) = over {
            self.times.too_slow = None;
            self.state = SessionState::Command;
            self.reject_error(kind);
        }
        over.is_some()
    }

    /// Reads a piece of a message; whether there may be more to read at once.
    pub(super) fn read_content(&mut self) -> bool {
        let SessionState::Data(arriving) = &mut self.state else {
            return false;
        };
        if !arriving.has_ended() {
            let TakenInput::Octets(count) = arriving.receive(self.input.unread()) else {
                self.hang_up(ReplyKind::BareData);
                return true;
            };
            self.times.received(count, &self.parameters.limits);
            self.tally.octets += count as u64;
            let input = self.input.take(count);
            if let Some(octets) = arriving.take(&input, self.input.buffer()) {
                self.task = Some(Task::Content(octets));
                if let SessionState::Data(arriving) = mem::replace(&mut self.state, SessionState::Closing) {
                    self.state = SessionState::Keeping(arriving);
                }
                return false;
            }
        }
        let (ended, lost) = (arriving.has_ended(), arriving.lost());
        let waived = arriving.waived().to_vec();
        if ended && lost.is_none() && arriving.has_more_chunks() {
            self.end_of_chunk();
        } else if ended {
            self.end_of_message(lost, &waived);
        }
        ended
    }

    fn end_of_chunk(&mut self) {
        let SessionState::Data(arriving) = mem::replace(&mut self.state, SessionState::Command) else {
            return;
        };
        let size = arriving.chunk_size().to_string();
        let reply = self.parameters.table.reply_about(ReplyKind::Chunk, &size);
        self.send(&reply);
        self.chunks = Some(arriving);
    }

    /// Of a message that is lost, chunks may still come: there is no transaction for them any more.
    fn end_of_message(&mut self, lost: Option<ReplyKind>, waived: &[ReplyKind]) {
        let transaction = match (lost, self.transaction.clone()) {
            (None, Some(transaction)) => transaction,
            (lost, _) => return self.refuse_message(lost.unwrap_or(ReplyKind::BadSequence)),
        };
        for why in waived {
            self.note_waived(*why);
        }
        (self.times.too_slow, self.times.transaction_end) = (None, None);
        self.task = Some(Task::Message { transaction, tls: self.tls.clone() });
        self.state = SessionState::Message;
    }

    fn refuse_message(&mut self, why: ReplyKind) {
        self.count_message_reply(self.parameters.table.reply(why).code());
        self.reply_noted(Event::Message(why), why);
        self.abandon();
        self.count_message();
        self.state = SessionState::Command;
    }

    /// A message came to its end, with any result: a session exists for that.
    pub(super) fn count_message(&mut self) {
        self.counts.messages += 1;
        self.counts.idle_commands = 0;
    }
}

impl Times {
    /// Octets of a message arrived.
    fn received(&mut self, count: usize, limits: &SessionLimits) {
        if count > 0 {
            self.active = self.now;
        }
        if let (Some(too_slow), Some(rate)) = (&mut self.too_slow, limits.data_rate) {
            let earned = Duration::from_secs_f64(count as f64 / f64::from(rate.get()));
            *too_slow = (*too_slow + earned).min(self.now + limits.data_timeout);
        }
    }
}
