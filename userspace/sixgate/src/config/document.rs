//! The configuration file's text: TOML in, a checked [`Config`] out.
//!
//! It judges what depends on more than one key. Single values are judged by their types.

use std::{net::IpAddr, num::NonZeroU64, path::PathBuf};

use serde::Deserialize;
use serde_path_to_error::Segment;
use toml::de::DeTable;

use super::{
    Config, Dkim, Dns, Domains, Hostname, Http, Limits, Listen, Log, Metrics, NextHop, Ptr, RefuseAt,
    ResponderSetting, Shadow, Spf, Tls, Xdp, paths,
    problem::ConfigProblem,
    renamed_keys::{self, RenamedKey},
    reply_size, values,
};
use sixgate_base::endpoint::Endpoint;
use sixgate_smtp::policy::{Mode, PermanentRefusals, TemporaryRefusals};

use crate::{
    message_store::{HEAD_MAX, memory_max},
    nexthop::{Address, ClientIdentity, Protocol},
};

/// Checks a whole configuration.
pub(super) fn parse(text: &str, file: PathBuf) -> Result<Config, ConfigProblem> {
    let toml = toml::Deserializer::parse(text).map_err(|error| explain(text, "", &error))?;
    let renamed_keys = renamed_keys::find(text)?;
    let document: ConfigDocument = serde_path_to_error::deserialize(toml)
        .map_err(|error| explain(text, &key_of(error.path()), error.inner()))?;
    document
        .check(file, renamed_keys)
        .map_err(|conflict| ConfigProblem { offset: offset_of(text, conflict.key), reason: conflict.reason })
}

/// Keys that do not go together.
#[derive(Debug)]
struct Conflict {
    /// The one to be changed first, from the root of the document.
    key: &'static [&'static str],
    reason: String,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigDocument {
    hostname: Hostname,
    #[serde(default = "enforce", with = "values::ModeName")]
    mode: Mode,
    #[serde(default)]
    answer: ResponderSetting,
    #[serde(default)]
    refuse_at: RefuseAt,
    #[serde(default, deserialize_with = "values::permanent_refusals")]
    permanent_refusals: PermanentRefusals,
    #[serde(default, deserialize_with = "values::temporary_refusals")]
    temporary_refusals: TemporaryRefusals,
    #[serde(default)]
    domains: Domains,
    #[serde(default = "default_sandbox")]
    sandbox: bool,
    #[serde(default = "default_store", deserialize_with = "values::absolute_path")]
    store: PathBuf,
    #[serde(default = "default_temporary_directory", deserialize_with = "values::absolute_path")]
    temporary_directory: PathBuf,
    #[serde(default, deserialize_with = "values::socket_path")]
    control_socket: Option<PathBuf>,
    #[serde(default)]
    listen: Listen,
    #[serde(default)]
    dns: Dns,
    #[serde(default)]
    ptr: Ptr,
    #[serde(default)]
    spf: Spf,
    #[serde(default)]
    dkim: Dkim,
    #[serde(default)]
    next_hop: NextHopTable,
    #[serde(default)]
    xdp: Xdp,
    tls: Option<Tls>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    log: Log,
    #[serde(default)]
    metrics: Metrics,
    #[serde(default)]
    http: Http,
    #[serde(default)]
    shadow: Shadow,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NextHopTable {
    maildir: Option<MaildirPath>,
    smtp: Option<Address>,
    lmtp: Option<Address>,
    client: Option<ClientIdentity>,
}

#[derive(Deserialize)]
struct MaildirPath(#[serde(deserialize_with = "values::absolute_path")] PathBuf);

impl ConfigDocument {
    fn check(self, file: PathBuf, renamed_keys: Vec<RenamedKey>) -> Result<Config, Conflict> {
        let next_hop = self.next_hop.check()?;
        check_domains(self.domains, &next_hop)?;
        check_listen(&self.listen)?;
        check_loop(&self.listen, &next_hop)?;
        check_hostname(&self.hostname, self.answer)?;
        check_limits(&self.limits)?;
        let config = Config {
            file,
            hostname: self.hostname,
            mode: self.mode,
            answer: self.answer,
            refuse_at: self.refuse_at,
            permanent_refusals: self.permanent_refusals,
            temporary_refusals: self.temporary_refusals,
            domains: self.domains,
            sandbox: self.sandbox,
            store: self.store,
            temporary_directory: self.temporary_directory,
            control_socket: self.control_socket,
            listen: self.listen,
            dns: self.dns,
            ptr: self.ptr,
            spf: self.spf,
            dkim: self.dkim,
            next_hop,
            xdp: self.xdp,
            tls: self.tls,
            limits: self.limits,
            log: self.log,
            metrics: self.metrics,
            http: self.http,
            shadow: self.shadow,
            renamed_keys,
        };
        match paths::conflict(&config) {
            Some((key, reason)) => Err(Conflict { key, reason }),
            None => Ok(config),
        }
    }
}

impl NextHopTable {
    /// Exactly one next hop, the default Maildir if none is named.
    fn check(self) -> Result<NextHop, Conflict> {
        let server = |protocol, address| NextHop::Server {
            protocol,
            address,
            client: self.client.unwrap_or_default(),
        };
        match (self.maildir, self.smtp, self.lmtp, self.client) {
            (None, Some(address), None, _) => Ok(server(Protocol::Smtp, address)),
            (None, None, Some(address), _) => Ok(server(Protocol::Lmtp, address)),
            (Some(maildir), None, None, None) => Ok(NextHop::Maildir(maildir.0)),
            (None, None, None, None) => Ok(NextHop::default()),
            (_, None, None, Some(_)) => {
                Err(conflict(&["next_hop", "client"], "`client` needs `smtp` or `lmtp`"))
            }
            (_, smtp, lmtp, _) => {
                let key: &[&str] = if smtp.is_some() && lmtp.is_none() {
                    &["next_hop", "smtp"]
                } else {
                    &["next_hop", "lmtp"]
                };
                Err(conflict(key, "there is one next hop only: keep one of `maildir`, `smtp` and `lmtp`"))
            }
        }
    }
}

/// Mail for any domain may go only to a next hop that judges the real client, never to one that
/// takes everything from us: sixgate would be an open relay.
fn check_domains(domains: Domains, next_hop: &NextHop) -> Result<(), Conflict> {
    match (domains, next_hop) {
        (Domains::All, NextHop::Server { client, .. }) if !client.is_sent() => Err(conflict(
            &["domains"],
            "\"all\" with a mail server as next hop needs `client = \"xclient\"` or `client = \"proxy\"` in [next_hop], \
             else sixgate would be an open relay",
        )),
        _ => Ok(()),
    }
}

/// The kernel gives an address and port to one socket only, and `[::]` is each address.
fn check_listen(listen: &Listen) -> Result<(), Conflict> {
    let key = &["listen", "addresses"];
    for (count, address) in listen.addresses.iter().enumerate() {
        let others = listen.addresses.iter().enumerate().filter(|(other, _)| *other != count);
        for (other, covering) in others {
            if other < count && covering == address {
                return Err(conflict(key, &format!("listen.addresses: {address} stands twice")));
            }
            let is_any = covering.ip().is_unspecified() && covering.port() == address.port();
            if is_any && covering != address {
                let reason =
                    format!("listen.addresses: {covering} covers {address} already: keep one of them");
                return Err(conflict(key, &reason));
            }
        }
    }
    Ok(())
}

/// A next hop that is ourselves would be asked by ourselves for ever.
fn check_loop(listen: &Listen, next_hop: &NextHop) -> Result<(), Conflict> {
    let NextHop::Server { protocol, address: Address::Tcp(server), .. } = next_hop else {
        return Ok(());
    };
    // connect(2) takes the unspecified address for loopback; other addresses of this host are known
    // at the start only
    let IpAddr::V6(address) = server.ip() else {
        return Ok(());
    };
    let loopback = address.is_loopback() || address.is_unspecified();
    let is_it = |own: &Endpoint| {
        let has_address = own == server || (own.ip().is_unspecified() || own.ip().is_loopback()) && loopback;
        own.port() == server.port() && has_address
    };
    if !listen.addresses.iter().any(is_it) {
        return Ok(());
    }
    let key: &[&str] = match protocol {
        Protocol::Smtp => &["next_hop", "smtp"],
        Protocol::Lmtp => &["next_hop", "lmtp"],
    };
    let reason = format!("sixgate itself listens at {server}: give the mail server a listener of its own");
    Err(conflict(key, &reason))
}

/// The kernel has less space for a reply than the daemon: rejects a host name that is too long for
/// it.
fn check_hostname(hostname: &Hostname, answer: ResponderSetting) -> Result<(), Conflict> {
    match (answer, reply_size::longest_name(hostname.as_str())) {
        (ResponderSetting::Kernel, Some(longest)) => {
            let length = hostname.as_str().len();
            let reason = format!(
                "the host name has {length} octets: the XDP program can send replies with {longest} at most; \
                 shorten it, or set `answer = \"daemon\"`"
            );
            Err(conflict(&["hostname"], &reason))
        }
        _ => Ok(()),
    }
}

fn check_limits(limits: &Limits) -> Result<(), Conflict> {
    let message = u64::from(limits.message_size.get());
    let rows: [(&[&str], NonZeroU64, u64); 2] = [
        (&["limits", "message_memory"], limits.message_memory, memory_max(message)),
        (&["limits", "message_disk"], limits.message_disk, message.saturating_sub(HEAD_MAX as u64)),
    ];
    for (key, bound, needed) in rows {
        let name = key[1];
        if bound.get() > MESSAGE_SPACE_MAX {
            return Err(conflict(key, &format!("{name} can be {MESSAGE_SPACE_MAX} at most, not {bound}")));
        }
        if bound.get() < needed {
            let reason =
                format!("{name}, {bound}, is too small for one message of message_size: {needed} are needed");
            return Err(conflict(key, &reason));
        }
    }
    Ok(())
}

fn conflict(key: &'static [&'static str], reason: &str) -> Conflict {
    Conflict { key, reason: reason.to_owned() }
}

/// Where `key` stands, or the last part of the way to it that is there: it may have its default.
fn offset_of(text: &str, key: &[&str]) -> usize {
    let Ok(root) = DeTable::parse(text) else { return 0 };
    let (mut table, mut offset) = (root.get_ref(), 0);
    for part in key {
        let Some((name, value)) = table.get_key_value(*part) else {
            break;
        };
        offset = name.span().start;
        let Some(inner) = value.get_ref().as_table() else {
            break;
        };
        table = inner;
    }
    offset
}

/// One line with the key that it is about. serde's messages name fields and integer types,
/// sixgate's name keys and numbers.
fn explain(text: &str, key: &str, error: &toml::de::Error) -> ConfigProblem {
    let span = error.span().unwrap_or_default();
    let mut reason = error.message().replace('\n', ", ");
    for (from, to) in PHRASES {
        reason = reason.replace(from, to);
    }
    if reason == "duplicate key" {
        let name = text.get(span.clone()).unwrap_or_default().escape_debug();
        reason = format!("`{name}` stands twice");
    }
    if !key.is_empty() && !reason.starts_with(UNKNOWN_KEY) {
        reason = format!("{key}: {reason}");
    }
    ConfigProblem { offset: span.start, reason }
}

/// The key at the end of a path, from the root of the document: of an array its own key.
fn key_of(path: &serde_path_to_error::Path) -> String {
    let parts = path.iter().filter_map(|segment| match segment {
        Segment::Map { key } => Some(key.as_str()),
        _ => None,
    });
    parts.collect::<Vec<_>>().join(".")
}

fn enforce() -> Mode {
    Mode::Enforce
}

const fn default_sandbox() -> bool {
    true
}

fn default_store() -> PathBuf {
    PathBuf::from("/var/lib/sixgate/store.db")
}

fn default_temporary_directory() -> PathBuf {
    PathBuf::from("/var/tmp")
}

/// Most octets of all messages together.
const MESSAGE_SPACE_MAX: u64 = 1 << 40;

const UNKNOWN_KEY: &str = "unknown key";
/// Phrases of serde's messages, each with the phrase that replaces it.
const PHRASES: [(&str, &str); 7] = [
    ("expected a duration", "expected a duration such as \"30s\""),
    ("unknown field", UNKNOWN_KEY),
    ("missing field", "missing key"),
    ("unknown variant", "unknown value"),
    ("a nonzero u8", "a number from 1 to 255"),
    ("a nonzero u32", "a number from 1 to 4294967295"),
    ("a nonzero u64", "a number above 0"),
];
