//! The signals that the daemon acts on, and those that must not end it.
//!
//! It decides nothing about what a signal causes.

use std::ops::RangeInclusive;

use nix::{
    libc,
    sys::signal::{SigSet, Signal as Number},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::server::error::ServeError;

/// Handlers, in place for as long as the daemon runs.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hang_up: Signal,
    parent: Signal,
    /// Handled so that they do nothing.
    _harmless: Vec<Signal>,
}

/// The request that a signal stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SignalRequest {
    /// To stop; the signal's name.
    Stop(&'static str),
    /// To read the configuration again.
    Reload,
    /// The parent process has ended, if there was one.
    ParentEnded,
}

impl Signals {
    /// Replaces each default action that would end the process but those of faults.
    pub(crate) fn take() -> Result<Self, ServeError> {
        let signals = Self::handle_all()?;
        // those that came before this are acted on now; a parent process blocks more of them
        let _ = SigSet::all().thread_unblock();
        Ok(signals)
    }

    fn handle_all() -> Result<Self, ServeError> {
        let named = HARMLESS.into_iter().map(SignalKind::from_raw);
        let real_time = real_time().map(SignalKind::from_raw);
        Ok(Self {
            terminate: handle(SignalKind::terminate())?,
            interrupt: handle(SignalKind::interrupt())?,
            quit: handle(SignalKind::quit())?,
            hang_up: handle(SignalKind::hangup())?,
            parent: handle(SignalKind::user_defined1())?,
            _harmless: named.chain(real_time).map(handle).collect::<Result<_, _>>()?,
        })
    }

    /// Waits for the next signal that asks for something.
    pub(crate) async fn next(&mut self) -> SignalRequest {
        tokio::select! {
            _ = self.terminate.recv() => SignalRequest::Stop("SIGTERM"),
            _ = self.interrupt.recv() => SignalRequest::Stop("SIGINT"),
            _ = self.quit.recv() => SignalRequest::Stop("SIGQUIT"),
            _ = self.hang_up.recv() => SignalRequest::Reload,
            _ = self.parent.recv() => SignalRequest::ParentEnded,
        }
    }
}

/// Lets a SIGHUP wait that comes while the process starts: its default action would end the daemon.
/// Threads that are started afterwards leave the signal to the first one.
pub fn hold_hang_up() {
    // a valid set is never refused
    let _ = hang_up().thread_block();
}

/// Ends [`hold_hang_up`]: for commands, which SIGHUP may end.
pub fn release_hang_up() {
    let _ = hang_up().thread_unblock();
}

fn hang_up() -> SigSet {
    SigSet::from(Number::SIGHUP)
}

fn handle(kind: SignalKind) -> Result<Signal, ServeError> {
    signal(kind).map_err(|source| ServeError::Signal { number: kind.as_raw_value(), source })
}

/// The real-time signals that the C library leaves to programs.
fn real_time() -> RangeInclusive<i32> {
    libc::SIGRTMIN()..=libc::SIGRTMAX()
}

/// Their default action ends the process (signal(7)); nothing in sixgate uses them. A write beyond
/// RLIMIT_FSIZE fails where SIGXFSZ is handled. SIGPIPE is ignored by the standard library.
const HARMLESS: [i32; 9] = [
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGPWR,
    libc::SIGSTKFLT,
    libc::SIGXCPU,
    libc::SIGXFSZ,
];
