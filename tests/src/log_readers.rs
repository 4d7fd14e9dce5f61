//! Programs that read Postfix's log, as Debian has them: pflogsumm, fail2ban and
//! prometheus-postfix-exporter, unpacked by `cargo xtask setup`, never installed.
//!
//! It knows what they print, not what a log should lead to.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::SocketAddrV6,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::{netns::Netns, timeouts::wait_until, unpacked};

const FOLDER: &str = "log-readers";
const PFLOGSUMM: &str = "usr/sbin/pflogsumm";
const FAIL2BAN: &str = "usr/bin/fail2ban-regex";
const FAIL2BAN_LIBRARY: &str = "usr/lib/python3/dist-packages";
const FAIL2BAN_FILTER: &str = "etc/fail2ban/filter.d/postfix.conf";
const EXPORTER: &str = "usr/bin/prometheus-postfix-exporter";
/// Where the exporter answers, in the namespace that it is started in.
const EXPORTER_ADDRESS: &str = "[::1]:9154";

/// The folder, if they are unpacked.
pub(crate) fn folder() -> Option<PathBuf> {
    unpacked::root(FOLDER, PFLOGSUMM)
}

/// The report of pflogsumm about the file `log`.
///
/// # Errors
/// If it is not there or fails.
pub fn pflogsumm(log: &Path) -> Result<String> {
    let mut command = Command::new("perl");
    run(command.arg(root()?.join(PFLOGSUMM)).arg("--smtpd-stats").arg(log))
}

/// The addresses that fail2ban finds in the file `log` with its filter for Postfix, once for each
/// line that matches.
///
/// # Errors
/// If it is not there or fails.
pub fn fail2ban(log: &Path) -> Result<Vec<String>> {
    let root = root()?;
    let mut command = Command::new("python3");
    command.arg(root.join(FAIL2BAN)).args(["-o", "ip"]).arg(log).arg(root.join(FAIL2BAN_FILTER));
    let found = run(command.env("PYTHONPATH", root.join(FAIL2BAN_LIBRARY)))?;
    Ok(found.lines().map(str::to_owned).collect())
}

/// The metrics of prometheus-postfix-exporter about the file `log`, once `is_read` of them. It
/// follows a file from its end: it gets a copy that is written when it has opened that.
///
/// # Errors
/// If it is not there or does not start.
///
/// # Panics
/// If it does not read the file in time.
pub fn exporter(netns: &Netns, log: &Path, is_read: impl Fn(&str) -> bool) -> Result<String> {
    let mut command = Command::new(root()?.join(EXPORTER));
    command.arg(format!("--web.listen-address={EXPORTER_ADDRESS}"));
    let copy = log.with_extension("copy");
    fs::write(&copy, "")?;
    command.arg("--postfix.logfile_path").arg(&copy);
    let mut exporter = Exporter(netns.spawn(command.stderr(Stdio::null()))?);
    let mut metrics = String::new();
    let has_opened = |exporter: &Exporter| exporter.has_open(&copy);
    wait_until("the exporter has opened the log", || has_opened(&exporter));
    wait_until("the exporter answers", || exporter.metrics(netns).is_ok());
    fs::write(&copy, fs::read(log)?)?;
    wait_until("the exporter has read the log", || {
        metrics = exporter.metrics(netns).unwrap_or_default();
        is_read(&metrics)
    });
    Ok(metrics)
}

struct Exporter(Child);

impl Exporter {
    fn has_open(&self, file: &Path) -> bool {
        let open = fs::read_dir(format!("/proc/{}/fd", self.0.id()));
        let mut open = open.into_iter().flatten().flatten().map(|link| fs::read_link(link.path()));
        open.any(|target| target.is_ok_and(|target| target == file))
    }

    fn metrics(&mut self, netns: &Netns) -> Result<String> {
        ensure!(self.0.try_wait()?.is_none(), "the exporter has ended");
        let any: SocketAddrV6 = "[::]:0".parse()?;
        let mut stream = netns.connect(any, EXPORTER_ADDRESS.parse()?)?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // it has no state
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn root() -> Result<PathBuf> {
    folder().context("the readers of Postfix's log are not unpacked: cargo xtask setup")
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let (printed, errors) = (&output.stdout, &output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(errors));
    Ok(String::from_utf8_lossy(printed).into_owned())
}
