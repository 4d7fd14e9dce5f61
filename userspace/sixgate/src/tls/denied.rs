//! Why a user may not read a file, as the modes of the file and of the directories that lead to it
//! tell, and the command that helps.
//!
//! It opens nothing, and sees neither access lists nor security modules.

use std::{
    ffi::CString,
    fmt, fs,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist, getgroups};

/// A user that is to read files.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    uid: Uid,
    /// The user's own group first.
    gids: Vec<Gid>,
}

impl Reader {
    /// The user of this process.
    pub(crate) fn of_this_process() -> Self {
        let gids = [getegid()].into_iter().chain(getgroups().unwrap_or_default()).collect();
        Self { uid: geteuid(), gids }
    }

    /// The user with that number, in the groups of the user database; of one that is not there,
    /// `gid` alone.
    pub(crate) fn with_id(uid: u32, gid: u32) -> Self {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let user = User::from_uid(uid).ok().flatten();
        let gids = user.and_then(|user| {
            let others = getgrouplist(&CString::new(user.name).ok()?, user.gid).unwrap_or_default();
            Some([user.gid].into_iter().chain(others).collect())
        });
        Self { uid, gids: gids.unwrap_or_else(|| vec![gid]) }
    }

    /// Why this user cannot read `path`. That it cannot is known to the caller.
    pub(crate) fn denied(&self, path: &Path) -> Denied {
        let blocking: Vec<Blocking> = way_to(path)
            .into_iter()
            .filter_map(|(path, wanted)| {
                let found = fs::metadata(&path).ok()?;
                let (mode, uid, gid) = (found.mode() & 0o7777, found.uid(), found.gid());
                let of_group = self.gids.contains(&Gid::from_raw(gid));
                let shift = if self.uid.as_raw() == uid {
                    6
                } else if of_group {
                    3
                } else {
                    0
                };
                let allows = (mode >> shift) & wanted == wanted;
                (!allows).then_some(Blocking { path, wanted, mode, uid, gid })
            })
            .collect();
        let cure = self.cure(&blocking);
        Denied { user: user_name(self.uid), blocking: blocking.into_iter().next(), cure }
    }

    fn cure(&self, blocking: &[Blocking]) -> String {
        let own = self.gids.first().map_or_else(String::new, |gid| group_name(*gid));
        let Some(first) = blocking.first() else {
            return RESTART.to_owned();
        };
        if blocking.iter().any(|blocking| blocking.path.starts_with(LETSENCRYPT)) {
            let both = ["live", "archive"].map(|name| format!("{LETSENCRYPT}/{name}")).join(" ");
            return format!("chgrp -R {own} {both} && chmod -R g+rX {both}");
        }
        let is_for_group = |blocking: &Blocking| {
            let allows = (blocking.mode >> 3) & blocking.wanted == blocking.wanted;
            allows && blocking.gid == first.gid && blocking.gid != 0
        };
        if blocking.iter().all(is_for_group) {
            let group = group_name(Gid::from_raw(first.gid));
            return format!("usermod -a -G {group} {} && {RESTART}", user_name(self.uid));
        }
        let paths: Vec<String> =
            blocking.iter().map(|blocking| blocking.path.display().to_string()).collect();
        let paths = paths.join(" ");
        format!("chgrp {own} {paths} && chmod g+rX {paths}")
    }
}

/// What keeps a user from a file.
#[derive(Debug)]
pub struct Denied {
    user: String,
    /// The first that does; `None`: modes allow the reading.
    blocking: Option<Blocking>,
    cure: String,
}

/// A file or a directory whose mode does not let the user through.
#[derive(Debug)]
struct Blocking {
    path: PathBuf,
    /// The right that is missing, as three bits of a mode.
    wanted: u32,
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Denied {
    /// The command that helps.
    #[must_use]
    pub fn cure(&self) -> &str {
        &self.cure
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Blocking { path, wanted, mode, uid, gid }) = &self.blocking else {
            return f.write_str(
                "permission denied, although modes allow it: an access list, a security module, or the directories \
                 that the daemon had at its start (`sandbox`)",
            );
        };
        let verb = if *wanted == SEARCH { "enter" } else { "read" };
        let (owner, group) = (user_name(Uid::from_raw(*uid)), group_name(Gid::from_raw(*gid)));
        let (user, path) = (&self.user, path.display());
        write!(f, "user {user} may not {verb} {path} (mode {mode:04o}, {owner}:{group})")
    }
}

/// The directories that lead to `path`, by its name and by links, then the file; each with the
/// right that it takes.
fn way_to(path: &Path) -> Vec<(PathBuf, u32)> {
    let mut way = Vec::new();
    let mut file = path.to_owned();
    for _ in 0..=LINKS_MAX {
        let mut above: Vec<_> = file.ancestors().skip(1).map(|path| (path.to_owned(), SEARCH)).collect();
        above.reverse();
        above.retain(|step| !way.contains(step));
        way.extend(above);
        let Ok(target) = fs::read_link(&file) else { break };
        file = without_dots(&file.parent().unwrap_or_else(|| Path::new("/")).join(target));
    }
    way.push((file, READ));
    way
}

/// `path` without `..`, by its text: links of directories on the way are rare.
fn without_dots(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut made, component| {
        match component {
            Component::ParentDir => drop(made.pop()),
            component => made.push(component),
        }
        made
    })
}

fn user_name(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

fn group_name(gid: Gid) -> String {
    Group::from_gid(gid).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name)
}

const READ: u32 = 0o4;
const SEARCH: u32 = 0o1;
/// Links that are followed, one to the next.
const LINKS_MAX: usize = 8;
/// certbot's directory, whose `live` has links to `archive`.
const LETSENCRYPT: &str = "/etc/letsencrypt";
const RESTART: &str = "systemctl restart sixgate";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// In no group of the files.
    fn other() -> Reader {
        Reader { uid: Uid::from_raw(47_251), gids: vec![Gid::from_raw(47_252)] }
    }

    #[test]
    fn the_first_that_blocks_is_named_and_all_of_them_are_opened_to_the_group() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (directory, mode) in [("", 0o711), ("live", 0o711), ("archive", 0o700)] {
            fs::create_dir_all(at(directory)).unwrap();
            fs::set_permissions(at(directory), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::write(at("archive/key1.pem"), "").unwrap();
        fs::set_permissions(at("archive/key1.pem"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink("../archive/key1.pem", at("live/key.pem")).unwrap();
        let denied = other().denied(&at("live/key.pem"));
        let (archive, key) = (at("archive"), at("archive/key1.pem"));
        let (archive, key) = (archive.display(), key.display());
        let text = denied.to_string();
        assert!(text.starts_with(&format!("user 47251 may not enter {archive} (mode 0700, ")), "{text}");
        assert_eq!(denied.cure(), format!("chgrp 47252 {archive} {key} && chmod g+rX {archive} {key}"));
        // the cure
        fs::set_permissions(at("archive"), fs::Permissions::from_mode(0o711)).unwrap();
        fs::set_permissions(at("archive/key1.pem"), fs::Permissions::from_mode(0o644)).unwrap();
        let denied = other().denied(&at("live/key.pem"));
        assert!(denied.blocking.is_none() && denied.to_string().contains("although modes allow it"));
    }

    #[test]
    fn files_of_a_group_need_the_group_and_certbots_two_directories() {
        let blocking =
            |path: &str, wanted, mode, gid| Blocking { path: path.into(), wanted, mode, uid: 0, gid };
        let private = [
            blocking("/etc/ssl/private", SEARCH, 0o710, 47_253),
            blocking("/etc/ssl/private/key.pem", READ, 0o640, 47_253),
        ];
        assert_eq!(other().cure(&private), "usermod -a -G 47253 47251 && systemctl restart sixgate");
        let certbot = [blocking("/etc/letsencrypt/live", SEARCH, 0o700, 0)];
        assert_eq!(
            other().cure(&certbot),
            "chgrp -R 47252 /etc/letsencrypt/live /etc/letsencrypt/archive && \
             chmod -R g+rX /etc/letsencrypt/live /etc/letsencrypt/archive"
        );
    }
}
