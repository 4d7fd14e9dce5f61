//! Mechanism: finds out about senders and messages, and returns evidence. It never decides.

pub mod auth_results;
pub mod dkim;
mod fields;
pub mod ptr;
pub mod spf;

/// The Message-ID (RFC 5322 3.6.4) in a message's header, its first 256 octets, for the log; empty if there is none.
#[must_use]
pub fn message_id(header: &[u8]) -> String {
    let field = fields::fields(header).find(|field| field.is("Message-ID"));
    let value = field.map_or(&[][..], |field| field.value.trim_ascii());
    String::from_utf8_lossy(value.get(..MESSAGE_ID_SHOWN).unwrap_or(value)).into_owned()
}

/// Octets of a Message-ID that are shown.
const MESSAGE_ID_SHOWN: usize = 256;
