//! A real Dovecot that delivers by LMTP: Debian's packages, unpacked by `cargo xtask setup`, never
//! installed.
//!
//! It runs with mounts of its own, where its programs are in their compiled-in locations. Every
//! user exists.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    mounts::Mounts,
    netns::Netns,
    unpacked::{self, Running},
};

/// A running Dovecot. Dropping it stops it.
#[derive(Debug)]
pub struct Dovecot {
    running: Running,
}

impl Dovecot {
    /// Starts Dovecot in `netns`. It takes LMTP at [`Dovecot::socket`] and at `plain`, with
    /// XCLIENT, and at `proxied` behind the PROXY protocol.
    ///
    /// # Errors
    /// If Dovecot is not unpacked, without root's rights, or if it does not start; with its log.
    pub fn start(netns: &Netns, plain: SocketAddr, proxied: SocketAddr) -> Result<Self> {
        let root = folder().context("Dovecot is not unpacked: use `cargo xtask setup`")?;
        let folder = unpacked::open_folder()?;
        let here = folder.path();
        for directory in ["run", "state", "mail"] {
            unpacked::make_directory(&here.join(directory), 0o755, Some(NOBODY), None)?;
        }
        let config = here.join("dovecot.conf");
        fs::write(&config, configuration(here, plain, proxied)).context("cannot configure Dovecot")?;
        let mounts = Mounts::new(here).merge(&root.join("usr"), "/usr");
        let mut command = Command::new(PROGRAM);
        command.arg("-F").arg("-c").arg(config);
        let running = Running::start("Dovecot", netns, folder, &mounts, &mut command, None)?;
        // this line comes once it listens
        running.log().wait_for("starting up for lmtp")?;
        Ok(Self { running })
    }

    /// Its Unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.running.folder().join("run/lmtp")
    }

    /// The messages that `user` has, without order. Line ends are LF.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn messages(&self, user: &str) -> Result<Vec<String>> {
        let new = self.running.folder().join("mail").join(user).join("new");
        let files = fs::read_dir(&new).with_context(|| format!("{user} has no mail"))?;
        files.map(|file| fs::read_to_string(file?.path()).context("a message is not text")).collect()
    }
}

/// Where Dovecot is unpacked, if it is.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    // of the package that was extracted last
    unpacked::root("dovecot", "usr/lib/dovecot/lmtp")
}

fn configuration(here: &Path, plain: SocketAddr, proxied: SocketAddr) -> String {
    let (here, listener) = (here.display(), |name: &str, address: SocketAddr, more: &str| {
        let (ip, port) = (address.ip(), address.port());
        format!("  inet_listener {name} {{\n    address = {ip}\n    port = {port}\n{more}  }}\n")
    });
    let (plain, proxied) =
        (listener("plain", plain, ""), listener("proxied", proxied, "    haproxy = yes\n"));
    format!(
        "base_dir = {here}/run\nstate_dir = {here}/state\nmail_location = maildir:{here}/mail/%n\n\
         service lmtp {{\n  chroot =\n  unix_listener lmtp {{\n    mode = 0666\n  }}\n{plain}{proxied}}}\n\
         userdb {{\n  driver = static\n  args = uid={NOBODY} gid={NOBODY} home={here}/mail/%n allow_all_users=yes\n}}\n\
         {MAIN}"
    )
}

const PROGRAM: &str = "/usr/sbin/dovecot";
/// Debian's `nobody` and `nogroup`.
const NOBODY: u32 = 65_534;

const MAIN: &str = "protocols = lmtp\nssl = no\nlog_path = /dev/stderr\nhostname = dove.example\n\
    postmaster_address = postmaster@d.example\n\
    default_internal_user = nobody\ndefault_internal_group = nogroup\ndefault_login_user = nobody\n\
    login_trusted_networks = ::1\nhaproxy_trusted_networks = ::1\n\
    passdb {\n  driver = static\n  args = nopassword=y\n}\n\
    service anvil {\n  chroot =\n}\nservice stats {\n  chroot =\n}\n";
