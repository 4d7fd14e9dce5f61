//! The daemon's control socket: one request and one answer a connection, each a line of JSON; a
//! trace, and facts of the BPF maps, have many answers.
//!
//! It owns the form of both, the daemon's side and the commands'. The content of the answers is
//! made in `administration`.

mod client;
mod lines_client;
mod listener;
mod trace;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{config::SettingChanges, control::FactsRequest, sandbox::SandboxReport, statistics::Snapshot};

pub(crate) use client::listening_pid;
pub use client::{AskError, ask, ask_patiently};
pub use lines_client::{Answers, facts, trace};
pub(crate) use listener::{ControlSocket, Handlers, problem};
pub use trace::{TRACE_DURATION, TRACE_DURATION_MAX, TraceRequest, TraceResponse, TraceStatus, TracedLine};

/// A command's request to the daemon.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    /// How it is.
    Status,
    /// To read its configuration again.
    Reload,
    /// To make the checks of a reload, and put nothing in force.
    TryReload,
    /// Which daemon it is; it answers at once.
    Identity,
    /// Rates, refusals and health of the last hour and day.
    Overview,
    /// To show what the XDP program does with segments: answered by [`TraceResponse`], line after
    /// line.
    Trace(TraceRequest),
    /// Facts of the XDP program and its maps: answered by [`Facts`](crate::control::Facts), line
    /// after line.
    Facts(FactsRequest),
}

impl Request {
    /// Whether it changes nothing and costs little, so that members of the group may make it.
    const fn is_reading(&self) -> bool {
        match self {
            Self::Status | Self::Identity | Self::Overview | Self::Facts(_) => true,
            Self::Reload | Self::TryReload | Self::Trace(_) => false,
        }
    }
}

/// The daemon's answer to a [`Request`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Response {
    /// The answer to [`Request::Status`].
    Status(Box<DaemonStatus>),
    /// The answer to [`Request::Identity`].
    Identity(DaemonIdentity),
    /// The answer to [`Request::Overview`].
    Overview(Box<Snapshot>),
    /// To [`Request::Reload`]: it was done; to [`Request::TryReload`]: it would be.
    Reloaded(Reloaded),
    /// Nothing was changed.
    Refused {
        /// Why the daemon refused the request.
        reason: String,
    },
}

/// How a running daemon is. Daemon and command may be of different versions: what one of them does
/// not know is left out.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct DaemonStatus {
    /// The version of sixgate.
    pub version: String,
    /// The daemon's process ID.
    pub pid: u32,
    /// When it started, RFC 3339.
    pub since: String,
    /// The file that it reads.
    pub config: PathBuf,
    /// What it has given up of its files and system calls.
    pub sandbox: SandboxReport,
    /// The addresses at which it listens.
    pub listening: Vec<String>,
    /// What decides about refusals, by key
    /// ([`Config::refusal_settings`](crate::config::Config::refusal_settings)).
    pub settings: BTreeMap<String, String>,
    /// The last attempt to reload, if there was one.
    pub last_reload: Option<LastReload>,
    /// How the file differs now from what is in force.
    pub changes: SettingChanges,
    /// Connections that are open.
    pub connections: u32,
    /// Whether it is stopping, and waits for its sessions.
    pub is_stopping: bool,
    /// The trace of the XDP program, while there is one.
    pub trace: Option<TraceStatus>,
    /// Problems that an administrator has to solve, as sentences.
    pub problems: Vec<String>,
}

/// Which daemon it is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct DaemonIdentity {
    /// The daemon's process ID.
    pub pid: u32,
    /// The opt-in store that it uses.
    pub store: PathBuf,
}

/// The effects of a reload.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Reloaded {
    /// The keys that are in force now, and those that need a restart.
    pub changes: SettingChanges,
    /// Settings that are likely not meant, as sentences.
    pub warnings: Vec<String>,
}

/// An attempt to reload.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct LastReload {
    /// When, RFC 3339.
    pub at: String,
    /// Why nothing was changed; none: it was done.
    pub refused: Option<String>,
}

/// Longest request, octets.
const REQUEST_MAX: u64 = 4096;
/// Longest answer, octets.
const RESPONSE_MAX: u64 = 1 << 20;
/// How long a side waits for the other to send or take its line. A reload tries the next hop, and
/// waits for the store.
pub(crate) const LINE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between the signs of life before an answer.
pub(crate) const ALIVE: Duration = Duration::from_secs(1);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a command waits for the next octet: a daemon that lives sends one each second.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a command that changes the store waits to learn which one the daemon uses.
const IDENTITY_TIMEOUT: Duration = Duration::from_millis(250);
