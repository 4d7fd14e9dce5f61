//! A value that holds for a time, as a cache of moka keeps it.
//!
//! Which values are kept, how many and for how long is their owners' business.

use std::time::{Duration, Instant};

use moka::Expiry;

/// A value, and until when it holds.
#[derive(Clone)]
pub(crate) struct Expiring<T> {
    pub(crate) value: T,
    until: Instant,
}

impl<T> Expiring<T> {
    /// It holds for `lifetime` from now on.
    pub(crate) fn new(value: T, lifetime: Duration) -> Self {
        Self { value, until: Instant::now() + lifetime }
    }

    /// For how long it still holds.
    pub(crate) fn remaining(&self) -> Duration {
        self.remaining_at(Instant::now())
    }

    fn remaining_at(&self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }
}

/// Makes a cache drop each value when it holds no longer; a value that replaces another has a time
/// of its own.
pub(crate) struct Lifetime;

impl<K, T> Expiry<K, Expiring<T>> for Lifetime {
    fn expire_after_create(&self, _: &K, kept: &Expiring<T>, now: Instant) -> Option<Duration> {
        Some(kept.remaining_at(now))
    }

    fn expire_after_update(
        &self,
        _: &K,
        kept: &Expiring<T>,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.remaining_at(now))
    }
}
