//! Who sent a message, as DNS and signatures tell: reverse DNS, SPF and DKIM, and the header field that reports it.
//!
//! Mechanism only: it finds out, and decides nothing. It opens no socket but those to DNS servers.

#![forbid(unsafe_code)]

pub mod auth_results;
pub mod dkim;
pub mod dns;
mod fields;
pub mod ptr;
pub mod spf;
