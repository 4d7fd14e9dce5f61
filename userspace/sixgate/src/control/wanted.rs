//! How the interfaces of the configuration stand: attached, or why not.
//!
//! It changes nothing: what is done about it is `keep`'s, what is shown of it `status`'.

use super::Control;
use sixgate_dataplane::{AttachedLink, DataplaneError, InterfaceNow};

use crate::config::InterfaceName;

/// How an interface of the configuration stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Wanted {
    /// The program runs there.
    Attached,
    /// A command detached it.
    HeldOff,
    /// No interface has that name any more; the one that had it has this one now, and the program
    /// runs there.
    Renamed(String),
    /// No interface has that name.
    Missing,
    /// Another program runs there.
    Occupied,
    /// Nothing runs there.
    Free,
}

impl Wanted {
    /// A sentence about it, for what is not as it should be.
    pub(super) fn sentence(&self, name: &InterfaceName) -> String {
        match self {
            Self::Attached => format!("{name}: attached"),
            Self::HeldOff => format!(
                "{name} was detached by a command: the daemon does not attach it again until `sixgate attach` or its \
                 next start"
            ),
            Self::Renamed(now) => format!(
                "no interface is called {name} any more, which the configuration names: the XDP program stays on {now}"
            ),
            Self::Missing => format!(
                "no network interface named \"{name}\", which the configuration names: the daemon attaches it once it is \
                 there; else correct `interfaces` in [xdp]"
            ),
            Self::Occupied => {
                format!("{name} has another XDP program: the XDP program is not attached there")
            }
            Self::Free => format!(
                "the XDP program is not attached to {name}, which the configuration names: the daemon attaches it, or \
                 `sixgate attach`"
            ),
        }
    }
}

impl Control {
    /// How an interface of the configuration stands, `found` by its name.
    pub(super) fn state_of(
        &self,
        name: &InterfaceName,
        found: Option<&InterfaceNow>,
        links: &[AttachedLink],
    ) -> Result<Wanted, DataplaneError> {
        let Some(found) = found else {
            let renamed = links.iter().find(|link| link.running.is_some() && link.recorded == name.as_str());
            return Ok(renamed.map_or(Wanted::Missing, |link| Wanted::Renamed(link.interface.clone())));
        };
        let runs = |link: &AttachedLink| link.running.is_some_and(|running| running.index == found.index);
        if links.iter().any(runs) {
            return Ok(Wanted::Attached);
        }
        if self.pins.is_held_off(name.as_str(), Some(found.index))? {
            return Ok(Wanted::HeldOff);
        }
        Ok(if found.program.is_some() { Wanted::Occupied } else { Wanted::Free })
    }
}
