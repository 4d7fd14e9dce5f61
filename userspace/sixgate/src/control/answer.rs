//! Whether the XDP program or the daemon answers refused clients, and why it is not as configured.
//!
//! The dataplane defines the obstacles and finds them.

use std::{collections::BTreeMap, fmt};

use sixgate_common::settings::{ANSWER_HINDERED, ANSWER_KERNEL, Settings};

use super::{Control, ControlError, MAPS_WAIT};
use sixgate_dataplane::{self as dataplane, DataplaneError, Maps, Network, Obstacle, Outlook};

/// Whether the XDP program or the daemon answers, by the maps, and whether that is as configured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answering {
    /// The daemon, as it should.
    Daemon,
    /// The XDP program, as it should.
    Kernel {
        /// The obstacles to that on some interfaces: the daemon answers there.
        fallbacks: Vec<Obstacle>,
        /// Obstacles that are new: its answers are lost until the daemon notices, or until a
        /// command attaches again.
        losses: Vec<Obstacle>,
    },
    /// The daemon, because of these obstacles; none if they are gone and neither daemon nor command
    /// has noticed yet.
    Hindered(Vec<Obstacle>),
}

impl Answering {
    /// `kernel` or `daemon`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Kernel { .. } => "kernel",
            Self::Daemon | Self::Hindered(_) => "daemon",
        }
    }

    /// Why the daemon answers although it should not.
    #[must_use]
    pub fn hindrance(&self) -> Option<String> {
        match self {
            Self::Hindered(obstacles) if obstacles.is_empty() => Some("for a reason that is gone".to_owned()),
            Self::Hindered(obstacles) => Some(listed(obstacles)),
            Self::Daemon | Self::Kernel { .. } => None,
        }
    }

    /// Why it does so on some interfaces.
    #[must_use]
    pub fn fallbacks(&self) -> &[Obstacle] {
        match self {
            Self::Kernel { fallbacks, .. } => fallbacks,
            Self::Daemon | Self::Hindered(_) => &[],
        }
    }

    /// The obstacles by which the program's answers get lost.
    pub(super) fn loss(&self) -> Option<String> {
        match self {
            Self::Kernel { losses, .. } if !losses.is_empty() => Some(listed(losses)),
            _ => None,
        }
    }

    /// A line of the log.
    #[must_use]
    pub fn sentence(&self) -> String {
        match (self, self.hindrance()) {
            (Self::Kernel { fallbacks, .. }, _) if fallbacks.is_empty() => {
                "refusals are answered by the kernel".to_owned()
            }
            (Self::Kernel { fallbacks, .. }, _) => {
                format!(
                    "refusals are answered by the kernel, except on some interfaces: {}",
                    listed(fallbacks)
                )
            }
            (_, Some(reason)) => {
                format!("refusals are answered by the daemon instead of the kernel: {reason}")
            }
            (_, None) => "refusals are answered by the daemon".to_owned(),
        }
    }
}

impl fmt::Display for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self.hindrance() {
            Some(reason) => write!(f, ", not kernel: {reason}"),
            None if self.fallbacks().is_empty() => Ok(()),
            None => write!(f, ", but {}", listed(self.fallbacks())),
        }
    }
}

/// The obstacles to the program's answers, by the indices of the interfaces that it runs on.
type Obstacles = BTreeMap<u32, Outlook>;

impl Control {
    /// Whether daemon or program answers; nothing if the program is not attached.
    ///
    /// # Errors
    ///
    /// [`ControlError::Dataplane`].
    pub fn answering(&self) -> Result<Option<Answering>, ControlError> {
        match self.maps()? {
            Some(maps) => {
                let obstacles = dataplane::obstacles(&self.pins, &mut Network::default())?;
                Ok(Some(self.answering_by(&maps, &maps.settings()?, &obstacles)?))
            }
            None => Ok(None),
        }
    }

    /// Looks for what came or went: obstacles, MAC addresses, masters. Lets the program answer or
    /// not; who answers now, if that changed.
    ///
    /// # Errors
    ///
    /// [`ControlError::Dataplane`].
    pub fn review(&self, network: &mut Network) -> Result<Option<Answering>, ControlError> {
        let Some(mut maps) = self.maps()? else {
            return Ok(None);
        };
        let settings = maps.settings()?;
        let obstacles = dataplane::obstacles(&self.pins, network)?;
        let wanted = match settings.answer {
            ANSWER_KERNEL | ANSWER_HINDERED => self.answer_wanted(&obstacles)?,
            other => other,
        };
        if settings.answer == wanted && maps.has_stations(&obstacles, network)? {
            return Ok(None);
        }
        let _lock = self.pins.lock_maps(MAPS_WAIT)?;
        let before = self.answering_by(&maps, &settings, &obstacles)?;
        maps.review_stations(&obstacles, network)?;
        maps.hinder(wanted == ANSWER_HINDERED)?;
        let after = self.answering_by(&maps, &maps.settings()?, &obstacles)?;
        Ok((before != after).then_some(after))
    }

    /// The value of SETTINGS while the program is to answer: whether it can on one interface at
    /// least.
    fn answer_wanted(&self, obstacles: &Obstacles) -> Result<u32, DataplaneError> {
        let can = dataplane::can_answer(obstacles) && self.own_obstacle()?.is_none();
        Ok(if can { ANSWER_KERNEL } else { ANSWER_HINDERED })
    }

    pub(super) fn answering_by(
        &self,
        maps: &Maps,
        settings: &Settings,
        obstacles: &Obstacles,
    ) -> Result<Answering, DataplaneError> {
        let mut found: Vec<Obstacle> =
            obstacles.values().filter_map(|outlook| outlook.obstacle.clone()).collect();
        match settings.answer {
            ANSWER_KERNEL => {
                let stations = maps.stations()?;
                let is_lost = |index: &u32, obstacle: &Obstacle| {
                    let mut here =
                        stations.iter().filter(|(station, _)| station.ifindex == *index).peekable();
                    let is_kept = here.peek().is_some() && here.all(|(_, what)| !what.answers);
                    !is_kept && !matches!(obstacle, Obstacle::NoEthernet { .. })
                };
                let with_obstacle =
                    obstacles.iter().filter_map(|(index, outlook)| Some((index, outlook.obstacle.as_ref()?)));
                let (losses, fallbacks): (Vec<_>, Vec<_>) =
                    with_obstacle.partition(|(index, obstacle)| is_lost(index, obstacle));
                let cloned =
                    |of: Vec<(&u32, &Obstacle)>| of.into_iter().map(|(_, one)| one.clone()).collect();
                Ok(Answering::Kernel { fallbacks: cloned(fallbacks), losses: cloned(losses) })
            }
            ANSWER_HINDERED => {
                if dataplane::can_answer(obstacles) {
                    found.extend(self.own_obstacle()?);
                }
                Ok(Answering::Hindered(found))
            }
            _ => Ok(Answering::Daemon),
        }
    }

    /// Why this binary's program cannot answer on this kernel; found out once.
    fn own_obstacle(&self) -> Result<Option<Obstacle>, DataplaneError> {
        match self.loader.embedded() {
            Ok(embedded) => Ok(embedded.obstacle),
            // a program of another build is attached
            Err(DataplaneError::NoProgram | DataplaneError::KernelLacks { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn listed(obstacles: &[Obstacle]) -> String {
    let texts: Vec<String> = obstacles.iter().map(Obstacle::to_string).collect();
    texts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sixgate_dataplane::PeerLacks;

    #[test]
    fn who_answers_is_told_with_the_reason() {
        let plain = Obstacle::Peer { interface: "eth0".to_owned(), why: PeerLacks::Program };
        let kernel = Obstacle::Kernel { refusal: "this kernel lacks SYN cookies".to_owned() };
        let none = Vec::new;
        let answers = |fallbacks, losses| Answering::Kernel { fallbacks, losses };
        for (answering, wanted, sentence) in [
            (Answering::Daemon, "daemon", "refusals are answered by the daemon"),
            (answers(none(), none()), "kernel", "refusals are answered by the kernel"),
            (answers(none(), vec![plain.clone()]), "kernel", "refusals are answered by the kernel"),
            (
                answers(vec![plain.clone()], none()),
                "kernel, but eth0: its peer runs no XDP program, answers would be lost",
                "refusals are answered by the kernel, except on some interfaces: eth0: its peer runs no XDP program, \
                 answers would be lost",
            ),
            (
                Answering::Hindered(none()),
                "daemon, not kernel: for a reason that is gone",
                "refusals are answered by the daemon instead of the kernel: for a reason that is gone",
            ),
            (
                Answering::Hindered(vec![kernel, plain]),
                "daemon, not kernel: this kernel lacks SYN cookies; eth0: its peer runs no XDP program, answers \
                 would be lost",
                "refusals are answered by the daemon instead of the kernel: this kernel lacks SYN cookies; eth0: its \
                 peer runs no XDP program, answers would be lost",
            ),
        ] {
            assert_eq!((answering.to_string().as_str(), answering.sentence().as_str()), (wanted, sentence));
        }
    }
}
