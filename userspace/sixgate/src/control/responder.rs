//! Whether the XDP program or the daemon answers refused clients, and why it is not as configured.
//!
//! The dataplane defines the reasons for a fallback and finds them.

use std::{collections::BTreeMap, fmt};

use sixgate_common::settings::{ANSWER_FALLBACK, ANSWER_KERNEL, Settings};

use super::{Control, ControlError, MAPS_WAIT};
use sixgate_dataplane::{self as dataplane, DataplaneError, FallbackReason, InterfaceCache, Maps, Outlook};

/// Whether the XDP program or the daemon answers, by the maps, and whether that is as configured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Responder {
    /// The daemon, as it should.
    Daemon,
    /// The XDP program, as it should.
    Kernel {
        /// Why the daemon answers on some interfaces instead.
        partial_fallbacks: Vec<FallbackReason>,
        /// Reasons that are new: the program's answers are lost until the daemon notices, or until
        /// a command attaches again.
        losses: Vec<FallbackReason>,
    },
    /// The daemon instead of the program, for these reasons; none if they are gone and neither
    /// daemon nor command has noticed yet.
    Fallback(Vec<FallbackReason>),
}

impl Responder {
    /// `kernel` or `daemon`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Kernel { .. } => "kernel",
            Self::Daemon | Self::Fallback(_) => "daemon",
        }
    }

    /// Why the daemon answers although it should not.
    #[must_use]
    pub fn fallback_reason(&self) -> Option<String> {
        match self {
            Self::Fallback(reasons) if reasons.is_empty() => Some(GONE.to_owned()),
            Self::Fallback(reasons) => Some(listed(reasons)),
            Self::Daemon | Self::Kernel { .. } => None,
        }
    }

    /// Why it does so on some interfaces.
    #[must_use]
    pub fn partial_fallbacks(&self) -> &[FallbackReason] {
        match self {
            Self::Kernel { partial_fallbacks, .. } => partial_fallbacks,
            Self::Daemon | Self::Fallback(_) => &[],
        }
    }

    /// The reasons why the program's answers get lost.
    pub(super) fn loss(&self) -> Option<String> {
        match self {
            Self::Kernel { losses, .. } if !losses.is_empty() => Some(listed(losses)),
            _ => None,
        }
    }

    /// A line of the log.
    #[must_use]
    pub fn sentence(&self) -> String {
        match (self, self.fallback_reason()) {
            (Self::Kernel { partial_fallbacks, .. }, _) if partial_fallbacks.is_empty() => {
                "refusals are answered by the kernel".to_owned()
            }
            (Self::Kernel { partial_fallbacks, .. }, _) => {
                format!(
                    "refusals are answered by the kernel, except on some interfaces: {}",
                    listed(partial_fallbacks)
                )
            }
            (_, Some(reason)) => {
                format!("refusals are answered by the daemon instead of the kernel: {reason}")
            }
            (_, None) => "refusals are answered by the daemon".to_owned(),
        }
    }
}

impl fmt::Display for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self.fallback_reason() {
            Some(reason) => write!(f, ", not kernel: {reason}"),
            None if self.partial_fallbacks().is_empty() => Ok(()),
            None => write!(f, ", but {}", listed(self.partial_fallbacks())),
        }
    }
}

/// The state of the interfaces that the program runs on, by their indices.
type Outlooks = BTreeMap<u32, Outlook>;

impl Control {
    /// Whether daemon or program answers; nothing if the program is not attached.
    ///
    /// # Errors
    ///
    /// [`ControlError::Dataplane`].
    pub fn responder(&self) -> Result<Option<Responder>, ControlError> {
        match self.maps()? {
            Some(maps) => {
                let outlooks = dataplane::outlooks(&self.pins, &mut InterfaceCache::default())?;
                Ok(Some(self.responder_by(&maps, &maps.settings()?, &outlooks)?))
            }
            None => Ok(None),
        }
    }

    /// Looks for what came or went: fallback reasons, MAC addresses, masters. Lets the program
    /// answer or not; returns who answers now, if that changed.
    ///
    /// # Errors
    ///
    /// [`ControlError::Dataplane`].
    pub fn review(&self, network: &mut InterfaceCache) -> Result<Option<Responder>, ControlError> {
        let Some(mut maps) = self.maps()? else {
            return Ok(None);
        };
        let settings = maps.settings()?;
        let outlooks = dataplane::outlooks(&self.pins, network)?;
        let wanted = match settings.answer {
            ANSWER_KERNEL | ANSWER_FALLBACK => self.answer_wanted(&outlooks)?,
            other => other,
        };
        if settings.answer == wanted && maps.has_stations(&outlooks, network)? {
            return Ok(None);
        }
        let _lock = self.pins.lock_maps(MAPS_WAIT)?;
        let before = self.responder_by(&maps, &settings, &outlooks)?;
        maps.review_stations(&outlooks, network)?;
        maps.set_fallback(wanted == ANSWER_FALLBACK)?;
        let after = self.responder_by(&maps, &maps.settings()?, &outlooks)?;
        Ok((before != after).then_some(after))
    }

    /// The value of SETTINGS while the program is to answer: whether it can on one interface at
    /// least.
    fn answer_wanted(&self, outlooks: &Outlooks) -> Result<u32, DataplaneError> {
        let can = dataplane::can_answer(outlooks) && self.own_fallback_reason()?.is_none();
        Ok(if can { ANSWER_KERNEL } else { ANSWER_FALLBACK })
    }

    pub(super) fn responder_by(
        &self,
        maps: &Maps,
        settings: &Settings,
        outlooks: &Outlooks,
    ) -> Result<Responder, DataplaneError> {
        let mut found: Vec<FallbackReason> =
            outlooks.values().filter_map(|outlook| outlook.fallback_reason.clone()).collect();
        match settings.answer {
            ANSWER_KERNEL => {
                let stations = maps.stations()?;
                let is_lost = |index: &u32, fallback_reason: &FallbackReason| {
                    let mut here =
                        stations.iter().filter(|(station, _)| station.ifindex == *index).peekable();
                    let is_kept = here.peek().is_some() && here.all(|(_, what)| !what.answers);
                    !is_kept && !matches!(fallback_reason, FallbackReason::NoEthernet { .. })
                };
                let with_reason = outlooks
                    .iter()
                    .filter_map(|(index, outlook)| Some((index, outlook.fallback_reason.as_ref()?)));
                let (losses, partial_fallbacks): (Vec<_>, Vec<_>) =
                    with_reason.partition(|(index, fallback_reason)| is_lost(index, fallback_reason));
                let cloned =
                    |of: Vec<(&u32, &FallbackReason)>| of.into_iter().map(|(_, one)| one.clone()).collect();
                Ok(Responder::Kernel { partial_fallbacks: cloned(partial_fallbacks), losses: cloned(losses) })
            }
            ANSWER_FALLBACK => {
                if dataplane::can_answer(outlooks) {
                    found.extend(self.own_fallback_reason()?);
                }
                Ok(Responder::Fallback(found))
            }
            _ => Ok(Responder::Daemon),
        }
    }

    /// Why this binary's program cannot answer on this kernel; found out once.
    fn own_fallback_reason(&self) -> Result<Option<FallbackReason>, DataplaneError> {
        if !self.can_attach {
            let refusal = || FallbackReason::Kernel { refusal: WITHOUT_ANSWERS.to_owned() };
            return Ok(self.pins.lacks_answers()?.then(refusal));
        }
        match self.loader.embedded() {
            Ok(embedded) => Ok(embedded.fallback_reason),
            // a program of another build is attached
            Err(DataplaneError::NoProgram | DataplaneError::KernelLacks { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Where the process that attached the program found the reason.
const WITHOUT_ANSWERS: &str =
    "the kernel refused the part of the XDP program that answers; `sixgate attach -v` prints the reason";
/// In place of reasons that are gone, until the next look.
const GONE: &str = "the reason is gone: the daemon notices within seconds, or `sixgate attach`";

fn listed(reasons: &[FallbackReason]) -> String {
    let texts: Vec<String> = reasons.iter().map(FallbackReason::to_string).collect();
    texts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sixgate_dataplane::PeerLacks;

    #[test]
    fn the_responder_is_named_with_the_reason() {
        let plain = FallbackReason::Peer { interface: "eth0".to_owned(), why: PeerLacks::Program };
        let kernel = FallbackReason::Kernel { refusal: "this kernel lacks SYN cookies".to_owned() };
        let none = Vec::new;
        let answers = |partial_fallbacks, losses| Responder::Kernel { partial_fallbacks, losses };
        for (responder, wanted, sentence) in [
            (Responder::Daemon, "daemon", "refusals are answered by the daemon"),
            (answers(none(), none()), "kernel", "refusals are answered by the kernel"),
            (answers(none(), vec![plain.clone()]), "kernel", "refusals are answered by the kernel"),
            (
                answers(vec![plain.clone()], none()),
                "kernel, but eth0: its peer runs no XDP program, answers would be lost",
                "refusals are answered by the kernel, except on some interfaces: eth0: its peer runs no XDP program, \
                 answers would be lost",
            ),
            (
                Responder::Fallback(none()),
                "daemon, not kernel: the reason is gone: the daemon notices within seconds, or `sixgate attach`",
                "refusals are answered by the daemon instead of the kernel: the reason is gone: the daemon notices \
                 within seconds, or `sixgate attach`",
            ),
            (
                Responder::Fallback(vec![kernel, plain]),
                "daemon, not kernel: this kernel lacks SYN cookies; eth0: its peer runs no XDP program, answers \
                 would be lost",
                "refusals are answered by the daemon instead of the kernel: this kernel lacks SYN cookies; eth0: its \
                 peer runs no XDP program, answers would be lost",
            ),
        ] {
            assert_eq!((responder.to_string().as_str(), responder.sentence().as_str()), (wanted, sentence));
        }
    }
}
