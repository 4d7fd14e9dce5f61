//! The process of `serve --restartable` that systemd watches: it runs the daemon as its child, and
//! may end without it.
//!
//! It passes signals and notifications on and has no other business. A restart waits until the
//! process that systemd watches has ended; the daemon has sessions to finish, and serves until its
//! successor does.

use std::{
    env, io,
    os::unix::process::CommandExt as _,
    process::{Child, Command},
};

use nix::{
    sys::{
        prctl,
        signal::{SigSet, Signal, kill},
    },
    unistd::{Pid, getppid},
};

use super::notifications::Notifications;

/// How the parent process ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ParentEnd {
    /// The daemon has ended, and without a failure.
    Stopped,
    /// The daemon has failed, which is in its log.
    Failed,
    /// The daemon runs on, until a successor takes over from it.
    Left,
}

/// Starts the daemon with the arguments of this process, without `switch`, and waits for its end or
/// for SIGUSR1.
///
/// # Errors
/// The system's, when signals cannot be handled, or the daemon not started.
pub fn run_parent(switch: &str) -> io::Result<ParentEnd> {
    let mut signals = SigSet::empty();
    HANDLED.into_iter().for_each(|signal| signals.add(signal));
    signals.thread_block()?;
    // after the signals are blocked, in its thread, too
    let notifications = Notifications::relay()?;
    let mut daemon = start(switch, notifications.as_ref())?;
    loop {
        match signals.wait()? {
            Signal::SIGCHLD => {
                if let Some(status) = daemon.try_wait()? {
                    return Ok(if status.success() { ParentEnd::Stopped } else { ParentEnd::Failed });
                }
            }
            Signal::SIGUSR1 => return Ok(ParentEnd::Left),
            signal => pass_on(&mut daemon, signal),
        }
    }
}

fn start(switch: &str, notifications: Option<&Notifications>) -> io::Result<Child> {
    let mut arguments = env::args_os();
    // by its name, which `ps` and the journal show
    let mut command = Command::new(env::current_exe()?);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments.filter(|argument| argument != switch));
    // both name the process that they are for
    command.env_remove("LISTEN_PID").env_remove("WATCHDOG_PID");
    command.envs(notifications.map(Notifications::environment));
    command.env(PARENT, std::process::id().to_string()).spawn()
}

fn pass_on(daemon: &mut Child, signal: Signal) {
    // fails only if it has ended already
    let _ = i32::try_from(daemon.id()).map(|pid| kill(Pid::from_raw(pid), signal));
}

/// The daemon's view of its parent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parent {
    is_there: bool,
}

impl Parent {
    /// Has the kernel send SIGUSR1 to this process when its parent ends. If it has ended already,
    /// that is now.
    pub(crate) fn watch() -> Self {
        let parent = env::var(PARENT).ok().and_then(|pid| pid.parse().ok()).map(Pid::from_raw);
        let Some(parent) = parent else {
            return Self::default();
        };
        let is_there = prctl::set_pdeathsig(Signal::SIGUSR1).is_ok();
        if getppid() != parent {
            let _ = nix::sys::signal::raise(Signal::SIGUSR1);
        }
        Self { is_there }
    }

    /// Whether there is a parent process that watches this one.
    pub(crate) const fn is_there(self) -> bool {
        self.is_there
    }
}

/// In the daemon's environment: the process that started it.
const PARENT: &str = "SIXGATE_PARENT_PID";
/// Those that systemd and administrators send, SIGUSR1 for the end without the daemon, and SIGCHLD.
/// SIGABRT is the watchdog's.
const HANDLED: [Signal; 7] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGHUP,
    Signal::SIGABRT,
    Signal::SIGUSR1,
    Signal::SIGCHLD,
];
