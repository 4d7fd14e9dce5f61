//! The XDP program: its entry, and the handling of a decision.
//!
//! It fails open: a frame that it does not understand in full goes to the host's TCP. It owns no
//! policy (that is `classify`) and no format (that is `parse`), and each way out raises one
//! counter. It logs nothing unless it is built to be traced (`trace`).
//!
//! Building: `userspace/dataplane/build.rs` compiles this crate for `bpfel-unknown-none` and embeds
//! the object; the workspace's default members leave it out. For the host's target it is an empty
//! program, so that `cargo clippy --package sixgate-ebpf` lints everything here.

#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

mod classify;
mod dialogue;
mod frame;
#[cfg(not(feature = "trace"))]
mod hot;
mod maps;
mod parse;
mod trace;
mod verifier;

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    macros::xdp,
    programs::XdpContext,
};
use sixgate_common::{
    bytes::Bytes as _,
    refuse::Reason,
    settings::{ANSWER_KERNEL, MODE_ENFORCE},
    stat::Stat,
    station::{STATION_ANSWERS, STATION_KEEPS_MARKS, STATION_LOSES_MARKS, StationEntry, StationKey},
};

use crate::{
    classify::{Decision, classify},
    frame::Linear,
    maps::{FLOWS, STATIONS, answers, count, count_number, is_preemptible, now, settings},
    parse::{Headers, Tuple},
};

/// Some helpers are for GPL-compatible programs only; the kernel reads this section.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// The entry. A frame that cannot be judged is passed on.
#[xdp(frags)]
fn sixgate(context: XdpContext) -> u32 {
    // what is traced takes the long way
    #[cfg(not(feature = "trace"))]
    if answers() {
        match hot::sixgate_hot(context.ctx) {
            hot::NONE => {}
            action => return action,
        }
    }
    let headers = match parse::headers(&Linear::of(&context)) {
        Ok(headers) => headers,
        Err(stat) => return passed(stat),
    };
    let _lock = match is_preemptible().then(dialogue::lock) {
        Some(None) => {
            count(Stat::DropBusy);
            return XDP_DROP;
        }
        Some(lock) => lock,
        None => None,
    };
    trace::begin(&context, headers);
    let (stat, action) = act(&context, headers);
    count_number(stat);
    trace::end(stat, action);
    action
}

/// Judges one segment and carries out what follows; the counter's number and the action.
#[inline(always)]
fn act(context: &XdpContext, headers: Headers) -> (u32, u32) {
    let answer = match judge(context, headers) {
        Ok(Judgement::Host(stat)) | Err(stat) => return (stat as u32, XDP_PASS),
        Ok(Judgement::Open(reason, finished)) => {
            trace::refused(reason);
            dialogue::open(context, reason, finished)
        }
        Ok(Judgement::Continue) => dialogue::proceed(context),
    };
    dialogue::carry_out(context, answer)
}

/// The owner of a segment to port 25.
enum Judgement {
    /// The host's TCP, which gets the frame.
    Host(Stat),
    /// An opening SYN that is refused here; whether its checksum has to be finished.
    Open(Reason, bool),
    /// Any other: perhaps of a session that is refused here.
    Continue,
}

/// Judges one segment, and keeps it in the scratch; `Err` names why it cannot be judged. A function
/// of its own, so that its stack is free again when the frame is answered.
#[inline(never)]
fn judge(context: &XdpContext, headers: Headers) -> Result<Judgement, Stat> {
    let station = station(context)?;
    let segment = dialogue::segment_mut().ok_or(Stat::PassNotReady)?;
    parse::segment(&Linear::of(context), headers, segment)?;
    dialogue::set_loses_marks(station.flags & STATION_LOSES_MARKS != 0);
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
    // SAFETY: an entry that is replaced while it is read may be seen half old, half new: one SYN is
    // answered by the program instead of the daemon, or the other way round.
    unsafe { STATIONS.get(key) }.ok_or(Stat::PassOtherMac)
}

/// Whether the program may answer a frame whose checksum is left for a device: in native mode the
/// kernel's mark of that is lost with the answer, and the link's other end does not act on it.
#[inline(always)]
fn may_be_unfinished(context: &XdpContext, station: &StationEntry) -> bool {
    if station.flags & STATION_KEEPS_MARKS == 0 {
        return true;
    }
    let [a, b, c, d, e, f] = station.peer;
    Linear::of(context).view::<6>(MAC_LENGTH).is_some_and(|source| *source == [a, b, c, d, e, f])
}

/// Leaves the refusal to the daemon, which finds the tag at accept.
fn tag(tuple: &Tuple, reason: Reason) -> Judgement {
    dialogue::forget();
    if dialogue::tag(reason, now()).is_none_or(|tag| FLOWS.insert(tuple.key(), tag, 0).is_err()) {
        count(Stat::AlsoTagFailed);
    }
    Judgement::Host(match reason {
        Reason::NotOptedIn => Stat::TagNotOptedIn,
        Reason::NoPtr => Stat::TagNoPtr,
    })
}

/// Passes an opening SYN on; the state of an earlier connection of the same 4-tuple is void.
fn forget(tuple: &Tuple, stat: Stat) -> Judgement {
    // The only failure is that there was no tag.
    let _ = FLOWS.remove(tuple.key());
    dialogue::forget();
    Judgement::Host(stat)
}

fn passed(stat: Stat) -> u32 {
    count(stat);
    XDP_PASS
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
