//! How much longer than usual waits may take: on a loaded machine, or one whose processors are
//! emulated.
//!
//! It owns the factor; each wait has its constant where it is used.

use std::{sync::LazyLock, time::Duration};

/// `time`, as many times as [`SCALE`] in the environment says.
#[must_use]
pub fn scaled(time: Duration) -> Duration {
    time * *FACTOR
}

/// The environment variable that [`scaled`] reads: a whole number from 1 to 1000; 1 if it is not
/// set.
pub const SCALE: &str = "SIXGATE_TEST_TIME_SCALE";

static FACTOR: LazyLock<u32> = LazyLock::new(|| {
    std::env::var(SCALE).map_or(1, |text| match text.parse() {
        Ok(factor @ 1..=1000) => factor,
        _ => panic!("{SCALE} is a whole number from 1 to 1000, not {text:?}"),
    })
});
