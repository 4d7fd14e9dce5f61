//! The decision on an opening SYN: which rule of the maps matches first.
//!
//! It owns the order of the rules; it does not carry out a refusal (a tag, an answer, a count).

use aya_ebpf::btf_maps::lpm_trie::Key;
use sixgate_common::{
    dest::OPTED_IN,
    ptr::is_absent,
    refuse::Reason,
    settings::{READY, Settings},
    stat::Stat,
};

use crate::{
    maps::{Address, GUARD, OPTIN, PTR, TRUST, clock},
    parse::Tuple,
};

/// The decision on a new connection.
pub(crate) enum Decision {
    /// The host's TCP takes it; the counter names the rule.
    Pass(Stat),
    /// It is refused.
    Refuse(Reason),
}

/// The first rule that matches a new connection now.
#[inline(always)]
pub(crate) fn classify(settings: &Settings, tuple: &Tuple) -> Decision {
    if settings.ready != READY {
        return Decision::Pass(Stat::PassNotReady);
    }
    if TRUST.get(Host::of(tuple.source).key()).is_some() {
        return Decision::Pass(Stat::PassTrusted);
    }
    let destination = Host::of(tuple.destination);
    if OPTIN.get(destination.key()).is_some_and(|entry| entry.flags == OPTED_IN) {
        return if lacks_ptr(&tuple.key().source) {
            Decision::Refuse(Reason::NoPtr)
        } else {
            Decision::Pass(Stat::PassOptedIn)
        };
    }
    if GUARD.get(destination.key()).is_some() {
        return Decision::Refuse(Reason::NotOptedIn);
    }
    Decision::Pass(Stat::PassNotOurs)
}

/// Whether the source is known to have no PTR record.
#[inline(always)]
fn lacks_ptr(source: &Address) -> bool {
    // SAFETY: an entry that gives way while it is read may be seen half old, half new; at worst one
    // connection is judged by the neighbouring answer, and the daemon decides again on what it
    // sees.
    unsafe { PTR.get(source) }.is_some_and(|entry| is_absent(entry, clock()))
}

/// The key that finds the longest prefix of one address, laid out so that the address is aligned on
/// the stack.
#[repr(C, align(8))]
struct Host {
    padding: u32,
    bits: u32,
    address: [u64; 2],
}

impl Host {
    #[inline(always)]
    const fn of(address: [u64; 2]) -> Self {
        Self { padding: 0, bits: ADDRESS_BITS, address }
    }

    #[inline(always)]
    const fn key(&self) -> &Key<Address> {
        // SAFETY: a key is packed: its length, then the octets of the address.
        unsafe { &*(&raw const self.bits).cast() }
    }
}

const ADDRESS_BITS: u32 = 128;
