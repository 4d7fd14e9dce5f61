//! The cookies in our initial sequence numbers: made for a SYN, known again in the segments that
//! follow; and the question whether the host's TCP knows a connection. Cookies are defined in
//! `sixgate_common::cookie`.
//!
//! It keeps no state: a cookie is checked by computing it again.

use aya_ebpf::{
    bindings::{BPF_F_CURRENT_NETNS, bpf_sock_tuple},
    helpers::generated::{bpf_sk_release, bpf_skc_lookup_tcp},
    programs::XdpContext,
};
use sixgate_common::{
    cookie::{CookieKey, Distance, EPOCHS, KEYS, Style},
    flow::FlowKey,
    settings::Settings,
};

use super::scratch::Scratch;
use crate::{
    maps::{COOKIES, answers, now, settings},
    parse::{Segment, Tuple},
};

/// Our initial sequence number for the answer to a SYN; none without a key.
#[inline(always)]
pub(crate) fn make(settings: &Settings, segment: &Segment, style: Style) -> Option<u32> {
    let key = key(settings.cookie)?;
    let tuple = &segment.tuple;
    let cookie = key.addresses(tuple.source, tuple.destination).cookie(tuple.ports(), key.epoch(now()));
    Some(segment.sequence.wrapping_add(cookie.value(segment.sequence, style)))
}

/// The meaning of the numbers of a segment without a session.
pub(crate) enum Numbers {
    /// They are not those of a session of ours.
    Others,
    /// They are those of the end of a handshake, with this decision in the cookie.
    Handshake(Style),
    /// They can be those of a dialogue with this decision.
    Dialogue(Style),
}

/// Compares the segment's numbers with the cookies that may have been sent to its sender.
///
/// The end of a handshake has a cookie of the epoch at hand or the one before, of a key that holds
/// still. A cookie of the next epoch comes from a gate with the same key whose clock is ahead. A
/// number that is none of ours is taken for the end of a handshake with a chance of 27 in 2^32 at
/// most, and for one of a dialogue with one of 1 in 2500 at most, in which case the caller asks
/// further.
#[inline(always)]
pub(crate) fn numbers() -> Numbers {
    let number = sixgate_numbers();
    let style = match number & STYLE_MASK {
        0 => Style::NotOptedIn,
        1 => Style::Greeting,
        _ => Style::NoPtr,
    };
    match number & !STYLE_MASK {
        HANDSHAKE => Numbers::Handshake(style),
        DIALOGUE => Numbers::Dialogue(style),
        _ => Numbers::Others,
    }
}

/// A function that the verifier follows once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_numbers() -> u32 {
    let (Some(scratch), Some(settings)) = (Scratch::of_this_cpu().filter(|_| answers()), settings()) else {
        return OTHERS;
    };
    let segment = scratch.segment();
    let (now, tuple) = (now(), &segment.tuple);
    let mut found = OTHERS;
    // counters as wide as a register: verifiers lose track of others that are put on the stack
    for age in 0..KEYS as usize - 1 {
        let Some(key) = key(settings.cookie.wrapping_sub(age as u32)) else {
            continue;
        };
        let addresses = key.addresses(tuple.source, tuple.destination);
        let last = key.epoch(now).wrapping_add(1);
        for ago in 0..EPOCHS as usize + 1 {
            let cookie = addresses.cookie(tuple.ports(), last.wrapping_sub(ago as u32));
            match Distance::between(segment.sequence, segment.acknowledgment, &cookie) {
                Some(distance) if distance.is_exact() && ago <= 2 => {
                    return HANDSHAKE | distance.style as u32;
                }
                Some(distance) if distance.is_near() => found = DIALOGUE | distance.style as u32,
                _ => {}
            }
        }
    }
    found
}

#[inline(always)]
fn key(number: u32) -> Option<&'static CookieKey> {
    COOKIES.get(number & (KEYS - 1)).filter(|key| key.valid != 0)
}

/// Whether the host's TCP has a connection of this 4-tuple that lives.
#[inline(always)]
pub(crate) fn is_hosts(context: &XdpContext, tuple: &Tuple) -> bool {
    let netns = BPF_F_CURRENT_NETNS as i64 as u64;
    // SAFETY: the tuple is whole, and its size selects the IPv6 part.
    let socket = unsafe {
        bpf_skc_lookup_tcp(
            context.ctx.cast(),
            // the key has the layout of the tuple's IPv6 part
            (&raw const *tuple).cast_mut().cast::<bpf_sock_tuple>(),
            size_of::<FlowKey>() as u32,
            netns,
            0,
        )
    };
    if socket.is_null() {
        return false;
    }
    // SAFETY: a socket that was found stays valid until it is released, here.
    let state = unsafe {
        let state = (*socket).state;
        bpf_sk_release(socket.cast());
        state
    };
    !matches!(state, TCP_LISTEN | TCP_TIME_WAIT)
}

const STYLE_MASK: u32 = 0xf;
const OTHERS: u32 = 0;
const HANDSHAKE: u32 = 0x10;
const DIALOGUE: u32 = 0x20;
// include/net/tcp_states.h
const TCP_TIME_WAIT: u32 = 6;
const TCP_LISTEN: u32 = 10;
