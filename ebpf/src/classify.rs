//! The decision on an opening SYN: which rule of the maps matches first.
//!
//! It owns the order of the rules; what becomes of a refusal (a tag, an answer, a count) is not its business.

use aya_ebpf::btf_maps::lpm_trie::Key;
use sixgate_common::{
    dest::OPTED_IN,
    flow::FlowKey,
    ptr::says_absent,
    refuse::Reason,
    settings::{READY, Settings},
    stat::Stat,
};

use crate::{Address, GUARD, OPTIN, PTR, TRUST};

/// What is to become of a new connection.
pub(crate) enum Decision {
    /// The host's TCP takes it; the counter names the rule.
    Pass(Stat),
    /// It is refused.
    Refuse(Reason),
}

/// The first rule that matches a new connection at `now` (nanoseconds of CLOCK_MONOTONIC).
#[inline(always)]
pub(crate) fn classify(settings: &Settings, tuple: &FlowKey, now: u64) -> Decision {
    if settings.ready != READY {
        return Decision::Pass(Stat::PassNotReady);
    }
    let source = host(tuple.source);
    if TRUST.get(&source).is_some() {
        return Decision::Pass(Stat::PassTrusted);
    }
    let destination = host(tuple.destination);
    if OPTIN.get(&destination).is_some_and(|entry| entry.flags == OPTED_IN) {
        return if lacks_ptr(&tuple.source, now) {
            Decision::Refuse(Reason::NoPtr)
        } else {
            Decision::Pass(Stat::PassOptedIn)
        };
    }
    if GUARD.get(&destination).is_some() {
        return Decision::Refuse(Reason::NotOptedIn);
    }
    Decision::Pass(Stat::PassNotOurs)
}

/// Whether the source is known to have no PTR record.
#[inline(always)]
fn lacks_ptr(source: &Address, now: u64) -> bool {
    // SAFETY: an entry that gives way while it is read may be seen half old, half new; at worst one connection
    // is judged by the neighbouring answer, and the daemon decides again on what it sees.
    unsafe { PTR.get(source) }.is_some_and(|entry| says_absent(entry, now))
}

/// The key that finds the longest prefix of one address.
#[inline(always)]
fn host(address: Address) -> Key<Address> {
    Key::new(ADDRESS_BITS, address)
}

const ADDRESS_BITS: u32 = 128;
