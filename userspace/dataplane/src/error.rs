//! What can go wrong with the XDP program and its maps, told so that a person can put it right.
//!
//! It owns the translation of aya's and the system's errors; where they are met is not its
//! business.

mod causes;
mod verifier;

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
};

use aya::{EbpfError, maps::MapError, programs::ProgramError};
use ipnet::Ipv6Net;
use nix::libc;
use thiserror::Error;

pub(super) use causes::{is_absent, system_error};

use super::{
    kernel,
    mounts::{USUAL_MOUNT, read_only_mount},
    topology::RunMode,
};

/// An operation on the XDP program, its pins or its maps failed.
#[derive(Debug, Error)]
pub enum DataplaneError {
    /// There is no BPF file system where the pins are to lie.
    #[error("no bpffs at {path}: mount one with `mount -t bpf bpf {mount}`", path = path.display(), mount = mount.display())]
    NoBpffs {
        /// Where the pins are to lie.
        path: PathBuf,
        /// An existing directory to mount it on.
        mount: PathBuf,
    },
    /// The caller lacks rights.
    #[error(
        "cannot {operation}: not permitted; it needs root, or the capabilities CAP_BPF, CAP_NET_ADMIN and \
         CAP_PERFMON and the ownership of the pins"
    )]
    NoRights {
        /// The operation that failed.
        operation: String,
    },
    /// The bpffs cannot be written, and so no map in it opened.
    #[error("cannot {operation}: the bpffs is mounted read-only: `mount -o remount,rw {mount}`", mount = mount.display())]
    ReadOnly {
        /// The operation that failed.
        operation: String,
        /// Where it is mounted.
        mount: PathBuf,
    },
    /// There is no such network interface.
    #[error("no network interface named {interface:?}")]
    NoInterface {
        /// The name of the interface.
        interface: String,
    },
    /// An interface holds another XDP program.
    #[error("another XDP program (id {program}) is attached to {interface}: detach it first ({remedy})")]
    Occupied {
        /// The interface's name.
        interface: String,
        /// The other program's id.
        program: u32,
        /// The command that detaches it.
        remedy: String,
    },
    /// An interface holds sixgate's program, which is pinned in another directory.
    #[error(
        "{interface} already runs sixgate's XDP program (id {program}), pinned in {} instead of xdp.bpffs; {}",
        path.display(), held_by(*in_use)
    )]
    PinnedElsewhere {
        /// The interface's name.
        interface: String,
        /// The program's id.
        program: u32,
        /// The directory of its pins, as `xdp.bpffs` would name it.
        path: PathBuf,
        /// Whether a daemon uses those.
        in_use: bool,
    },
    /// An interface holds sixgate's program, and its pins are not to be found.
    #[error(
        "{interface} already runs sixgate's XDP program (id {program}), whose pins are not found here, so that its maps are \
         not kept up to date; detach it: `bpftool link detach id {}`{}",
        link.map_or_else(|| "N".to_owned(), |link| link.to_string()),
        if link.is_none() { ", where `bpftool link show` has the N" } else { "" }
    )]
    PinsHidden {
        /// The interface's name.
        interface: String,
        /// The program's id.
        program: u32,
        /// The id of its link, if that is known.
        link: Option<u32>,
    },
    /// The interface's driver or the kernel does not take the program.
    #[error("{interface} does not take the XDP program: {reason}")]
    NotTaken {
        /// The interface's name.
        interface: String,
        /// Why, for each mode that was tried.
        reason: String,
    },
    /// The program already runs on an interface, in the other mode than demanded.
    #[error(
        "the XDP program runs on {interface} in {running} mode, not as demanded: `sixgate detach --iface {interface}`, \
         then `sixgate attach --iface {interface}`"
    )]
    OtherMode {
        /// The interface's name.
        interface: String,
        /// The mode in which it runs.
        running: RunMode,
    },
    /// An interface was to be detached on which the program does not run.
    #[error("the XDP program is not attached to {interface:?}")]
    NotAttached {
        /// The interface's name.
        interface: String,
    },
    /// There is no program to trace.
    #[error("the XDP program is attached to no interface here: `sixgate attach --iface IFACE` attaches it")]
    NothingAttached,
    /// The program was attached anew while another one was being loaded to take its place.
    #[error("the XDP program was attached anew meanwhile; nothing was changed, try again")]
    AttachedAnew,
    /// The pin of a link is gone, but the program goes on running.
    #[error(
        "the XDP program still runs on {interface}: another process or pin holds its link; `bpftool link show` has its \
         id, `bpftool link detach id N` detaches it"
    )]
    StillRunning {
        /// The interface's name.
        interface: String,
    },
    /// The pinned link of that name is not this network namespace's.
    #[error(
        "the program that is pinned for {interface} runs in another network namespace: use another xdp.bpffs"
    )]
    OtherNamespace {
        /// The interface's name.
        interface: String,
    },
    /// The kernel refused the program, is too old, or was built without something.
    #[error("{what}; {}", kernel::advice())]
    KernelLacks {
        /// The refused or missing feature, as far as the kernel tells: a clause that names the
        /// kernel.
        what: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// The binary was built without the XDP program.
    #[error("this build of sixgate holds no XDP program (it was built with AYA_BUILD_SKIP=1)")]
    NoProgram,
    /// The embedded object cannot be read: a defect of the build.
    #[error("the embedded XDP program is damaged: {reason}")]
    Damaged {
        /// The reason why it was rejected.
        reason: String,
    },
    /// A pinned map is not of this build's shape.
    #[error("the pinned map {map} in {path} has another layout ({difference}): `sixgate detach` removes it", path = path.display())]
    LayoutDiffers {
        /// The map's name.
        map: &'static str,
        /// The directory of the pins.
        path: PathBuf,
        /// The difference from the expected map.
        difference: String,
    },
    /// The pin of a map is gone.
    #[error(
        "the pin of the map {map} is missing in {path}: `sixgate detach` removes what is left, then `sixgate attach` makes \
         all of it again",
        path = path.display()
    )]
    PinMissing {
        /// The map's name.
        map: &'static str,
        /// The directory of the pins.
        path: PathBuf,
    },
    /// Pins of another layout version are there.
    #[error(
        "another version of sixgate has pinned its XDP program in {path}, with maps of another layout: `sixgate detach \
         --other-layouts` removes it; the daemon or `sixgate attach` then attaches this version's",
        path = path.display()
    )]
    OtherLayout {
        /// The directory of the pins.
        path: PathBuf,
    },
    /// Another daemon works on the same pins.
    #[error(
        "another sixgate daemon{} uses the pins in {}: stop it, give this one another `xdp.bpffs`, or start this one \
         with --no-xdp",
        pid.map(|pid| format!(", pid {pid},")).unwrap_or_default(), path.display()
    )]
    PinsInUse {
        /// The directory of the pins.
        path: PathBuf,
        /// Its process, if that is known.
        pid: Option<u32>,
    },
    /// Another process changes the maps for too long.
    #[error(
        "another process has been changing the maps in {path} for a long time; nothing was changed, try again",
        path = path.display()
    )]
    MapsInUse {
        /// The directory of the pins.
        path: PathBuf,
    },
    /// A map has no space for another prefix.
    #[error("the map {map} is full ({entries} entries): {prefix} does not fit")]
    MapFull {
        /// The map's name.
        map: &'static str,
        /// The number of entries that the map can hold.
        entries: u32,
        /// The first prefix that did not fit.
        prefix: Ipv6Net,
    },
    /// The map DOMAINS has no space for another domain.
    #[error(
        "the map DOMAINS is full ({} entries): mark fewer domains as temporary, or all of them with \
         temporary_refusals = [\"not_opted_in\"]",
        sixgate_common::names::DOMAINS_ENTRIES
    )]
    DomainsFull,
    /// More Ethernet addresses than the map holds.
    #[error(
        "the attached interfaces and the bridges and bonds above them have {wanted} Ethernet addresses, and the map \
         STATIONS holds {}: attach to fewer interfaces",
        sixgate_common::names::STATIONS_ENTRIES
    )]
    StationsFull {
        /// How many there are.
        wanted: usize,
    },
    /// After filling, the maps do not hold what was wanted.
    #[error(
        "the maps do not hold what was written to them ({differences} differences): is another process changing them?"
    )]
    NotProjected {
        /// Number of entries that differ.
        differences: usize,
    },
    /// A map operation failed otherwise.
    #[error("cannot {operation} the map {map}")]
    Map {
        /// The operation that failed.
        operation: &'static str,
        /// The map's name.
        map: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The file of the cookies' key cannot be used.
    #[error("cannot read the cookie key {path} (xdp.cookie_key): {reason}", path = path.display())]
    CookieKey {
        /// The file that the configuration names.
        path: PathBuf,
        /// Why the file cannot be used.
        reason: String,
    },
    /// An operation on a link, a program, a pin or a socket failed otherwise.
    #[error("cannot {operation}")]
    System {
        /// The operation that failed, and its object.
        operation: String,
        /// The system's error.
        source: io::Error,
    },
}

impl DataplaneError {
    /// Whether sixgate's program of other pins runs on an interface, and goes on refusing there.
    #[must_use]
    pub const fn is_of_other_pins(&self) -> bool {
        matches!(self, Self::PinnedElsewhere { .. } | Self::PinsHidden { .. })
    }

    /// Whether that program is one that attaching takes off: no daemon uses its pins.
    #[must_use]
    pub const fn is_abandoned(&self) -> bool {
        matches!(self, Self::PinnedElsewhere { in_use: false, .. })
    }

    /// A failed system call: [`Self::NoRights`] where that is the reason.
    pub(super) fn system(operation: impl Into<String>, source: io::Error) -> Self {
        let operation = operation.into();
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::NoRights { operation },
            Some(libc::EROFS) => Self::read_only(operation),
            _ => Self::System { operation, source },
        }
    }

    fn read_only(operation: String) -> Self {
        let mount = read_only_mount().unwrap_or_else(|| PathBuf::from(USUAL_MOUNT));
        Self::ReadOnly { operation, mount }
    }

    /// A failed operation on the file at `path`.
    pub(super) fn file(verb: &str, path: &Path, source: io::Error) -> Self {
        Self::system(format!("{verb} {}", path.display()), source)
    }

    /// A failed operation of aya on a link, a program or a pin.
    pub(super) fn aya(operation: impl Into<String>, error: impl Error + Send + Sync + 'static) -> Self {
        Self::system(operation, system_error(error))
    }

    /// A failed operation on a map.
    pub(super) fn map(operation: &'static str, map: &'static str, error: MapError) -> Self {
        let source = system_error(error);
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                Self::NoRights { operation: format!("{operation} the map {map}") }
            }
            Some(libc::EROFS) => Self::read_only(format!("{operation} the map {map}")),
            _ => Self::Map { operation, map, source },
        }
    }

    /// A failed load of the whole object; a map that cannot be made and a program that the verifier
    /// refuses are features that the kernel lacks.
    pub(super) fn load(error: EbpfError) -> Self {
        match error {
            EbpfError::MapError(MapError::CreateError { name, io_error }) => Self::lacks(
                "create the map",
                format!("{} lacks the kind of the map {name}", kernel::this_kernel()),
                io_error,
            ),
            EbpfError::ParseError(error) => Self::Damaged { reason: error.to_string() },
            EbpfError::ProgramError(error) => Self::program(error),
            other => Self::aya("load the XDP program", other),
        }
    }

    /// A failed load of the program.
    pub(super) fn program(error: ProgramError) -> Self {
        match error {
            ProgramError::LoadError { io_error, verifier_log } => {
                Self::refused(&verifier_log.to_string(), io_error)
            }
            other => Self::aya("load the XDP program", other),
        }
    }

    /// The verifier's refusal of the program.
    fn refused(log: &str, error: io::Error) -> Self {
        let operation = "load the XDP program";
        if verifier::is_about_rights(log) {
            return Self::NoRights { operation: operation.to_owned() };
        }
        Self::lacks(operation, verifier::reason(log), error)
    }

    fn lacks(operation: &str, what: String, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM) => Self::NoRights { operation: operation.to_owned() },
            Some(libc::ENOMEM) => Self::system(operation, source),
            _ => Self::KernelLacks { what, source },
        }
    }
}

/// What to do about pins in another directory.
fn held_by(in_use: bool) -> &'static str {
    if in_use {
        "a daemon uses those pins: stop it, or take the interface out of one of the two configurations"
    } else {
        "no daemon uses those pins: `sixgate attach` replaces it"
    }
}

#[cfg(test)]
mod tests;
