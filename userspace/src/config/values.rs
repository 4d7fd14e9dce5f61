//! The values of the configuration: each type takes only what can be used later.
//!
//! A value is judged by itself here; what depends on another key is judged in `document`.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr, SocketAddrV6},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, de::Error};
use sixgate_common::{
    refuse::{ReplyId, is_domain_name},
    reply::REPLY_MAX,
    settings,
};

use crate::{policy::Mode, smtp::reply::ReplyTable};

/// Our own name: a domain name of at least two labels, short enough for every refusing reply.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String")]
pub struct Hostname(String);

impl Hostname {
    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no value of its key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// Not a host name.
    #[error("`{}` is not a fully qualified domain name such as `gate.example`", text.escape_debug())]
    Hostname {
        /// As it was written.
        text: String,
    },
    /// A host name that leaves no room in a reply.
    #[error("the name has {length} octets: a refusing reply with it would be longer than {REPLY_MAX}")]
    HostnameLong {
        /// Octets.
        length: usize,
    },
    /// Not an interface's name.
    #[error("`{}` cannot be the name of a network interface", text.escape_debug())]
    Interface {
        /// As it was written.
        text: String,
    },
}

impl TryFrom<String> for Hostname {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        let is_name = is_domain_name(text.as_bytes()) && text.contains('.');
        if !is_name || text.parse::<Ipv4Addr>().is_ok() {
            return Err(ValueError::Hostname { text });
        }
        // the size limit is announced after EHLO: the longest one is taken
        let table = ReplyTable::new(text.as_str(), u64::from(u32::MAX));
        let longest = ReplyId::ALL.map(|id| table.refusing(id, "").to_string().len());
        if longest.iter().any(|length| *length > REPLY_MAX) {
            return Err(ValueError::HostnameLong { length: text.len() });
        }
        Ok(Self(text))
    }
}

impl FromStr for Hostname {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::try_from(text.to_owned())
    }
}

/// A network interface's name, as the kernel takes it (`dev_valid_name` in net/core/dev.c).
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String")]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        let plain = |octet: &u8| octet.is_ascii_graphic() && !matches!(octet, b'/' | b':');
        let fits = (1..libc::IFNAMSIZ).contains(&text.len());
        if fits && text != "." && text != ".." && text.as_bytes().iter().all(plain) {
            Ok(Self(text))
        } else {
            Err(ValueError::Interface { text })
        }
    }
}

impl FromStr for InterfaceName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::try_from(text.to_owned())
    }
}

/// The names of [`Mode`] in the configuration.
#[derive(Deserialize)]
#[serde(remote = "Mode", rename_all = "lowercase")]
pub(super) enum ModeName {
    Enforce,
    Shadow,
}

/// Who speaks to refused connections.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The XDP program tags, the daemon speaks.
    #[default]
    Daemon,
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "daemon" => Ok(Self::Daemon),
            "kernel" => Err(D::Error::custom(
                "this version cannot answer from the kernel: set `answer` to \"daemon\"",
            )),
            other => Err(D::Error::unknown_variant(other, &["daemon"])),
        }
    }
}

/// At which point a destination that has not opted in is refused.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RefuseAt {
    /// 550 at each RCPT TO.
    #[default]
    Rcpt,
    /// 554 as the greeting.
    Greeting,
    /// A TCP reset.
    Reset,
}

impl RefuseAt {
    /// The number that stands for it in the map SETTINGS and in the refusing dialogue.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Rcpt => settings::REFUSE_AT_RCPT,
            Self::Greeting => settings::REFUSE_AT_GREETING,
            Self::Reset => settings::REFUSE_AT_RESET,
        }
    }
}

/// Which recipients' domains take mail here.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Domains {
    /// Every domain: the next hop judges.
    All,
    /// Those of the store.
    #[default]
    Listed,
}

/// How an SMTP next hop learns the real client.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Client {
    /// Not at all.
    #[default]
    None,
    /// By XCLIENT.
    Xclient,
}

/// How the XDP program is attached.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum XdpMode {
    /// In the driver if it can, else in the generic path.
    #[default]
    Auto,
    /// In the driver only.
    Native,
    /// In the generic path only.
    Generic,
}

/// Which destination addresses are ours.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GuardSource {
    /// The global addresses of the attached interfaces, and the store's.
    #[default]
    Auto,
    /// The store's only.
    Store,
}

/// What is logged.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What went wrong.
    Error,
    /// And what is likely to.
    Warn,
    /// And one line for each session and message.
    #[default]
    Info,
    /// And what led to it.
    Debug,
    /// And everything.
    Trace,
}

impl From<LogLevel> for tracing::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// In which form is logged.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A duration above nothing and at most [`WAIT_MAX`], as humantime writes it.
pub(super) fn wait<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let wait = humantime_serde::deserialize::<Duration, D>(deserializer)?;
    if wait.is_zero() || wait > WAIT_MAX {
        return Err(D::Error::custom(
            "the duration must be above zero and at most a day, such as \"30s\" or \"5m\"",
        ));
    }
    Ok(wait)
}

/// An absolute path: commands and daemon must mean the same file from any directory.
pub(super) fn absolute_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.is_absolute() { Ok(path) } else { Err(D::Error::custom("the path must be absolute")) }
}

/// An absolute path, or none if empty.
pub(super) fn optional_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    match path.as_os_str().is_empty() {
        true => Ok(None),
        false if path.is_absolute() => Ok(Some(path)),
        false => Err(D::Error::custom("the path must be absolute, or empty for no file")),
    }
}

/// At least one address to listen at, each IPv6.
pub(super) fn listen_addresses<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<SocketAddrV6>, D::Error> {
    let addresses = Vec::<ListenAddress>::deserialize(deserializer)?;
    if addresses.is_empty() {
        return Err(D::Error::custom("at least one address to listen at is needed"));
    }
    Ok(addresses.into_iter().map(|address| address.0).collect())
}

/// One address to listen at; a type of its own so that an error names its line.
#[derive(Deserialize)]
#[serde(try_from = "SocketAddr")]
struct ListenAddress(SocketAddrV6);

impl TryFrom<SocketAddr> for ListenAddress {
    type Error = &'static str;

    fn try_from(address: SocketAddr) -> Result<Self, &'static str> {
        match address {
            SocketAddr::V6(address) if address.ip().to_ipv4_mapped().is_none() => Ok(Self(address)),
            _ => Err("sixgate listens at IPv6 addresses only: IPv4 goes to the mail server itself"),
        }
    }
}

/// Longest time-out that can be set.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
