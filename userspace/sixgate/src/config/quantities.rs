//! Durations and numbers that have to lie within bounds of their own.
//!
//! The bounds that depend on another key are in `document`.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Deserializer, de::Error};

/// A duration above nothing and at most [`WAIT_MAX`], as humantime writes it.
pub(super) fn wait<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let wait = humantime_serde::deserialize::<Duration, D>(deserializer)?;
    if wait.is_zero() || wait > WAIT_MAX {
        return Err(D::Error::custom(
            "the duration must be above zero and at most a day, such as \"30s\" or \"5m\"",
        ));
    }
    Ok(wait)
}

/// How long something is kept; zero: not at all.
pub(super) fn retention<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let time = humantime_serde::deserialize::<Duration, D>(deserializer)?;
    if time > RETENTION_MAX {
        return Err(D::Error::custom(
            "the duration must be at most 90d, such as \"7d\"; \"0s\" keeps nothing",
        ));
    }
    Ok(time)
}

/// How long the end of a message's data may have to wait for its answer: the sender gives up after
/// 10 minutes (RFC 5321 4.5.3.2.6), and the next hop needs its share of them.
pub(super) fn verification_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let time = wait(deserializer)?;
    if time > VERIFICATION_MAX {
        return Err(D::Error::custom(
            "the duration must be at most 5m: a sender waits 10 minutes, and the next hop comes after it",
        ));
    }
    Ok(time)
}

/// Octets of a message's line. The least is what every server has to take (RFC 5321 4.5.3.1.6: 1000
/// with CRLF) and every client may send (RFC 5322 2.1.1; its 78 is advice for writers).
pub(super) fn line_length<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroU32, D::Error> {
    let length = NonZeroU32::deserialize(deserializer)?;
    if length < LINE_LENGTH_MIN {
        return Err(D::Error::custom(format_args!(
            "lines of {LINE_LENGTH_MIN} octets have to be taken (RFC 5321 4.5.3.1.6), not of {length} only"
        )));
    }
    Ok(length)
}

/// Longest time-out that can be set.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest time for which something is kept.
const RETENTION_MAX: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Longest time for the checks of a message: half of what a sender waits.
const VERIFICATION_MAX: Duration = Duration::from_secs(5 * 60);
const LINE_LENGTH_MIN: NonZeroU32 = NonZeroU32::new(998).unwrap();
