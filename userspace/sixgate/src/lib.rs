//! sixgate: a gate for mail that arrives over IPv6.
//!
//! The library behind the binary `sixgate`. The way of a message through its modules: `server` accepts,
//! `smtp` speaks, `check` finds out, `policy` decides, `nexthop` hands on; `store` holds what opted in,
//! `dataplane` holds the XDP program and its maps. It is no public API.

pub mod check;
pub mod cli;
pub mod config;
pub mod content;
pub mod control;
pub mod dns;
pub mod log_limit;
pub mod nexthop;
pub mod server;
pub mod store;
