//! How many lines of one kind a flood may leave in the log.
//!
//! It writes none itself.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How many lines may be logged: [`LINES_MAX`] in each second.
pub(crate) struct LineBudget {
    /// When the second began.
    since: Instant,
    logged: u32,
    withheld: u64,
}

impl LineBudget {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { since: now, logged: 0, withheld: 0 }
    }

    /// Whether one more line may be logged now; if not, it is counted.
    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= SECOND {
            self.since = now;
            self.logged = 0;
        }
        if self.logged < LINES_MAX {
            self.logged += 1;
            return true;
        }
        self.withheld += 1;
        false
    }

    /// How many lines were not logged, told once, after the second is over.
    pub(crate) fn withheld(&mut self, now: Instant) -> Option<u64> {
        let is_over = now.duration_since(self.since) >= SECOND;
        (is_over && self.withheld > 0).then(|| std::mem::take(&mut self.withheld))
    }
}

/// A [`LineBudget`] that many tasks share.
pub(crate) struct SharedLines(Mutex<LineBudget>);

impl SharedLines {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LineBudget::new(Instant::now())))
    }

    /// Whether one more line may be logged now; if not, it is counted.
    pub(crate) fn admit(&self) -> bool {
        self.lock().admits(Instant::now())
    }

    /// As [`LineBudget::withheld`].
    pub(crate) fn withheld(&self) -> Option<u64> {
        self.lock().withheld(Instant::now())
    }

    /// Counts stay whole at every instant, so that a panic elsewhere does not matter to them.
    fn lock(&self) -> MutexGuard<'_, LineBudget> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines in one second.
const LINES_MAX: u32 = 100;
const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_a_bounded_number_of_lines_and_one_that_counts_the_rest() {
        let start = Instant::now();
        let mut lines = LineBudget::new(start);
        let logged = |lines: &mut LineBudget, at| (0..1000).filter(|_| lines.admits(at)).count();
        assert_eq!(logged(&mut lines, start), 100);
        assert_eq!(logged(&mut lines, start + SECOND / 2), 0);
        assert_eq!(lines.withheld(start + SECOND / 2), None, "the second is not over");
        assert_eq!(lines.withheld(start + SECOND), Some(1900));
        assert_eq!(lines.withheld(start + SECOND), None, "told once");
        assert_eq!(logged(&mut lines, start + SECOND), 100);
        assert_eq!(lines.withheld(start + 3 * SECOND), Some(900));
        assert!(lines.admits(start + 3 * SECOND));
        assert_eq!(lines.withheld(start + 9 * SECOND), None, "nothing was withheld");
    }
}
