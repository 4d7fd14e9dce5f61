//! A real Postfix: Debian's package, unpacked by `cargo xtask setup`, never installed.
//!
//! It runs with mounts of its own, where users `postfix` and `postdrop` exist. Messages stay in its hold queue, as
//! they were when it said that it has them; it delivers nothing.

use std::{
    ffi::OsStr,
    fs,
    net::SocketAddr,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{daemon::Log, netns::Netns};

/// A running Postfix. Dropping it stops it.
#[derive(Debug)]
pub struct Postfix {
    child: Child,
    log: Log,
    folder: TempDir,
}

impl Postfix {
    /// Starts Postfix in `netns`. It listens on `address` and answers as `mx.example`; it is responsible for
    /// `d.example`, trusts nobody, and takes XCLIENT from nobody, unless `settings` (lines of main.cf) say otherwise.
    ///
    /// # Errors
    /// If Postfix is not unpacked, without root's rights, or if it does not start; with its log.
    pub fn start(netns: &Netns, address: SocketAddr, settings: &str) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        prepare(folder.path(), address, settings)?;
        let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
        let mut master = program("lib/postfix/sbin/master")?;
        master
            .args([OsStr::new("-c"), folder.path().as_os_str(), OsStr::new("-d")])
            .env("MAIL_CONFIG", folder.path())
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            // all of its processes are in one group, to be stopped together
            .process_group(0);
        let start = || master.spawn().context("cannot start Postfix");
        let child = netns.run(|| with_users_of(folder.path(), start))?;
        drop(master);
        let postfix = Self { child, log: Log::collect(reader), folder };
        postfix.wait_for_log("daemon started")?;
        Ok(postfix)
    }

    /// Waits until a line of its log contains `text`, and returns that line.
    ///
    /// # Errors
    /// If none does in time.
    pub fn wait_for_log(&self, text: &str) -> Result<String> {
        self.log.wait_for(text)
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// The messages that it has, as it would deliver them, without order. Line ends are LF.
    ///
    /// # Errors
    /// If its queue cannot be read.
    pub fn messages(&self) -> Result<Vec<String>> {
        let hold = self.folder.path().join("spool/hold");
        let files = fs::read_dir(&hold).with_context(|| format!("cannot read {}", hold.display()))?;
        files.map(|file| self.message(&file?.path())).collect()
    }

    fn message(&self, file: &Path) -> Result<String> {
        let mut postcat = program("sbin/postcat")?;
        postcat.arg("-c").arg(self.folder.path()).arg("-hb").arg(file);
        let output = with_users_of(self.folder.path(), || postcat.output().context("cannot start postcat"))?;
        ensure!(
            output.status.success(),
            "postcat failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        String::from_utf8(output.stdout).context("a message is not text")
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if let Ok(group) = i32::try_from(self.child.id()) {
            // fails only if it has ended already
            let _ = killpg(Pid::from_raw(group), Signal::SIGTERM);
            if !self.log.wait_until_closed(STOP_TIMEOUT) {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
        }
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of Postfix\n{}---", self.log());
        }
    }
}

/// Where Postfix is unpacked, if it is.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let folders = own.ancestors().skip(1).map(|folder| folder.join("tools/postfix"));
    folders.into_iter().find(|folder| folder.join("usr/lib/postfix/sbin/master").is_file())
}

/// A program of Postfix's package, by its path below `usr`.
pub(crate) fn program(path: &str) -> Result<Command> {
    let usr = folder().context("Postfix is not unpacked: use `cargo xtask setup`")?.join("usr");
    let mut command = Command::new(usr.join(path));
    command.env("LD_LIBRARY_PATH", usr.join("lib/postfix"));
    Ok(command)
}

/// Writes configuration and queue into `folder`.
fn prepare(folder: &Path, address: SocketAddr, settings: &str) -> Result<()> {
    let usr = self::folder().context("Postfix is not unpacked: use `cargo xtask setup`")?.join("usr");
    let (usr, here) = (usr.display(), folder.display());
    let main = format!(
        "compatibility_level = 3.6\n\
         config_directory = {here}\nmeta_directory = {here}\n\
         queue_directory = {here}/spool\ndata_directory = {here}/data\n\
         command_directory = {usr}/sbin\n\
         daemon_directory = {usr}/lib/postfix/sbin\nshlib_directory = {usr}/lib/postfix\n\
         import_environment = MAIL_CONFIG LD_LIBRARY_PATH\n{MAIN}{settings}\n"
    );
    write(&folder.join("main.cf"), &main)?;
    write(&folder.join("master.cf"), &format!("{address} inet n - n - - smtpd\n{MASTER}"))?;
    // its processes run as another user
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    for (name, mode, group) in DIRECTORIES {
        let path = folder.join(name);
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
        let owner = (*mode != ROOTS).then_some(USER);
        chown(&path, owner, *group).with_context(|| format!("cannot give {} away", path.display()))?;
    }
    with_users("/etc/passwd", &folder.join("passwd"), &format!("postfix:x:{USER}:{USER}::/:/bin/false\n"))?;
    with_users("/etc/group", &folder.join("group"), &format!("postfix:x:{USER}:\npostdrop:x:{POSTDROP}:\n"))
}

/// A copy of a list of users or groups, with `ours` in front, which wins over an installed Postfix's.
fn with_users(list: &str, copy: &Path, ours: &str) -> Result<()> {
    let theirs = fs::read_to_string(list).with_context(|| format!("cannot read {list}"))?;
    let others =
        theirs.lines().filter(|line| !line.starts_with("postfix:") && !line.starts_with("postdrop:"));
    let others: String = others.map(|line| format!("{line}\n")).collect();
    write(copy, &format!("{ours}{others}"))
}

/// Runs `task` on a thread with mounts of its own, where the users that Postfix needs are; what it starts inherits
/// them.
fn with_users_of<T: Send>(folder: &Path, task: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace")?;
            bind(None, "/", MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
            bind(Some(&folder.join("passwd")), "/etc/passwd", MsFlags::MS_BIND)?;
            bind(Some(&folder.join("group")), "/etc/group", MsFlags::MS_BIND)?;
            task()
        });
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn bind(source: Option<&Path>, place: &str, flags: MsFlags) -> Result<()> {
    let none = None::<&str>;
    mount(source, place, none, flags, none).with_context(|| format!("cannot change the mount of {place}"))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// How long Postfix may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// Numbers that no user or group of Debian has by default.
const USER: u32 = 64_025;
const POSTDROP: u32 = 64_026;
/// The mode of a directory that stays root's.
const ROOTS: u32 = 0o755;

const MAIN: &str = "maillog_file = /dev/stdout\n\
    myhostname = mx.example\nmyorigin = mx.example\ninet_interfaces = all\nsmtpd_peername_lookup = no\n\
    mynetworks =\nmydestination =\nlocal_recipient_maps =\nalias_maps =\nlocal_transport = error:none\n\
    virtual_mailbox_domains = d.example\nvirtual_mailbox_maps = static:any\nvirtual_alias_maps =\n\
    smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n\
    header_checks = static:HOLD\n";

const MASTER: &str = "cleanup unix n - n - 0 cleanup\n\
    qmgr unix n - n 300 1 qmgr\n\
    rewrite unix - - n - - trivial-rewrite\n\
    bounce unix - - n - 0 bounce\n\
    anvil unix - - n - 1 anvil\n\
    postlog unix-dgram n - n - 1 postlogd\n";

const DIRECTORIES: &[(&str, u32, Option<u32>)] = &[
    ("data", 0o700, None),
    ("spool", ROOTS, None),
    ("spool/active", 0o700, None),
    ("spool/bounce", 0o700, None),
    ("spool/corrupt", 0o700, None),
    ("spool/defer", 0o700, None),
    ("spool/deferred", 0o700, None),
    ("spool/flush", 0o700, None),
    ("spool/hold", 0o700, None),
    ("spool/incoming", 0o700, None),
    ("spool/maildrop", 0o730, Some(POSTDROP)),
    ("spool/pid", ROOTS, None),
    ("spool/private", 0o700, None),
    ("spool/public", 0o710, Some(POSTDROP)),
    ("spool/saved", 0o700, None),
    ("spool/trace", 0o700, None),
];
