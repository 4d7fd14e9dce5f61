//! Prefixes: how they are read from people and files, and the longest match among many.
//!
//! It owns no meaning: the map that a prefix is in determines what it stands for.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use ipnet::{Ipv4Net, Ipv6Net};

/// A set of prefixes.
pub type PrefixSet = PrefixMap<()>;

/// Values by prefix, with longest match. Prefixes are always cut to their network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PrefixMap<V> {
    entries: BTreeMap<Ipv6Net, V>,
    /// How many entries have each length: only lengths that are there are looked for.
    lengths: [u32; 129],
}

impl<V> Default for PrefixMap<V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), lengths: [0; 129] }
    }
}

impl<V> PrefixMap<V> {
    /// Sets the value of `prefix`; returns the one it had.
    pub fn insert(&mut self, prefix: Ipv6Net, value: V) -> Option<V> {
        let prefix = prefix.trunc();
        let before = self.entries.insert(prefix, value);
        if before.is_none() {
            *self.length_mut(prefix) += 1;
        }
        before
    }

    /// Removes exactly `prefix`; returns the value it had.
    pub fn remove(&mut self, prefix: &Ipv6Net) -> Option<V> {
        let before = self.entries.remove(&prefix.trunc());
        if before.is_some() {
            *self.length_mut(*prefix) -= 1;
        }
        before
    }

    /// The longest prefix that `address` lies in, and its value.
    #[must_use]
    pub fn longest_match(&self, address: Ipv6Addr) -> Option<(Ipv6Net, &V)> {
        let lengths = (0u8..=128).rev().zip(self.lengths.iter().rev());
        let present = lengths.filter(|(_, count)| **count > 0);
        let mut networks = present.filter_map(|(length, _)| Ipv6Net::new(address, length).ok());
        networks.find_map(|network| {
            let (prefix, value) = self.entries.get_key_value(&network.trunc())?;
            Some((*prefix, value))
        })
    }

    /// The prefixes and their values, sorted by address, then by length.
    #[must_use]
    pub fn entries(&self) -> &BTreeMap<Ipv6Net, V> {
        &self.entries
    }

    fn length_mut(&mut self, prefix: Ipv6Net) -> &mut u32 {
        // a prefix length is at most 128: in range
        &mut self.lengths[usize::from(prefix.prefix_len())]
    }
}

impl<V> FromIterator<(Ipv6Net, V)> for PrefixMap<V> {
    fn from_iter<I: IntoIterator<Item = (Ipv6Net, V)>>(entries: I) -> Self {
        let mut map = Self::default();
        for (prefix, value) in entries {
            map.insert(prefix, value);
        }
        map
    }
}

/// Why a text is not a prefix, or not an address.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PrefixError {
    /// Neither a prefix nor an address.
    #[error("`{}` is not an IPv6 prefix such as 2001:db8::/32", text.escape_debug())]
    NotAPrefix {
        /// As it was written.
        text: String,
    },
    /// Not a single address.
    #[error("`{}` is not an IPv6 address such as 2001:db8::25", text.escape_debug())]
    NotAnAddress {
        /// As it was written.
        text: String,
    },
    /// An IPv4 address or prefix.
    #[error("`{text}` is IPv4: sixgate is about IPv6 only")]
    Ipv4 {
        /// As it was written.
        text: String,
    },
    /// IPv4 inside of IPv6.
    #[error("`{text}` is an IPv4-mapped address: sixgate is about IPv6 only")]
    Ipv4Mapped {
        /// As it was written.
        text: String,
    },
    /// An address with a zone.
    #[error("`{}` has a zone id: a prefix holds on every interface", text.escape_debug())]
    Zone {
        /// As it was written.
        text: String,
    },
    /// Bits beyond the length.
    #[error("`{text}` has bits beyond its length: write {meant}, or {address}/128 for the one address")]
    HostBits {
        /// As it was written.
        text: String,
        /// The prefix with these bits cleared.
        meant: Ipv6Net,
        /// The address with them.
        address: Ipv6Addr,
    },
}

/// Reads `2001:db8::/32`, or an address, which is a prefix of 128 bits.
///
/// # Errors
///
/// [`PrefixError`] if it is neither, if it is IPv4 or IPv4-mapped, has a zone, or has bits beyond
/// its length.
pub fn parse_prefix(text: &str) -> Result<Ipv6Net, PrefixError> {
    let owned = || text.to_owned();
    if !text.contains('/') {
        let address = parse_address(text).map_err(|error| match error {
            PrefixError::NotAnAddress { text } => PrefixError::NotAPrefix { text },
            other => other,
        })?;
        return Ok(Ipv6Net::from(address));
    }
    if text.contains('%') {
        return Err(PrefixError::Zone { text: owned() });
    }
    if text.parse::<Ipv4Net>().is_ok() {
        return Err(PrefixError::Ipv4 { text: owned() });
    }
    let Ok(prefix) = text.parse::<Ipv6Net>() else {
        return Err(PrefixError::NotAPrefix { text: owned() });
    };
    if prefix.prefix_len() >= IPV4_MAPPED_LENGTH && prefix.addr().to_ipv4_mapped().is_some() {
        return Err(PrefixError::Ipv4Mapped { text: owned() });
    }
    if prefix.trunc() != prefix {
        return Err(PrefixError::HostBits { text: owned(), meant: prefix.trunc(), address: prefix.addr() });
    }
    Ok(prefix)
}

/// Reads one IPv6 address.
///
/// # Errors
///
/// [`PrefixError`] if it is not an address, if it is IPv4 or IPv4-mapped, or has a zone.
pub fn parse_address(text: &str) -> Result<Ipv6Addr, PrefixError> {
    let owned = || text.to_owned();
    if text.contains('%') {
        return Err(PrefixError::Zone { text: owned() });
    }
    // replies and logs have brackets around it
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
            Err(PrefixError::Ipv4Mapped { text: owned() })
        }
        Ok(IpAddr::V6(address)) => Ok(address),
        Ok(IpAddr::V4(_)) => Err(PrefixError::Ipv4 { text: owned() }),
        Err(_) => Err(PrefixError::NotAnAddress { text: owned() }),
    }
}

/// Prefixes of ::ffff:0:0/96 and longer hold IPv4-mapped addresses only (RFC 4291 2.5.5.2).
const IPV4_MAPPED_LENGTH: u8 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_read_exactly_or_refused_with_what_was_meant() {
        for (text, wanted) in [
            ("2001:db8::/32", Ok("2001:db8::/32")),
            ("2001:DB8:0::25", Ok("2001:db8::25/128")),
            ("[2001:db8::25]", Ok("2001:db8::25/128")),
            ("::/0", Ok("::/0")),
            (
                "2001:db8::1/32",
                Err(
                    "`2001:db8::1/32` has bits beyond its length: write 2001:db8::/32, or 2001:db8::1/128 for the one address",
                ),
            ),
            ("192.0.2.1", Err("`192.0.2.1` is IPv4: sixgate is about IPv6 only")),
            ("192.0.2.0/24", Err("`192.0.2.0/24` is IPv4: sixgate is about IPv6 only")),
            (
                "::ffff:192.0.2.1",
                Err("`::ffff:192.0.2.1` is an IPv4-mapped address: sixgate is about IPv6 only"),
            ),
            ("::ffff:0:0/96", Err("`::ffff:0:0/96` is an IPv4-mapped address: sixgate is about IPv6 only")),
            ("fe80::1%eth0", Err("`fe80::1%eth0` has a zone id: a prefix holds on every interface")),
            ("fe80::%2/64", Err("`fe80::%2/64` has a zone id: a prefix holds on every interface")),
            ("2001:db8::/129", Err("`2001:db8::/129` is not an IPv6 prefix such as 2001:db8::/32")),
            ("2001:db8", Err("`2001:db8` is not an IPv6 prefix such as 2001:db8::/32")),
            ("a\nb", Err("`a\\nb` is not an IPv6 prefix such as 2001:db8::/32")),
            ("[2001:db8::25", Err("`[2001:db8::25` is not an IPv6 prefix such as 2001:db8::/32")),
            ("[192.0.2.1]", Err("`[192.0.2.1]` is IPv4: sixgate is about IPv6 only")),
            ("", Err("`` is not an IPv6 prefix such as 2001:db8::/32")),
        ] {
            let found = parse_prefix(text);
            let found = found.map(|prefix| prefix.to_string()).map_err(|error| error.to_string());
            assert_eq!(
                found.as_deref().map_err(String::as_str),
                wanted.as_deref().map_err(|text| *text),
                "{text}"
            );
        }
    }

    #[test]
    fn a_length_is_looked_for_as_long_as_one_prefix_has_it() {
        let mut set = PrefixSet::default();
        let (a, b): (Ipv6Net, Ipv6Net) =
            ("2001:db8:a::/48".parse().unwrap(), "2001:db8:b::/48".parse().unwrap());
        set.insert(a, ());
        set.insert(a, ());
        set.insert(b, ());
        assert_eq!(set.remove(&a), Some(()));
        assert_eq!(set.remove(&a), None);
        let found = set.longest_match("2001:db8:b::1".parse().unwrap());
        assert_eq!(found, Some((b, &())));
        assert_eq!(set.entries().len(), 1);
    }

    #[test]
    fn a_prefix_is_kept_as_its_network() {
        let mut set = PrefixSet::default();
        set.insert("2001:db8::1/32".parse().unwrap(), ());
        assert!(set.entries().contains_key(&"2001:db8::/32".parse().unwrap()));
    }
}
