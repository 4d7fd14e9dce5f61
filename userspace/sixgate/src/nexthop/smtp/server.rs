//! A mail server behind, as all sessions share it: what is known about it, and its connections.
//!
//! The dialogue of one session is in `transport`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use sixgate_base::fair_share::Network;
use sixgate_smtp::reply::ReplyTable;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{
    connection::{Connection, DialogueProgress},
    connection_slots::{ConnectionBounds, ConnectionSlots},
    offer_file::OfferFile,
    opening,
    settings::{ClientIdentity, SmtpSettings},
};
use crate::nexthop::{
    capabilities::Capabilities,
    client::ClientInfo,
    error::{NextHopError, as_value},
    health::Health,
};

/// Longest time for opening a connection and passing on a recipient, together.
pub const OPEN_MAX: Duration = Duration::from_secs(2 * 60);
/// Longest time for a probe: what is fast enough for a session is fast enough for it.
pub const PROBE_MAX: Duration = OPEN_MAX;
/// Longest time for taking leave.
pub const QUIT_MAX: Duration = Duration::from_secs(5);

/// Connections in a row on which the mail server rejects EHLO and accepts HELO, after which it
/// counts as one without extensions. Senders that miss 8BITMIME return messages for good.
pub const EHLO_REJECTIONS: u32 = 3;

/// What all sessions know of the mail server behind.
#[derive(Debug)]
pub(in crate::nexthop) struct Smtp {
    pub(super) settings: SmtpSettings,
    pub(super) replies: Arc<ReplyTable>,
    /// None: it has never answered, and nothing is known from before.
    capabilities: watch::Sender<Option<Capabilities>>,
    /// Connections since the last one on which it accepted EHLO.
    ehlo_rejections: AtomicU32,
    offer_file: Option<Arc<OfferFile>>,
    /// Whether that file could not be written the last time.
    offer_file_fails: AtomicBool,
    pub(super) connection_slots: ConnectionSlots,
    health: Health,
}

impl Smtp {
    pub(in crate::nexthop) fn new(settings: SmtpSettings, replies: Arc<ReplyTable>) -> Self {
        let offer_file = settings.offer_file.clone().map(|path| Arc::new(OfferFile::new(path, &settings)));
        let known = offer_file.as_ref().and_then(|file| file.read());
        Self {
            connection_slots: ConnectionSlots::new(settings.bounds),
            settings,
            replies,
            capabilities: watch::Sender::new(known),
            ehlo_rejections: AtomicU32::new(0),
            offer_file,
            offer_file_fails: AtomicBool::new(false),
            health: Health::default(),
        }
    }

    pub(in crate::nexthop) fn set_bounds(&self, bounds: ConnectionBounds) {
        self.connection_slots.set_bounds(bounds);
    }

    pub(in crate::nexthop) fn reached(&self) -> [(&'static str, u64); 3] {
        self.connection_slots.reached()
    }

    pub(in crate::nexthop) fn health(&self) -> &Health {
        &self.health
    }

    pub(in crate::nexthop) fn sends_names(&self) -> bool {
        self.settings.client == ClientIdentity::Xclient
    }

    pub(in crate::nexthop) fn capabilities(&self) -> Option<Capabilities> {
        *self.capabilities.borrow()
    }

    /// Opens a connection for a client in `network`, a trusted one if there is none. The next hop
    /// knows the client afterwards, if it is to know it.
    pub(super) async fn open(
        &self,
        network: Option<Network>,
        client: &ClientInfo,
        deadline: Instant,
    ) -> Result<DialogueProgress, NextHopError> {
        let settings = &self.settings;
        let busy = || NextHopError::Busy { address: settings.address.clone() };
        let permit = timeout_at(deadline, self.connection_slots.acquire(network)).await.ok().flatten();
        let permit = permit.ok_or_else(busy)?;
        let ourselves = async {
            let connection = opening::greet(settings, deadline).await?;
            self.learn(&connection);
            Ok(connection)
        };
        let opened = match settings.client {
            ClientIdentity::None => ourselves.await.map(DialogueProgress::Ready),
            ClientIdentity::Xclient => match ourselves.await {
                Ok(connection) => opening::introduce(connection, settings, client, deadline).await,
                Err(error) => Err(error),
            },
            ClientIdentity::Proxy => opening::represent(settings, client, deadline).await,
        };
        if let Err(error) = &opened
            && error.is_about_no_client(settings.client)
        {
            self.health.opening_failed(&as_value(error));
        }
        opened.map(|progress| match progress {
            DialogueProgress::Ready(mut connection) => {
                connection.permit = Some(permit);
                DialogueProgress::Ready(connection)
            }
            DialogueProgress::Refused(reply) => DialogueProgress::Refused(reply),
        })
    }

    pub(in crate::nexthop) async fn probe(&self) -> Result<Capabilities, NextHopError> {
        let deadline = Instant::now() + PROBE_MAX;
        // a mail server about which nothing is known is asked again until its offer is certain
        let (mut connection, capabilities) = loop {
            let connection = opening::greet(&self.settings, deadline).await?;
            match self.learn(&connection) {
                Some(capabilities) => break (connection, capabilities),
                None => connection.quit(deadline).await,
            }
        };
        opening::try_mail(&mut connection, &self.settings, deadline).await?;
        connection.quit(deadline).await;
        Ok(capabilities)
    }

    /// Remembers the next hop's offer to us. Its offer to a certain client, after XCLIENT or PROXY,
    /// binds that client's transactions only. The former offer stays until EHLO was rejected
    /// [`EHLO_REJECTIONS`] times in a row. Returns the capabilities that are known now.
    fn learn(&self, connection: &Connection) -> Option<Capabilities> {
        if !connection.rejected_ehlo {
            self.ehlo_rejections.store(0, Ordering::Relaxed);
        } else if self.ehlo_rejections.fetch_add(1, Ordering::Relaxed) + 1 < EHLO_REJECTIONS {
            tracing::info!("the next hop rejected EHLO; the extensions of its last EHLO reply stay in use");
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
    pub(in crate::nexthop) async fn keep_offer(&self) {
        let Some((file, capabilities)) = self.offer_file.clone().zip(self.capabilities()) else {
            return;
        };
        let written = tokio::task::spawn_blocking(move || file.write(capabilities)).await;
        let error = written.ok().and_then(Result::err);
        let failed_before = self.offer_file_fails.swap(error.is_some(), Ordering::Relaxed);
        if let Some(error) = error.filter(|_| !failed_before) {
            tracing::warn!(
                error = as_value(&error),
                "cannot save the next hop's extensions for the next start"
            );
        }
    }
}
