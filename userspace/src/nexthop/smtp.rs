//! A mail server behind, spoken to over TCP.
//!
//! It owns the order of commands of a session's transactions with the next hop; it never keeps a message.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{Capabilities, ClientInfo, NextHopError};
use crate::smtp::{
    command::{MailFrom, RcptTo},
    reply::{Reply, ReplyTable, Say},
};

/// Longest time for opening a connection and passing on a recipient, together.
pub const OPEN_MAX: Duration = Duration::from_secs(2 * 60);
/// Longest time for a probe.
pub const PROBE_MAX: Duration = Duration::from_secs(10);
/// Longest time for taking leave.
pub const QUIT_MAX: Duration = Duration::from_secs(5);

/// How the next hop learns who the client is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ClientIdentity {
    /// It does not.
    #[default]
    None,
    /// By Postfix's XCLIENT; a next hop that does not take it gets no mail.
    Xclient,
}

/// A mail server as next hop.
#[derive(Clone, Debug)]
pub struct SmtpSettings {
    /// Where it listens, IPv4 or IPv6.
    pub address: SocketAddr,
    /// How it learns who the client is.
    pub client: ClientIdentity,
    /// Our name in EHLO.
    pub hostname: String,
}

#[derive(Debug)]
pub(super) struct Smtp {
    replies: ReplyTable,
}

impl Smtp {
    pub(super) fn new(_settings: SmtpSettings, replies: ReplyTable) -> Self {
        Self { replies }
    }

    pub(super) async fn probe(&self) -> Result<Capabilities, NextHopError> {
        Ok(self.capabilities())
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
}

#[derive(Debug)]
pub(super) struct SmtpTransport {
    smtp: Arc<Smtp>,
}

impl SmtpTransport {
    pub(super) fn new(smtp: Arc<Smtp>) -> Self {
        Self { smtp }
    }

    pub(super) async fn recipient(
        &mut self,
        _client: &ClientInfo,
        _mail: &MailFrom,
        _header_size: u64,
        _rcpt: &RcptTo,
    ) -> Reply {
        self.smtp.replies.say(Say::NextHopUnavailable)
    }

    pub(super) async fn deliver<P: AsRef<[u8]>>(
        &mut self,
        _headers: &[u8],
        _message: &[P],
        _gone: impl Future<Output = ()>,
    ) -> Reply {
        self.smtp.replies.say(Say::NextHopUnavailable)
    }

    pub(super) async fn reset(&mut self) {}

    pub(super) async fn close(self) {
        let _ = QUIT_MAX;
    }
}
