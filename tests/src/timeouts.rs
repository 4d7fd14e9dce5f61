//! How long the suites wait for what has to happen: one time-out, which a variable of the
//! environment multiplies on a loaded machine or one whose processors are emulated.
//!
//! It owns that time-out and the factor. A time that is itself the case (a client that is silent
//! for 2 s) has its constant where it is used.

use std::{
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

/// How long a test waits for what has to happen. Only a test that fails waits so long.
#[must_use]
pub fn patience() -> Duration {
    scaled(PATIENCE)
}

/// `time`, multiplied by [`SCALE`] of the environment.
#[must_use]
pub fn scaled(time: Duration) -> Duration {
    time * *FACTOR
}

/// Waits until `is_so`, and looks again after a pause: for what has no event to wait for, such as
/// the descriptors of another process, an entry of a BPF map that expires, or a port where a
/// program begins to listen.
///
/// # Panics
/// With `claim`, if it is not so within [`patience`].
#[track_caller]
pub fn wait_until(claim: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + patience();
    while !is_so() {
        assert!(Instant::now() < until, "{claim}");
        thread::park_timeout(PAUSE);
    }
}

/// The environment variable that [`scaled`] reads: a whole number from 1 to 1000; 1 if it is not
/// set.
pub const SCALE: &str = "SIXGATE_TEST_TIME_SCALE";

/// The time before scaling by [`SCALE`].
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what has no event.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);

static FACTOR: LazyLock<u32> = LazyLock::new(|| {
    std::env::var(SCALE).map_or(1, |text| match text.parse() {
        Ok(factor @ 1..=1000) => factor,
        _ => panic!("{SCALE} is a whole number from 1 to 1000, not {text:?}"),
    })
});
