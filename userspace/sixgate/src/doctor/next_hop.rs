//! The mail server behind, or the Maildir: whether it takes mail, and what it offers.
//!
//! A mail server is probed as the daemon does it; no message is sent. The Maildir is left as it is.

use std::{fs, path::Path, time::Duration};

use nix::unistd::{AccessFlags, access};
use tokio::time::timeout;

use super::report::CheckReport;
use crate::{
    config::{Config, NextHop},
    nexthop::{self, Address, ClientIdentity, NextHopError, Protocol, ServerOffer, inspect_server},
    services,
};

/// The next hop of `config`.
pub(super) async fn check(config: &Config) -> Vec<CheckReport> {
    if let Err(error) = services::check_next_hop(config) {
        let cure = "give the mail server a listener of its own, such as smtp = \"[::1]:10025\"";
        return vec![CheckReport::error(REACHED, error.to_string(), cure)];
    }
    match &config.next_hop {
        NextHop::Maildir(path) => vec![maildir(path).about(path.display())],
        NextHop::Server { protocol, address, client } => server(config, *protocol, address, *client).await,
    }
}

async fn server(
    config: &Config,
    protocol: Protocol,
    address: &Address,
    client: ClientIdentity,
) -> Vec<CheckReport> {
    let settings = services::smtp_settings(config, protocol, address, client);
    let next_hop = nexthop::NextHop::smtp(settings.clone(), config.reply_table());
    let (probed, offered) =
        tokio::join!(timeout(PROBE_TIMEOUT, next_hop.probe()), inspect_server(&settings, PROBE_TIMEOUT));
    let offered = offered.ok();
    let mut reports = vec![match probed {
        Ok(Ok(_)) => CheckReport::ok(REACHED, offer_text(offered.as_ref())),
        Ok(Err(error)) => failed(&error, address, client, offered.as_ref()),
        Err(_) => CheckReport::error(
            REACHED,
            format!("no reply within {} s", PROBE_TIMEOUT.as_secs()),
            "look at the mail server's log, and restart it",
        ),
    }];
    if let Some(offered) = offered {
        reports.push(identity(&offered, client));
    }
    reports.into_iter().map(|report| report.about(address)).collect()
}

fn offer_text(offered: Option<&ServerOffer>) -> String {
    let Some(offered) = offered else { return "it takes mail".to_owned() };
    let xclient = if offered.has_xclient { " XCLIENT" } else { "" };
    let starttls = if offered.has_starttls { " STARTTLS" } else { "" };
    format!("it takes mail, and offers {}{xclient}{starttls}", offered.extensions)
}

/// Why it does not take mail, and what to do.
fn failed(
    error: &NextHopError,
    address: &Address,
    client: ClientIdentity,
    offered: Option<&ServerOffer>,
) -> CheckReport {
    let text = nexthop::describe(error);
    let lacks_xclient =
        client == ClientIdentity::Xclient && offered.is_some_and(|offered| !offered.has_xclient);
    let cure = match error {
        NextHopError::NotOffered { .. } if lacks_xclient => authorize(address),
        NextHopError::Refused { .. } if client == ClientIdentity::Proxy => {
            "have the mail server expect the PROXY protocol at this listener, or set client = \"none\""
                .to_owned()
        }
        NextHopError::Refused { .. } => {
            "exempt sixgate's address and host name in the mail server's restrictions".to_owned()
        }
        NextHopError::Connection { .. } => {
            format!("have the mail server listen at {address}, or correct [next_hop], then: sixgate reload")
        }
        _ => "look at the mail server's log".to_owned(),
    };
    CheckReport::error(REACHED, text, cure)
}

/// The setting of Postfix that offers XCLIENT to this host.
fn authorize(address: &Address) -> String {
    match address {
        Address::Tcp(endpoint) => format!(
            "postconf -P '{endpoint}/inet/smtpd_authorized_xclient_hosts=[{}]' && postfix reload",
            endpoint.ip()
        ),
        Address::Unix(_) => {
            "have the mail server offer XCLIENT at this socket, or set client = \"none\"".to_owned()
        }
    }
}

/// How the mail server learns the real client.
fn identity(offered: &ServerOffer, client: ClientIdentity) -> CheckReport {
    let id = "next_hop.client";
    match client {
        ClientIdentity::None if offered.has_xclient => CheckReport::warning(
            id,
            "it takes XCLIENT, and is not sent the real client: it judges sixgate's address instead",
            "set client = \"xclient\" in [next_hop], then: sixgate reload",
        ),
        ClientIdentity::None => {
            CheckReport::ok(id, "it does not learn the real client, and does not offer XCLIENT")
        }
        ClientIdentity::Xclient => CheckReport::ok(id, "it is sent the real client by XCLIENT"),
        ClientIdentity::Proxy => CheckReport::ok(id, "it is sent the real client by the PROXY protocol"),
    }
}

/// Whether mail can be delivered there. The daemon makes it where it is missing.
fn maildir(path: &Path) -> CheckReport {
    let is_writable = |path: &Path| access(path, AccessFlags::W_OK | AccessFlags::X_OK).is_ok();
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => {
            CheckReport::error(REACHED, "it is not a directory", "set maildir in [next_hop] to a directory")
        }
        Ok(_) if is_writable(path) => CheckReport::ok(REACHED, "the Maildir can be written"),
        Ok(_) => CheckReport::error(
            REACHED,
            "the Maildir cannot be written by this user",
            format!("ls -l -d {}", path.display()),
        ),
        Err(_) => match path.ancestors().skip(1).find(|above| above.exists()) {
            Some(above) if is_writable(above) => {
                CheckReport::ok(REACHED, "the Maildir is not there yet: the daemon makes it")
            }
            _ => CheckReport::error(
                REACHED,
                "the Maildir is not there, and cannot be made by this user",
                format!("mkdir -p {}", path.display()),
            ),
        },
    }
}

const REACHED: &str = "next_hop.server";
/// How long the mail server may take: a person waits.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
