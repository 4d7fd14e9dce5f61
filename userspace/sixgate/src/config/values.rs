//! The values of the configuration: each type takes only what can be used later.
//!
//! A value is judged by itself here; what depends on another key is judged in `document`.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_with::DeserializeFromStr;
use sixgate_base::endpoint::{Endpoint, EndpointError, ends_in_number};
use sixgate_common::{domain::is_domain_name, refuse::ReplyId, reply::REPLY_MAX, settings};
use sixgate_smtp::{
    policy::{Mode, PermanentRefusals, TemporaryRefusals},
    reply::ReplyTable,
};

/// Our own name: a domain name of at least two labels, short enough for every refusing reply.
#[derive(Clone, Debug, DeserializeFromStr, Eq, PartialEq, Serialize)]
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

/// Why a text is not a value of its key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// Not a host name.
    #[error("`{}` is not a fully qualified domain name such as `gate.example`", text.escape_debug())]
    Hostname {
        /// As it was written.
        text: String,
    },
    /// A host name that is too long for a reply.
    #[error("the name has {length} octets: a refusing reply with it would be longer than {REPLY_MAX}")]
    HostnameLong {
        /// Its length in octets.
        length: usize,
    },
    /// Not an address with a port.
    #[error(transparent)]
    Address(#[from] EndpointError),
    /// A server address with port 0, which cannot be reached.
    #[error("`{text}`: port 0 cannot be used")]
    NoPort {
        /// As it was written.
        text: String,
    },
    /// An IPv4 address to listen at.
    #[error("`{text}` is IPv4: sixgate listens at IPv6 addresses only, IPv4 goes to the mail server itself")]
    ListenIpv4 {
        /// As it was written.
        text: String,
    },
    /// A group to listen at.
    #[error("`{text}` is a multicast address: TCP connections come to addresses of one host only")]
    ListenMulticast {
        /// As it was written.
        text: String,
    },
    /// Port 0 to listen at.
    #[error("`{text}`: port 0 would be another port at each start; mail comes to port 25")]
    ListenPort {
        /// As it was written.
        text: String,
    },
    /// Not a name that can stand in a certificate's list.
    #[error("`{}` is not a fully qualified domain name such as `mail.partner.example`", text.escape_debug())]
    Name {
        /// As it was written.
        text: String,
    },
    /// Not an interface's name.
    #[error("`{}` cannot be the name of a network interface", text.escape_debug())]
    Interface {
        /// As it was written.
        text: String,
    },
}

impl FromStr for Hostname {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let is_name = is_domain_name(text.as_bytes()) && text.contains('.');
        if !is_name || ends_in_number(text) {
            return Err(ValueError::Hostname { text: text.to_owned() });
        }
        // the size limit is announced after EHLO: the longest one is taken
        let table = ReplyTable::new(text, u64::from(u32::MAX));
        let longest = ReplyId::ALL.map(|id| table.refusing(id, "").to_string().len());
        if longest.iter().any(|length| *length > REPLY_MAX) {
            return Err(ValueError::HostnameLong { length: text.len() });
        }
        Ok(Self(text.to_owned()))
    }
}

/// A network interface's name, or an alternative name, which may be longer (`dev_valid_name` in
/// net/core/dev.c).
#[derive(Clone, Debug, DeserializeFromStr, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The name as text.
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

impl FromStr for InterfaceName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let plain = |octet: &u8| octet.is_ascii_graphic() && !matches!(octet, b'/' | b':');
        let fits = (1..ALTERNATIVE_NAME).contains(&text.len());
        if fits && text != "." && text != ".." && text.as_bytes().iter().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ValueError::Interface { text: text.to_owned() })
        }
    }
}

/// The names of [`Mode`] in the configuration.
#[derive(Deserialize)]
#[serde(remote = "Mode", rename_all = "lowercase")]
pub(super) enum ModeName {
    Enforce,
    Shadow,
}

/// Whether the XDP program or the daemon replies to refused connections.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ResponderSetting {
    /// The XDP program.
    #[default]
    Kernel,
    /// The XDP program tags, the daemon replies.
    Daemon,
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

impl ResponderSetting {
    /// As it is written in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Daemon => "daemon",
        }
    }
}

impl Domains {
    /// As it is written in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Listed => "listed",
        }
    }
}

impl RefuseAt {
    /// As it is written in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rcpt => "rcpt",
            Self::Greeting => "greeting",
            Self::Reset => "reset",
        }
    }

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

/// A list of refusals that are to be permanent.
pub(super) fn permanent_refusals<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<PermanentRefusals, D::Error> {
    let listed = Vec::<PermanentRefusal>::deserialize(deserializer)?;
    Ok(PermanentRefusals {
        no_ptr: listed.contains(&PermanentRefusal::NoPtr),
        not_authenticated: listed.contains(&PermanentRefusal::NotAuthenticated),
    })
}

#[derive(Clone, Copy, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
enum PermanentRefusal {
    NoPtr,
    NotAuthenticated,
}

/// A list of refusals that are to be temporary.
pub(super) fn temporary_refusals<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<TemporaryRefusals, D::Error> {
    let listed = Vec::<TemporaryRefusal>::deserialize(deserializer)?;
    Ok(TemporaryRefusals { not_opted_in: listed.contains(&TemporaryRefusal::NotOptedIn) })
}

#[derive(Clone, Copy, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
enum TemporaryRefusal {
    NotOptedIn,
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

/// An absolute path that a Unix socket can have.
pub(super) fn socket_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = absolute_path(deserializer)?;
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        return Err(D::Error::custom(format_args!(
            "the path of a Unix socket has at most {SOCKET_PATH_MAX} octets"
        )));
    }
    Ok(Some(path))
}

/// At least one address to listen at, each IPv6.
pub(super) fn listen_addresses<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Endpoint>, D::Error> {
    let addresses = Vec::<ListenAddress>::deserialize(deserializer)?;
    if addresses.is_empty() {
        return Err(D::Error::custom("at least one address to listen at is needed"));
    }
    Ok(addresses.into_iter().map(|address| address.0).collect())
}

/// Addresses of servers, each with a port at which it can be reached.
pub(super) fn server_addresses<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Endpoint>, D::Error> {
    let addresses = Vec::<ServerAddress>::deserialize(deserializer)?;
    Ok(addresses.into_iter().map(|address| address.0).collect())
}

#[derive(DeserializeFromStr)]
struct ListenAddress(Endpoint);

impl FromStr for ListenAddress {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let address: Endpoint = text.parse()?;
        match address.ip() {
            IpAddr::V6(ip) if ip.is_multicast() => Err(ValueError::ListenMulticast { text: text.to_owned() }),
            IpAddr::V6(ip) if ip.to_ipv4_mapped().is_none() && address.port() == 0 => {
                Err(ValueError::ListenPort { text: text.to_owned() })
            }
            IpAddr::V6(ip) if ip.to_ipv4_mapped().is_none() => Ok(Self(address)),
            _ => Err(ValueError::ListenIpv4 { text: text.to_owned() }),
        }
    }
}

/// The address and port of a server.
#[derive(DeserializeFromStr)]
struct ServerAddress(Endpoint);

impl FromStr for ServerAddress {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let address: Endpoint = text.parse()?;
        if address.port() == 0 {
            return Err(ValueError::NoPort { text: text.to_owned() });
        }
        Ok(Self(address))
    }
}

/// The size of sun_path in sockaddr_un (unix(7)), less the octet at its end.
const SOCKET_PATH_MAX: usize = 107;
/// ALTIFNAMSIZ, include/uapi/linux/if.h: the size of an interface's alternative name, with the
/// octet at its end.
const ALTERNATIVE_NAME: usize = 128;
