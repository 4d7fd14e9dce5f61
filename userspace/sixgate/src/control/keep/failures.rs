//! Attempts that failed: reported once, and repeated after a pause that grows.
//!
//! It attempts nothing itself.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use sixgate_dataplane::DataplaneError;

use super::notice::{Looked, Urgency};
use crate::control::ControlError;

/// The failures that last, by the name in the configuration, or by the caller's key.
#[derive(Debug, Default)]
pub(super) struct Failures(BTreeMap<String, RepeatedFailure>);

/// A failure that lasts.
#[derive(Clone, Debug)]
struct RepeatedFailure {
    /// As it was reported.
    text: String,
    /// The program that is where this daemon's is to be, if that is the reason.
    occupant: Option<Occupant>,
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

impl Failures {
    /// The text of a failure, as it was reported.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|failure| failure.text.as_str())
    }

    /// The program that is in the way, if that is why `name` fails.
    pub(super) fn occupant(&self, name: &str) -> Option<Occupant> {
        self.0.get(name)?.occupant
    }

    /// Whether such a program is in the way anywhere.
    pub(super) fn has(&self, occupant: Occupant) -> bool {
        self.0.values().any(|failure| failure.occupant == Some(occupant))
    }

    /// Whether the next attempt is to be made now.
    pub(super) fn is_due(&self, name: &str, now: Instant) -> bool {
        self.0.get(name).is_none_or(|failure| failure.due <= now)
    }

    /// Notes an attempt's outcome: a failure is reported once, and puts the next attempt off.
    /// `is_final`: this kernel does not take the program, so that there is no other attempt.
    pub(super) fn settle(
        &mut self,
        name: &str,
        outcome: Result<(), ControlError>,
        is_final: bool,
        now: Instant,
        looked: &mut Looked,
    ) {
        match outcome {
            Ok(()) => {
                self.0.remove(name);
            }
            Err(error) => {
                let occupant = Occupant::of(&error);
                let then = if occupant == Some(Occupant::OtherPins) {
                    "it goes on refusing there, and this daemon tries again"
                } else if is_final {
                    "the daemon decides alone and does not try again before its next start"
                } else {
                    "the daemon decides alone there and tries again"
                };
                let text = format!("{:#}; {then}", anyhow::Error::new(error));
                self.note(name, (Urgency::Error, text, occupant), now, looked);
            }
        }
    }

    /// Notes a failure: how urgent it is, its text, and the program that is in the way, if any.
    pub(super) fn note(
        &mut self,
        name: &str,
        (urgency, text, occupant): (Urgency, String, Option<Occupant>),
        now: Instant,
        looked: &mut Looked,
    ) {
        let before = self.0.remove(name);
        let pause = before.as_ref().map_or(RETRY_FIRST, |failure| (failure.pause * 2).min(RETRY_LAST));
        if before.is_none_or(|failure| failure.text != text) {
            looked.note(urgency, text.clone());
        }
        self.0.insert(name.to_owned(), RepeatedFailure { text, occupant, due: now + pause, pause });
    }
}

/// Pauses between attempts: doubled from the first to the last.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(60);
