//! Who answers refused senders, the XDP program or the daemon, and why not who should.
//!
//! What an obstacle is, and how it is found, is the dataplane's.

use std::fmt;

use sixgate_common::settings::{ANSWER_HINDERED, ANSWER_KERNEL, Settings};

use super::{Control, ControlError};
use crate::dataplane::{self, DataplaneError, Obstacle};

/// Who answers, as SETTINGS say and as it should be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answering {
    /// The daemon, as it should.
    Daemon,
    /// The XDP program, as it should. Obstacles are new: its answers are lost until the daemon notices, or until
    /// somebody attaches again.
    Kernel(Vec<Obstacle>),
    /// The daemon, because of these obstacles; none if they are gone and nobody noticed yet.
    Hindered(Vec<Obstacle>),
}

impl Answering {
    /// `kernel` or `daemon`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Kernel(_) => "kernel",
            Self::Daemon | Self::Hindered(_) => "daemon",
        }
    }

    /// Why the daemon answers although it should not.
    #[must_use]
    pub fn hindrance(&self) -> Option<String> {
        match self {
            Self::Hindered(obstacles) if obstacles.is_empty() => Some("for a reason that is gone".to_owned()),
            Self::Hindered(obstacles) => Some(listed(obstacles)),
            Self::Daemon | Self::Kernel(_) => None,
        }
    }

    /// What makes the program's answers get lost.
    pub(super) fn loss(&self) -> Option<String> {
        match self {
            Self::Kernel(obstacles) if !obstacles.is_empty() => Some(listed(obstacles)),
            _ => None,
        }
    }
}

impl fmt::Display for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self.hindrance() {
            Some(reason) => write!(f, ", not kernel: {reason}"),
            None => Ok(()),
        }
    }
}

impl Control {
    /// Who answers; nobody if nothing is attached.
    pub fn answering(&self) -> Result<Option<Answering>, ControlError> {
        match self.maps()? {
            Some(maps) => Ok(Some(self.answering_by(&maps.settings()?)?)),
            None => Ok(None),
        }
    }

    /// Looks for obstacles that came or went, and lets the program answer or not; who answers now, if that changed.
    pub fn review_answering(&self) -> Result<Option<Answering>, ControlError> {
        let Some(before) = self.answering()? else {
            return Ok(None);
        };
        let after = match before {
            Answering::Kernel(obstacles) if !obstacles.is_empty() => Answering::Hindered(obstacles),
            Answering::Hindered(obstacles) if obstacles.is_empty() => Answering::Kernel(obstacles),
            _ => return Ok(None),
        };
        let _owned = self.store.own()?;
        if let Some(mut maps) = self.maps()? {
            maps.hinder(matches!(after, Answering::Hindered(_)))?;
        }
        Ok(Some(after))
    }

    pub(super) fn answering_by(&self, settings: &Settings) -> Result<Answering, DataplaneError> {
        let mut obstacles = match settings.answer {
            ANSWER_KERNEL | ANSWER_HINDERED => dataplane::obstacles(&self.pins)?,
            _ => return Ok(Answering::Daemon),
        };
        if settings.answer == ANSWER_KERNEL {
            return Ok(Answering::Kernel(obstacles));
        }
        if obstacles.is_empty() {
            obstacles.extend(self.own_obstacle()?);
        }
        Ok(Answering::Hindered(obstacles))
    }

    /// Why this binary's program cannot answer on this kernel; found out once.
    fn own_obstacle(&self) -> Result<Option<Obstacle>, DataplaneError> {
        if let Some(known) = self.own_obstacle.get() {
            return Ok(known.clone());
        }
        let found = match dataplane::embedded() {
            Ok(embedded) => embedded.obstacle,
            Err(DataplaneError::NoProgram) => None,
            Err(error) => return Err(error),
        };
        Ok(self.own_obstacle.get_or_init(|| found).clone())
    }
}

fn listed(obstacles: &[Obstacle]) -> String {
    let texts: Vec<String> = obstacles.iter().map(Obstacle::to_string).collect();
    texts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::PeerLacks;

    #[test]
    fn who_answers_is_told_with_the_reason() {
        let plain = Obstacle::Peer { interface: "eth0".to_owned(), why: PeerLacks::Program };
        let kernel = Obstacle::Kernel { lacks: "SYN cookies".to_owned() };
        for (answering, wanted) in [
            (Answering::Daemon, "daemon"),
            (Answering::Kernel(Vec::new()), "kernel"),
            (Answering::Kernel(vec![plain.clone()]), "kernel"),
            (Answering::Hindered(Vec::new()), "daemon, not kernel: for a reason that is gone"),
            (
                Answering::Hindered(vec![kernel, plain]),
                "daemon, not kernel: this kernel lacks SYN cookies; eth0: its peer runs no XDP program, answers \
                 would be lost",
            ),
        ] {
            assert_eq!(answering.to_string(), wanted);
        }
    }
}
