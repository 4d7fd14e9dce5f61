//! What several of sixgate's crates need: addresses of servers, files that are read within a bound
//! and told apart, and supplies that the networks of all clients share.
//!
//! It knows neither SMTP nor DNS, and it opens no socket.

#![forbid(unsafe_code)]

pub mod bounded;
pub mod endpoint;
pub mod fair_semaphore;
pub mod fair_share;
pub mod file_version;
