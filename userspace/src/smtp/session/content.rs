//! A session while a message arrives: pieces out, and the time that the sender has for them.
//!
//! It owns the states between 354 and the end of data. What the octets have to keep to is in `smtp::content`.

use std::{
    mem,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use super::{Session, State, Task, Times, Unkept};
use crate::smtp::{
    content::{Arriving, ContentLimits, Taken},
    reply::Say,
};

impl Session {
    /// Answers a [`Task::Content`]; without effect if the session has ended meanwhile. A message that cannot be kept
    /// is read to its end and refused.
    pub fn answer_content(&mut self, now: Instant, kept: Result<(), Unkept>) {
        self.state = match mem::replace(&mut self.state, State::Closing) {
            State::Keeping(mut arriving) => {
                if let Err(why) = kept {
                    arriving.lose(match why {
                        Unkept::Memory => Say::NoMemory,
                        Unkept::Disk => Say::NoDisk,
                        Unkept::Failure => Say::StorageFailed,
                    });
                }
                // our own slowness is not the sender's
                let waited = now.saturating_duration_since(self.times.now);
                self.times.too_slow = self.times.too_slow.map(|instant| instant + waited);
                (self.times.now, self.times.active) = (now, now);
                State::Data(arriving)
            }
            other => other,
        };
        self.advance();
    }

    pub(super) fn begin_content(&mut self) {
        let limits = &self.parameters.limits;
        self.times.too_slow = limits.data_rate.map(|_| self.times.now + limits.data_timeout);
        self.state = State::Data(Arriving::new(ContentLimits {
            size: self.parameters.offer.message_size,
            line: limits.line_length,
            received: limits.received,
        }));
    }

    /// Reads a piece of a message; whether there may be more to read at once.
    pub(super) fn read_content(&mut self) -> bool {
        let State::Data(arriving) = &mut self.state else {
            return false;
        };
        if !arriving.has_ended() {
            let Taken::Octets(count) = arriving.receive(self.input.unread()) else {
                self.abandon();
                self.hang_up(Say::BareData);
                return true;
            };
            self.input.consume(count);
            self.times.received(count, self.parameters.limits.data_rate);
        }
        if let Some(piece) = arriving.take_piece() {
            self.task = Some(Task::Content(piece));
            if let State::Data(arriving) = mem::replace(&mut self.state, State::Closing) {
                self.state = State::Keeping(arriving);
            }
            return false;
        }
        let (ended, lost) = (arriving.has_ended(), arriving.lost());
        if ended {
            self.end_of_data(lost);
        }
        ended
    }

    fn end_of_data(&mut self, lost: Option<Say>) {
        (self.times.too_slow, self.times.transaction_end) = (None, None);
        match lost {
            Some(why) => {
                self.state = State::Command;
                self.abandon();
                self.say(why);
            }
            None => {
                self.task = Some(Task::Message);
                self.state = State::Message;
            }
        }
    }
}

impl Times {
    /// Octets of a message arrived.
    fn received(&mut self, count: usize, rate: Option<NonZeroU32>) {
        if count > 0 {
            self.active = self.now;
        }
        if let (Some(too_slow), Some(rate)) = (&mut self.too_slow, rate) {
            *too_slow += Duration::from_secs_f64(count as f64 / f64::from(rate.get()));
        }
    }
}
