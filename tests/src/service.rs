//! systemd's part in a restart of the daemon: it passes the socket of the socket unit, keeps the
//! descriptors that the daemon stores, and starts the next process once the one that it watches has
//! ended.
//!
//! It judges nothing. The real systemd is asked by `cargo xtask dist --check`.

use std::{
    io::{IoSliceMut, Read as _},
    mem::MaybeUninit,
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustix::{
    cmsg_space,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
};

use crate::{
    daemon::{Log, binary},
    site::Site,
    timeouts::patience,
};

/// A service whose program is `sixgate serve --restartable`. Dropping it stops it for good.
pub struct Service<'site> {
    site: &'site Site,
    /// The socket unit's.
    socket: Option<TcpListener>,
    notices: Notices,
    path: PathBuf,
    arguments: Vec<String>,
    process: Option<Child>,
    logs: Vec<Log>,
}

/// The messages that the daemons have sent to the notification socket.
#[derive(Clone, Debug, Default)]
struct Notices(Arc<(Mutex<Noticed>, Condvar)>);

#[derive(Debug, Default)]
struct Noticed {
    texts: Vec<String>,
    stored: Vec<UnixStream>,
}

impl<'site> Service<'site> {
    /// Starts the service on the gate of `site`, with `socket` if it has a socket unit, and waits
    /// until it reports that it is ready.
    ///
    /// # Errors
    /// If it ends instead, with its log, or is not ready within [`patience`].
    pub fn start(site: &'site Site, socket: Option<TcpListener>, arguments: &[&str]) -> Result<Self> {
        let path = site.folder().join("service.notify");
        let notify = UnixDatagram::bind(&path).context("cannot make the notification socket")?;
        let notices = Notices::default();
        let receiver = notices.clone();
        thread::spawn(move || receiver.receive(&notify));
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut service = Self { site, socket, notices, path, arguments, process: None, logs: Vec::new() };
        service.start_process(&binary())?;
        Ok(service)
    }

    /// Restarts it, with `program` as the binary from now on: tells the process that is watched
    /// that a restart is under way, waits for its end, and starts the next one.
    ///
    /// # Errors
    /// If the process that is watched fails, or the next one is not ready within [`patience`].
    pub fn restart(&mut self, program: &Path) -> Result<()> {
        let status = self.leave()?;
        ensure!(status.success(), "the process ended with {status} at a restart");
        self.start_process(program)
    }

    /// The first half of a restart: how the process that is watched ended.
    ///
    /// # Errors
    /// If it is gone.
    pub fn leave(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGUSR1)?;
        self.process.take().context("it runs")?.wait().context("cannot wait for the process")
    }

    /// The second half, with the binary `program`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_process(&mut self, program: &Path) -> Result<()> {
        let ready = self.notices.count("READY=1");
        let mut command = Command::new("sh");
        command.args(["-c", PASS, "sh"]).arg(program).arg("--config").arg(self.site.config());
        command.args(["serve", "--restartable"]).args(&self.arguments).env("NOTIFY_SOCKET", &self.path);
        let stored = self.notices.take_stored()?;
        let (mut names, mut fds) = (Vec::new(), Vec::new());
        if let Some(socket) = &self.socket {
            names.push("sixgate.socket");
            fds.push(OwnedFd::from(socket.try_clone()?));
        }
        if let Some(end) = stored {
            names.push("sixgate-successor");
            fds.push(OwnedFd::from(end));
        }
        command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        let mut fds = fds.into_iter();
        command.stdin(fds.next().map_or_else(Stdio::null, Stdio::from));
        command.stdout(fds.next().map_or_else(Stdio::null, Stdio::from)).stderr(Stdio::piped());
        let mut child = self.site.gate.spawn(&mut command)?;
        // this process's copies of what is passed
        drop(command);
        let log = Log::collect(child.stderr.take().context("it has a log")?);
        self.logs.push(log.clone());
        self.process = Some(child);
        if !self.notices.wait_for("READY=1", ready + 1, &log) {
            bail!("the service is not ready; its log:\n{}", self.log());
        }
        Ok(())
    }

    /// Sends `signal` to the process that is watched.
    ///
    /// # Errors
    /// If there is none.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.process.as_ref().context("it runs")?.id();
        kill(Pid::from_raw(i32::try_from(pid)?), signal).context("cannot signal the process")
    }

    /// Stops the service: as systemd does, forgets what was stored once the process has ended.
    ///
    /// # Errors
    /// If it is gone.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        let status = self.process.take().context("it runs")?.wait()?;
        self.forget();
        Ok(status)
    }

    /// Forgets what was stored, as systemd does when the service has stopped for good.
    pub fn forget(&self) {
        self.notices.lock().stored.clear();
    }

    /// Waits until all daemons, also those that finish sessions, have ended.
    ///
    /// # Errors
    /// If one has not within [`patience`].
    pub fn wait_for_all(&self) -> Result<()> {
        let ended = self.logs.iter().all(|log| log.wait_until_closed(patience()));
        ensure!(ended, "a daemon has not ended; the log:\n{}", self.log());
        Ok(())
    }

    /// How often the notification `text` has come.
    #[must_use]
    pub fn notices(&self, text: &str) -> usize {
        self.notices.count(text)
    }

    /// The log of all daemons so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.logs.iter().map(Log::text).collect()
    }

    /// Waits for a line with `text` in the log of the daemon that was started as number `at`.
    ///
    /// # Errors
    /// If there is none within [`patience`].
    pub fn wait_for_log(&self, at: usize, text: &str) -> Result<String> {
        self.logs.get(at).context("so many were started")?.wait_for(text)
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = kill(Pid::from_raw(i32::try_from(process.id()).unwrap_or(i32::MAX)), Signal::SIGTERM);
            let _ = process.wait();
        }
        self.forget();
        if thread::panicking() {
            eprintln!("--- log of the service\n{}---", self.log());
        }
    }
}

impl Notices {
    fn receive(&self, notify: &UnixDatagram) {
        loop {
            let mut text = [0; 4096];
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(8))];
            let mut rights = RecvAncillaryBuffer::new(&mut space);
            let (mut octets, flags) = ([IoSliceMut::new(&mut text)], RecvFlags::CMSG_CLOEXEC);
            let Ok(received) = recvmsg(notify, &mut octets, &mut rights, flags) else { return };
            let stored: Vec<UnixStream> = rights
                .drain()
                .filter_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                    _ => None,
                })
                .flatten()
                .map(UnixStream::from)
                .collect();
            let mut noticed = self.lock();
            noticed.stored.extend(stored);
            let text = String::from_utf8_lossy(&text[..received.bytes]).into_owned();
            noticed.texts.extend(text.lines().map(str::to_owned));
            self.0.1.notify_all();
        }
    }

    fn count(&self, text: &str) -> usize {
        self.lock().texts.iter().filter(|line| *line == text).count()
    }

    /// Waits until `text` has come so often, or the process has ended; whether it has come.
    fn wait_for(&self, text: &str, times: usize, log: &Log) -> bool {
        let count = |noticed: &Noticed| noticed.texts.iter().filter(|line| *line == text).count();
        let mut noticed = self.lock();
        let until = std::time::Instant::now() + patience();
        while count(&noticed) < times && !log.is_closed() && std::time::Instant::now() < until {
            let waited = self.0.1.wait_timeout(noticed, POLL).unwrap_or_else(PoisonError::into_inner);
            noticed = waited.0;
        }
        count(&noticed) >= times
    }

    /// A copy of what a daemon has stored that still has its other end; what has not is forgotten.
    fn take_stored(&self) -> Result<Option<UnixStream>> {
        let mut noticed = self.lock();
        let mut kept = Vec::new();
        for mut end in noticed.stored.drain(..) {
            end.set_nonblocking(true)?;
            let has_ended = matches!(end.read(&mut [0]), Ok(0));
            end.set_nonblocking(false)?;
            if !has_ended {
                kept.push(end);
            }
        }
        let last = kept.last().map(UnixStream::try_clone).transpose()?;
        noticed.stored = kept;
        Ok(last)
    }

    fn lock(&self) -> MutexGuard<'_, Noticed> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the program its standard input and output as the descriptors 3 and 4, as far as there are
/// any.
const PASS: &str = r#"case $LISTEN_FDS in 0) ;; 1) exec 3<&0 ;; *) exec 3<&0 4<&1 ;; esac
exec </dev/null >/dev/null; exec "$@""#;
/// Between two looks at whether the process has ended.
const POLL: std::time::Duration = std::time::Duration::from_millis(20);
