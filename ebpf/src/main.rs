//! The XDP program: its maps, its entry, and what is done with a decision.
//!
//! It fails open: whatever it does not understand in full goes to the host's TCP. It owns no policy (that is
//! `classify`) and no format (that is `parse`), and it logs nothing: each way out raises one counter.
//!
//! Building: `userspace/dataplane/build.rs` compiles this crate for `bpfel-unknown-none` and embeds the object; the
//! workspace's default members leave it out. For the host's target it is an empty program, so that
//! `cargo clippy --package sixgate-ebpf` lints everything here.

#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

mod answer;
mod classify;
mod frame;
mod parse;
mod verifier;

use aya_ebpf::{
    Global,
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
    helpers::generated::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns},
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use sixgate_common::{
    bytes::Bytes as _,
    dest::{DestEntry, MemberEntry},
    flow::{Flow, FlowKey, KeptLine},
    map,
    ptr::PtrEntry,
    refuse::Reason,
    reply::{self, Reply},
    settings::{ANSWER_KERNEL, MODE_ENFORCE, Settings},
    stat::{self, Stat},
    station::{STATION_ANSWERS, STATION_KEEPS_MARKS, StationEntry, StationKey},
};

use crate::{
    classify::{Decision, classify},
    frame::Linear,
    parse::{Headers, Tuple},
};

/// An IPv6 address, as the maps have it.
type Address = [u8; 16];

#[btf_map]
static SETTINGS: Array<Settings, { map::SETTINGS_ENTRIES as usize }> = Array::new();
#[btf_map]
static IN_FORCE: Array<u32, 1> = Array::new();
#[btf_map]
static STATIONS: HashMap<StationKey, StationEntry, { map::STATIONS_ENTRIES as usize }> = HashMap::new();
#[btf_map]
static OPTIN: LpmTrie<Address, DestEntry, { map::OPTIN_ENTRIES as usize }> = LpmTrie::new();
#[btf_map]
static GUARD: LpmTrie<Address, MemberEntry, { map::GUARD_ENTRIES as usize }> = LpmTrie::new();
#[btf_map]
static TRUST: LpmTrie<Address, MemberEntry, { map::TRUST_ENTRIES as usize }> = LpmTrie::new();
#[btf_map]
static DOMAINS: HashMap<u64, MemberEntry, { map::DOMAINS_ENTRIES as usize }> = HashMap::new();
#[btf_map]
static PTR: LruHashMap<Address, PtrEntry, { map::PTR_ENTRIES as usize }> = LruHashMap::new();
#[btf_map]
static FLOWS: LruHashMap<FlowKey, Flow, { map::FLOWS_ENTRIES as usize }> = LruHashMap::new();
#[btf_map]
static LINES: LruHashMap<FlowKey, KeptLine, { map::LINES_ENTRIES as usize }> = LruHashMap::new();
#[btf_map]
static REPLIES: Array<Reply, { reply::ENTRIES as usize }> = Array::new();
#[btf_map]
static STATS: PerCpuArray<u64, { stat::COUNT as usize }> = PerCpuArray::new();
#[btf_map]
static EVENTS: RingBuf<u64, { map::EVENTS_BYTES as usize }> = RingBuf::new();

/// 0 where the kernel lacks what answering needs: written before loading, so that the verifier does not follow what depends
/// on it. Before Linux 6.8 it verifies each global function even if nothing calls it, so each of them asks first.
#[unsafe(no_mangle)]
static ANSWERS: Global<u32> = Global::new(1);

/// 1 on a kernel that lets one program interrupt another on the same CPU (PREEMPT_RT): written before loading, so that
/// other kernels do not pay for the guard.
#[unsafe(no_mangle)]
static PREEMPTIBLE: Global<u32> = Global::new(0);

/// Some helpers are for GPL-compatible programs only; the kernel reads this section.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// The entry. Whatever cannot be judged is passed on.
#[xdp(frags)]
fn sixgate(context: XdpContext) -> u32 {
    let headers = match parse::headers(&Linear::of(&context)) {
        Ok(headers) => headers,
        Err(stat) => return passed(stat),
    };
    let _lock = match is_preemptible().then(answer::lock) {
        Some(None) => {
            count(Stat::DropBusy);
            return XDP_DROP;
        }
        Some(lock) => lock,
        None => None,
    };
    let answer = match judge(&context, headers) {
        Ok(Judgement::Host(stat)) | Err(stat) => return passed(stat),
        Ok(Judgement::Open(reason, finished)) => answer::open(&context, reason, finished),
        Ok(Judgement::Continue) => answer::proceed(&context),
    };
    answer::carry_out(&context, answer)
}

/// Whose a segment to port 25 is.
enum Judgement {
    /// The host's.
    Host(Stat),
    /// An opening SYN that is refused here; whether its checksum has to be finished.
    Open(Reason, bool),
    /// Any other: perhaps of a session that is refused here.
    Continue,
}

/// Judges one segment, and keeps it in the scratch; `Err` names why it cannot be judged. A function of its own, so that
/// its stack is free again when the frame is answered.
#[inline(never)]
fn judge(context: &XdpContext, headers: Headers) -> Result<Judgement, Stat> {
    let station = station(context)?;
    let segment = answer::room().ok_or(Stat::PassNotReady)?;
    parse::segment(&Linear::of(context), headers, segment)?;
    if !segment.flags.is_opening() {
        return if answers() { Ok(Judgement::Continue) } else { Err(Stat::PassSegment) };
    }
    let settings = settings().ok_or(Stat::PassNotReady)?;
    let tuple = &segment.tuple;
    Ok(match classify(settings, tuple) {
        Decision::Pass(stat) => forget(tuple, stat),
        Decision::Refuse(reason) if settings.mode == MODE_ENFORCE => {
            if settings.answer == ANSWER_KERNEL && station.flags & STATION_ANSWERS != 0 && answers() {
                Judgement::Open(reason, !may_be_unfinished(context, station))
            } else {
                tag(tuple, reason)
            }
        }
        Decision::Refuse(Reason::NotOptedIn) => forget(tuple, Stat::ShadowNotOptedIn),
        Decision::Refuse(Reason::NoPtr) => forget(tuple, Stat::ShadowNoPtr),
    })
}

/// The station that the frame is for, if it is one of this host's.
#[inline(always)]
fn station(context: &XdpContext) -> Result<&'static StationEntry, Stat> {
    let frame = Linear::of(context);
    let mac = frame.view::<6>(0).ok_or(Stat::PassTruncated)?;
    if mac[0] & GROUP_MAC != 0 {
        return Err(Stat::PassGroupMac);
    }
    let [a, b, c, d, e, f] = *mac;
    // SAFETY: `ctx` is the context that the kernel handed to this program.
    let ifindex = unsafe { (*context.ctx).ingress_ifindex };
    let key = StationKey { ifindex, mac: [a, b, c, d, e, f], reserved: [0; 2] };
    // SAFETY: an entry that is replaced while it is read may be seen half old, half new: one SYN is answered by the program
    // instead of the daemon, or the other way round.
    unsafe { STATIONS.get(key) }.ok_or(Stat::PassOtherMac)
}

/// Whether the program may answer a frame whose checksum is left for a device: in native mode the kernel's mark of that is
/// lost with the answer, and the link's other end does not act on it.
#[inline(always)]
fn may_be_unfinished(context: &XdpContext, station: &StationEntry) -> bool {
    if station.flags & STATION_KEEPS_MARKS == 0 {
        return true;
    }
    let [a, b, c, d, e, f] = station.peer;
    Linear::of(context).view::<6>(MAC_LENGTH).is_some_and(|source| *source == [a, b, c, d, e, f])
}

/// The settings in force.
#[inline(always)]
fn settings() -> Option<&'static Settings> {
    let index = IN_FORCE.get(0)?;
    SETTINGS.get(index & (map::SETTINGS_ENTRIES - 1))
}

/// Leaves the refusal to the daemon, which finds the tag at accept.
fn tag(tuple: &Tuple, reason: Reason) -> Judgement {
    if answer::tag(reason, now()).is_none_or(|flow| FLOWS.insert(tuple.key(), flow, 0).is_err()) {
        count(Stat::AlsoTagFailed);
    }
    Judgement::Host(match reason {
        Reason::NotOptedIn => Stat::TagNotOptedIn,
        Reason::NoPtr => Stat::TagNoPtr,
    })
}

/// Passes an opening SYN on; what an earlier connection of the same 4-tuple left behind is void.
fn forget(tuple: &Tuple, stat: Stat) -> Judgement {
    // The only failure is that there was no entry.
    let _ = FLOWS.remove(tuple.key());
    Judgement::Host(stat)
}

/// Nanoseconds of CLOCK_MONOTONIC.
#[inline(always)]
fn clock() -> u64 {
    // SAFETY: the helper takes no argument and has no precondition.
    unsafe { bpf_ktime_get_ns() }
}

/// Nanoseconds of CLOCK_MONOTONIC at the last tick of the kernel's timer: reading the clock itself takes longer than most
/// else that a SYN takes here. For what needs no milliseconds: ages.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes no argument and has no precondition.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// Whether this program can answer.
#[inline(always)]
fn answers() -> bool {
    ANSWERS.load() != 0
}

/// Whether another program can interrupt this one on its CPU.
#[inline(always)]
fn is_preemptible() -> bool {
    PREEMPTIBLE.load() != 0
}

fn passed(stat: Stat) -> u32 {
    count(stat);
    XDP_PASS
}

fn count(stat: Stat) {
    count_number(stat as u32);
}

/// Raises the counter of that number.
fn count_number(number: u32) {
    if let Some(counter) = STATS.get_ptr_mut(number) {
        // SAFETY: the pointer is to this CPU's own value, and an XDP program is not preempted by another.
        unsafe { *counter += 1 };
    }
}

/// Octets of an Ethernet address.
const MAC_LENGTH: usize = 6;
/// Set in the first octet of a group's Ethernet address (IEEE 802 8.2, the I/G bit).
const GROUP_MAC: u8 = 1;

/// The host's target is for linting only.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// Never reached: nothing in this crate panics, and the verifier would refuse the endless loop.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
