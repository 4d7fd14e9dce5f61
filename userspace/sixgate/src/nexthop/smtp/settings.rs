//! How a mail server behind is reached, and how it learns of clients.
//!
//! Plain values, read from the configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sixgate_base::endpoint::Endpoint;

use super::connection_slots::ConnectionBounds;
use crate::nexthop::address::Address;

/// The protocol of a mail server behind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// SMTP as in RFC 5321.
    Smtp,
    /// RFC 2033: a message that some recipients get and others do not has several answers, and a
    /// sender can receive one only. So each transaction has one recipient.
    Lmtp,
}

impl Protocol {
    /// The command that begins a session.
    pub(super) fn hello(self) -> &'static str {
        match self {
            Self::Smtp => "EHLO",
            Self::Lmtp => "LHLO",
        }
    }
}

/// How the next hop learns who the client is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientIdentity {
    /// It does not.
    #[default]
    None,
    /// By Postfix's XCLIENT; a next hop that does not take it gets no mail.
    Xclient,
    /// By the PROXY protocol, version 2.
    Proxy,
}

impl ClientIdentity {
    /// Whether the next hop can judge the client as if it had come by itself.
    #[must_use]
    pub fn is_sent(self) -> bool {
        match self {
            Self::None => false,
            Self::Xclient | Self::Proxy => true,
        }
    }
}

/// A mail server as next hop.
#[derive(Clone, Debug)]
pub struct SmtpSettings {
    /// Where it listens.
    pub address: Address,
    /// The protocol that it uses.
    pub protocol: Protocol,
    /// How it learns who the client is.
    pub client: ClientIdentity,
    /// Our name in EHLO and LHLO.
    pub hostname: String,
    /// How many connections it may have.
    pub bounds: ConnectionBounds,
    /// Where sixgate itself listens: mail is not sent there.
    pub listening: Vec<Endpoint>,
    /// The file that keeps what it offered last; none: nothing is kept.
    pub offer_file: Option<PathBuf>,
}
