//! A mail server behind, spoken to by SMTP or LMTP.
//!
//! It owns what is known about that server and shared by all sessions; the dialogue of one session is in
//! `transport`.

mod connection;
mod data;
mod ehlo;
mod fault;
mod offer_file;
mod opening;
mod places;
mod proxy;
mod reader;
#[expect(clippy::disallowed_methods, reason = "connections to the next hop are opened here")]
mod stream;
mod transport;
mod xclient;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::Instant};

use super::{Address, Capabilities, NextHopError, error::as_value};
use sixgate_base::endpoint::Endpoint;
use sixgate_smtp::reply::ReplyTable;

pub use data::Unframed;
pub use places::{ConnectionBounds, PLACE_WAIT, PROMPT_RESUMPTIONS_MAX, RESUMPTIONS_MAX, SILENCE};
pub use reader::BadReply;

use offer_file::OfferFile;
use places::Places;

pub(super) use transport::SmtpTransport;

/// Longest time for opening a connection and passing on a recipient, together.
pub const OPEN_MAX: Duration = Duration::from_secs(2 * 60);
/// Longest time for a probe.
pub const PROBE_MAX: Duration = Duration::from_secs(10);
/// Longest time for taking leave.
pub const QUIT_MAX: Duration = Duration::from_secs(5);

/// Connections in a row on which the mail server rejects EHLO and accepts HELO, after which it counts
/// as one without extensions. Senders that miss 8BITMIME return messages for good.
pub const EHLO_REJECTIONS: u32 = 3;

/// What a mail server behind speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// RFC 5321.
    Smtp,
    /// RFC 2033: a message that some recipients get and others do not has several answers, and a sender can hear one
    /// only. So each transaction has one recipient.
    Lmtp,
}

impl Protocol {
    /// The command that begins a session.
    fn hello(self) -> &'static str {
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
    pub fn is_told(self) -> bool {
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
    /// What it speaks.
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

/// What all sessions know of the mail server behind.
#[derive(Debug)]
pub(super) struct Smtp {
    settings: SmtpSettings,
    replies: ReplyTable,
    /// None: it has never answered, and nothing is known from before.
    capabilities: watch::Sender<Option<Capabilities>>,
    /// Connections since the last one on which it accepted EHLO.
    ehlo_rejections: AtomicU32,
    offer_file: Option<Arc<OfferFile>>,
    /// Whether that file could not be written the last time.
    offer_file_fails: AtomicBool,
    places: Places,
}

impl Smtp {
    pub(super) fn new(settings: SmtpSettings, replies: ReplyTable) -> Self {
        let offer_file = settings.offer_file.clone().map(|path| Arc::new(OfferFile::new(path, &settings)));
        let known = offer_file.as_ref().and_then(|file| file.read());
        Self {
            places: Places::new(settings.bounds),
            settings,
            replies,
            capabilities: watch::Sender::new(known),
            ehlo_rejections: AtomicU32::new(0),
            offer_file,
            offer_file_fails: AtomicBool::new(false),
        }
    }

    pub(super) fn set_bounds(&self, bounds: ConnectionBounds) {
        self.places.set_bounds(bounds);
    }

    pub(super) fn reached(&self) -> [(&'static str, u64); 3] {
        self.places.reached()
    }

    pub(super) fn is_told_names(&self) -> bool {
        self.settings.client == ClientIdentity::Xclient
    }

    pub(super) fn capabilities(&self) -> Option<Capabilities> {
        *self.capabilities.borrow()
    }

    pub(super) async fn probe(&self) -> Result<Capabilities, NextHopError> {
        let deadline = Instant::now() + PROBE_MAX;
        // a mail server about which nothing is known is asked again until its offer is certain
        let (mut connection, capabilities) = loop {
            let connection = opening::greet(&self.settings, deadline).await?;
            match self.learn(&connection) {
                Some(capabilities) => break (connection, capabilities),
                None => connection.quit(deadline).await,
            }
        };
        self.keep(capabilities).await;
        opening::try_mail(&mut connection, &self.settings, deadline).await?;
        connection.quit(deadline).await;
        Ok(capabilities)
    }

    /// Remembers what the next hop offers to us. What it offers to a certain client, after XCLIENT or PROXY, binds that
    /// client's transactions only. What was known stays until EHLO was rejected [`EHLO_REJECTIONS`] times in a row. What
    /// is known now.
    fn learn(&self, connection: &connection::Connection) -> Option<Capabilities> {
        if !connection.rejected_ehlo {
            self.ehlo_rejections.store(0, Ordering::Relaxed);
        } else if self.ehlo_rejections.fetch_add(1, Ordering::Relaxed) + 1 < EHLO_REJECTIONS {
            tracing::info!("the next hop rejected EHLO: what it offered before still counts");
            return self.capabilities();
        }
        let capabilities = connection.offer.capabilities();
        let before = self.capabilities.send_replace(Some(capabilities));
        if before != Some(capabilities) {
            let offered = connection.offer.to_string();
            match before {
                Some(_) => tracing::info!(capabilities = offered, "the next hop's offer changed"),
                None => tracing::info!(capabilities = offered, "the next hop's offer is known"),
            }
        }
        Some(capabilities)
    }

    /// Keeps what the next hop offers for the next start of the daemon.
    async fn keep(&self, capabilities: Capabilities) {
        let Some(file) = self.offer_file.clone() else {
            return;
        };
        let written = tokio::task::spawn_blocking(move || file.write(capabilities)).await;
        let error = written.ok().and_then(Result::err);
        let failed_before = self.offer_file_fails.swap(error.is_some(), Ordering::Relaxed);
        if let Some(error) = error.filter(|_| !failed_before) {
            tracing::warn!(error = as_value(&error), "the next hop's offer is not kept for the next start");
        }
    }
}
