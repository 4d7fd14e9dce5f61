//! SMTP without IO (command lines, replies, the end of data, and the session that joins them), and
//! the policy, which decides from evidence.
//!
//! It owns no socket, no clock and no lookup; time and answers are arguments. Neither a runtime nor
//! a logger is among its dependencies.

#![forbid(unsafe_code)]

mod chunk;
pub mod command;
pub mod data;
mod incoming_message;
pub mod line;
mod message_id;
mod message_octets;
pub mod policy;
pub mod received;
pub mod reply;
pub mod session;

pub use incoming_message::{ContentLimits, HEADER_MAX};
pub use message_id::{MESSAGE_ID_KEPT, message_id};
pub use message_octets::MessageOctets;
