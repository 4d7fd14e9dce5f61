//! Reports refused sessions to user space, as long as the reader keeps up.
//!
//! No record wakes the reader, which polls: so a flood costs it no more than a few sessions.

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use sixgate_common::{
    event::{Begun, Ended, Ending, KIND_BEGUN, KIND_ENDED, KIND_RECIPIENT},
    refuse::Reason,
    slot::{Note, Slot},
    stat::Stat,
};

use crate::{
    maps::{EVENTS, count},
    parse::Tuple,
};

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
        refused: 0,
        commands: 0,
        sender_length: 0,
        recipient_length: 0,
        opened: now,
        now,
        flow: *tuple.key(),
        padding: [0; 4],
    });
    entry.submit(BPF_RB_NO_WAKEUP.into());
}

/// A session is over.
#[inline(always)]
pub(crate) fn ended(tuple: &Tuple, slot: &Slot, note: &Note, ending: Ending, now: u64) {
    tell(tuple, slot, note, ending as u8, now);
}

/// A session goes on after a recipient was refused, and names another one.
#[inline(always)]
pub(crate) fn recipient(tuple: &Tuple, slot: &Slot, note: &Note, now: u64) {
    tell(tuple, slot, note, GOES_ON, now);
}

/// Not inlined: it is long, and called from many functions. `ending` is an [`Ending`] as its
/// number, or [`GOES_ON`].
#[inline(never)]
fn tell(tuple: &Tuple, slot: &Slot, note: &Note, ending: u8, now: u64) {
    if ending != GOES_ON {
        count(Stat::AlsoEnded);
    }
    let Some(mut entry) = EVENTS.reserve_untyped::<Ended>(0) else {
        return count(Stat::AlsoEventLost);
    };
    entry.write(Ended {
        session: Begun {
            kind: if ending == GOES_ON { KIND_RECIPIENT } else { KIND_ENDED },
            reason: slot.state >> 4,
            ending,
            refused: note.refused,
            commands: slot.commands.into(),
            sender_length: note.sender_length,
            recipient_length: note.recipient_length,
            opened: slot.opened_at(now),
            now,
            flow: *tuple.key(),
            padding: [0; 4],
        },
        sender: note.sender,
        recipient: note.recipient,
    });
    entry.submit(BPF_RB_NO_WAKEUP.into());
}

/// A SYN was answered with a reset.
#[inline(always)]
pub(crate) fn refused(tuple: &Tuple, reason: Reason, now: u64) {
    count(Stat::AlsoEnded);
    let Some(mut entry) = EVENTS.reserve_untyped::<Ended>(0) else {
        return count(Stat::AlsoEventLost);
    };
    let session = Begun {
        kind: KIND_ENDED,
        reason: reason as u8,
        ending: Ending::Refused as u8,
        refused: 0,
        commands: 0,
        sender_length: 0,
        recipient_length: 0,
        opened: now,
        now,
        flow: *tuple.key(),
        padding: [0; 4],
    };
    // SAFETY: the record begins with it; the octets behind have no length, and are what a record
    // before left there.
    unsafe { (*entry.as_mut_ptr()).session = session };
    entry.submit(BPF_RB_NO_WAKEUP.into());
}

/// Beside the numbers of [`Ending`].
const GOES_ON: u8 = 0;
