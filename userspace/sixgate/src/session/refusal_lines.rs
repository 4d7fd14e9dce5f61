//! How many lines about refused commands and recipients one session may leave in the log.
//!
//! The text of the lines is `record`'s and `judge`'s; how many lines all sessions may leave is
//! `log_limit`'s business.

use tracing::info;

/// Lines about refused commands and recipients that one session may leave in the log; the rest is
/// counted in one more.
const REFUSALS_MAX: u32 = 20;

/// The lines about refused commands and recipients of one session.
#[derive(Debug, Default)]
pub(super) struct RefusalLines {
    logged: u32,
    suppressed: u64,
}

impl RefusalLines {
    /// Whether one more may be logged; if not, it is counted.
    pub(super) fn admit(&mut self) -> bool {
        if self.logged >= REFUSALS_MAX {
            self.suppressed += 1;
            return false;
        }
        self.logged += 1;
        true
    }

    /// Tells how many were not logged.
    pub(super) fn end(&mut self) {
        let suppressed = std::mem::take(&mut self.suppressed);
        if suppressed > 0 {
            info!(
                suppressed,
                kind = "refusals of this session",
                "log rate limit: {suppressed} lines suppressed"
            );
        }
    }
}
