//! Postfix's smtp-sink: a mail server that takes everything, or misbehaves as its options specify.
//!
//! It owns no option: those are the caller's (smtp-sink(1)).

use std::{
    fs,
    net::TcpStream,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    process::{Child, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use sixgate::nexthop::Address;
use tempfile::TempDir;

use crate::{
    daemon::Log,
    netns::{CONNECT_TIMEOUT, Netns},
    postfix,
    timeouts::{PAUSE, patience, scaled},
};

/// A running smtp-sink. Dropping it kills it.
#[derive(Debug)]
pub struct SmtpSink {
    child: Child,
    log: Log,
    folder: TempDir,
}

impl SmtpSink {
    /// Starts it in `netns`, listening on `address`, and waits until it does.
    ///
    /// # Errors
    /// If Postfix is not unpacked, or if it does not start; with its output.
    pub fn start(netns: &Netns, address: impl Into<Address>, options: &[&str]) -> Result<Self> {
        let address = address.into();
        let address_text = match &address {
            Address::Tcp(address) => format!("inet:{address}"),
            Address::Unix(_) => address.to_string(),
        };
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        // it gives its rights up before it writes
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
        let mut command = postfix::program("sbin/smtp-sink")?;
        command
            .args(["-u", "nobody", "-d", "%s."])
            .args(options)
            .arg(address_text)
            .arg("100")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = netns.spawn(&mut command)?;
        let log = Log::collect(child.stderr.take().context("smtp-sink has no standard error")?);
        let mut sink = Self { child, log, folder };
        sink.wait_until_it_listens(netns, &address)?;
        Ok(sink)
    }

    /// The messages that it took, without order. Line ends are LF.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn messages(&self) -> Result<Vec<String>> {
        let files = fs::read_dir(self.folder.path()).context("cannot read what smtp-sink took")?;
        files.map(|file| fs::read_to_string(file?.path()).context("a message is not text")).collect()
    }

    /// It does not log that it listens: it is asked until it answers, or its log ends with it.
    fn wait_until_it_listens(&mut self, netns: &Netns, address: &Address) -> Result<()> {
        let listens = || match address {
            Address::Tcp(address) => address
                .resolve()
                .is_ok_and(|address| TcpStream::connect_timeout(&address, scaled(CONNECT_TIMEOUT)).is_ok()),
            Address::Unix(path) => UnixStream::connect(path.as_path()).is_ok(),
        };
        let until = Instant::now() + patience();
        while Instant::now() < until {
            if netns.run(listens) {
                return Ok(());
            }
            if self.log.wait_until_closed(PAUSE) {
                bail!("smtp-sink ended ({}): {}", self.child.wait()?, self.log.text());
            }
        }
        bail!("smtp-sink does not listen on {address}: {}", self.log.text())
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        // both fail only if it has ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
