//! Mechanism: finds out about senders and messages, and returns evidence. It never decides.

pub mod auth_results;
pub mod dkim;
mod fields;
pub mod ptr;
pub mod spf;
