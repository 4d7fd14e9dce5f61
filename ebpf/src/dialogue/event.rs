//! Reports refused sessions to user space, within each network's share and as long as the reader
//! keeps up.
//!
//! No record wakes the reader, which polls: so a flood costs it no more than a few sessions.

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use sixgate_common::{
    event::{Ending, EventShare, Head, KIND_ENDED, KIND_RECIPIENT, Record},
    refuse::Reason,
    slot::{Note, Slot},
    stat::Stat,
};

use crate::{
    maps::{EVENT_SHARES, EVENTS, count},
    parse::Tuple,
};

/// A session is over.
#[inline(always)]
pub(crate) fn ended(tuple: &Tuple, slot: &Slot, note: &Note, ending: Ending, now: u64) {
    report(tuple, slot, note, ending as u8, now);
}

/// A session goes on after a recipient was refused, and names another one.
#[inline(always)]
pub(crate) fn recipient(tuple: &Tuple, slot: &Slot, note: &Note, now: u64) {
    report(tuple, slot, note, GOES_ON, now);
}

/// Not inlined: it is long, and called from many functions. `ending` is an [`Ending`] as its
/// number, or [`GOES_ON`].
#[inline(never)]
fn report(tuple: &Tuple, slot: &Slot, note: &Note, ending: u8, now: u64) {
    if ending != GOES_ON {
        count(Stat::AlsoEnded);
    }
    if !is_within_share(tuple, now) {
        return;
    }
    let Some(mut entry) = EVENTS.reserve_untyped::<Record>(0) else {
        return count(Stat::AlsoEventLost);
    };
    entry.write(Record {
        head: Head {
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
    if !is_within_share(tuple, now) {
        return;
    }
    let Some(mut entry) = EVENTS.reserve_untyped::<Record>(0) else {
        return count(Stat::AlsoEventLost);
    };
    let head = Head {
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
    unsafe { (*entry.as_mut_ptr()).head = head };
    entry.submit(BPF_RB_NO_WAKEUP.into());
}

/// Whether the sender's network may have one more record in this tick.
#[inline(always)]
fn is_within_share(tuple: &Tuple, now: u64) -> bool {
    let Some(share) = EVENT_SHARES.get_ptr_mut(EventShare::index(tuple.source)) else {
        return false;
    };
    // SAFETY: the pointer is to a map's value, which does not go away; another CPU that counts at
    // the same time makes the count one less.
    if unsafe { (*share).admits(now) } {
        return true;
    }
    count(Stat::AlsoEventOverShare);
    false
}

/// Beside the numbers of [`Ending`].
const GOES_ON: u8 = 0;
