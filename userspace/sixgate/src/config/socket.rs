//! The name of the control socket where the configuration does not name one.
//!
//! It makes no socket.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::settings::{DEFAULT_PATH, FILE_MAX};
use sixgate_base::bounded;

/// The socket of the daemon that reads `file`: a fixed name for the usual file, else one with a
/// number that stands for the file's path. Links in the folder's path are resolved; the file itself
/// may be a link that is replaced.
pub(super) fn default_path(file: &Path) -> PathBuf {
    let folder = file.parent().and_then(|folder| fs::canonicalize(folder).ok());
    let file = match (folder, file.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => file.to_owned(),
    };
    let folder = Path::new(FOLDER);
    if file == Path::new(DEFAULT_PATH) {
        return folder.join("control");
    }
    folder.join(format!("control-{:016x}", fingerprint(file.as_os_str())))
}

/// The socket that `file` names, even where the rest of the file has errors.
pub(super) fn named_in(file: &Path) -> Option<PathBuf> {
    let octets = bounded::open(file).and_then(|file| bounded::read_to_end(file, FILE_MAX)).ok()?;
    let text = String::from_utf8_lossy(&octets);
    let line = text.lines().find(|line| line.trim_start().starts_with(KEY))?;
    let table: toml::Table = line.parse().ok()?;
    table.get(KEY)?.as_str().map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The directory of the pins that `file` names, if it is TOML at all.
pub(super) fn pins_named_in(file: &Path) -> Option<PathBuf> {
    let octets = bounded::open(file).and_then(|file| bounded::read_to_end(file, FILE_MAX)).ok()?;
    let table: toml::Table = std::str::from_utf8(&octets).ok()?.parse().ok()?;
    let path = table.get("xdp")?.get("bpffs")?.as_str().map(PathBuf::from)?;
    path.is_absolute().then_some(path)
}

/// FNV-1a: the same in each version of sixgate, so that a command finds a daemon of another one.
fn fingerprint(text: &OsStr) -> u64 {
    text.as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3))
}

const KEY: &str = "control_socket";
/// The unit's RuntimeDirectory.
const FOLDER: &str = "/run/sixgate";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_has_a_socket_of_its_own_by_each_path_to_it() {
        assert_eq!(default_path(Path::new(DEFAULT_PATH)), Path::new("/run/sixgate/control"));
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real"), directory.path().join("link"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let [one, same, other] = [real.join("a.toml"), link.join("a.toml"), real.join("b.toml")];
        assert_eq!(default_path(&one), default_path(&same));
        assert_ne!(default_path(&one), default_path(&other));
        // the fingerprint of FNV's own test vectors
        assert_eq!(fingerprint(OsStr::new("foobar")), 0x8594_4171_f739_67e8);
    }
}
