//! Who was told what about each message, and what arrived behind: the two sides have to agree, by
//! content.
//!
//! It sends and receives nothing.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The reply that a sender got to a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Said {
    /// 2xx: it has to arrive, once.
    Accepted,
    /// Any other reply: it must not arrive.
    Refused,
    /// The connection ended before: it may arrive, once.
    Nothing,
}

/// All messages that are not settled, and numbers about the rest.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    next: u64,
    open: HashMap<u64, Entry>,
    totals: Totals,
    /// What does not agree, as it was found; the first ones.
    wrong: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    content: u64,
    said: Option<Said>,
    arrived: bool,
}

/// How many messages came to which end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Totals {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) unanswered: u64,
    pub(crate) arrived: u64,
    pub(crate) octets: u64,
}

impl Ledger {
    /// A number for a message that is about to be made.
    pub(crate) fn number(&self) -> u64 {
        let mut books = self.books();
        books.next += 1;
        books.next
    }

    /// Message `number` is about to be sent.
    pub(crate) fn sent(&self, number: u64, octets: &[u8]) {
        let entry = Entry { content: hash(octets), said: None, arrived: false };
        self.books().open.insert(number, entry);
    }

    /// Its sender got this reply.
    pub(crate) fn told(&self, number: u64, said: Said) {
        let mut books = self.books();
        match said {
            Said::Accepted => books.totals.accepted += 1,
            Said::Refused => books.totals.refused += 1,
            Said::Nothing => books.totals.unanswered += 1,
        }
        match books.open.get_mut(&number) {
            Some(entry) => entry.said = Some(said),
            None => books.complain(format!("message {number} was never sent")),
        }
        books.settle(number);
    }

    /// These octets arrived behind as message `number`.
    pub(crate) fn arrived(&self, number: u64, octets: &[u8]) {
        let mut books = self.books();
        books.totals.arrived += 1;
        books.totals.octets += octets.len() as u64;
        match books.open.get_mut(&number) {
            Some(entry) if entry.arrived => books.complain(format!("message {number} arrived twice")),
            Some(entry) => {
                entry.arrived = true;
                if entry.content != hash(octets) {
                    books.complain(format!("message {number} arrived with another content"));
                }
            }
            None => books.complain(format!("message {number} arrived twice, or was refused")),
        }
        books.settle(number);
    }

    /// Something that has nothing to do with one message, and must not be.
    pub(crate) fn complain(&self, what: String) {
        self.books().complain(what);
    }

    /// The numbers so far.
    pub(crate) fn totals(&self) -> Totals {
        self.books().totals
    }

    /// Messages that were accepted and have not arrived yet.
    pub(crate) fn owed(&self) -> usize {
        let owed = |entry: &&Entry| entry.said == Some(Said::Accepted) && !entry.arrived;
        self.books().open.values().filter(owed).count()
    }

    /// What does not agree.
    pub(crate) fn wrong(&self) -> Vec<String> {
        self.books().wrong.clone()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// Forgets message `number` if both sides agree, so that any other message that arrives under
    /// it is wrong.
    fn settle(&mut self, number: u64) {
        let Some(Entry { said: Some(said), arrived, .. }) = self.open.get(&number).copied() else {
            return;
        };
        match (said, arrived) {
            (Said::Accepted | Said::Nothing, true) | (Said::Refused, false) => {
                self.open.remove(&number);
            }
            (Said::Refused, true) => self.complain(format!("message {number} was refused, and arrived")),
            (Said::Accepted | Said::Nothing, false) => {}
        }
    }

    fn complain(&mut self, what: String) {
        if self.wrong.len() < WRONG_MAX {
            self.wrong.push(what);
        }
    }
}

fn hash(octets: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    octets.hash(&mut hasher);
    hasher.finish()
}

const WRONG_MAX: usize = 50;
