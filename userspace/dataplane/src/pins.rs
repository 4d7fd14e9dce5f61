//! Where maps, program and links are pinned, and how a set of them comes and goes as a whole.
//!
//! A set is made aside in the same bpffs and renamed, so that a half-made one is never found. What
//! lies in a set is not its business.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt as _, lchown},
    path::{Path, PathBuf},
};

use aya::programs::links::PinnedLink;
use nix::{
    sys::statfs::{BPF_FS_MAGIC, statfs},
    unistd::geteuid,
};
use sixgate_common::names::LAYOUT;

use super::{error::DataplaneError, mounts::USUAL_MOUNT};

/// The location of the pins: a directory in a bpffs, with one directory for each layout version
/// inside.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pins {
    base: PathBuf,
}

impl Pins {
    /// Pins below `bpffs` (the setting `xdp.bpffs`); they lie in `<bpffs>/v5`. Nothing is touched
    /// yet.
    #[must_use]
    pub fn new(bpffs: &Path) -> Self {
        Self { base: bpffs.to_owned() }
    }

    /// The directory of this layout's pins, whether it exists or not.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.base.join(LAYOUT)
    }

    /// The set in use, if there is one.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::OtherLayout`] beside a set of another layout: this build does not know
    /// what that program does.
    pub(super) fn live(&self) -> Result<Option<PinSet>, DataplaneError> {
        match self.other_layouts()?.into_iter().next() {
            Some(other) => Err(DataplaneError::OtherLayout { path: other.0 }),
            None => self.own(),
        }
    }

    /// The set of this layout, also where another one lies beside it.
    pub(super) fn own(&self) -> Result<Option<PinSet>, DataplaneError> {
        let set = PinSet(self.directory());
        let exists = set.0.try_exists().map_err(|error| DataplaneError::file("look for", &set.0, error))?;
        Ok(exists.then_some(set))
    }

    /// The sets of other layout versions, of which this build knows the links and no more.
    pub(super) fn other_layouts(&self) -> Result<Vec<PinSet>, DataplaneError> {
        let others = names(&self.base)?.into_iter().filter(|name| is_layout(name) && name != LAYOUT);
        Ok(others.map(|name| PinSet(self.base.join(name))).collect())
    }

    /// Whether there is a bpffs for them.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::NoBpffs`]; [`DataplaneError::NoRights`], [`DataplaneError::System`].
    pub fn check_file_system(&self) -> Result<(), DataplaneError> {
        self.demand_bpffs()
    }

    /// Whether another layout's pins are there.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::NoRights`], [`DataplaneError::System`].
    pub fn has_other_layouts(&self) -> Result<bool, DataplaneError> {
        Ok(!self.other_layouts()?.is_empty())
    }

    /// Whether the program of this layout was loaded without what answers refused clients, since
    /// the kernel refused that. For a process that may not load it to find out.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::NoRights`], [`DataplaneError::System`].
    pub fn lacks_answers(&self) -> Result<bool, DataplaneError> {
        let marker = PinSet(self.directory()).without_answers();
        marker.try_exists().map_err(|error| DataplaneError::file("look for", &marker, error))
    }

    /// The location of the pins, as the setting gives it.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// Makes the base directory where it is missing, and sees that it is in a bpffs.
    pub(super) fn make_base(&self) -> Result<(), DataplaneError> {
        self.demand_bpffs()?;
        make_directory(&self.base)
    }

    /// Makes the base directory where it is missing, sees that it is in a bpffs, and removes what a
    /// killed process left behind.
    pub(super) fn prepare(&self) -> Result<(), DataplaneError> {
        self.make_base()?;
        self.staged().remove()?;
        self.retired().remove()
    }

    /// A new, empty set beside the one in use.
    pub(super) fn stage(&self) -> Result<PinSet, DataplaneError> {
        let staged = self.staged();
        make_directory(&staged.0)?;
        make_directory(&staged.links())?;
        Ok(staged)
    }

    /// Makes the staged set the one in use.
    pub(super) fn publish(&self, staged: PinSet) -> Result<PinSet, DataplaneError> {
        let live = PinSet(self.directory());
        fs::rename(&staged.0, &live.0).map_err(|error| DataplaneError::file("rename", &staged.0, error))?;
        Ok(live)
    }

    /// Removes the set in use; it is out of sight before its first part goes.
    pub(super) fn retire(&self, live: &PinSet) -> Result<(), DataplaneError> {
        let retired = self.retired();
        retired.remove()?;
        fs::rename(&live.0, &retired.0).map_err(|error| DataplaneError::file("rename", &live.0, error))?;
        retired.remove()
    }

    fn staged(&self) -> PinSet {
        PinSet(self.base.join(format!("{LAYOUT}_new")))
    }

    fn retired(&self) -> PinSet {
        PinSet(self.base.join(format!("{LAYOUT}_old")))
    }

    fn demand_bpffs(&self) -> Result<(), DataplaneError> {
        let existing = self.base.ancestors().find(|path| path.is_dir()).unwrap_or_else(|| Path::new("/"));
        let kind = statfs(existing)
            .map_err(|error| DataplaneError::file("examine", existing, error.into()))?
            .filesystem_type();
        if kind == BPF_FS_MAGIC {
            return Ok(());
        }
        // never a directory above the setting: a mount hides what lies in it
        let usual = Path::new(USUAL_MOUNT);
        let mount = if self.base.starts_with(usual) { usual.to_owned() } else { self.base.clone() };
        Err(DataplaneError::NoBpffs { path: self.base.clone(), mount })
    }
}

/// One set of pins: a directory with a file for each map, one for the program, and `links/` with a
/// file for each link.
#[derive(Debug)]
pub(super) struct PinSet(PathBuf);

impl PinSet {
    /// The set whose directory is `path`, if it is called like one of a layout.
    pub(super) fn at(path: &Path) -> Option<Self> {
        let is_set = path.file_name().and_then(|name| name.to_str()).is_some_and(is_layout);
        is_set.then(|| Self(path.to_owned()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn program(&self) -> PathBuf {
        self.0.join("program")
    }

    /// Where a program is pinned before it replaces [`Self::program`].
    pub(super) fn next_program(&self) -> PathBuf {
        self.0.join("program_next")
    }

    /// Where the link with that id is pinned. The name is for people: it is the interface's when it
    /// was attached.
    pub(super) fn link(&self, id: u32, interface: &str) -> PathBuf {
        self.links().join(format!("{id}-{}", escape(interface)))
    }

    /// Marks the set as one whose program has what answers, or has not.
    pub(super) fn mark_answers(&self, has_answers: bool) -> Result<(), DataplaneError> {
        if has_answers {
            remove_directory(&self.without_answers())
        } else {
            make_directory(&self.without_answers())
        }
    }

    /// A directory that marks a program without what answers: a bpffs has no plain files.
    fn without_answers(&self) -> PathBuf {
        self.0.join("without_answers")
    }

    /// The pinned links, in the order of their file names.
    pub(super) fn link_files(&self) -> Result<Vec<LinkFile>, DataplaneError> {
        let file = |name: String| {
            let recorded = name.split_once('-').filter(|(id, _)| id.parse::<u32>().is_ok());
            let interface = unescape(recorded.map_or(name.as_str(), |(_, interface)| interface));
            LinkFile { path: self.links().join(&name), interface }
        };
        Ok(names(&self.links())?.into_iter().map(file).collect())
    }

    /// Removes all pins, links first. A missing pin is not an error.
    pub(super) fn remove(&self) -> Result<(), DataplaneError> {
        for file in self.link_files()? {
            release(&file.path)?;
        }
        for directory in [self.links(), self.0.clone()] {
            match fs::remove_dir_all(&directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(DataplaneError::file("remove", &directory, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn links(&self) -> PathBuf {
        self.0.join("links")
    }
}

/// The pin of a link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct LinkFile {
    pub(super) path: PathBuf,
    /// The name of the interface when the program was attached.
    pub(super) interface: String,
}

/// Removes the pin of a link. The kernel detaches with the last reference to a link: at once when
/// that is a descriptor, but some time later when it is a file (kernel/bpf/syscall.c,
/// `bpf_link_put`).
pub(super) fn release(file: &Path) -> Result<(), DataplaneError> {
    // What cannot be opened can be removed all the same.
    let link = PinnedLink::from_pin(file);
    remove_pin(file)?;
    drop(link);
    Ok(())
}

/// Removes one pin. A missing pin is not an error.
pub(super) fn remove_pin(file: &Path) -> Result<(), DataplaneError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DataplaneError::file("remove", file, error))
        }
        _ => Ok(()),
    }
}

/// Removes an empty directory. A missing one is not an error.
pub(super) fn remove_directory(path: &Path) -> Result<(), DataplaneError> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DataplaneError::file("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// The names in a directory, sorted; none if it does not exist.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, DataplaneError> {
    let list = || -> io::Result<Vec<String>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    match list() {
        Ok(mut names) => {
            names.sort();
            Ok(names)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(DataplaneError::file("list", directory, error)),
    }
}

/// Makes a directory where it is missing, and gives it the owner of the one above.
pub(super) fn make_directory(path: &Path) -> Result<(), DataplaneError> {
    make_directory_of_mode(path, DIRECTORY_MODE)
}

/// The same with another mode; directories above it that are missing are made, too.
pub(super) fn make_directory_of_mode(path: &Path, mode: u32) -> Result<(), DataplaneError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        make_directory_of_mode(above, mode)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        // another process was first
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(DataplaneError::file("make the directory", path, error)),
        Ok(()) => adopt(path),
    }
}

/// Gives what root has just made at `path` the owner and the group of the directory that it is in:
/// a command of root must not lock a daemon out that runs as another user.
pub(super) fn adopt(path: &Path) -> Result<(), DataplaneError> {
    let Some(directory) = path.parent().filter(|_| geteuid().is_root()) else {
        return Ok(());
    };
    let model = fs::metadata(directory).map_err(|error| DataplaneError::file("examine", directory, error))?;
    match lchown(path, Some(model.uid()), Some(model.gid())) {
        // User 0 without CAP_CHOWN keeps it. What went meanwhile needs no owner.
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound) => {
            Ok(())
        }
        changed => changed.map_err(|error| DataplaneError::file("change the owner of", path, error)),
    }
}

/// Whether `name` is a layout version's: `v` and a number.
fn is_layout(name: &str) -> bool {
    name.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok())
}

/// An interface's name as a file name of bpffs, which reserves the dot (kernel/bpf/inode.c,
/// `bpf_lookup`): any other character than a letter, digit, `-` or `_` becomes `%` and two
/// hexadecimal digits.
pub(super) fn escape(interface: &str) -> String {
    let mut name = String::with_capacity(interface.len());
    for octet in interface.bytes() {
        if octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_' {
            name.push(char::from(octet));
        } else {
            name.push_str(&format!("%{octet:02X}"));
        }
    }
    name
}

/// The interface whose link's file name is `name`.
fn unescape(name: &str) -> String {
    let mut octets = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, after @ ..] => hexadecimal(*high, *low).map(|octet| (octet, after)),
            _ => None,
        };
        let (octet, after) = escaped.unwrap_or((*first, tail));
        octets.push(octet);
        rest = after;
    }
    String::from_utf8_lossy(&octets).into_owned()
}

fn hexadecimal(high: u8, low: u8) -> Option<u8> {
    let digit = |octet: u8| char::from(octet).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Pins tell who mails whom: for the owner and the group only.
const DIRECTORY_MODE: u32 = 0o750;

#[cfg(test)]
mod tests;
