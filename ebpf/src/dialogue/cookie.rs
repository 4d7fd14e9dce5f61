//! The cookies in our initial sequence numbers: made for a SYN, known again in the segments that
//! follow. What they are is in `sixgate_common::cookie`.
//!
//! It keeps no state: a cookie is checked by computing it again.

use sixgate_common::{
    cookie::{CookieKey, Distance, KEYS, Style},
    settings::Settings,
};

use crate::{
    maps::{COOKIES, now},
    parse::{Segment, Tuple},
};

/// Our initial sequence number for the answer to a SYN; none without a key.
#[inline(always)]
pub(crate) fn make(settings: &Settings, segment: &Segment, style: Style) -> Option<u32> {
    let key = key(settings.cookie)?;
    let tuple = &segment.tuple;
    let cookie = key.addresses(tuple.source, tuple.destination).cookie(ports(tuple), key.epoch(now()));
    Some(segment.sequence.wrapping_add(style.with(cookie)))
}

/// The decision in the cookie that the segment acknowledges, if it ends a handshake and the cookie
/// is at most one or two epochs old: at least a minute. A cookie of the next epoch comes from a
/// gate with the same key whose clock is ahead.
///
/// A number that is none of ours is taken for one with a chance of 27 in 2^32.
#[inline(never)]
pub(crate) fn completed(settings: &Settings, segment: &Segment) -> Option<Style> {
    let difference = segment.acknowledgment.wrapping_sub(segment.sequence);
    let tuple = &segment.tuple;
    for age in 0..KEYS - 1 {
        let Some(key) = key(settings.cookie.wrapping_sub(age)) else {
            continue;
        };
        let addresses = key.addresses(tuple.source, tuple.destination);
        let last = key.epoch(now()).wrapping_add(1);
        for ago in 0..3 {
            let cookie = addresses.cookie(ports(tuple), last.wrapping_sub(ago));
            if let Some(Distance { style, octets: 0 }) = Distance::between(difference, cookie) {
                return Some(style);
            }
        }
    }
    None
}

#[inline(always)]
fn key(number: u32) -> Option<&'static CookieKey> {
    COOKIES.get(number & (KEYS - 1)).filter(|key| key.valid != 0)
}

/// Both ports as they lie in memory one behind the other.
#[inline(always)]
const fn ports(tuple: &Tuple) -> u32 {
    super::checksum::two(tuple.source_port, tuple.destination_port)
}
