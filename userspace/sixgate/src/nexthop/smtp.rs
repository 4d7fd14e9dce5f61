//! A mail server behind, spoken to by SMTP or LMTP.
//!
//! It owns the dialogue with that server and what is known about it.

mod block;
mod connection;
mod connection_slots;
mod data;
mod ehlo;
mod fault;
mod inspection;
mod offer_file;
mod opening;
mod own_identity;
mod proxy;
mod reader;
mod server;
mod settings;
#[expect(clippy::disallowed_methods, reason = "connections to the next hop are opened here")]
mod stream;
mod transaction;
mod transport;
mod xclient;

pub use connection_slots::{ConnectionBounds, PROMPT_RESUMPTIONS_MAX, RESUMPTIONS_MAX, SILENCE, SLOT_WAIT};
pub use data::Unframed;
pub use inspection::{ServerOffer, inspect_server};
pub use reader::BadReply;
pub use server::{EHLO_REJECTIONS, OPEN_MAX, PROBE_MAX, QUIT_MAX};
pub use settings::{ClientIdentity, Protocol, SmtpSettings};

pub(super) use server::Smtp;
pub(super) use transport::SmtpTransport;
