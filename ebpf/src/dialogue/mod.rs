//! Refuses by itself: completes the handshake with a SYN cookie and carries the refusing dialogue,
//! frame by frame.
//!
//! It carries out the answer to a frame. `handshake` begins sessions, `session` goes on with them;
//! `tcp` reads the numbers of a segment, `smtp` its lines. A frame of no session of its own it
//! leaves to the host.

mod checksum;
mod cookie;
pub(crate) mod event;
mod handshake;
mod outgoing;
mod position;
mod scratch;
mod session;
pub(crate) mod slots;
mod smtp;
mod tcp;
mod transmit;
mod try_lock;

use aya_ebpf::{
    bindings::{
        xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
        xdp_md,
    },
    programs::XdpContext,
};
use sixgate_common::{flow::Tag, refuse::Reason, stat::Stat};

use self::{
    outgoing::{Answer, PASS, SEND, STAT_MASK},
    scratch::Scratch,
    slots::{Held, Search},
    transmit::Rewritten,
    try_lock::TryLock,
};
use crate::{
    maps::{answers, settings},
    parse::Segment,
};

/// The right to use this CPU's memory; none while a program that was interrupted has it.
#[inline(always)]
pub(crate) fn lock() -> Option<TryLock> {
    Scratch::of_this_cpu()?.lock()
}

/// Memory for the segment at hand.
#[inline(always)]
pub(crate) fn segment_mut<'a>() -> Option<&'a mut Segment> {
    Scratch::of_this_cpu().map(Scratch::segment_mut)
}

/// Keeps whether the kernel's mark of an unfinished checksum is lost with the answer to the segment
/// at hand.
#[inline(always)]
pub(crate) fn set_loses_marks(loses_marks: bool) {
    if let Some(scratch) = Scratch::of_this_cpu() {
        scratch.set_loses_marks(loses_marks);
    }
}

/// A tag for the daemon.
#[inline(always)]
pub(crate) fn tag<'a>(reason: Reason, now: u64) -> Option<&'a Tag> {
    Scratch::of_this_cpu().map(|scratch| scratch.tag(reason, now))
}

/// The segment that was sent last.
#[cfg(feature = "trace")]
#[inline(always)]
pub(crate) fn outgoing<'a>() -> Option<&'a outgoing::Outgoing> {
    Scratch::of_this_cpu().map(Scratch::outgoing)
}

/// Why the connection is refused, as the number of a [`Reason`]; 0 if it has no session.
#[cfg(feature = "trace")]
#[inline(always)]
pub(crate) fn reason(tuple: &crate::parse::Tuple) -> u8 {
    let mut held = Held::NONE;
    match slots::find(tuple, &mut held) {
        Search::Found => held.slot().and_then(|slot| slot.reason()).map_or(0, |reason| reason as u8),
        _ => 0,
    }
}

/// Answers a SYN to a refused destination, whose checksum has to be `finished` or need not be; the
/// answer's number.
#[inline(always)]
pub(crate) fn open(context: &XdpContext, reason: Reason, finished: bool) -> u32 {
    sixgate_open(context.ctx, reason as u32, finished.into())
}

/// A function that the verifier follows once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_open(context: *mut xdp_md, reason: u32, finished: u32) -> u32 {
    let reason = if reason == Reason::NoPtr as u32 { Reason::NoPtr } else { Reason::NotOptedIn };
    if !answers() {
        return Answer::Pass(Stat::PassNotReady).encode();
    }
    let (Some(scratch), Some(settings)) = (Scratch::of_this_cpu(), settings()) else {
        return Answer::Pass(Stat::PassNotReady).encode();
    };
    handshake::open(&XdpContext::new(context), scratch, settings, reason, finished != 0).encode()
}

/// Answers any other segment, if it belongs to a session of ours or completes the handshake of one;
/// the answer's number.
#[inline(always)]
pub(crate) fn proceed(context: &XdpContext) -> u32 {
    sixgate_proceed(context.ctx)
}

/// A function that the verifier follows once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_proceed(context: *mut xdp_md) -> u32 {
    if !answers() {
        return Answer::Pass(Stat::PassNotReady).encode();
    }
    let (Some(scratch), Some(settings)) = (Scratch::of_this_cpu(), settings()) else {
        return Answer::Pass(Stat::PassNotReady).encode();
    };
    let mut held = Held::NONE;
    let is_ahead = match slots::find(&scratch.segment().tuple, &mut held) {
        Search::Busy => return Answer::Drop(Stat::DropBusy).encode(),
        Search::Missing => false,
        Search::Found => match sixgate_converse(context, held.index) {
            NOT_OURS => false,
            AHEAD => true,
            answer => return answer,
        },
    };
    match handshake::complete(&XdpContext::new(context), scratch, settings, &mut held, is_ahead) {
        Some(answer) => answer,
        None => match sixgate_converse(context, held.index) {
            NOT_OURS | AHEAD => Answer::Drop(Stat::DropSilent).encode(),
            answer => answer,
        },
    }
}

/// Goes on with the session in the slot of that index, which the caller has locked; the answer's
/// number, or that the segment is not the session's, or knows better how far it is. A function that
/// the verifier follows once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_converse(context: *mut xdp_md, index: u32) -> u32 {
    if !answers() {
        return NOT_OURS;
    }
    let (Some(scratch), Some(settings), Some((slot, note))) =
        (Scratch::of_this_cpu(), settings(), slots::of_caller(index))
    else {
        return NOT_OURS;
    };
    match session::resume(&XdpContext::new(context), scratch, settings, slot, note) {
        Ok(answer) => answer.encode(),
        Err(Stat::DropSilent) => AHEAD,
        Err(_) => NOT_OURS,
    }
}

/// Carries out the answer of that number; the counter's number and the action.
#[inline(always)]
pub(crate) fn carry_out(context: &XdpContext, answer: u32) -> (u32, u32) {
    let stat = answer & STAT_MASK;
    match answer & !STAT_MASK {
        PASS => (stat, XDP_PASS),
        SEND => send(context, stat),
        _ => (stat, XDP_DROP),
    }
}

/// Sends the scratch's segment; where the frame has no space for it, a shorter one.
#[inline(always)]
fn send(context: &XdpContext, stat: u32) -> (u32, u32) {
    let mut stat = stat;
    let mut rewritten = transmit::transmit(context);
    if rewritten == Rewritten::NoRoom
        && let Some(scratch) = Scratch::of_this_cpu()
    {
        if scratch.fall_back() {
            forget();
            stat = Stat::AnswerNoRoom as u32;
        }
        rewritten = transmit::transmit(context);
    }
    match rewritten {
        Rewritten::Done => (stat, XDP_TX),
        Rewritten::NoRoom | Rewritten::Lost => (Stat::DropNoRoom as u32, XDP_DROP),
    }
}

/// Frees the slot of the connection at hand, if it has one.
#[inline(always)]
pub(crate) fn forget() {
    sixgate_forget();
}

/// A function that the verifier follows once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_forget() -> u32 {
    let mut held = Held::NONE;
    if let Some(scratch) = Scratch::of_this_cpu().filter(|_| answers())
        && let Search::Found = slots::find(&scratch.segment().tuple, &mut held)
        && let Some(slot) = held.slot()
    {
        slot.state = 0;
    }
    0
}

// What `sixgate_converse` returns beside answers.
const NOT_OURS: u32 = 0;
const AHEAD: u32 = 1;
