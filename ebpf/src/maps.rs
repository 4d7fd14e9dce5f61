//! The program's maps and constants, with the ways to read and count in them; the clock.
//!
//! It decides nothing. In user space `sixgate_common` has the names and the layouts.

use aya_ebpf::{
    Global,
    btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
    helpers::generated::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns},
    macros::btf_map,
};
use sixgate_common::{
    cookie::{self, CookieKey},
    dest::{DestEntry, MemberEntry},
    event::{self, EventShare},
    flow::{FlowKey, PartialLine, Tag},
    names,
    ptr::PtrEntry,
    reply::{self, Reply},
    settings::Settings,
    slot::{self, Note, Slot, SlotKey},
    stat::{self, Stat},
    station::{StationEntry, StationKey},
};

/// BPF_F_MMAPABLE (linux/bpf.h): values begin at a page, so that each slot is one line of a cache.
const MMAPABLE: usize = names::MMAPABLE as usize;

/// An IPv6 address, as the maps have it.
pub(crate) type Address = [u8; 16];

#[btf_map]
static SETTINGS: Array<Settings, { names::SETTINGS_ENTRIES as usize }> = Array::new();
#[btf_map]
static IN_FORCE: Array<u32, 1> = Array::new();
#[btf_map]
pub(crate) static STATIONS: HashMap<StationKey, StationEntry, { names::STATIONS_ENTRIES as usize }> =
    HashMap::new();
#[btf_map]
pub(crate) static OPTIN: LpmTrie<Address, DestEntry, { names::OPTIN_ENTRIES as usize }> = LpmTrie::new();
#[btf_map]
pub(crate) static GUARD: LpmTrie<Address, MemberEntry, { names::GUARD_ENTRIES as usize }> = LpmTrie::new();
#[btf_map]
pub(crate) static TRUST: LpmTrie<Address, MemberEntry, { names::TRUST_ENTRIES as usize }> = LpmTrie::new();
#[btf_map]
pub(crate) static DOMAINS: HashMap<u64, MemberEntry, { names::DOMAINS_ENTRIES as usize }> = HashMap::new();
#[btf_map]
pub(crate) static PTR: LruHashMap<Address, PtrEntry, { names::PTR_ENTRIES as usize }> = LruHashMap::new();
#[btf_map]
pub(crate) static FLOWS: LruHashMap<FlowKey, Tag, { names::FLOWS_ENTRIES as usize }> = LruHashMap::new();
#[btf_map]
pub(crate) static SLOTS: Array<Slot, { slot::SLOTS_ENTRIES as usize }, MMAPABLE> = Array::new();
#[btf_map]
pub(crate) static NOTES: Array<Note, { slot::SLOTS_ENTRIES as usize }> = Array::new();
#[btf_map]
pub(crate) static SLOT_KEY: Array<SlotKey, 1> = Array::new();
#[btf_map]
pub(crate) static PARTIAL_LINES: LruHashMap<FlowKey, PartialLine, { names::PARTIAL_LINES_ENTRIES as usize }> =
    LruHashMap::new();
#[btf_map]
pub(crate) static COOKIES: Array<CookieKey, { cookie::KEYS as usize }> = Array::new();
#[btf_map]
pub(crate) static REPLIES: Array<Reply, { reply::ENTRIES as usize }> = Array::new();
#[btf_map]
static STATS: PerCpuArray<u64, { stat::COUNT as usize }> = PerCpuArray::new();
#[btf_map]
pub(crate) static EVENT_SHARES: Array<EventShare, { event::SHARES as usize }> = Array::new();
#[btf_map]
pub(crate) static EVENTS: RingBuf<u64, { names::EVENTS_BYTES as usize }> = RingBuf::new();

/// 0 where the kernel lacks what answering needs: written before loading, so that the verifier does
/// not follow the code that depends on it. Before Linux 6.8 it verifies each global function even
/// if nothing calls it, so each of them asks first.
#[unsafe(no_mangle)]
static ANSWERS: Global<u32> = Global::new(1);

/// 1 on a kernel that lets one program interrupt another on the same CPU (PREEMPT_RT): written
/// before loading, so that other kernels do not pay for the guard.
#[unsafe(no_mangle)]
static PREEMPTIBLE: Global<u32> = Global::new(0);

/// The settings in force.
#[inline(always)]
pub(crate) fn settings() -> Option<&'static Settings> {
    let index = IN_FORCE.get(0)?;
    SETTINGS.get(index & (names::SETTINGS_ENTRIES - 1))
}

/// Nanoseconds of CLOCK_MONOTONIC.
#[inline(always)]
pub(crate) fn clock() -> u64 {
    // SAFETY: the helper takes no argument and has no precondition.
    unsafe { bpf_ktime_get_ns() }
}

/// Nanoseconds of CLOCK_MONOTONIC at the last tick of the kernel's timer: reading the clock itself
/// takes longer than most other work on a SYN. For ages, which need no milliseconds.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper takes no argument and has no precondition.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// Whether this program can answer.
#[inline(always)]
pub(crate) fn answers() -> bool {
    ANSWERS.load() != 0
}

/// Whether another program can interrupt this one on its CPU.
#[inline(always)]
pub(crate) fn is_preemptible() -> bool {
    PREEMPTIBLE.load() != 0
}

/// Raises a counter of STATS.
pub(crate) fn count(stat: Stat) {
    count_number(stat as u32);
}

/// Raises the counter of that number.
pub(crate) fn count_number(number: u32) {
    if let Some(counter) = STATS.get_ptr_mut(number) {
        // SAFETY: the pointer is to this CPU's own value, and an XDP program is not preempted by
        // another.
        unsafe { *counter += 1 };
    }
}
