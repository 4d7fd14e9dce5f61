//! The daemon: sockets, tasks and limits around the sans-IO session.
//!
//! It owns the life of the process and of each connection. It knows no SMTP grammar and makes no verdict.

mod context;
mod driver;
mod greetings;
mod inspection;
mod kernel;
mod limits;
mod message;
mod metrics;
mod refused;
mod run;
mod session_id;
mod store_view;

pub use run::{ServeError, ServeOptions, run};
