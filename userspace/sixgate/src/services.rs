//! The services that the configuration in force defines: one value that is never changed, only
//! replaced as a whole.
//!
//! It owns what a reload may replace. The state that outlives each configuration, such as caches
//! and budgets, is elsewhere.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use sixgate_auth::dkim::DkimVerifier;
use sixgate_base::endpoint::Endpoint;
use sixgate_smtp::{policy::Policy, reply::ReplyTable};

use crate::{
    config::{self, Config, Limits},
    message_store::SpillDirectory,
    metrics::Metrics,
    nexthop::{Address, ClientIdentity, ConnectionBounds, NextHop, Protocol, SmtpSettings, leads_back},
    session_log::SessionLog,
    tls::{TlsError, TlsView},
};

/// Why a configuration's services cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    /// The next hop is sixgate.
    #[error(
        "next_hop: {address} is sixgate itself, which listens at {listening}: give the mail server a listener of its own, \
         such as `smtp = \"[::1]:10025\"`"
    )]
    NextHopIsOurselves {
        /// The next hop.
        address: Address,
        /// Which of our addresses takes its connections.
        listening: Endpoint,
    },
    /// The directory for temporary files.
    #[error("cannot make a temporary file in {}", path.display())]
    TemporaryDirectory {
        /// The path of the directory.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The files for STARTTLS.
    #[error("cannot offer STARTTLS")]
    Tls(#[source] TlsError),
}

/// What sessions judge by, are answered from and are counted in. A transaction keeps the one that
/// it began with.
pub(crate) struct Services {
    /// All of it, as it is in force.
    pub(crate) config: Config,
    pub(crate) policy: Policy,
    pub(crate) replies: Arc<ReplyTable>,
    pub(crate) dkim: DkimVerifier,
    pub(crate) next_hop: NextHop,
    /// None: STARTTLS is not offered.
    pub(crate) tls: Option<Arc<TlsView>>,
    pub(crate) spill_directory: SpillDirectory,
    /// The same for each configuration.
    pub(crate) metrics: Arc<Metrics>,
    /// The same for each configuration.
    pub(crate) session_log: SessionLog,
}

impl Services {
    /// Everything that `config` defines, for a daemon that starts.
    pub(crate) fn new(config: &Config) -> Result<Self, ServicesError> {
        Self::after(None, config)
    }

    /// The same for a daemon that runs with `self`. A part whose settings are unchanged is taken
    /// over with all that is known about it, such as the next hop's offer, and is not examined
    /// anew.
    pub(crate) fn replaced(&self, config: &Config) -> Result<Self, ServicesError> {
        Self::after(Some(self), config)
    }

    fn after(before: Option<&Self>, config: &Config) -> Result<Self, ServicesError> {
        let replies = config.reply_table();
        let replies = match before.filter(|old| *old.replies == replies) {
            Some(old) => Arc::clone(&old.replies),
            None => Arc::new(replies),
        };
        let same_next_hop = before
            // of all replies it uses those only in which nothing but the host name may change
            .filter(|old| old.config.next_hop == config.next_hop && old.config.hostname == config.hostname)
            .map(|old| old.next_hop.clone());
        let same_dkim = before
            .filter(|old| old.config.dkim_settings() == config.dkim_settings())
            .map(|old| old.dkim.clone());
        let spill_directory = match before {
            // without a directory for large messages the others are served all the same
            None => SpillDirectory::new(config.temporary_directory.clone()),
            Some(old) if old.config.temporary_directory == config.temporary_directory => {
                old.spill_directory.clone()
            }
            // one that is named anew is to be good
            Some(_) => examined_directory(config)?,
        };
        let tls = match before.filter(|old| old.config.tls == config.tls) {
            Some(old) => old.tls.clone(),
            None => config.tls.as_ref().map(open_tls).transpose()?,
        };
        Ok(Self {
            policy: config.policy(),
            dkim: same_dkim.unwrap_or_else(|| DkimVerifier::new(config.dkim_settings())),
            next_hop: same_next_hop.map_or_else(|| next_hop(config, Arc::clone(&replies)), Ok)?,
            tls,
            spill_directory,
            metrics: before.map_or_else(|| Arc::new(Metrics::new()), |old| Arc::clone(&old.metrics)),
            session_log: before
                .map_or_else(|| SessionLog::new(config.log.format), |old| old.session_log.clone()),
            replies,
            config: config.clone(),
        })
    }

    /// Our own host name.
    pub(crate) fn hostname(&self) -> &str {
        self.config.hostname.as_str()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.config.limits
    }
}

/// The services that are in force, for code that needs those of this moment.
#[derive(Clone)]
pub(crate) struct InForce(Arc<RwLock<Arc<Services>>>);

impl InForce {
    pub(crate) fn new(services: Services) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(services))))
    }

    /// Who needs several things of them takes them once.
    pub(crate) fn get(&self) -> Arc<Services> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace(&self, next: Services) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }
}

fn open_tls(settings: &config::Tls) -> Result<Arc<TlsView>, ServicesError> {
    TlsView::open(settings).map(Arc::new).map_err(ServicesError::Tls)
}

/// Checks that large messages have a directory where they may lie.
///
/// # Errors
/// The problem that a reload is refused for, and a start warns of: large messages are answered 452
/// or 451.
pub fn check_temporary_directory(config: &Config) -> Result<(), ServicesError> {
    examined_directory(config).map(drop)
}

/// Where large messages go while they arrive, after a look at it.
fn examined_directory(config: &Config) -> Result<SpillDirectory, ServicesError> {
    let path = config.temporary_directory.clone();
    let directory = SpillDirectory::new(path.clone());
    directory.probe().map_err(|source| ServicesError::TemporaryDirectory { path, source })?;
    Ok(directory)
}

/// Looks whether the next hop is sixgate itself, as the daemon does when it starts.
///
/// # Errors
/// What keeps the daemon from starting.
pub fn check_next_hop(config: &Config) -> Result<(), ServicesError> {
    match &config.next_hop {
        config::NextHop::Maildir(_) => Ok(()),
        config::NextHop::Server { address, .. } => match leads_back(address, &config.listen.addresses) {
            Some(listening) => Err(ServicesError::NextHopIsOurselves { address: address.clone(), listening }),
            None => Ok(()),
        },
    }
}

pub(crate) fn connection_bounds(limits: &Limits) -> ConnectionBounds {
    ConnectionBounds { connections: limits.next_hop_connections, idle: limits.next_hop_idle_timeout }
}

fn next_hop(config: &Config, replies: Arc<ReplyTable>) -> Result<NextHop, ServicesError> {
    check_next_hop(config)?;
    Ok(next_hop_of(config, replies))
}

/// The next hop that `config` names. Nothing is opened but the file of its last offer.
pub(crate) fn next_hop_of(config: &Config, replies: Arc<ReplyTable>) -> NextHop {
    match &config.next_hop {
        config::NextHop::Maildir(path) => NextHop::maildir(path, config.hostname.as_str(), replies),
        config::NextHop::Server { protocol, address, client } => {
            NextHop::smtp(smtp_settings(config, *protocol, address, *client), replies)
        }
    }
}

/// How the mail server at `address` is reached by this configuration.
pub(crate) fn smtp_settings(
    config: &Config,
    protocol: Protocol,
    address: &Address,
    client: ClientIdentity,
) -> SmtpSettings {
    SmtpSettings {
        address: address.clone(),
        protocol,
        client,
        hostname: config.hostname.as_str().to_owned(),
        bounds: connection_bounds(&config.limits),
        listening: config.listen.addresses.clone(),
        offer_file: Some(config.store.with_file_name(config::OFFER_FILE)),
    }
}
