//! The configuration: one TOML file, read whole and checked whole before anything is applied.
//!
//! It owns the schema, its defaults and its errors, each with file and line. It does not own the state
//! that commands change: that is the opt-in store.

mod document;
mod room;
mod tls;
mod values;

use std::{
    fs::File,
    io,
    net::{SocketAddr, SocketAddrV6},
    num::{NonZeroU8, NonZeroU32, NonZeroU64},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use sixgate_common::map;

use crate::{
    bounded,
    check::{
        dkim::{DkimSettings, PartialBody},
        spf,
    },
    dns::DnsBounds,
    nexthop::{Address, ClientIdentity, Protocol},
    policy::{Mode, PermanentRefusals, Policy},
    smtp::{reply::ReplyTable, session::SessionLimits},
};

pub use tls::{CertificateName, ClientTrust, Tls};
pub use values::{
    Answer, Domains, GuardSource, Hostname, InterfaceName, LogFormat, LogLevel, RefuseAt, ValueError, XdpMode,
};

/// Where the configuration lies if nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/sixgate/sixgate.toml";

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our name in greetings, Received, and authserv-id.
    pub hostname: Hostname,
    /// Refuse, or only say what would have been refused.
    pub mode: Mode,
    /// Who speaks to refused connections.
    pub answer: Answer,
    /// At which point a destination that has not opted in is refused.
    pub refuse_at: RefuseAt,
    /// Which refusals are permanent although they are temporary by default.
    pub permanent_refusals: PermanentRefusals,
    /// Which recipients' domains take mail here.
    pub domains: Domains,
    /// The opt-in store's file, an absolute path.
    pub store: PathBuf,
    /// Where large messages lie while they are examined, an absolute path.
    pub temporary_directory: PathBuf,
    /// Where the daemon listens.
    pub listen: Listen,
    /// How DNS is asked.
    pub dns: Dns,
    /// What is demanded of reverse DNS.
    pub ptr: Ptr,
    /// What is demanded of DKIM signatures.
    pub dkim: Dkim,
    /// Where accepted mail goes.
    pub next_hop: NextHop,
    /// The XDP program and its maps.
    pub xdp: Xdp,
    /// STARTTLS; none: it is not offered.
    pub tls: Option<Tls>,
    /// Bounds of the daemon.
    pub limits: Limits,
    /// The daemon's log.
    pub log: Log,
    /// The daemon's counters.
    pub metrics: Metrics,
}

/// `[listen]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// IPv6 addresses with ports, at least one.
    #[serde(deserialize_with = "values::listen_addresses")]
    pub addresses: Vec<SocketAddrV6>,
}

/// `[dns]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// Servers to ask; empty: those of /etc/resolv.conf.
    #[serde(deserialize_with = "values::server_addresses")]
    pub servers: Vec<SocketAddr>,
    /// How long one attempt may take.
    #[serde(deserialize_with = "values::wait")]
    pub timeout: Duration,
    /// Tries in all per name.
    pub attempts: NonZeroU8,
}

/// `[ptr]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ptr {
    /// Whether a PTR record must lead back to the address.
    pub demand_forward_confirmation: bool,
}

/// `[dkim]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dkim {
    /// Whether a signature that leaves the end of the body unsigned (`l=`) may pass.
    pub accept_partial_body: bool,
}

/// `[next_hop]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NextHop {
    /// A Maildir, an absolute path.
    Maildir(PathBuf),
    /// A mail server.
    Server {
        /// What it speaks.
        protocol: Protocol,
        /// Where it listens.
        address: Address,
        /// How it learns the real client.
        client: ClientIdentity,
    },
}

/// `[xdp]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Xdp {
    /// Interfaces that the daemon attaches itself to if nothing is attached there yet; empty: none.
    pub interfaces: Vec<InterfaceName>,
    /// How the program is attached.
    pub mode: XdpMode,
    /// The directory of the pins, an absolute path on a bpf file system; they lie in its part of the
    /// layout's name ([`map::LAYOUT`]).
    #[serde(deserialize_with = "values::absolute_path")]
    pub bpffs: PathBuf,
    /// Which addresses are ours.
    pub guard: GuardSource,
    /// Bound of the map OPTIN, in prefixes.
    pub optin_entries: NonZeroU32,
    /// Bound of the map PTR, in addresses.
    pub ptr_entries: NonZeroU32,
    /// Bound of the map FLOWS, in connections.
    pub flow_entries: NonZeroU32,
}

/// `[limits]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections in all.
    pub connections: NonZeroU32,
    /// Connections of one source address.
    pub connections_per_source: NonZeroU32,
    /// Connections of one /64.
    pub connections_per_64: NonZeroU32,
    /// Connections of one /56.
    pub connections_per_56: NonZeroU32,
    /// Connections of one /48.
    pub connections_per_48: NonZeroU32,
    /// Messages in one connection.
    pub messages_per_connection: NonZeroU32,
    /// Recipients of one message.
    pub recipients: NonZeroU32,
    /// Octets of one message (RFC 1870).
    pub message_size: NonZeroU32,
    /// Memory of all messages held at one time, octets; at least one message's.
    pub message_memory: NonZeroU64,
    /// Octets of all messages in temporary files at one time; at least one message's.
    pub message_disk: NonZeroU64,
    /// Octets of a message's line without its CRLF (RFC 5322 2.1.1).
    pub line_length: NonZeroU32,
    /// Received fields of one message (RFC 5321 6.3).
    pub received: NonZeroU32,
    /// Command errors in one session.
    pub errors: NonZeroU32,
    /// DNS questions that the sources of one /64 may cause in a minute.
    pub dns_questions_per_minute: NonZeroU32,
    /// Terms of SPF records for which DNS may have nothing (RFC 7208 4.6.4).
    pub spf_void_terms: u8,
    /// DNS questions that are open at one time.
    pub dns_concurrency: NonZeroU32,
    /// How long to wait for a command (RFC 5321 4.5.3.2.7).
    #[serde(deserialize_with = "values::wait")]
    pub command_timeout: Duration,
    /// How long to wait for the next octets of a message.
    #[serde(deserialize_with = "values::wait")]
    pub data_timeout: Duration,
    /// The slowest pace at which a message may arrive, octets in a second; 0: any.
    pub data_rate: u32,
    /// How long it may take from MAIL to the end of DATA.
    #[serde(deserialize_with = "values::wait")]
    pub transaction_timeout: Duration,
    /// How long one session may take.
    #[serde(deserialize_with = "values::wait")]
    pub session_timeout: Duration,
    /// How long SPF and DKIM of one message may take once it has arrived.
    #[serde(deserialize_with = "values::wait")]
    pub verification_timeout: Duration,
    /// Small messages whose DKIM signatures are computed at one time.
    pub dkim_small: NonZeroU8,
    /// Large ones.
    pub dkim_large: NonZeroU8,
    /// A message of so many octets is a large one.
    pub dkim_large_from: NonZeroU64,
    /// How long a message may have to wait for that.
    #[serde(deserialize_with = "values::wait")]
    pub dkim_wait: Duration,
    /// Octets that may be hashed for the signatures of one message.
    pub dkim_hashing: NonZeroU64,
}

/// `[log]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What is logged.
    pub level: LogLevel,
    /// In which form.
    pub format: LogFormat,
}

/// `[metrics]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// The file of OpenMetrics text, an absolute path; none: no file.
    #[serde(deserialize_with = "values::optional_path")]
    pub file: Option<PathBuf>,
}

/// Why a configuration is no good.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What stands in the file is wrong.
    #[error("{}:{line}: {reason}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
}

impl Config {
    /// Reads and checks the file `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        let octets = File::open(path).and_then(|file| bounded::read_to_end(file, FILE_MAX)).map_err(read)?;
        let text = String::from_utf8(octets).map_err(|error| ConfigError::Wrong {
            path: path.to_owned(),
            line: line_at(error.as_bytes(), error.utf8_error().valid_up_to()),
            reason: "not UTF-8".to_owned(),
        })?;
        Self::parse(&text, path)
    }

    /// Checks `text`, which is named `path` in errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        document::parse(text).map_err(|problem| ConfigError::Wrong {
            path: path.to_owned(),
            line: line_at(text.as_bytes(), problem.offset),
            reason: problem.reason,
        })
    }

    /// How DKIM signatures are verified.
    #[must_use]
    pub fn dkim_settings(&self) -> DkimSettings {
        let Limits { dkim_small, dkim_large, dkim_large_from, dkim_wait, dkim_hashing, .. } = self.limits;
        let partial_body =
            if self.dkim.accept_partial_body { PartialBody::Accepted } else { PartialBody::Refused };
        DkimSettings {
            partial_body,
            small: dkim_small,
            large: dkim_large,
            large_from: dkim_large_from.get(),
            wait: dkim_wait,
            hashing: dkim_hashing.get(),
        }
    }

    /// What verdicts depend on.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy {
            mode: self.mode,
            demand_forward_confirmation: self.ptr.demand_forward_confirmation,
            client_trust: self.tls.as_ref().is_some_and(|tls| !tls.client_trust.is_empty()),
        }
    }

    /// Everything that is said by ourselves, to the octet: in the daemon as in the XDP program.
    #[must_use]
    pub fn reply_table(&self) -> ReplyTable {
        ReplyTable::new(self.hostname.as_str(), self.limits.message_size.get().into())
            .with_permanent(self.permanent_refusals)
    }

    /// How much DNS may be asked.
    #[must_use]
    pub fn dns_bounds(&self) -> DnsBounds {
        let Limits { dns_questions_per_minute, dns_concurrency, .. } = self.limits;
        DnsBounds { questions_per_minute: dns_questions_per_minute, concurrency: dns_concurrency }
    }
}

impl Limits {
    /// Those of one SMTP session.
    #[must_use]
    pub fn session(&self) -> SessionLimits {
        SessionLimits {
            recipients: usize::try_from(self.recipients.get()).unwrap_or(usize::MAX),
            messages: self.messages_per_connection.get(),
            errors: self.errors.get(),
            line_length: self.line_length.get().into(),
            received: self.received.get(),
            data_rate: NonZeroU32::new(self.data_rate),
            transaction_timeout: self.transaction_timeout,
            command_timeout: self.command_timeout,
            data_timeout: self.data_timeout,
            session_timeout: self.session_timeout,
        }
    }
}

// The numbers of the defaults are checked by the compiler: `const` blocks.

impl Default for Listen {
    fn default() -> Self {
        Self { addresses: vec![SocketAddrV6::new(std::net::Ipv6Addr::UNSPECIFIED, 25, 0, 0)] }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(3),
            attempts: const { NonZeroU8::new(2).unwrap() },
        }
    }
}

impl Default for NextHop {
    fn default() -> Self {
        Self::Maildir(PathBuf::from("/var/mail/sixgate"))
    }
}

impl Default for Xdp {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            mode: XdpMode::default(),
            bpffs: PathBuf::from("/sys/fs/bpf/sixgate"),
            guard: GuardSource::default(),
            optin_entries: const { NonZeroU32::new(map::OPTIN_ENTRIES).unwrap() },
            ptr_entries: const { NonZeroU32::new(map::PTR_ENTRIES).unwrap() },
            flow_entries: const { NonZeroU32::new(map::FLOWS_ENTRIES).unwrap() },
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: const { NonZeroU32::new(1000).unwrap() },
            connections_per_source: const { NonZeroU32::new(50).unwrap() },
            connections_per_64: const { NonZeroU32::new(100).unwrap() },
            connections_per_56: const { NonZeroU32::new(150).unwrap() },
            connections_per_48: const { NonZeroU32::new(250).unwrap() },
            messages_per_connection: const { NonZeroU32::new(100).unwrap() },
            recipients: const { NonZeroU32::new(100).unwrap() },
            message_size: const { NonZeroU32::new(50 << 20).unwrap() },
            message_memory: const { NonZeroU64::new(256 << 20).unwrap() },
            message_disk: const { NonZeroU64::new(4 << 30).unwrap() },
            line_length: const { NonZeroU32::new(998).unwrap() },
            received: const { NonZeroU32::new(100).unwrap() },
            errors: const { NonZeroU32::new(10).unwrap() },
            dns_questions_per_minute: DnsBounds::default().questions_per_minute,
            spf_void_terms: spf::VOID_TERMS,
            dns_concurrency: DnsBounds::default().concurrency,
            command_timeout: Duration::from_secs(5 * 60),
            data_timeout: Duration::from_secs(3 * 60),
            data_rate: 500,
            transaction_timeout: Duration::from_secs(30 * 60),
            session_timeout: Duration::from_secs(60 * 60),
            verification_timeout: Duration::from_secs(60),
            dkim_small: DkimSettings::DEFAULT.small,
            dkim_large: DkimSettings::DEFAULT.large,
            dkim_large_from: const { NonZeroU64::new(DkimSettings::DEFAULT.large_from).unwrap() },
            dkim_wait: DkimSettings::DEFAULT.wait,
            dkim_hashing: const { NonZeroU64::new(DkimSettings::DEFAULT.hashing).unwrap() },
        }
    }
}

/// The line of the octet at `offset`, counted from 1.
fn line_at(text: &[u8], offset: usize) -> usize {
    let newlines = text.iter().take(offset).filter(|octet| **octet == b'\n').count();
    newlines + 1
}

/// Longest configuration file, in octets.
const FILE_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests;
