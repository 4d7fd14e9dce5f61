//! Names for sessions, in logs and in Received fields.

use std::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// A session's name: unique as long as the daemon runs, by its count, and on this host, unless the clock went back since
/// an earlier start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SessionId {
    /// Microseconds since 1970.
    time: u64,
    count: u32,
}

impl SessionId {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            time: u64::try_from(since.as_micros()).unwrap_or(u64::MAX),
            count: COUNT.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.time, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_the_same_instant_have_different_names() {
        assert_ne!(SessionId::new().to_string(), SessionId::new().to_string());
    }
}
