//! Tells user space about refused sessions, as long as it listens fast enough.
//!
//! No record wakes anybody: the reader looks by itself, so that a flood costs it no more than a trickle.

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use sixgate_common::{
    event::{Begun, Ended, Ending, KIND_BEGUN, KIND_ENDED},
    flow::Flow,
    refuse::Reason,
    stat::Stat,
};

use crate::{EVENTS, count, parse::Tuple};

/// A session has been greeted.
#[inline(always)]
pub(crate) fn begun(tuple: &Tuple, reason: u8, now: u64) {
    let Some(mut entry) = EVENTS.reserve_untyped::<Begun>(0) else {
        return count(Stat::AlsoEventLost);
    };
    entry.write(Begun {
        kind: KIND_BEGUN,
        reason,
        ending: 0,
        domain_length: 0,
        commands: 0,
        reserved: 0,
        opened: now,
        now,
        flow: *tuple.key(),
        padding: [0; 4],
    });
    entry.submit(BPF_RB_NO_WAKEUP.into());
}

/// A session is over. Not inlined: it is long, and called from many places.
#[inline(never)]
pub(crate) fn ended(tuple: &Tuple, flow: &Flow, ending: Ending, now: u64) {
    count(Stat::AlsoEnded);
    let Some(mut entry) = EVENTS.reserve_untyped::<Ended>(0) else {
        return count(Stat::AlsoEventLost);
    };
    entry.write(Ended {
        session: Begun {
            kind: KIND_ENDED,
            reason: flow.reason,
            ending: ending as u8,
            domain_length: flow.domain_length,
            commands: flow.commands,
            reserved: 0,
            opened: flow.opened,
            now,
            flow: *tuple.key(),
            padding: [0; 4],
        },
        domain: flow.domain,
    });
    entry.submit(BPF_RB_NO_WAKEUP.into());
}

/// A SYN was answered with a reset.
#[inline(always)]
pub(crate) fn refused(tuple: &Tuple, reason: Reason, now: u64) {
    ended(tuple, &Flow::tag(reason as u8, now), Ending::Refused, now);
}
