//! Attempts that failed: reported once, and repeated after a pause that grows.
//!
//! It attempts nothing itself.

use std::time::{Duration, Instant};

use super::{ControlError, Keeper, Looked, Urgency};
use sixgate_dataplane::DataplaneError;

/// A failure that lasts.
#[derive(Clone, Debug)]
pub(super) struct RepeatedFailure {
    /// As it was reported.
    pub(super) text: String,
    /// The program that is where this daemon's is to be, if that is the reason.
    pub(super) occupant: Option<Occupant>,
    /// When the next attempt is made.
    due: Instant,
    /// The time between the last attempt and the next one.
    pause: Duration,
}

/// A program on an interface that is to have this daemon's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Occupant {
    /// Another program than sixgate's.
    Foreign,
    /// Sixgate's program of another pin directory.
    OtherPins,
}

impl Occupant {
    fn of(error: &ControlError) -> Option<Self> {
        match error {
            ControlError::Dataplane(DataplaneError::Occupied { .. }) => Some(Self::Foreign),
            ControlError::Dataplane(error) if error.is_of_other_pins() => Some(Self::OtherPins),
            _ => None,
        }
    }
}

impl Keeper {
    pub(super) fn is_due(&self, name: &str, now: Instant) -> bool {
        self.failures.get(name).is_none_or(|failure| failure.due <= now)
    }

    /// Notes an attempt's outcome: a failure is reported once, and puts the next attempt off.
    pub(super) fn settle(
        &mut self,
        name: &str,
        outcome: Result<(), ControlError>,
        now: Instant,
        looked: &mut Looked,
    ) {
        match outcome {
            Ok(()) => {
                self.failures.remove(name);
            }
            Err(error) => {
                let occupant = Occupant::of(&error);
                let then = if occupant == Some(Occupant::OtherPins) {
                    "it goes on refusing there, and this daemon tries again"
                } else if self.control.loader.is_refused() {
                    "the daemon decides alone and does not try again before its next start"
                } else {
                    "the daemon decides alone there and tries again"
                };
                let text = format!("{:#}; {then}", anyhow::Error::new(error));
                self.note_failure(name, (Urgency::Error, text, occupant), now, looked);
            }
        }
    }

    /// Notes a failure: how urgent it is, its text, and the program that is in the way, if any.
    pub(super) fn note_failure(
        &mut self,
        name: &str,
        (urgency, text, occupant): (Urgency, String, Option<Occupant>),
        now: Instant,
        looked: &mut Looked,
    ) {
        let before = self.failures.remove(name);
        let pause = before.as_ref().map_or(RETRY_FIRST, |failure| (failure.pause * 2).min(RETRY_LAST));
        if before.is_none_or(|failure| failure.text != text) {
            looked.note(urgency, text.clone());
        }
        self.failures.insert(name.to_owned(), RepeatedFailure { text, occupant, due: now + pause, pause });
    }
}

/// Pauses between attempts: doubled from the first to the last.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(60);
