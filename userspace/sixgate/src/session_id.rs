//! Names for sessions, in logs and in Received fields.

use std::{
    fmt, process,
    sync::atomic::{AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use sixgate_dataplane::Refused;

/// A session's name: unique as long as the daemon runs, by its count, and on this host, unless the
/// clock went back since an earlier start.
///
/// One that the XDP program refuses has a `k` in front: its name is made of when it began, in
/// nanoseconds since the host's start, and the client's port, so that each record of it leads to
/// the same name. Two sessions share one only if a client uses a port again within a tick of the
/// kernel's clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SessionId {
    /// Microseconds since 1970; of a kernel's session nanoseconds of CLOCK_MONOTONIC.
    time: u64,
    /// Of a kernel's session the client's port.
    count: u32,
    is_kernels: bool,
}

impl SessionId {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            time: u64::try_from(since.as_micros()).unwrap_or(u64::MAX),
            count: COUNT.fetch_add(1, Ordering::Relaxed),
            is_kernels: false,
        }
    }

    /// A number of the session for lines that have one in place of a process id; of a session that
    /// the XDP program refuses it is that of the daemon.
    pub(crate) fn number(&self) -> u64 {
        if self.is_kernels { process::id().into() } else { u64::from(self.count) + 1 }
    }

    /// The name of a session that the XDP program refuses.
    pub(crate) fn of_kernel(session: &Refused) -> Self {
        Self { time: session.opened, count: session.source().port().into(), is_kernels: true }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.is_kernels { "k" } else { "" };
        write!(f, "{mark}{:x}-{:x}", self.time, self.count)
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
