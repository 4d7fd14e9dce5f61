//! sixgate: a gate for mail that arrives over IPv6.
//!
//! The library behind the binary `sixgate`. The way of a message through its modules: `server`
//! accepts, `session` serves, `nexthop` hands on; `store` holds what opted in, `mirror` shows it to
//! the kernel. Beside it, the crate `sixgate_auth` finds out about senders, and `sixgate_dataplane`
//! holds the XDP program and its maps. It is not a public API.

mod budget;
pub mod cli;
pub mod config;
pub mod control;
pub mod doctor;
mod evidence;
pub mod explain;
pub mod kernel_facts;
pub mod log_limit;
pub mod message_store;
mod metrics;
mod mirror;
pub mod nexthop;
mod rights;
pub mod sandbox;
pub mod server;
pub mod services;
mod session;
mod session_id;
mod session_log;
pub mod setup;
pub mod shadow;
mod shown;
pub mod statistics;
mod status_page;
pub mod store;
mod store_view;
pub mod tls;
