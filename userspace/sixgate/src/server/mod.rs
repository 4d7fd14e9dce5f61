//! The daemon: sockets, tasks and limits around the sans-IO session.
//!
//! It owns the life of the process and of each connection. It knows no SMTP grammar and makes no verdict.

mod accept;
mod administration;
mod connections;
mod context;
mod control_socket;
mod descriptors;
mod driver;
mod greetings;
mod inspection;
mod interfaces;
mod kernel;
mod limits;
mod listening;
mod message;
mod metrics;
mod next_hop_watch;
mod refused;
mod run;
mod services;
mod session_id;
mod shown;
mod signals;
mod store_view;
mod stream;
mod tls;
mod warnings;

pub use administration::SetLogLevel;
pub use control_socket::{AskError, DaemonStatus, LastReload, Reloaded, Request, Response, ask};
pub use run::{ServeError, ServeOptions, run};
pub use services::{check_next_hop, check_temporary_directory};
pub use signals::{hold_hang_up, release_hang_up};
pub use tls::{TlsError, check_tls};
pub use warnings::warnings;
