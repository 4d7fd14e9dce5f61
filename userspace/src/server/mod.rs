//! The daemon: sockets, tasks and limits around the sans-IO session.
//!
//! It owns the life of the process and of each connection. It knows no SMTP grammar and makes no verdict.

mod accept;
mod connections;
mod context;
mod descriptors;
mod driver;
mod greetings;
mod inspection;
mod interfaces;
mod kernel;
mod limits;
mod message;
mod metrics;
mod refused;
mod run;
mod services;
mod session_id;
mod store_view;
mod stream;
mod tls;
mod warnings;

pub use run::{ServeError, ServeOptions, run};
pub use services::{check_next_hop, check_temporary_directory};
pub use tls::{TlsError, check_tls};
pub use warnings::warnings;
