//! Many sessions in one call of BPF_PROG_TEST_RUN, packet after packet.
//!
//! The packets are the caller's; what they cost is measured here, and that each has its answer is
//! the caller's business.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use sixgate_common::{flow::FlowKey, slot::Slot};

use super::{
    ROTATE, Rig, Rotation, Subject, loaded, measure_between, run,
    template::{KEEPS_SLOT, ROTATED_ENTRIES, ROTATED_MAX, Rotated},
};
use crate::bench::dialogue::Scored;

impl Rig {
    /// Nanoseconds for putting the next packet of `sessions` in place and one run of `subject`: the
    /// first packet of each session, then the second of each. At least `repeat` packets are run.
    ///
    /// # Errors
    /// If the sessions are of different lengths, are too many, or share a slot; or if the last
    /// packet does not get its answer.
    pub(in crate::bench) fn rotated(
        &mut self,
        subject: Subject,
        sessions: &[Vec<Scored>],
        repeat: u32,
    ) -> Result<f64> {
        let count = self.set_rotated(sessions)?;
        self.set_next(subject)?;
        let last = sessions.last().and_then(|session| session.last()).context("no packet at all")?;
        let program = loaded(&mut self.programs.helpers, ROTATE)?;
        let repeat = repeat.next_multiple_of(count).max(2 * count);
        let (time, outcome) = measure_between(count, repeat, |runs| {
            self.rotation.set(0, Rotation { count, ..Rotation::default() }, 0)?;
            run(program, &last.frame, runs)
        })?;
        let wanted = if subject == Subject::Empty { super::XDP_PASS } else { last.outcome.action };
        ensure!(outcome.action == wanted, "{}: action {}, not {wanted}", last.name, outcome.action);
        Ok(time)
    }

    /// Whether none of the slots that a connection may have is in `taken`; they are then.
    pub(in crate::bench) fn take_places(&self, key: &FlowKey, taken: &mut BTreeSet<u32>) -> bool {
        let places = self.slot_key.places_of(key);
        let is_free = places.iter().all(|place| !taken.contains(place));
        if is_free {
            taken.extend(places);
        }
        is_free
    }

    /// Frees the slots that a connection may have: it can be played again.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(in crate::bench) fn forget(&mut self, key: &FlowKey) -> Result<()> {
        let places = self.slot_key.places_of(key);
        Ok(places.into_iter().try_for_each(|place| self.slots.set(place, Slot::FREE, 0))?)
    }

    /// Writes the packets of all sessions, in the order in which they are run; their number.
    fn set_rotated(&mut self, sessions: &[Vec<Scored>]) -> Result<u32> {
        let length = sessions.first().map_or(0, Vec::len);
        ensure!(sessions.iter().all(|session| session.len() == length), "sessions of different lengths");
        let count = length * sessions.len();
        ensure!(count <= ROTATED_ENTRIES, "{count} packets do not fit");
        let packets = (0..length).flat_map(|at| sessions.iter().map(move |session| (at, &session[at])));
        for (index, (at, packet)) in (0..).zip(packets) {
            let octets = packet.frame.len();
            ensure!(octets <= ROTATED_MAX, "a frame of {octets} octets does not fit");
            let mut frame = [0; ROTATED_MAX];
            frame[..octets].copy_from_slice(&packet.frame);
            let frees = if at == 0 { self.place(&packet.key) } else { KEEPS_SLOT };
            self.rotated.set(index, Rotated { length: octets as u32, frees, frame }, 0)?;
        }
        Ok(u32::try_from(count)?)
    }
}
