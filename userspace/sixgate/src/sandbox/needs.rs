//! The files that a daemon with a configuration uses, each with the setting that names it.
//!
//! It names directories: files are replaced by renaming, which a rule about the file itself does
//! not survive. It opens nothing.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::{
    config::{Config, NextHop},
    nexthop::Address,
    store::Store,
};

/// How files are used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Use {
    /// They are read.
    Read,
    /// They are made, read, written, renamed and removed.
    Write,
    /// They are pins, which are made, renamed and removed, and never opened as files.
    Pin,
}

impl Use {
    /// Whether what may be used so may be used as `other`, too.
    pub(super) fn covers(self, other: Self) -> bool {
        self == other || self == Self::Write
    }
}

/// What one setting names.
#[derive(Clone, Debug)]
pub(super) struct Need {
    /// The key, or what it is if no key names it.
    pub(super) setting: &'static str,
    /// As the configuration has it.
    pub(super) path: PathBuf,
    /// Whether `path` is the directory itself, not a file in it.
    pub(super) is_directory: bool,
    /// Whether it is an error if it is missing: the daemon does not make it.
    pub(super) must_exist: bool,
    pub(super) purpose: Use,
}

impl Need {
    fn read(setting: &'static str, path: &Path) -> Self {
        Self { setting, path: path.to_owned(), is_directory: false, must_exist: true, purpose: Use::Read }
    }

    fn written(setting: &'static str, path: &Path) -> Self {
        Self { setting, path: path.to_owned(), is_directory: false, must_exist: false, purpose: Use::Write }
    }

    fn read_below(path: &str) -> Self {
        Self { is_directory: true, ..Self::read("system", Path::new(path)) }
    }

    fn written_below(setting: &'static str, path: &Path) -> Self {
        Self { is_directory: true, ..Self::written(setting, path) }
    }

    /// The directories in which it lies: by its name, and where links lead to. One that does not
    /// exist yet is represented by the nearest one above that does.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        let by_name = if self.is_directory { Some(self.path.as_path()) } else { self.path.parent() };
        let by_name = by_name.and_then(nearest);
        let target = self.path.canonicalize().ok();
        let target = target.filter(|_| !self.is_directory).and_then(|file| file.parent().map(Path::to_owned));
        let mut directories: Vec<PathBuf> = by_name.into_iter().chain(target).collect();
        directories.dedup();
        directories
    }
}

/// The files that `config` names.
pub(super) fn of(config: &Config, no_xdp: bool) -> Vec<Need> {
    let store = Store::new(&config.store);
    let mut needs = vec![
        Need::read("the configuration", &config.file),
        Need::written("store", store.path()),
        Need { must_exist: true, ..Need::written_below("temporary_directory", &config.temporary_directory) },
        Need::written("control_socket", &config.control_socket()),
    ];
    if let Some(tls) = &config.tls {
        needs.push(Need::read("tls.certificate", &tls.certificate));
        needs.push(Need::read("tls.key", &tls.key));
        let authorities = tls.client_trust.iter();
        needs.extend(authorities.map(|trust| Need::read("tls.client_trust", &trust.ca)));
    }
    if let NextHop::Maildir(path) = &config.next_hop {
        needs.push(Need::written_below("next_hop.maildir", path));
    }
    if let Some(path) = &config.metrics.file {
        needs.push(Need::written("metrics.file", path));
    }
    if let Some(Address::Unix(path)) = &config.http.listen {
        needs.push(Need::written("http.listen", path.as_path()));
    }
    if !no_xdp {
        // the directory of the pins may be removed and made again, and so may the bpf file system,
        // usually the directory above: a rule about its old root would be void
        let pins = &config.xdp.bpffs;
        let mount = pins.parent().filter(|mount| mount.parent().is_some_and(|above| above != Path::new("/")));
        let highest = mount.unwrap_or(pins);
        needs.push(Need { purpose: Use::Pin, ..Need::written("xdp.bpffs", highest) });
        needs.push(Need { purpose: Use::Pin, ..Need::written("xdp.bpffs", pins) });
        let key = config.xdp.cookie_key.iter();
        needs.extend(key.map(|path| Need::read("xdp.cookie_key", path)));
    }
    needs
}

/// The files that a daemon uses with any configuration.
pub(super) fn of_each() -> Vec<Need> {
    let mut needs: Vec<Need> = READ.into_iter().map(Need::read_below).collect();
    needs.push(Need::read("resolv.conf", Path::new(RESOLV_CONF)));
    // SQLite sorts large indices there
    let temporary = env::var_os("SQLITE_TMPDIR").or_else(|| env::var_os("TMPDIR"));
    let temporary = temporary.map_or_else(|| PathBuf::from(TEMPORARY), PathBuf::from);
    needs.push(Need::written_below("temporary files of SQLite", &temporary));
    needs
}

/// `path` without links, or the nearest directory above it that exists.
fn nearest(path: &Path) -> Option<PathBuf> {
    path.ancestors().find_map(|directory| directory.canonicalize().ok())
}

/// Configurations, certificates and the list of name servers, which change by renaming; libraries
/// and time zones; the kernel's facts about this process, interfaces and limits; the random numbers
/// that SQLite reads.
const READ: [&str; 9] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/proc",
    "/sys",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/dev/urandom",
];
const RESOLV_CONF: &str = "/etc/resolv.conf";
const TEMPORARY: &str = "/var/tmp";
