//! Programs of sixgate that are pinned in another directory than the configuration's: finding their
//! pins, and taking them off.
//!
//! A program stays attached while its link is pinned, and so goes on refusing from maps that are
//! not kept up to date after `xdp.bpffs` was changed. Attaching is `attach`'s business.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aya::programs::{ProgramInfo, links::LinkType, loaded_links, loaded_programs};
use sixgate_common::names;

use super::{
    attached::{self, Lost, Pinned},
    error::DataplaneError,
    interface,
    lock::PinLock,
    mounts::bpf_mounts,
    pins::{PinSet, Pins},
    topology::{LinkFacts, RunningProgram},
};

/// Whose the XDP program is that runs on an interface and is not pinned in the configuration's
/// directory.
#[derive(Debug)]
pub(super) enum Owner {
    /// Sixgate's, pinned in this directory.
    Pinned(Pins),
    /// Sixgate's; its pins were not found.
    Hidden,
    /// Not sixgate's, as far as can be seen.
    Other,
}

/// Finds out whose `program` is. Where no pin leads to it, its name tells, which takes
/// CAP_SYS_ADMIN to see: without, it is another's.
pub(super) fn owner(program: u32) -> Owner {
    match bpf_mounts().into_iter().find_map(|mount| search(&mount, program)) {
        Some(base) => Owner::Pinned(Pins::new(&base)),
        None if is_sixgate(program) && !links_of(program).is_empty() => Owner::Hidden,
        None => Owner::Other,
    }
}

/// The links that hold `program` on interfaces; to list links takes CAP_SYS_ADMIN, and none are
/// found without.
pub(super) fn links_of(program: u32) -> Vec<u32> {
    let is_its = |kind| kind == LinkType::Xdp;
    let links = loaded_links().filter_map(Result::ok);
    links
        .filter(|link| link.program_id() == program && link.link_type().is_ok_and(is_its))
        .map(|link| link.id())
        .collect()
}

fn is_sixgate(program: u32) -> bool {
    let is_it = |info: &ProgramInfo| info.id() == program;
    let info = loaded_programs().filter_map(Result::ok).find(is_it);
    info.is_some_and(|info| info.name_as_str() == Some(names::PROGRAM))
}

/// Pins that no daemon uses, held until they are taken off.
#[derive(Debug)]
pub(super) struct Abandoned {
    pins: Pins,
    /// Lets no daemon start with them meanwhile.
    _lock: PinLock,
}

impl Abandoned {
    /// Takes hold of the pins.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::PinsInUse`] while a daemon uses them.
    pub(super) fn hold(pins: Pins) -> Result<Self, DataplaneError> {
        let lock = pins.lock()?;
        Ok(Self { pins, _lock: lock })
    }

    /// Whether they are `pins`.
    pub(super) fn is(&self, pins: &Pins) -> bool {
        self.pins == *pins
    }

    /// Where they are, as the setting `xdp.bpffs` named it.
    pub(super) fn path(&self) -> &Path {
        self.pins.base()
    }

    /// Takes the program off all interfaces of this network namespace; where none is left, the maps
    /// go, too.
    pub(super) fn detach(&self) -> Result<(), DataplaneError> {
        let own = self.pins.own()?;
        for set in own.into_iter().chain(self.pins.other_layouts()?) {
            let links = attached::pinned(&set)?;
            let (elsewhere, going): (Vec<Pinned>, Vec<Pinned>) =
                links.into_iter().partition(|link| link.link.lost == Some(Lost::Elsewhere));
            if elsewhere.is_empty() {
                set.remove()?;
            } else {
                going.iter().try_for_each(|link| super::pins::release(&link.file.path))?;
            }
            going.iter().try_for_each(attached::await_end)?;
        }
        Ok(())
    }
}

/// Takes a program of sixgate off the interface of that name that is pinned in another directory
/// which no daemon uses; which directory. Nothing where no such program runs.
///
/// # Errors
///
/// [`DataplaneError::PinnedElsewhere`] while a daemon uses it, [`DataplaneError::PinsHidden`] where
/// its pins are not found; [`DataplaneError::NoRights`], [`DataplaneError::System`].
pub fn detach_elsewhere(own: &Pins, interface: &str) -> Result<Option<PathBuf>, DataplaneError> {
    let Some(abandoned) = hold_elsewhere(own, interface)? else {
        return Ok(None);
    };
    abandoned.detach()?;
    Ok(Some(abandoned.path().to_owned()))
}

/// Makes the checks of [`detach_elsewhere`], and takes nothing off.
///
/// # Errors
///
/// As [`detach_elsewhere`].
pub fn try_detach_elsewhere(own: &Pins, interface: &str) -> Result<Option<PathBuf>, DataplaneError> {
    Ok(hold_elsewhere(own, interface)?.map(|abandoned| abandoned.path().to_owned()))
}

/// Takes hold of the pins of another directory whose program runs on the interface of that name.
fn hold_elsewhere(own: &Pins, interface: &str) -> Result<Option<Abandoned>, DataplaneError> {
    let facts = match interface::named(interface) {
        Err(DataplaneError::NoInterface { .. }) => return Ok(None),
        facts => facts?,
    };
    let Some(running) = facts.running else { return Ok(None) };
    match owner(running.program) {
        Owner::Pinned(pins) if pins != *own => hold(pins, &facts, running).map(Some),
        Owner::Hidden => Err(hidden(&facts, running)),
        Owner::Pinned(_) | Owner::Other => Ok(None),
    }
}

/// Takes hold of the pins whose program runs on an interface.
pub(super) fn hold(
    pins: Pins,
    interface: &LinkFacts,
    running: RunningProgram,
) -> Result<Abandoned, DataplaneError> {
    let error = elsewhere(&pins, interface, running);
    match Abandoned::hold(pins) {
        Err(DataplaneError::PinsInUse { .. }) => Err(error),
        held => held,
    }
}

/// The error about an interface that has the program which is pinned there.
pub(super) fn elsewhere(pins: &Pins, interface: &LinkFacts, running: RunningProgram) -> DataplaneError {
    DataplaneError::PinnedElsewhere {
        interface: interface.name.clone(),
        program: running.program,
        path: pins.base().to_owned(),
        in_use: pins.are_in_use(),
    }
}

/// The error about an interface that has a program of sixgate whose pins are not found.
pub(super) fn hidden(interface: &LinkFacts, running: RunningProgram) -> DataplaneError {
    DataplaneError::PinsHidden {
        interface: interface.name.clone(),
        program: running.program,
        link: match links_of(running.program)[..] {
            [link] => Some(link),
            _ => None,
        },
    }
}

/// The base directory of the pins below `mount` that lead to `program`.
fn search(mount: &Path, program: u32) -> Option<PathBuf> {
    let mut folders = vec![(mount.to_owned(), 0)];
    let mut looked_at = 0;
    while let Some((folder, depth)) = folders.pop() {
        let entries = fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
        let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        for entry in entries.filter(is_folder) {
            looked_at += 1;
            if looked_at > FOLDERS_MAX {
                return None;
            }
            let path = entry.path();
            let Some(set) = PinSet::at(&path) else {
                if depth < DEPTH_MAX {
                    folders.push((path, depth + 1));
                }
                continue;
            };
            let pinned = attached::pinned(&set).unwrap_or_default();
            if pinned.iter().any(|link| link.state.program == program) {
                return Some(folder);
            }
        }
    }
    None
}

/// How deep pins are looked for below a mount, and how many directories of it are looked at.
const DEPTH_MAX: usize = 4;
const FOLDERS_MAX: usize = 4096;
