//! Whether pins that a command makes outlive it: `ip netns exec` gives each command a mount
//! namespace of its own, and a bpffs that is mounted there is gone with it.
//!
//! It owns the question and the advice; nothing is mounted here.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Where this process is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Namespaces {
    /// Whether it has another mount namespace than process 1, in which the path of the pins names
    /// another directory.
    other_pins: bool,
    /// Whether it has another network namespace than process 1.
    other_network: bool,
    /// The name that `ip netns` has for the network namespace.
    name: Option<String>,
}

impl Namespaces {
    /// Compares this process, and the file system at the path of the pins, with the oldest process
    /// that may be looked at: process 1, or an ancestor of this one. Nothing where there is none.
    pub(super) fn look(pins: &Path) -> Option<Self> {
        let oldest = oldest()?;
        let differs = |kind: &str| Some(namespace(std::process::id(), kind)? != namespace(oldest, kind)?);
        let there = PathBuf::from(format!("/proc/{oldest}/root"));
        let other_pins = differs("mnt")? && file_system(Path::new("/"), pins) != file_system(&there, pins);
        Some(Self { other_pins, other_network: differs("net")?, name: name() })
    }

    /// What to do instead, where a command runs as `ip netns exec` runs it.
    pub(super) fn warning(&self) -> Option<String> {
        if !(self.other_pins && self.other_network) {
            return None;
        }
        let name = self.name.as_deref().unwrap_or("NAME");
        Some(format!(
            "this mount namespace is not the host's, as under `ip netns exec`: pins that are made here vanish with it, \
             and with them the XDP program; use `nsenter --net={NAMED}/{name} sixgate attach` instead"
        ))
    }
}

/// The oldest process whose namespaces may be looked at.
fn oldest() -> Option<u32> {
    let is_seen = |process: u32| namespace(process, "mnt").is_some();
    if is_seen(1) {
        return Some(1);
    }
    let ancestors = std::iter::successors(parent(std::process::id()), |process| parent(*process));
    ancestors.take(ANCESTORS_MAX).take_while(|process| is_seen(*process)).last()
}

/// A namespace of a process, as a text to be compared (namespaces(7)).
fn namespace(process: u32, kind: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{process}/ns/{kind}")).ok()
}

fn parent(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
}

/// The device of the file system in which `path` lies below `root`, or would lie.
fn file_system(root: &Path, path: &Path) -> Option<u64> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    relative.ancestors().find_map(|path| fs::metadata(root.join(path)).ok()).map(|metadata| metadata.dev())
}

/// The name of our network namespace, as iproute2 keeps it.
fn name() -> Option<String> {
    let identity = |path: PathBuf| fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let ours = identity("/proc/self/ns/net".into())?;
    let mut names = fs::read_dir(Path::new(NAMED)).ok()?.take(NAMES_MAX).filter_map(Result::ok);
    let found = names.find(|entry| identity(entry.path()) == Some(ours))?;
    found.file_name().into_string().ok()
}

/// Where iproute2 keeps network namespaces.
const NAMED: &str = "/run/netns";
/// How many ancestors are looked at.
const ANCESTORS_MAX: usize = 64;
/// How many of them are looked at.
const NAMES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_network_namespace_with_mounts_of_its_own_is_warned_of() {
        for (other_pins, other_network, name, wanted) in [
            (true, true, Some("blue"), Some("nsenter --net=/run/netns/blue sixgate attach")),
            (true, true, None, Some("nsenter --net=/run/netns/NAME sixgate attach")),
            (false, true, Some("blue"), None),
            (true, false, None, None),
            (false, false, None, None),
        ] {
            let namespaces = Namespaces { other_pins, other_network, name: name.map(str::to_owned) };
            let warning = namespaces.warning();
            match wanted {
                Some(part) => assert!(warning.is_some_and(|text| text.contains(part)), "{namespaces:?}"),
                None => assert_eq!(warning, None, "{namespaces:?}"),
            }
        }
    }
}
