//! An interface on which another XDP program runs: what holds it there, and so the command that
//! takes it off.
//!
//! It takes nothing off.

use nix::libc;

use crate::{
    error::DataplaneError,
    interface,
    other_pins::{self, Owner},
    topology::{LinkFacts, RunMode, RunningProgram},
};

/// The error, with the command: `ip link` for a program that was attached by netlink, `bpftool
/// link` for one that a link holds, which `ip link` cannot take off.
pub(super) fn occupied(link: &LinkFacts, other: RunningProgram) -> DataplaneError {
    match other_pins::owner(other.program) {
        Owner::Pinned(pins) => return other_pins::elsewhere(&pins, link, other),
        Owner::Hidden => return other_pins::hidden(link, other),
        Owner::Other => {}
    }
    let mode = match other.mode {
        RunMode::Native => "xdpdrv",
        RunMode::Generic => "xdpgeneric",
    };
    let interface = &link.name;
    let by_netlink = format!("`ip link set dev {interface} {mode} off`");
    let remedy = match is_held_by_link(link.index, other.mode) {
        Some(false) => by_netlink,
        Some(true) => by_link(other.program),
        None => format!("{by_netlink}, or {}", by_link(other.program)),
    };
    DataplaneError::Occupied { interface: interface.clone(), program: other.program, remedy }
}

/// The id is known if one link alone holds the program; to list links takes CAP_SYS_ADMIN.
fn by_link(program: u32) -> String {
    match other_pins::links_of(program)[..] {
        [link] => format!("`bpftool link detach id {link}`"),
        _ => "`bpftool link detach id N`, where `bpftool link show` has the N".to_owned(),
    }
}

/// Whether a link holds the program. The kernel tells it by how it refuses to replace the program
/// as if there were none (net/core/dev.c, `dev_xdp_attach`): it does not look at programs where a
/// link is.
fn is_held_by_link(index: u32, mode: RunMode) -> Option<bool> {
    let error = interface::replace_nothing(index, mode).err()?;
    match error.raw_os_error() {
        Some(libc::EBUSY) => Some(true),
        Some(libc::EEXIST) => Some(false),
        _ => None,
    }
}
