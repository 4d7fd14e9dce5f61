//! The links of the program at two looks: which of them were renamed, moved, detached or deleted in
//! between.
//!
//! It detaches nothing but what was moved to another network namespace.

use std::collections::BTreeMap;

use sixgate_dataplane::{self as dataplane, AttachedLink, DataplaneError, Lost};

use super::notice::{Looked, Urgency};
use crate::control::{Control, ControlError};

/// The links at the last look, by the kernel's id.
#[derive(Debug, Default)]
pub(super) struct KnownLinks(BTreeMap<u32, Known>);

/// A link as it was at the last look.
#[derive(Clone, Debug)]
struct Known {
    interface: String,
    /// None once it is lost.
    index: Option<u32>,
}

impl KnownLinks {
    /// Whether there were none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets them: what comes next is not compared.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Compares the links with those of the last look, and reports the differences.
    /// `has_lost_directory`: the directory of the pins went since then.
    pub(super) fn compare(
        &mut self,
        control: &Control,
        links: &[AttachedLink],
        has_lost_directory: bool,
        looked: &mut Looked,
    ) -> Result<(), ControlError> {
        for (id, known) in std::mem::take(&mut self.0) {
            let link = links.iter().find(|link| link.link == id);
            let again = links.iter().find(|other| {
                link.is_none() && other.running.is_some_and(|running| known.index == Some(running.index))
            });
            let change = match again {
                Some(again) => {
                    Some(format!("a command attached the XDP program to {} anew", again.interface))
                }
                None => known.change(control, link, has_lost_directory)?,
            };
            let Some(text) = change else {
                continue;
            };
            looked.reconcile = true;
            let is_renamed = again.or(link).is_some_and(|link| link.running.is_some());
            looked.note(if is_renamed { Urgency::Info } else { Urgency::Warning }, text);
            if let Some(link) = link.filter(|link| link.lost == Some(Lost::Elsewhere)) {
                dataplane::forget_link(&control.pins, link.link)?;
            }
        }
        self.remember(links);
        Ok(())
    }

    /// Has these links for the next look.
    pub(super) fn remember(&mut self, links: &[AttachedLink]) {
        let known = |link: &AttachedLink| Known {
            interface: link.interface.clone(),
            index: link.running.map(|running| running.index),
        };
        self.0 = links.iter().map(|link| (link.link, known(link))).collect();
    }
}

impl Known {
    /// The change of the link since the last look, as a sentence; nothing if it is as it was.
    fn change(
        &self,
        control: &Control,
        link: Option<&AttachedLink>,
        has_lost_directory: bool,
    ) -> Result<Option<String>, ControlError> {
        let Some(index) = self.index else {
            return Ok(None);
        };
        let name = &self.interface;
        let is_there = || Ok::<_, DataplaneError>(dataplane::interface_now(index)?.is_some());
        Ok(match link {
            Some(link) if link.running.is_some() && link.interface == *name => None,
            Some(link) if link.running.is_some() => {
                Some(format!("{name} was renamed to {}: the XDP program stays attached", link.interface))
            }
            Some(link) if link.lost == Some(Lost::Elsewhere) => Some(format!(
                "{name} was moved to another network namespace: the daemon detaches the XDP program"
            )),
            Some(_) if is_there()? => {
                Some(format!("another program detached the XDP link of {name}{}", plans_for(control, name)))
            }
            None if control.pins.is_held_off(name, Some(index))? => Some(format!(
                "{name} was detached by a command: the daemon does not attach it again until `sixgate attach` or its \
                 next start"
            )),
            None if has_lost_directory && is_there()? => Some(format!(
                "the directory of the pins was removed, or its bpffs unmounted, and the XDP program of {name} went with \
                 it{}",
                plans_for(control, name)
            )),
            None if is_there()? => {
                Some(format!("the pin of the XDP link of {name} was removed{}", plans_for(control, name)))
            }
            _ => Some(format!(
                "{name} was deleted{}",
                if is_configured(control, name) {
                    ": the daemon attaches it again when it is back"
                } else {
                    ""
                }
            )),
        })
    }
}

/// The daemon's next action on an interface that is there, as the end of a sentence.
fn plans_for(control: &Control, name: &str) -> &'static str {
    if is_configured(control, name) {
        ": the daemon attaches it again"
    } else {
        ": `sixgate attach --iface` attaches it again, for the configuration does not name it"
    }
}

fn is_configured(control: &Control, name: &str) -> bool {
    control.configured().interfaces.iter().any(|interface| interface.as_str() == name)
}
