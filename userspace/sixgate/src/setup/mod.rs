//! A first configuration: what `sixgate init --next-hop` finds out about host and mail server, and
//! the file that it makes of that.
//!
//! It owns the choices that are made for an administrator. The text of the file is the packaged
//! configuration's, the checks afterwards are `doctor`'s, the store is `control`'s.

mod file;
mod hostname;
mod target;
mod template;

use std::{io, path::PathBuf, time::Duration};

use sixgate_dataplane::inspect_interface;
use sixgate_smtp::policy::Mode;
use tokio::time::{Instant, sleep};

use crate::{
    config::{Config, ConfigError, Hostname, InterfaceName},
    doctor,
    nexthop::{self, Address, ClientIdentity, NextHopError, Protocol, inspect_server},
    services,
};

pub use file::{Installed, install};
pub use target::{NextHopTarget, TargetError};

/// What an administrator wants; the rest is found out.
#[derive(Clone, Debug)]
pub struct SetupWishes {
    /// The configuration file.
    pub file: PathBuf,
    /// Where mail goes.
    pub next_hop: NextHopTarget,
    /// How a mail server learns the real client; none: by what it offers.
    pub client: Option<ClientIdentity>,
    /// Interfaces for the XDP program; empty: that of the default route.
    pub interfaces: Vec<InterfaceName>,
    /// Our name; none: that of the host.
    pub hostname: Option<Hostname>,
    /// Refuse, or only report.
    pub mode: Mode,
}

/// A configuration that fits this host; nothing is written yet.
#[derive(Debug)]
pub struct Setup {
    /// The file's text.
    pub text: String,
    /// The same, checked.
    pub config: Config,
    /// The findings, a line each.
    pub found: Vec<String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The host does not know its name.
    #[error(
        "the name of this host in DNS is not known (its name is `{}`); nothing was changed: name it with --hostname \
         mx.example.com", given.escape_debug()
    )]
    Hostname {
        /// Its name without a domain.
        given: String,
    },
    /// How the mail server learns the real client cannot be found out.
    #[error(
        "{reason}; nothing was changed: have the mail server listen at {address} first, or name how it learns the real \
         client with --client"
    )]
    Unreachable {
        /// The mail server.
        address: Address,
        /// The failure, as a clause.
        reason: String,
    },
    /// There is no such interface.
    #[error("no network interface named {name:?}; nothing was changed: `ip -brief link` lists them")]
    Interface {
        /// The name as it was given.
        name: String,
    },
    /// The values do not go together.
    #[error("nothing was changed")]
    Config(#[from] ConfigError),
    /// Another configuration is there.
    #[error(
        "there is a configuration {} already; nothing was changed: `--force` replaces it, and keeps it as {}. It differs: {}",
        path.display(), kept.display(), differences.join("; ")
    )]
    Differs {
        /// The configuration file.
        path: PathBuf,
        /// Where it would be kept.
        kept: PathBuf,
        /// Each key with its value there and the new one.
        differences: Vec<String>,
    },
    /// The file cannot be written.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// The operation that failed.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// Looks at host and mail server, and makes the configuration. Writes nothing.
///
/// # Errors
///
/// [`SetupError`] for what cannot be found out and was not named.
pub async fn prepare(wishes: &SetupWishes) -> Result<Setup, SetupError> {
    let mut found = Vec::new();
    let hostname = match &wishes.hostname {
        Some(hostname) => hostname.clone(),
        None => {
            let hostname = hostname::find().await?;
            found.push(format!("the name of this host is {hostname}"));
            hostname
        }
    };
    let interfaces = interfaces(wishes, &mut found)?;
    let client = match &wishes.next_hop {
        NextHopTarget::Maildir(_) => None,
        NextHopTarget::Server { protocol, address } => Some(match wishes.client {
            Some(client) => client,
            None => client_of(wishes, &hostname, *protocol, address, &mut found).await?,
        }),
    };
    let text = template::filled(&hostname, wishes.mode, &wishes.next_hop, client, &interfaces);
    let config = Config::parse(&text, &wishes.file)?;
    Ok(Setup { text, config, found })
}

/// The interfaces that were named, or that of the default route.
fn interfaces(wishes: &SetupWishes, found: &mut Vec<String>) -> Result<Vec<InterfaceName>, SetupError> {
    let mut names = wishes.interfaces.clone();
    if names.is_empty() {
        names.extend(doctor::default_interface().and_then(|name| name.parse().ok()));
    }
    for name in &names {
        let report = inspect_interface(name.as_str())
            .map_err(|_| SetupError::Interface { name: name.as_str().to_owned() })?;
        let driver = report.driver.as_deref().unwrap_or("unknown");
        let against =
            report.against_native.map(|reason| format!("; not native: {reason}")).unwrap_or_default();
        found.push(format!("interface {name}: driver {driver}, MTU {}{against}", report.mtu));
    }
    if names.is_empty() {
        found.push("no interface has a default route for IPv6: the daemon refuses by itself".to_owned());
    }
    Ok(names)
}

/// By what the mail server learns the real client: XCLIENT if it offers that to this host, the
/// PROXY protocol if it answers to nothing else.
async fn client_of(
    wishes: &SetupWishes,
    hostname: &Hostname,
    protocol: Protocol,
    address: &Address,
    found: &mut Vec<String>,
) -> Result<ClientIdentity, SetupError> {
    let asked = async |client| {
        let text = template::filled(hostname, wishes.mode, &wishes.next_hop, Some(client), &[]);
        let config = Config::parse(&text, &wishes.file)?;
        let settings = services::smtp_settings(&config, protocol, address, client);
        let restarted = Instant::now() + RESTART_WAIT;
        loop {
            let asked = inspect_server(&settings, PROBE_TIMEOUT).await;
            if !asked.as_ref().is_err_and(is_refused) || Instant::now() >= restarted {
                return Ok::<_, SetupError>(asked);
            }
            sleep(RESTART_POLL).await;
        }
    };
    let failure = match asked(ClientIdentity::None).await? {
        Ok(offer) => {
            let identity = if offer.has_xclient { ClientIdentity::Xclient } else { ClientIdentity::None };
            let how = match identity {
                ClientIdentity::Xclient => "takes XCLIENT",
                _ => "does not offer XCLIENT to this host: it does not learn the real client",
            };
            found.push(format!("the mail server at {address} {how}, and offers {}", offer.extensions));
            return Ok(identity);
        }
        Err(failure) => failure,
    };
    match asked(ClientIdentity::Proxy).await? {
        Ok(offer) => {
            found.push(format!(
                "the mail server at {address} expects the PROXY protocol, and offers {}",
                offer.extensions
            ));
            Ok(ClientIdentity::Proxy)
        }
        Err(_) => {
            Err(SetupError::Unreachable { address: address.clone(), reason: nexthop::describe(&failure) })
        }
    }
}

/// Whether no server listens: one that has just been restarted may not yet.
fn is_refused(failure: &NextHopError) -> bool {
    matches!(failure, NextHopError::Connection { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused)
}

/// How long a mail server may take until it listens: OpenSMTPD's start ends before it does.
const RESTART_WAIT: Duration = Duration::from_secs(3);
/// How often it is tried meanwhile.
const RESTART_POLL: Duration = Duration::from_millis(100);
/// How long the mail server may take, each time. Postfix waits 5 s for a PROXY header.
const PROBE_TIMEOUT: Duration = Duration::from_secs(8);
