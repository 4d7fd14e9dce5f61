//! An address with a port, as it is written in the configuration, with the zone of a link-local
//! address (RFC 4007 11).
//!
//! The name of an interface is looked up anew for each use: the interface may come later, or again
//! with another index. It opens nothing.

use std::{
    fmt, io,
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6},
    str::FromStr,
};

use nix::net::if_::if_nametoindex;
use thiserror::Error;

/// Longest name of an interface in a zone, octets: IFNAMSIZ less the zero at its end.
const ZONE_MAX: usize = 15;

/// An IPv4 or IPv6 address with a port. Written `192.0.2.1:53`, `[2001:db8::1]:53`,
/// `[fe80::1%eth0]:53` or `[fe80::1%2]:53`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Endpoint {
    /// Without a scope.
    address: SocketAddr,
    zone: Option<Zone>,
}

/// Whether the last label of a name is a number: no domain's is, but that of an IPv4 address (RFC
/// 3696 2).
#[must_use]
pub fn ends_in_number(name: &str) -> bool {
    let last = name.strip_suffix('.').unwrap_or(name).rsplit('.').next().unwrap_or_default();
    !last.is_empty() && last.bytes().all(|octet| octet.is_ascii_digit())
}

/// The zone of a link-local address.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Zone {
    Index(u32),
    Name(String),
}

/// Why a text is not an [`Endpoint`].
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum EndpointError {
    /// Not an address with a port.
    #[error("`{}` is not an address with a port, such as `[::1]:25`", text.escape_debug())]
    Form {
        /// As it was written.
        text: String,
    },
    /// A link-local address, which is another one on each link.
    #[error("`{text}` is a link-local address: name its interface, such as `[{ip}%eth0]:{port}`")]
    NoZone {
        /// As it was written.
        text: String,
        /// The IPv6 address, a mapped one for IPv4.
        ip: Ipv6Addr,
        /// The TCP port, 1 to 65535.
        port: u16,
    },
    /// A zone of an address that is the same everywhere.
    #[error("`{}`: only a link-local address (fe80::/10) has a zone; write it without `%`", text.escape_debug())]
    NeedlessZone {
        /// As it was written.
        text: String,
    },
}

impl Endpoint {
    /// `ip` in `zone`, the name or number of an interface, if it is link-local; otherwise the zone
    /// does not matter. None: a link-local address without a zone, or what cannot be one.
    #[must_use]
    pub fn new(ip: IpAddr, zone: Option<&str>, port: u16) -> Option<Self> {
        let address = SocketAddr::new(ip, port);
        if !is_link_local(ip) {
            return Some(Self { address, zone: None });
        }
        let zone = match zone? {
            "" | "0" => return None,
            zone => zone.parse().map_or_else(|_| Zone::Name(zone.to_owned()), Zone::Index),
        };
        let fits = |name: &str| {
            name.len() <= ZONE_MAX
                && name.bytes().all(|octet| octet.is_ascii_graphic() && !b"/:%[]".contains(&octet))
        };
        match &zone {
            Zone::Name(name) if !fits(name) => None,
            _ => Some(Self { address, zone: Some(zone) }),
        }
    }

    /// The address without zone and port.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// The TCP port of the endpoint.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The address for a socket, its scope set.
    ///
    /// # Errors
    /// There is no interface of that name now.
    pub fn resolve(&self) -> io::Result<SocketAddr> {
        let scope = match &self.zone {
            None => return Ok(self.address),
            Some(Zone::Index(index)) => *index,
            Some(Zone::Name(name)) => if_nametoindex(name.as_str()).map_err(|error| {
                io::Error::new(io::ErrorKind::NotFound, format!("no interface `{name}`: {}", error.desc()))
            })?,
        };
        Ok(match self.address {
            SocketAddr::V6(address) => SocketAddrV6::new(*address.ip(), address.port(), 0, scope).into(),
            SocketAddr::V4(_) => self.address,
        })
    }
}

/// The address with its scope as zone; scope 0 means without a zone.
impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        let zone = match address {
            SocketAddr::V6(address) if address.scope_id() != 0 => Some(Zone::Index(address.scope_id())),
            _ => None,
        };
        Self { address: SocketAddr::new(address.ip(), address.port()), zone }
    }
}

impl From<SocketAddrV6> for Endpoint {
    fn from(address: SocketAddrV6) -> Self {
        SocketAddr::V6(address).into()
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let form = || EndpointError::Form { text: text.to_owned() };
        let (plain, zone) = match text.split_once('%') {
            None => (text.to_owned(), None),
            Some((ip, rest)) => {
                let (zone, port) = rest.split_once(']').ok_or_else(form)?;
                (format!("{ip}]{port}"), Some(zone))
            }
        };
        let address: SocketAddr = plain.parse().map_err(|_| form())?;
        let (ip, port) = (address.ip(), address.port());
        match (ip, zone) {
            (_, Some(_)) if !is_link_local(ip) => Err(EndpointError::NeedlessZone { text: text.to_owned() }),
            (IpAddr::V6(ip), None) if is_link_local(ip.into()) => {
                Err(EndpointError::NoZone { text: text.to_owned(), ip, port })
            }
            _ => Self::new(ip, zone, port).ok_or_else(form),
        }
    }
}

/// As it is written in the configuration.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.zone, self.ip()) {
            (Some(Zone::Index(index)), ip) => write!(f, "[{ip}%{index}]:{}", self.port()),
            (Some(Zone::Name(name)), ip) => write!(f, "[{ip}%{name}]:{}", self.port()),
            (None, _) => self.address.fmt(f),
        }
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_written_as_it_is_read() {
        for text in
            ["[::1]:25", "192.0.2.1:53", "[fe80::53%eth1]:53", "[fe80::53%3]:53", "[fe80::1%br-a.7]:25"]
        {
            assert_eq!(text.parse::<Endpoint>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_not_an_endpoint_is_refused_by_name() {
        let rows = [
            ("", "is not an address with a port"),
            ("::1", "is not an address with a port"),
            ("[::1]", "is not an address with a port"),
            ("fe80::1%eth0", "is not an address with a port"),
            ("[fe80::1%]:53", "is not an address with a port"),
            ("[fe80::1%0]:53", "is not an address with a port"),
            ("[fe80::1%eth0%1]:53", "is not an address with a port"),
            ("[fe80::1%a/b]:53", "is not an address with a port"),
            ("[fe80::1%sixteen-octets-x]:53", "is not an address with a port"),
            ("[fe80::53]:53", "name its interface, such as `[fe80::53%eth0]:53`"),
            ("[febf::1]:25", "name its interface"),
            ("[2001:db8::1%eth0]:53", "only a link-local address"),
            ("192.0.2.1%eth0:53", "is not an address with a port"),
        ];
        for (text, wanted) in rows {
            let error = text.parse::<Endpoint>().expect_err(text).to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn a_zone_is_looked_up_when_it_is_used() {
        let resolve = |text: &str| text.parse::<Endpoint>().expect(text).resolve();
        assert_eq!(resolve("[fe80::1%lo]:53").expect("it is there").to_string(), "[fe80::1%1]:53");
        assert_eq!(resolve("[fe80::1%7]:53").expect("a number").to_string(), "[fe80::1%7]:53");
        let missing = resolve("[fe80::1%nosuchlink]:53").expect_err("it is not there");
        assert!(missing.to_string().contains("no interface `nosuchlink`"), "{missing}");
    }
}
