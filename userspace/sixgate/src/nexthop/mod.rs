//! Where accepted mail goes: a Maildir, or a mail server behind that is spoken to live.
//!
//! It owns the way to the next hop and what is known about it. It decides nothing about a message,
//! and adds no header but those that a Maildir needs to keep the envelope.

mod address;
mod capabilities;
mod client;
mod error;
mod health;
mod maildir;
#[expect(clippy::disallowed_methods, reason = "a socket that sends nothing tells the source address")]
mod ourselves;
mod smtp;

use std::{convert::Infallible, net::Ipv6Addr, path::PathBuf, sync::Arc};

use sixgate_base::fair_share::Network;
use sixgate_smtp::{
    command::{MailFrom, RcptTo},
    reply::{Reply, ReplyTable},
};

use crate::message_store::Outgoing;

pub use address::{Address, AddressError, SocketPath};
pub use capabilities::{Capabilities, HEADER_RESERVE};
pub use client::{ClientInfo, ClientName};
pub use error::{NextHopError, Step};
pub use health::{REJECTIONS_OF_US, SLOW};
pub use ourselves::leads_back;
pub use smtp::{
    BadReply, ClientIdentity, ConnectionBounds, EHLO_REJECTIONS, OPEN_MAX, PROBE_MAX, PROMPT_RESUMPTIONS_MAX,
    Protocol, QUIT_MAX, RESUMPTIONS_MAX, SILENCE, SLOT_WAIT, ServerOffer, SmtpSettings, Unframed,
    inspect_server,
};

pub(crate) use error::as_value as describe;

use error::as_value;
use health::Health;
use maildir::{Maildir, MaildirTransport};
use smtp::{Smtp, SmtpTransport};

/// Where accepted mail goes; cheap to clone, shared by all sessions.
#[derive(Clone, Debug)]
pub struct NextHop {
    kind: NextHopKind,
    /// Held by the probe that is under way.
    probing: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Debug)]
enum NextHopKind {
    Maildir(Arc<Maildir>),
    Smtp(Arc<Smtp>),
}

impl NextHop {
    /// A Maildir at `path`. `hostname` is our name, for the names of the files; `replies` is the
    /// table that answers are taken from.
    #[must_use]
    pub fn maildir(path: impl Into<PathBuf>, hostname: &str, replies: impl Into<Arc<ReplyTable>>) -> Self {
        Self::new(NextHopKind::Maildir(Arc::new(Maildir::new(path.into(), hostname, replies.into()))))
    }

    /// A mail server that is spoken to by SMTP or LMTP.
    #[must_use]
    pub fn smtp(settings: SmtpSettings, replies: impl Into<Arc<ReplyTable>>) -> Self {
        Self::new(NextHopKind::Smtp(Arc::new(Smtp::new(settings, replies.into()))))
    }

    fn new(kind: NextHopKind) -> Self {
        Self { kind, probing: Arc::default() }
    }

    /// Asks the next hop what it can do, in at most [`PROBE_MAX`], and remembers it. A Maildir is
    /// created where it is missing, tried out, and cleared of what a crash left in `tmp`.
    ///
    /// # Errors
    /// What makes the next hop unusable at the moment. [`Self::capabilities`] stays as it was.
    pub async fn probe(&self) -> Result<Capabilities, NextHopError> {
        match &self.kind {
            NextHopKind::Maildir(maildir) => maildir.probe().await,
            NextHopKind::Smtp(smtp) => smtp.probe().await,
        }
    }

    /// Probes the next hop, and notes and logs what comes of it; one probe at a time. Why it cannot
    /// be used, if so.
    pub(crate) async fn examine(&self) -> Option<String> {
        let _turn = self.probing.lock().await;
        self.health().begin_probe();
        let failure = self.probe().await.err().map(|error| as_value(&error));
        self.health().end_probe(failure.as_deref(), self.capabilities().is_some());
        failure
    }

    /// Keeps what a mail server offers for the next start of the daemon, if it is known. Only the
    /// next hop in force does: there is one file.
    pub(crate) async fn keep_offer(&self) {
        match &self.kind {
            NextHopKind::Maildir(_) => {}
            NextHopKind::Smtp(smtp) => smtp.keep_offer().await,
        }
    }

    /// Whether it can be used, as was found last.
    pub(crate) fn health(&self) -> &Health {
        match &self.kind {
            NextHopKind::Maildir(maildir) => maildir.health(),
            NextHopKind::Smtp(smtp) => smtp.health(),
        }
    }

    /// The capabilities that the next hop showed when it last answered: to [`Self::probe`], or to
    /// any session since, or to a daemon before this one. None if it never did: a sender that
    /// misses 8BITMIME gives its message up for good, so that no capabilities may be announced to
    /// it then. The last known capabilities are kept while the next hop is away: a sender
    /// learns of that only at RCPT, by a temporary reply.
    #[must_use]
    pub fn capabilities(&self) -> Option<Capabilities> {
        match &self.kind {
            NextHopKind::Maildir(_) => Some(maildir::CAPABILITIES),
            NextHopKind::Smtp(smtp) => smtp.capabilities(),
        }
    }

    /// Whether the next hop is sent a client's name by reverse DNS.
    #[must_use]
    pub fn sends_names(&self) -> bool {
        match &self.kind {
            NextHopKind::Maildir(_) => false,
            NextHopKind::Smtp(smtp) => smtp.sends_names(),
        }
    }

    /// Whether both are one next hop, with all that is known about it.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (NextHopKind::Maildir(one), NextHopKind::Maildir(other)) => Arc::ptr_eq(one, other),
            (NextHopKind::Smtp(one), NextHopKind::Smtp(other)) => Arc::ptr_eq(one, other),
            (NextHopKind::Maildir(_) | NextHopKind::Smtp(_), _) => false,
        }
    }

    /// Sets other bounds for connections to a mail server. Those that are open stay so.
    pub fn set_bounds(&self, bounds: ConnectionBounds) {
        match &self.kind {
            NextHopKind::Maildir(_) => {}
            NextHopKind::Smtp(smtp) => smtp.set_bounds(bounds),
        }
    }

    /// How often bounds of connections to a mail server were reached, by the names of the counters.
    #[must_use]
    pub fn reached(&self) -> Vec<(&'static str, u64)> {
        match &self.kind {
            NextHopKind::Maildir(_) => Vec::new(),
            NextHopKind::Smtp(smtp) => smtp.reached().into(),
        }
    }

    /// The way of one session of the client at `source` to the next hop; none: a trusted one, which
    /// takes part in no network's share. Nothing is opened yet.
    #[must_use]
    pub fn transport(&self, source: Option<Ipv6Addr>) -> Transport {
        Transport(match &self.kind {
            NextHopKind::Maildir(maildir) => Way::Maildir(MaildirTransport::new(Arc::clone(maildir))),
            NextHopKind::Smtp(smtp) => {
                Way::Smtp(SmtpTransport::new(Arc::clone(smtp), source.map(Network::from)))
            }
        })
    }
}

/// One client session's way to the next hop, reused by its transactions.
///
/// A transaction begins with the first [`Self::recipient`] and ends with [`Self::deliver`] or
/// [`Self::reset`]. Each future may be dropped at any time: what was in flight is then abandoned,
/// never half done. Only [`Self::deliver`] should be awaited to its end, since its reply is the
/// truth about the message.
#[derive(Debug)]
pub struct Transport(Way);

#[derive(Debug)]
enum Way {
    Maildir(MaildirTransport),
    Smtp(SmtpTransport),
}

impl Transport {
    /// Passes a recipient on; the answer is the sender's answer. The first one of a transaction
    /// opens the connection if needed and starts the transaction, with the declared size enlarged
    /// by `header_size` octets. Takes at most [`OPEN_MAX`].
    pub async fn recipient(
        &mut self,
        client: &ClientInfo,
        mail: &MailFrom,
        header_size: u64,
        rcpt: &RcptTo,
    ) -> Reply {
        match &mut self.0 {
            Way::Maildir(maildir) => maildir.recipient(mail, rcpt),
            Way::Smtp(smtp) => smtp.recipient(client, mail, header_size, rcpt).await,
        }
    }

    /// Hands the message over to the recipients that were accepted. It consists of complete lines
    /// that end with CRLF. A positive answer means that the next hop has the message.
    ///
    /// When `gone` resolves before the point of no return (the final dot, the link into `new`),
    /// nothing is delivered; afterwards it is ignored. It stands for the sender's disconnection.
    pub async fn deliver(&mut self, message: &Outgoing, gone: impl Future<Output = ()>) -> Reply {
        match &mut self.0 {
            Way::Maildir(maildir) => maildir.deliver(message, gone).await,
            Way::Smtp(smtp) => smtp.deliver(message, gone).await,
        }
    }

    /// Ends a transaction without delivering it. The connection is kept if it can be.
    pub async fn reset(&mut self) {
        match &mut self.0 {
            Way::Maildir(maildir) => maildir.reset(),
            Way::Smtp(smtp) => smtp.reset().await,
        }
    }

    /// Gives the connection to a mail server back once it has been idle for
    /// [`ConnectionBounds::idle`], and as soon as another client waits for one: between two
    /// transactions at once, within one after [`SILENCE`], if it was repeated fewer than
    /// [`PROMPT_RESUMPTIONS_MAX`] times; never resolves. A transaction goes on all the same: it is
    /// repeated on another connection, [`RESUMPTIONS_MAX`] times at most, and fails for the moment
    /// if any answer is another one then.
    pub async fn rest(&mut self) -> Infallible {
        match &mut self.0 {
            Way::Maildir(_) => std::future::pending().await,
            Way::Smtp(smtp) => smtp.rest().await,
        }
    }

    /// Gives the connection to a mail server back now, in at most [`QUIT_MAX`].
    pub async fn give_back(&mut self) {
        match &mut self.0 {
            Way::Maildir(_) => {}
            Way::Smtp(smtp) => smtp.give_back().await,
        }
    }

    /// Takes leave of the next hop, in at most [`QUIT_MAX`].
    pub async fn close(self) {
        match self.0 {
            Way::Maildir(_) => {}
            Way::Smtp(smtp) => smtp.close().await,
        }
    }
}
