//! The real binary as a process of its own: started, waited for, stopped, killed.
//!
//! It makes no configuration: the text is the caller's.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::UnixDatagram,
        process::ExitStatusExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{clock::WallClock, netns::Netns, timeouts::patience};

/// A running `sixgate serve`. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: Log,
    // The socket has to outlive the daemon, which sends STOPPING=1 to it.
    notify: UnixDatagram,
    is_settled: bool,
}

impl Daemon {
    /// Starts `sixgate --config CONFIG serve ARGUMENTS` and waits until it reports that it is ready
    /// (sdnotify). `config` lies in a folder of this daemon alone, where its readiness socket is
    /// put too.
    ///
    /// # Errors
    /// If it ends instead, with its log, or is not ready within [`patience`].
    pub fn start(netns: Option<&Netns>, config: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = sixgate(config);
        command.arg("serve").args(arguments).stderr(Stdio::piped());
        Self::start_command(netns, config, command)
    }

    /// As [`Daemon::start`], with another time of day.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_by(
        clock: &WallClock,
        netns: Option<&Netns>,
        config: &Path,
        arguments: &[&str],
    ) -> Result<Self> {
        let mut command = sixgate(config);
        command.arg("serve").args(arguments).envs(clock.environment()).stderr(Stdio::piped());
        Self::start_command(netns, config, command)
    }

    /// As [`Daemon::start`], but its log goes to `log` and is not read here.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_logging_to(
        log: File,
        netns: Option<&Netns>,
        config: &Path,
        arguments: &[&str],
    ) -> Result<Self> {
        let mut command = sixgate(config);
        command.arg("serve").args(arguments).stderr(log);
        Self::start_command(netns, config, command)
    }

    /// As [`Daemon::start_logging_to`], and the daemon takes `log` for the stream that systemd made
    /// for the journal.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_logging_to_journal(
        log: File,
        netns: Option<&Netns>,
        config: &Path,
        arguments: &[&str],
    ) -> Result<Self> {
        let metadata = log.metadata()?;
        let mut command = sixgate(config);
        command.env("JOURNAL_STREAM", format!("{}:{}", metadata.dev(), metadata.ino()));
        command.arg("serve").args(arguments).stderr(log);
        Self::start_command(netns, config, command)
    }

    /// As [`Daemon::start`], with another binary.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_binary(binary: &Path, netns: Option<&Netns>, config: &Path) -> Result<Self> {
        let mut command = Command::new(binary);
        command.arg("--config").arg(config).arg("serve").stderr(Stdio::piped());
        Self::start_command(netns, config, command)
    }

    fn start_command(netns: Option<&Netns>, config: &Path, mut command: Command) -> Result<Self> {
        let socket = config.with_extension("notify");
        let _ = std::fs::remove_file(&socket);
        let notify = UnixDatagram::bind(&socket).context("cannot make the readiness socket")?;
        notify.set_read_timeout(Some(READY_POLL))?;
        // as systemd's: the daemon may run as another user
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o777))?;
        command.env("NOTIFY_SOCKET", &socket).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = match netns {
            Some(netns) => netns.spawn(&mut command)?,
            None => command.spawn().context("cannot start sixgate")?,
        };
        let log = match child.stderr.take() {
            Some(stderr) => Log::collect(stderr),
            None => Log::collect(io::empty()),
        };
        let mut daemon = Self { child, log, notify, is_settled: false };
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Waits until a line of its log contains `text`, and returns that line.
    ///
    /// # Errors
    /// If none does within [`patience`].
    pub fn wait_for_log(&self, text: &str) -> Result<String> {
        self.log.wait_for(text)
    }

    /// Waits until so many lines of its log contain `text`.
    ///
    /// # Errors
    /// If they do not within [`patience`].
    pub fn wait_for_lines(&self, text: &str, count: usize) -> Result<()> {
        self.log.wait_for_lines(text, count)
    }

    /// Sends `signal`.
    ///
    /// # Errors
    /// If it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("a process id fits")?;
        kill(Pid::from_raw(pid), signal).context("cannot signal the daemon")
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// If it does not end within [`patience`].
    pub fn stop(self) -> Result<(ExitStatus, String)> {
        self.signal(Signal::SIGTERM)?;
        self.stop_after_signal()
    }

    /// Waits until it has ended; it was asked to.
    ///
    /// # Errors
    /// As [`Daemon::stop`].
    pub fn stop_after_signal(mut self) -> Result<(ExitStatus, String)> {
        // its log ends when it does
        if !self.log.wait_until_closed(patience()) {
            bail!("the daemon did not end after SIGTERM; its log:\n{}", self.log());
        }
        let status = self.child.wait().context("cannot wait for the daemon")?;
        Ok((status, self.log()))
    }

    /// Kills it (SIGKILL): nothing of it runs when this returns. Returns its log.
    ///
    /// # Errors
    /// If it had ended by itself before.
    pub fn kill(mut self) -> Result<String> {
        self.child.kill()?;
        let status = self.child.wait()?;
        if status.signal() != Some(Signal::SIGKILL as i32) {
            bail!("the daemon had ended before ({status}); its log:\n{}", self.log());
        }
        Ok(self.log())
    }

    /// Waits until it reports which side answers refused senders: then it has looked at its
    /// interfaces for the first time. It serves before.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn wait_until_settled(&mut self) -> Result<()> {
        if self.is_settled {
            return Ok(());
        }
        self.wait_for_notice("STATUS=")
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        self.wait_for_notice("READY=1")
    }

    /// Waits for a line that begins so.
    fn wait_for_notice(&mut self, wanted: &str) -> Result<()> {
        let until = Instant::now() + patience();
        let mut datagram = [0; 4096];
        while Instant::now() < until {
            if let Ok(length) = self.notify.recv(&mut datagram) {
                let text = String::from_utf8_lossy(&datagram[..length]);
                self.is_settled |= text.lines().any(|line| line.starts_with("STATUS="));
                if text.lines().any(|line| line.starts_with(wanted)) {
                    return Ok(());
                }
            }
            if let Some(status) = self.child.try_wait()? {
                self.log.wait_until_closed(patience());
                bail!("sixgate ended ({status}); its log:\n{}", self.log());
            }
        }
        bail!("sixgate did not say {wanted:?} in time; its log:\n{}", self.log())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // both fail only if it has ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of the daemon\n{}---", self.log());
        }
    }
}

/// Runs `sixgate --config CONFIG ARGUMENTS` to its end, inside `netns` or where we are.
///
/// # Errors
/// If it cannot be started.
pub fn run(netns: Option<&Netns>, config: &Path, arguments: &[&str]) -> Result<Output> {
    run_command(netns, arguments, sixgate(config))
}

/// As [`run`], with another time of day.
///
/// # Errors
/// As [`run`].
pub fn run_by(clock: &WallClock, netns: Option<&Netns>, config: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = sixgate(config);
    command.envs(clock.environment());
    run_command(netns, arguments, command)
}

fn run_command(netns: Option<&Netns>, arguments: &[&str], mut command: Command) -> Result<Output> {
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = match netns {
        Some(netns) => netns.spawn(&mut command)?,
        None => command.spawn().context("cannot start sixgate")?,
    };
    child.wait_with_output().context("cannot wait for sixgate")
}

/// The lines of level WARN of a log, but for the one about the hostname: the daemons of the suites
/// have one of RFC 2606.
#[must_use]
pub fn warnings(log: &str) -> Vec<&str> {
    let is_warning = |line: &&str| line.contains(" WARN ") && !line.contains("(RFC 2606)");
    log.lines().filter(is_warning).collect()
}

/// The binary that was built beside this one.
///
/// # Panics
/// If there is none: build it with `cargo build --package sixgate`.
#[must_use]
pub fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("a process knows its own path");
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join("sixgate"));
    beside
        .into_iter()
        .find(|path| path.is_file())
        .expect("sixgate is not built: use `cargo xtask test`, or `cargo build --package sixgate` first")
}

fn sixgate(config: &Path) -> Command {
    let mut command = Command::new(binary());
    command.arg("--config").arg(config);
    command
}

/// The output of a process, as it comes.
#[derive(Clone, Debug)]
pub(crate) struct Log(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    text: String,
    closed: bool,
}

impl Log {
    /// Reads `source` to its end, on a thread of its own.
    pub(crate) fn collect(source: impl Read + Send + 'static) -> Self {
        let log = Self(Arc::default());
        let writer = log.clone();
        thread::spawn(move || {
            let mut reader = BufReader::new(source);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                writer.change(|state| state.text.push_str(&String::from_utf8_lossy(&line)));
                line.clear();
            }
            writer.change(|state| state.closed = true);
        });
        log
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.0.1.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its writers have all ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    pub(crate) fn text(&self) -> String {
        self.state().text.clone()
    }

    pub(crate) fn wait_for(&self, text: &str) -> Result<String> {
        let found = |line: &str| line.contains(text).then(|| line.to_owned());
        self.wait_for_match(&format!("line with {text:?}"), found)
    }

    fn wait_for_lines(&self, text: &str, count: usize) -> Result<()> {
        let lines = |state: &State| state.text.lines().filter(|line| line.contains(text)).count();
        let state = self.wait_while(patience(), |state| lines(state) < count && !state.closed);
        ensure!(lines(&state) >= count, "not {count} lines with {text:?} in the log:\n{}", state.text);
        Ok(())
    }

    /// Waits for a line in which `find` finds something; `wanted` describes it.
    pub(crate) fn wait_for_match<T>(&self, wanted: &str, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        let found = |state: &State| state.text.lines().find_map(&find);
        let state = self.wait_while(patience(), |state| found(state).is_none() && !state.closed);
        found(&state).with_context(|| format!("no {wanted} in the log:\n{}", state.text))
    }

    pub(crate) fn wait_until_closed(&self, timeout: Duration) -> bool {
        self.wait_while(timeout, |state| !state.closed).closed
    }

    fn wait_while(&self, timeout: Duration, goes_on: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.0.1.wait_timeout_while(self.state(), timeout, |state| goes_on(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// How often a daemon that is not ready yet is checked for having ended.
const READY_POLL: Duration = Duration::from_millis(50);
