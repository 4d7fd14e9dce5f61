//! The program on one interface: its link, its mode, its VLAN tags.
//!
//! Which interfaces, and what becomes of the others if one fails, is decided in `attach`.

use aya::programs::{
    ProgramError, Xdp, XdpMode,
    links::{FdLink, LinkError, PinnedLink},
    xdp::XdpLink,
};
use nix::libc;

use super::{
    occupied::occupied,
    plan::{AttachManner, AttachMode, Attached, PlannedResponder, ProgramChange, VlanTags},
};
use crate::{
    attached::Pinned,
    error::{DataplaneError, system_error},
    fallback_reason, interface, kernel, pinned_link,
    pins::{PinSet, adopt, remove_pin},
    topology::{LinkFacts, RunMode, Topology},
    vlan,
};

/// Puts the program on an interface that has none of ours, and pins the link, which keeps it there.
pub(super) fn attach_new(
    program: &mut Xdp,
    interface: &LinkFacts,
    manner: AttachManner,
    network: &Topology,
    set: &PinSet,
) -> Result<Attached, DataplaneError> {
    let mut reasons = Vec::new();
    let candidates: &[RunMode] = match manner.mode {
        AttachMode::Auto => match (manner.responder, fallback_reason::against_native(interface, network)) {
            (PlannedResponder::Kernel, Some(why)) => {
                reasons.push(why);
                &[RunMode::Generic]
            }
            _ => &[RunMode::Native, RunMode::Generic],
        },
        AttachMode::Native => &[RunMode::Native],
        AttachMode::Generic => &[RunMode::Generic],
    };
    for mode in candidates {
        let native = match mode {
            RunMode::Native => XdpMode::Driver,
            RunMode::Generic => XdpMode::Skb,
        };
        match program.attach_to_if_index(interface.index, native) {
            Ok(id) => {
                let link =
                    program.take_link(id).map_err(|error| DataplaneError::aya("take the link", error))?;
                pin_link(link, &interface.name, set)?;
                return Ok(Attached {
                    interface: interface.name.clone(),
                    mode: *mode,
                    fallback: reasons.pop(),
                    change: ProgramChange::New,
                    tags: keep_tags(interface, *mode, manner.responder),
                    taken_from: None,
                });
            }
            Err(error) => reasons.push(not_taken(interface, *mode, error)?),
        }
    }
    Err(DataplaneError::NotTaken { interface: interface.name.clone(), reason: reasons.join("; ") })
}

fn pin_link(link: XdpLink, interface: &str, set: &PinSet) -> Result<(), DataplaneError> {
    // aya falls back to netlink, without a link to pin, on kernels before 5.9 only; those refuse
    // the program.
    let link = FdLink::try_from(link).map_err(|error| DataplaneError::KernelLacks {
        what: format!("{} lacks XDP links (BPF_LINK_TYPE_XDP)", kernel::this_kernel()),
        source: system_error(error),
    })?;
    let file = set.link(pinned_link::state(&link)?.id, interface);
    link.pin(&file).map_err(|error| DataplaneError::aya(format!("pin {}", file.display()), error))?;
    adopt(&file)
}

/// Why a mode was not taken, as a short term; an error when another mode would not help.
fn not_taken(interface: &LinkFacts, mode: RunMode, error: ProgramError) -> Result<String, DataplaneError> {
    let error = system_error(error);
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            return Err(DataplaneError::NoRights { operation: format!("attach to {}", interface.name) });
        }
        Some(libc::ENODEV) => {
            return Err(DataplaneError::NoInterface { interface: interface.name.clone() });
        }
        _ => {}
    }
    if let Some(other) = interface::indexed(interface.index)?.and_then(|facts| facts.running) {
        return Err(occupied(interface, other));
    }
    Ok(match (mode, error.raw_os_error()) {
        (RunMode::Native, Some(libc::EOPNOTSUPP)) => "its driver has no native XDP".to_owned(),
        _ => format!("{mode} mode: {error}"),
    })
}

/// Hands a pinned link the program, without a gap (`bpf_link_update`). False when the link's
/// interface is gone; its pin then goes, too.
pub(crate) fn replace(program: &mut Xdp, pinned: &Pinned) -> Result<bool, DataplaneError> {
    let file = &pinned.file.path;
    if pinned.state.index.is_none() {
        return remove_pin(file).map(|()| false);
    }
    let operation = || format!("replace the program of {}", pinned.link.interface);
    let link = PinnedLink::from_pin(file)
        .map(FdLink::from)
        .and_then(XdpLink::try_from)
        .map_err(|error: LinkError| DataplaneError::aya(operation(), error))?;
    match program.attach_to_link(link).map_err(system_error) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => remove_pin(file).map(|()| false),
        Err(error) => Err(DataplaneError::system(operation(), error)),
    }
}

/// The report on an interface whose link has got the program.
pub(super) fn report_replaced(
    interface: &LinkFacts,
    running: RunMode,
    manner: AttachManner,
    change: ProgramChange,
) -> Result<Attached, DataplaneError> {
    let name = interface.name.clone();
    match (manner.mode, running) {
        (AttachMode::Native, RunMode::Generic) | (AttachMode::Generic, RunMode::Native) => {
            Err(DataplaneError::OtherMode { interface: name, running })
        }
        _ => Ok(Attached {
            interface: name,
            mode: running,
            fallback: None,
            change,
            tags: keep_tags(interface, running, manner.responder),
            taken_from: None,
        }),
    }
}

/// Keeps the driver from stripping VLAN tags where the program answers natively. A driver that
/// cannot is an fallback_reason, if there are VLANs.
fn keep_tags(interface: &LinkFacts, mode: RunMode, responder: PlannedResponder) -> VlanTags {
    let strips_tags = || vlan::strips_tags(interface.index).is_ok_and(|strips_tags| strips_tags);
    let matters = mode == RunMode::Native && responder == PlannedResponder::Kernel;
    if !matters || !strips_tags() {
        return VlanTags::Untouched;
    }
    let is_done = vlan::keep_tags(interface.index).is_ok() && !strips_tags();
    if is_done { VlanTags::Kept } else { VlanTags::Untouched }
}
