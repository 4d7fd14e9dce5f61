//! A mail server behind, spoken to over TCP.
//!
//! It owns what is known about that server and shared by all sessions; the dialogue of one session is in
//! `transport`.

mod connection;
mod data;
mod ehlo;
mod opening;
mod reader;
mod transport;
mod xclient;

use std::{net::SocketAddr, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{Capabilities, NextHopError};
use crate::smtp::reply::ReplyTable;

pub use data::Unframed;
pub use reader::BadReply;

pub(super) use transport::SmtpTransport;

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

/// What all sessions know of the mail server behind.
#[derive(Debug)]
pub(super) struct Smtp {
    settings: SmtpSettings,
    replies: ReplyTable,
    capabilities: watch::Sender<Capabilities>,
}

impl Smtp {
    pub(super) fn new(settings: SmtpSettings, replies: ReplyTable) -> Self {
        Self { settings, replies, capabilities: watch::Sender::default() }
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        *self.capabilities.borrow()
    }

    pub(super) async fn probe(&self) -> Result<Capabilities, NextHopError> {
        let deadline = Instant::now() + PROBE_MAX;
        let connection = opening::greet(&self.settings, deadline).await?;
        if self.settings.client == ClientIdentity::Xclient {
            opening::xclient_attributes(&connection)?;
        }
        let capabilities = self.learn(&connection);
        connection.quit(deadline).await;
        Ok(capabilities)
    }

    /// Remembers what the next hop offers to us. What it offers to a certain client, after XCLIENT, binds that
    /// client's transactions only.
    fn learn(&self, connection: &connection::Connection) -> Capabilities {
        let capabilities = connection.offer.capabilities();
        if self.capabilities.send_replace(capabilities) != capabilities {
            tracing::info!(?capabilities, "the next hop's offer changed");
        }
        capabilities
    }
}
