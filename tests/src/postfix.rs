//! A real Postfix: Debian's package, unpacked by `cargo xtask setup`, never installed.
//!
//! It runs with mounts of its own, where users `postfix` and `postdrop` exist. As a server behind,
//! it keeps messages in its hold queue, as they were when it accepted them; as a sender, it
//! delivers to whom the DNS names.

use std::{
    ffi::OsStr,
    fs,
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::{
    daemon::Log,
    mounts::Mounts,
    netns::Netns,
    sender::{Attempt, HOSTNAME, Outcome, SUBMISSION, Sender, count_files},
    timeouts::scaled,
    unpacked,
};

/// A running Postfix. Dropping it stops it.
#[derive(Debug)]
pub struct Postfix {
    child: Child,
    log: Log,
    mounts: Mounts,
    version: String,
    folder: TempDir,
}

impl Postfix {
    /// Starts Postfix in `netns`. It listens on `address` and answers as `mx.example`; it is
    /// responsible for `d.example`, trusts no client, and takes XCLIENT from none, unless
    /// `settings` (lines of main.cf) change that.
    ///
    /// # Errors
    /// If Postfix is not unpacked, without root's rights, or if it does not start; with its log.
    pub fn start(netns: &Netns, address: SocketAddr, settings: &str) -> Result<Self> {
        let folder = unpacked::open_folder()?;
        let mounts = prepare(folder.path(), &smtpd(address), &format!("{BEHIND}{settings}"))?;
        Self::start_with(netns, folder, mounts)
    }

    /// Starts Postfix as [`Postfix::start`] does, but it listens at [`Postfix::socket`].
    ///
    /// # Errors
    /// As [`Postfix::start`].
    pub fn start_at_socket(netns: &Netns, settings: &str) -> Result<Self> {
        let folder = unpacked::open_folder()?;
        let services = format!("{SOCKET} unix n - n - - smtpd\n");
        let mounts = prepare(folder.path(), &services, &format!("{BEHIND}{settings}"))?;
        Self::start_with(netns, folder, mounts)
    }

    /// The Unix socket of [`Postfix::start_at_socket`].
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("spool/public").join(SOCKET)
    }

    /// Starts Postfix as [`Postfix::start`] does, with postscreen in front of smtpd.
    ///
    /// # Errors
    /// As [`Postfix::start`].
    pub fn start_postscreen(netns: &Netns, address: SocketAddr, settings: &str) -> Result<Self> {
        let folder = unpacked::open_folder()?;
        let services = format!("{address} inet n - n - 1 postscreen\n{BEHIND_POSTSCREEN}");
        let mounts = prepare(folder.path(), &services, &format!("{BEHIND}{settings}"))?;
        Self::start_with(netns, folder, mounts)
    }

    /// Starts Postfix in `netns` as a sender: it takes messages as [`Sender`] describes, and looks
    /// every domain up in the DNS. `settings` are lines of main.cf.
    ///
    /// # Errors
    /// As [`Postfix::start`].
    pub fn start_sending(netns: &Netns, settings: &str) -> Result<Self> {
        let folder = unpacked::open_folder()?;
        let settings = format!("myhostname = {HOSTNAME}\nmyorigin = {HOSTNAME}\n{SENDING}{settings}");
        let mounts = prepare(folder.path(), &smtpd(SUBMISSION.into()), &settings)?.resolver("::1")?;
        Self::start_with(netns, folder, mounts)
    }

    fn start_with(netns: &Netns, folder: TempDir, mounts: Mounts) -> Result<Self> {
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
        let child = netns.run(|| mounts.run(start))?;
        drop(master);
        let mut postfix = Self { child, log: Log::collect(reader), mounts, version: String::new(), folder };
        postfix.version = postfix.wait_for_log("daemon started")?;
        Ok(postfix)
    }

    /// Waits until a line of its log contains `text`, and returns that line.
    ///
    /// # Errors
    /// If none does in time.
    pub fn wait_for_log(&self, text: &str) -> Result<String> {
        self.log.wait_for(text)
    }

    /// The process id of its master, which is the id of the group of all of its processes, too.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
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
        let output = self.mounts.run(|| postcat.output().context("cannot start postcat"))?;
        ensure!(
            output.status.success(),
            "postcat failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        String::from_utf8(output.stdout).context("a message is not text")
    }
}

impl Sender for Postfix {
    fn version(&self) -> &str {
        &self.version
    }

    fn attempt(&self, recipient: &str) -> Result<Attempt> {
        let (wanted, to) = (format!("what became of <{recipient}>"), format!(": to=<{recipient}>, "));
        self.log.wait_for_match(&wanted, |line| {
            let (_, status) = line.split_once(&to)?.1.split_once(", status=")?;
            let outcome = match status.split_once(' ')?.0 {
                "sent" => Outcome::Sent,
                "deferred" => Outcome::Deferred,
                "bounced" => Outcome::Bounced,
                _ => return None,
            };
            Some(Attempt { outcome, line: line.to_owned() })
        })
    }

    fn queued(&self) -> Result<usize> {
        let counts = QUEUES.iter().map(|queue| count_files(&self.folder.path().join(queue), |_| true));
        counts.sum()
    }

    fn log(&self) -> String {
        self.log.text()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if let Ok(group) = i32::try_from(self.child.id()) {
            // fails only if it has ended already
            let _ = killpg(Pid::from_raw(group), Signal::SIGTERM);
            if !self.log.wait_until_closed(scaled(STOP_TIMEOUT)) {
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
    unpacked::root("postfix", "usr/lib/postfix/sbin/master")
}

/// A program of Postfix's package, by its path below `usr`.
pub(crate) fn program(path: &str) -> Result<Command> {
    let usr = folder().context("Postfix is not unpacked: use `cargo xtask setup`")?.join("usr");
    let mut command = Command::new(usr.join(path));
    command.env("LD_LIBRARY_PATH", usr.join("lib/postfix"));
    Ok(command)
}

/// The SMTP service at `address`, a line of master.cf.
fn smtpd(address: SocketAddr) -> String {
    format!("{address} inet n - n - - smtpd\n")
}

/// Writes configuration and queue into `folder`; `services` are the first lines of master.cf.
fn prepare(folder: &Path, services: &str, settings: &str) -> Result<Mounts> {
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
    write(&folder.join("master.cf"), &format!("{services}{MASTER}"))?;
    for (name, mode, group) in DIRECTORIES {
        let owner = (*mode != ROOTS).then_some(USER);
        unpacked::make_directory(&folder.join(name), *mode, owner, *group)?;
    }
    Mounts::new(folder).users(&[("postfix", USER), ("postdrop", POSTDROP)])
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// How long Postfix may take to end before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// Numbers that no user or group of Debian has by default.
const USER: u32 = 64_025;
const POSTDROP: u32 = 64_026;
/// The name of the service that listens at a Unix socket.
const SOCKET: &str = "behind";
/// The mode of a directory that stays root's.
const ROOTS: u32 = 0o755;

const MAIN: &str = "maillog_file = /dev/stdout\n\
    smtpd_peername_lookup = no\nmydestination =\nlocal_recipient_maps =\nalias_maps =\n\
    local_transport = error:none\nvirtual_alias_maps =\n\
    smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n";

/// Settings that differ for a server behind.
const BEHIND: &str = "myhostname = mx.example\nmyorigin = mx.example\nmynetworks =\n\
    virtual_mailbox_domains = d.example\nvirtual_mailbox_maps = static:any\nheader_checks = static:HOLD\n";

/// Settings that differ for a sender. No address is its own, so that it sends to a gate on the same
/// host too; and it begins with IPv6, not, as by default, with IPv4 or IPv6 by chance.
const SENDING: &str = "mynetworks = [::1]/128\ninet_interfaces = ::1\nsmtp_address_preference = ipv6\n";

const MASTER: &str = "cleanup unix n - n - 0 cleanup\n\
    qmgr unix n - n 300 1 qmgr\n\
    rewrite unix - - n - - trivial-rewrite\n\
    bounce unix - - n - 0 bounce\n\
    defer unix - - n - 0 bounce\n\
    trace unix - - n - 0 bounce\n\
    smtp unix - - n - - smtp\n\
    retry unix - - n - - error\n\
    scache unix - - n - 1 scache\n\
    tlsmgr unix - - n 1000 1 tlsmgr\n\
    anvil unix - - n - 1 anvil\n\
    postlog unix-dgram n - n - 1 postlogd\n";

/// Where a message is that is to be delivered still.
const QUEUES: &[&str] = &["spool/incoming", "spool/active", "spool/deferred"];

const BEHIND_POSTSCREEN: &str = "smtpd pass - - n - - smtpd\n\
    dnsblog unix - - n - 0 dnsblog\n\
    tlsproxy unix - - n - 0 tlsproxy\n";

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
