//! The slot of a connection: found, or taken for a new one, and locked while it is worked on.
//!
//! It knows nothing of what a session's state means. Slots never go away, so a pointer to one stays
//! good; what is in it is another connection's as soon as its lock is another CPU's.

use sixgate_common::{
    slot::{Note, SLOTS_ENTRIES, Slot, WAYS},
    stat::Stat,
};

use super::try_lock::TryLock;
use crate::{
    maps::{NOTES, SLOT_KEY, SLOTS, count},
    parse::Tuple,
};

/// A slot, locked.
pub(crate) struct Locked {
    pub(crate) index: u32,
    slot: *mut Slot,
    _lock: TryLock,
}

impl Locked {
    /// The slot.
    #[inline(always)]
    pub(crate) const fn slot<'a>(&self) -> &'a mut Slot {
        // SAFETY: the lock is this CPU's, and slots never go away.
        unsafe { &mut *self.slot }
    }
}

/// What a search for a connection's slot comes to.
pub(crate) enum Search {
    /// It has this one.
    Found(Locked),
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

/// Looks for the connection's slot.
#[inline(always)]
pub(crate) fn find(tuple: &Tuple) -> Search {
    let Some(places) = places(tuple) else {
        return Search::Missing;
    };
    for way in 0..WAYS {
        let index = places[way];
        let Some(slot) = SLOTS.get_ptr_mut(index) else {
            continue;
        };
        if !is_of(slot, tuple) {
            continue;
        }
        let Some(lock) = lock(slot) else {
            return Search::Busy;
        };
        // it may have become another connection's meanwhile
        if is_of(slot, tuple) {
            return Search::Found(Locked { index, slot, _lock: lock });
        }
    }
    Search::Missing
}

/// Takes a slot for a connection that has none: a free one, else that of a session that is over,
/// else that of the older session. It is the connection's from then on; none while another CPU has
/// it, or looks for one for the same connection.
#[inline(always)]
pub(crate) fn take(tuple: &Tuple, state: u8, opened: u32) -> Option<Locked> {
    let [first, second] = places(tuple)?;
    let (home, other) = (SLOTS.get_ptr_mut(first)?, SLOTS.get_ptr_mut(second)?);
    // the first place's lock is the right to give the connection a slot, so that it gets one only
    let lock_of_home = lock(home)?;
    if is_of(home, tuple) || is_of(other, tuple) {
        return None;
    }
    let now = opened;
    let mut taken = Locked { index: first, slot: home, _lock: lock_of_home };
    // SAFETY: slots never go away; what another CPU writes meanwhile makes a worse choice at worst.
    let (rank_of_home, rank_of_other) = unsafe { (rank(&*home, now), rank(&*other, now)) };
    if rank_of_other > rank_of_home
        && first != second
        && let Some(lock) = lock(other)
    {
        give(other, tuple, state, opened);
        return Some(Locked { index: second, slot: other, _lock: lock });
    }
    give(home, tuple, state, opened);
    taken.index = first;
    Some(taken)
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
    slot.source = tuple.source;
    slot.destination = tuple.destination;
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
fn lock(slot: *mut Slot) -> Option<TryLock> {
    // SAFETY: the lock is a field of a map's value, aligned to its size.
    unsafe { TryLock::lock(&raw mut (*slot).busy) }
}

#[inline(always)]
fn places(tuple: &Tuple) -> Option<[u32; WAYS]> {
    SLOT_KEY.get(0).map(|key| key.places(tuple.source, tuple.destination, tuple.source_port))
}
