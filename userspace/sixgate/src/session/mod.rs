//! One connection: from its first octet to its last, with the sans-IO session of `sixgate_smtp` in
//! the middle.
//!
//! It owns the socket and the facts that were found out about the client. The decisions about it
//! are made in `sixgate_smtp::policy`.

mod arriving;
mod closing;
mod connection;
mod driver;
mod judge;
mod message_line;
mod outgoing;
mod postfix_lines;
mod record;
mod refusal_lines;
mod refused;
mod sender_checks;
mod start_tls;
mod stream;

pub(crate) use connection::{Client, Connection};
pub(crate) use sender_checks::FactSources;
