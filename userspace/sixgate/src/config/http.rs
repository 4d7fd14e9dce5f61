//! The table `[http]`: the address of the listener for metrics and the status page.
//!
//! It accepts an address that this host alone can reach, and opens nothing.

use serde::{Deserialize, Deserializer, de::Error};

use crate::nexthop::{Address, AddressError};

/// The table `[http]`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// A loopback address with a port, or a Unix socket; none: there is no listener.
    #[serde(deserialize_with = "address")]
    pub listen: Option<Address>,
}

/// Why a text is not the address of the listener.
#[derive(Debug, thiserror::Error)]
enum HttpAddressError {
    #[error(
        "`{}` is neither a loopback address with a port, such as `[::1]:9625`, nor a socket, such as \
         `unix:/run/sixgate/http`",
        text.escape_debug()
    )]
    Form { text: String },
    #[error(
        "{address} is not a loopback address, and the listener asks for no password: use `[::1]:{}` or \
         `unix:/run/sixgate/http`, with a proxy of your own in front for other hosts",
        port(address)
    )]
    NotLoopback { address: Address },
    #[error(transparent)]
    Address(AddressError),
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Address>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    parse(&text).map(Some).map_err(D::Error::custom)
}

fn parse(text: &str) -> Result<Address, HttpAddressError> {
    let address: Address = text.parse().map_err(|error| match error {
        AddressError::Form { text } => HttpAddressError::Form { text },
        error => HttpAddressError::Address(error),
    })?;
    match &address {
        Address::Tcp(endpoint) if !endpoint.ip().is_loopback() => {
            Err(HttpAddressError::NotLoopback { address })
        }
        Address::Tcp(_) | Address::Unix(_) => Ok(address),
    }
}

fn port(address: &Address) -> u16 {
    match address {
        Address::Tcp(endpoint) => endpoint.port(),
        Address::Unix(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_can_reach_the_listener() {
        for text in ["[::1]:9625", "127.0.0.1:9625", "127.9.9.9:1", "unix:/run/sixgate/http"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        for (text, wanted) in [
            ("[::]:9625", "[::]:9625 is not a loopback address"),
            ("0.0.0.0:9625", "use `[::1]:9625` or `unix:/run/sixgate/http`"),
            ("[2001:db8::1]:80", "use `[::1]:80`"),
            ("[::ffff:127.0.0.1]:80", "is not a loopback address"),
            ("[fe80::1%lo]:80", "is not a loopback address"),
            ("localhost:9625", "`localhost:9625` is neither a loopback address with a port"),
            ("9625", "neither a loopback address"),
            ("[::1]:0", "port 0 cannot be used"),
            ("unix:run/http", "must be absolute"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
