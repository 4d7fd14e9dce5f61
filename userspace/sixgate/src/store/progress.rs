//! How far a large change has come, for a process that shows it.
//!
//! It counts; it shows nothing.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// How many entries of how many have been changed. All clones count the same.
#[derive(Clone, Debug, Default)]
pub struct StoreProgress(Arc<ProgressCounts>);

#[derive(Debug, Default)]
struct ProgressCounts {
    done: AtomicUsize,
    all: AtomicUsize,
}

impl StoreProgress {
    /// Entries that have been changed, and those that are to be in all, as far as that is known.
    #[must_use]
    pub fn now(&self) -> (usize, usize) {
        (self.0.done.load(Ordering::Relaxed), self.0.all.load(Ordering::Relaxed))
    }

    pub(super) fn expect(&self, more: usize) {
        self.0.all.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn step(&self) {
        self.0.done.fetch_add(1, Ordering::Relaxed);
    }
}
