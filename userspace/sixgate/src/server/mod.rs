//! The daemon as a process: start and stop, listening sockets, administration.
//!
//! It owns the life of the process. That of a connection is `session`'s.

mod accept;
mod administration;
mod chores;
#[expect(clippy::disallowed_methods, reason = "the control socket is opened here")]
mod control_socket;
mod descriptors;
mod dns_watch;
mod ending;
mod error;
mod facts_reader;
mod files_watch;
#[expect(clippy::disallowed_methods, reason = "the listener for HTTP is opened here")]
mod http;
#[expect(clippy::disallowed_methods, reason = "the server listens here")]
mod listening;
mod metrics_file;
mod metrics_sources;
mod next_hop_watch;
#[expect(clippy::disallowed_methods, reason = "the sockets for notifications are opened here")]
mod notifications;
mod overview;
mod parent;
mod passed;
mod problems;
mod run;
mod signals;
mod succession;
mod traces;
mod warnings;
mod watching;

pub use administration::SetLogLevel;
pub use control_socket::{
    Answers, AskError, DaemonIdentity, DaemonStatus, LastReload, Reloaded, Request, Response, TRACE_DURATION,
    TRACE_DURATION_MAX, TraceRequest, TraceResponse, TraceStatus, TracedLine, ask, ask_patiently, facts,
    trace,
};
pub use error::ServeError;
pub use parent::{ParentEnd, run_parent};
pub use run::{ServeOptions, run};
pub use signals::{hold_hang_up, release_hang_up};
pub use warnings::warnings;

pub(crate) use warnings::{ipv4_fallback, warnings_of};
