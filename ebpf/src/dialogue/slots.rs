//! The slot of a connection: found, or taken for a new one, and locked while it is worked on.
//!
//! It knows nothing of what a session's state means. Slots never go away, so a pointer to one stays
//! good; what is in it is another connection's as soon as its lock is another CPU's.

use core::{mem, ptr};

use sixgate_common::{
    slot::{Note, SLOTS_ENTRIES, Slot, WAYS},
    stat::Stat,
};

use super::try_lock;
use crate::{
    maps::{NOTES, SLOT_KEY, SLOTS, count},
    parse::Tuple,
};

/// The lock of a slot, or of none: unlocks it when dropped.
///
/// Not an `Option`: the compiler hands a register on that was never written in place of what an
/// empty one has not, and verifiers refuse to read it.
pub(crate) struct Held {
    slot: *mut Slot,
    pub(crate) index: u32,
}

impl Held {
    /// The lock of no slot.
    pub(crate) const NONE: Self = Self { slot: ptr::null_mut(), index: 0 };

    /// Whether it is a slot's lock.
    #[inline(always)]
    pub(crate) const fn is_some(&self) -> bool {
        !self.slot.is_null()
    }

    /// The slot that is locked, if there is one.
    #[inline(always)]
    pub(crate) const fn slot<'a>(&self) -> Option<&'a mut Slot> {
        // SAFETY: the lock is this CPU's, and slots never go away.
        unsafe { self.slot.as_mut() }
    }
}

impl Drop for Held {
    #[inline(always)]
    fn drop(&mut self) {
        if self.is_some() {
            // SAFETY: the lock is this CPU's.
            unsafe { try_lock::unlock(&raw mut (*self.slot).busy) };
        }
    }
}

/// The result of a search for a connection's slot.
pub(crate) enum Search {
    /// It has one, which is locked now.
    Found,
    /// Another CPU works on it.
    Busy,
    /// It has none.
    Missing,
}

/// The slot and the note at an index whose lock the caller has.
#[inline(always)]
pub(crate) fn of_caller<'a>(index: u32) -> Option<(&'a mut Slot, &'a mut Note)> {
    let index = index & (SLOTS_ENTRIES - 1);
    // SAFETY: the caller's lock covers both, and neither goes away.
    unsafe { Some((&mut *SLOTS.get_ptr_mut(index)?, &mut *NOTES.get_ptr_mut(index)?)) }
}

/// Looks for the connection's slot, and locks it.
#[inline(always)]
pub(crate) fn find(tuple: &Tuple, held: &mut Held) -> Search {
    let Some(places) = places(tuple) else {
        return Search::Missing;
    };
    for index in places {
        let Some(slot) = SLOTS.get_ptr_mut(index) else {
            continue;
        };
        if !is_of(slot, tuple) {
            continue;
        }
        if !lock(slot) {
            return Search::Busy;
        }
        // it may have become another connection's meanwhile
        if is_of(slot, tuple) {
            held.slot = slot;
            held.index = index;
            return Search::Found;
        }
        // SAFETY: the lock is this CPU's.
        unsafe { try_lock::unlock(&raw mut (*slot).busy) };
    }
    Search::Missing
}

/// Takes a slot for a connection that has none: a free one, else that of a session that is over,
/// else that of the older session. It is the connection's from then on, and locked. False while
/// another CPU has it, or looks for one for the same connection.
#[inline(always)]
pub(crate) fn take(tuple: &Tuple, state: u8, opened: u32, held: &mut Held) -> bool {
    let Some([first, second]) = places(tuple) else {
        return false;
    };
    let (Some(home), Some(other)) = (SLOTS.get_ptr_mut(first), SLOTS.get_ptr_mut(second)) else {
        return false;
    };
    // the first slot's lock is the right to give the connection a slot, so that it gets one only
    if !lock(home) {
        return false;
    }
    let home = Held { slot: home, index: first };
    if is_of(home.slot, tuple) || is_of(other, tuple) {
        return false;
    }
    // SAFETY: slots never go away; what another CPU writes meanwhile makes a worse choice at worst.
    let is_other_better = unsafe { rank(&*other, opened) > rank(&*home.slot, opened) };
    if is_other_better && first != second && lock(other) {
        give(other, tuple, state, opened);
        held.slot = other;
        held.index = second;
        return true;
    }
    give(home.slot, tuple, state, opened);
    held.slot = home.slot;
    held.index = first;
    mem::forget(home);
    true
}

/// How well a slot can be spared.
#[inline(always)]
const fn rank(slot: &Slot, now: u32) -> u64 {
    if slot.state == 0 {
        return u64::MAX;
    }
    let age = now.wrapping_sub(slot.opened) as u64;
    if slot.is_over() { 1 << 32 | age } else { age }
}

/// Writes the connection into a slot whose lock the caller has.
#[inline(always)]
fn give(slot: *mut Slot, tuple: &Tuple, state: u8, opened: u32) {
    // SAFETY: the caller's lock is the slot's, or the right to give it to this connection.
    let slot = unsafe { &mut *slot };
    if slot.state != 0 && !slot.is_over() {
        count(Stat::AlsoSlotTaken);
    }
    // one by one: the compiler would copy an array octet by octet
    slot.source[0] = tuple.source[0];
    slot.source[1] = tuple.source[1];
    slot.destination[0] = tuple.destination[0];
    slot.destination[1] = tuple.destination[1];
    slot.source_port = tuple.source_port;
    slot.state = state;
    slot.opened = opened;
}

/// Whether the slot is the connection's.
#[inline(always)]
fn is_of(slot: *const Slot, tuple: &Tuple) -> bool {
    // SAFETY: slots never go away; what is read without the lock is read again with it.
    let slot = unsafe { &*slot };
    slot.source_port == tuple.source_port
        && slot.source[1] == tuple.source[1]
        && slot.source[0] == tuple.source[0]
        && slot.destination[1] == tuple.destination[1]
        && slot.destination[0] == tuple.destination[0]
        && slot.state != 0
}

#[inline(always)]
fn lock(slot: *mut Slot) -> bool {
    // SAFETY: the lock is a field of a map's value, aligned to its size.
    unsafe { try_lock::lock(&raw mut (*slot).busy) }
}

#[inline(always)]
fn places(tuple: &Tuple) -> Option<[u32; WAYS]> {
    SLOT_KEY.get(0).map(|key| key.places(tuple.source, tuple.destination, tuple.source_port))
}
