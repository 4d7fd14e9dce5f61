//! The links of other layouts, taken over: the interface keeps its link and gets this build's
//! program in one step, so that neither a packet nor the driver meets an interface without one.
//!
//! What cannot be taken over is left to the caller, who removes it and attaches anew.

use std::{collections::BTreeMap, fs};

use aya::programs::Xdp;

use super::{
    link::replace,
    plan::{AttachManner, AttachMode, PlannedResponder},
};
use crate::{
    attached,
    error::DataplaneError,
    fallback_reason,
    pins::{PinSet, Pins},
    topology::{LinkFacts, RunMode, Topology},
};

/// Gives `program` to the links that other layouts have on `interfaces`, and moves their pins to
/// `staged`; the mode of each, by the interface's index. A link whose mode is not the one to be is
/// not taken over.
pub(super) fn inherit(
    program: &mut Xdp,
    interfaces: &[LinkFacts],
    (manner, network): (AttachManner, &Topology),
    (pins, staged): (&Pins, &PinSet),
) -> Result<BTreeMap<u32, RunMode>, DataplaneError> {
    let mut inherited = BTreeMap::new();
    for set in pins.other_layouts()? {
        for link in attached::pinned(&set)? {
            let Some(running) = link.link.running else { continue };
            let interface = interfaces.iter().find(|interface| interface.index == running.index);
            let Some(interface) = interface.filter(|known| is_wanted(known, running.mode, manner, network))
            else {
                continue;
            };
            let file = staged.link(link.state.id, &interface.name);
            // without its pin the link ends with this process, as it does where it is removed
            if replace(program, &link)? && fs::rename(&link.file.path, &file).is_ok() {
                inherited.insert(running.index, running.mode);
            }
        }
    }
    Ok(inherited)
}

/// Whether a link in `mode` would be made in that mode today.
fn is_wanted(interface: &LinkFacts, mode: RunMode, manner: AttachManner, network: &Topology) -> bool {
    match (manner.mode, mode) {
        (AttachMode::Native, mode) => mode == RunMode::Native,
        (AttachMode::Generic, mode) => mode == RunMode::Generic,
        (AttachMode::Auto, RunMode::Native) => {
            manner.responder != PlannedResponder::Kernel
                || fallback_reason::against_native(interface, network).is_none()
        }
        (AttachMode::Auto, RunMode::Generic) => true,
    }
}
