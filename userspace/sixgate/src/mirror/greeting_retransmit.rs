//! Which greetings are to be looked at again, and when: the kernel has no timer, so a greeting that
//! got lost would leave both sides waiting.
//!
//! It does no IO and reads no clock: times are nanoseconds of CLOCK_MONOTONIC, as the kernel counts
//! them.

use std::collections::{BTreeMap, HashMap, btree_map::Entry};

use sixgate_common::flow::FlowKey;
use sixgate_dataplane::Refused;

/// Sessions that were greeted lately, each with the time at which its greeting is to be looked at.
#[derive(Debug, Default)]
pub(crate) struct GreetingRetransmits {
    /// By time; the number tells those of the same instant apart.
    order: BTreeMap<(u64, u64), Waiting>,
    /// The key in `order` of each session.
    positions: HashMap<FlowKey, (u64, u64)>,
    /// The next number.
    next: u64,
}

/// One session that waits for a look at its greeting.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Waiting {
    pub(crate) session: Refused,
    /// How often its greeting was sent again.
    sent: usize,
}

impl GreetingRetransmits {
    /// A session was greeted. False if the list is full: its greeting is not looked at then.
    pub(crate) fn begun(&mut self, session: Refused) -> bool {
        // the port was used again: the session before is over
        self.ended(&session.flow);
        if self.positions.len() >= GREETINGS_MAX {
            return false;
        }
        self.wait(session.opened, Waiting { session, sent: 0 });
        true
    }

    /// A session is over.
    pub(crate) fn ended(&mut self, flow: &FlowKey) {
        if let Some(position) = self.positions.remove(flow) {
            self.order.remove(&position);
        }
    }

    /// A session whose time has come; it leaves the list.
    pub(crate) fn due(&mut self, now: u64) -> Option<Waiting> {
        let first = self.order.first_entry().filter(|entry| entry.key().0 <= now)?;
        let waiting = first.remove();
        self.positions.remove(&waiting.session.flow);
        Some(waiting)
    }

    /// The greeting of a session that was due was sent again at `now`: it comes back, unless that
    /// was the last time.
    pub(crate) fn sent(&mut self, waiting: Waiting, now: u64) {
        self.wait(now, Waiting { sent: waiting.sent + 1, ..waiting });
    }

    /// Whether there is anything to wait for.
    pub(crate) fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    fn wait(&mut self, from: u64, waiting: Waiting) {
        let Some(interval) = INTERVALS.get(waiting.sent) else {
            return;
        };
        let position = (from.saturating_add(interval * SECOND), self.next);
        self.next = self.next.wrapping_add(1);
        if let Entry::Vacant(vacant) = self.order.entry(position) {
            vacant.insert(waiting);
            self.positions.insert(waiting.session.flow, position);
        }
    }
}

/// Sessions at a time.
const GREETINGS_MAX: usize = 16 * 1024;
/// Seconds before each look at a greeting: doubled, as retransmission time-outs are (RFC 6298 5.5).
const INTERVALS: [u64; 5] = [1, 2, 4, 8, 16];
/// One second in nanoseconds.
const SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use sixgate_common::refuse::Reason;

    use super::*;

    fn session(port: u16, opened: u64) -> Refused {
        let flow = FlowKey {
            source: [1; 16],
            destination: [2; 16],
            source_port: port.to_be_bytes(),
            destination_port: [0, 25],
        };
        Refused { flow, reason: Reason::NotOptedIn, opened }
    }

    #[test]
    fn a_greeting_is_looked_at_after_doubled_intervals_and_then_no_more() {
        let mut retransmits = GreetingRetransmits::default();
        let opened = 5 * SECOND;
        assert!(retransmits.begun(session(1, opened)));
        let mut looks = Vec::new();
        for now in (0..100 * SECOND).step_by(SECOND as usize / 2) {
            if let Some(waiting) = retransmits.due(now) {
                looks.push((now - opened) / SECOND);
                retransmits.sent(waiting, now);
            }
        }
        assert_eq!(looks, [1, 3, 7, 15, 31]);
        assert!(retransmits.is_empty() && retransmits.order.is_empty());
    }

    #[test]
    fn a_session_that_ended_or_gave_way_is_not_looked_at() {
        let mut retransmits = GreetingRetransmits::default();
        retransmits.begun(session(1, 0));
        retransmits.begun(session(2, 0));
        retransmits.ended(&session(1, 0).flow);
        retransmits.begun(session(2, SECOND));
        assert_eq!(retransmits.due(SECOND), None);
        let due = retransmits.due(2 * SECOND).unwrap();
        assert_eq!(due.session, session(2, SECOND));
        assert_eq!(retransmits.due(u64::MAX), None, "one that is not sent again does not come back");
        assert!(retransmits.is_empty() && retransmits.order.is_empty());
    }

    #[test]
    fn the_list_is_bounded_and_has_room_again_when_sessions_end() {
        let mut retransmits = GreetingRetransmits::default();
        let all = (0..=u16::MAX).map(|port| session(port, 7));
        assert_eq!(all.filter(|session| retransmits.begun(*session)).count(), GREETINGS_MAX);
        assert!(retransmits.begun(session(0, 8)), "one that is there is replaced");
        retransmits.ended(&session(1, 7).flow);
        assert!(retransmits.begun(session(u16::MAX, 7)));
        assert!(!retransmits.begun(session(u16::MAX - 1, 7)));
    }
}
