//! The interfaces' own addresses: what GUARD holds by default.
//!
//! It writes no map: the caller projects.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
};

use ipnet::Ipv6Net;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
};

use super::{error::DataplaneError, interface};

/// The global unicast addresses of this network namespace, unique local ones included (RFC 4193),
/// each with the index of its interface; no link-local, no `::1`, no multicast.
///
/// # Errors
///
/// [`DataplaneError::System`].
pub fn global_addresses() -> Result<BTreeSet<(Ipv6Addr, u32)>, DataplaneError> {
    let mut wanted = AddressMessage::default();
    wanted.header.family = AddressFamily::Inet6;
    let messages = interface::dump(RouteNetlinkMessage::GetAddress(wanted))
        .map_err(|error| DataplaneError::system("list the interfaces' addresses", error))?;
    let found = messages.iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewAddress(address) => Some((own(address)?, address.header.index)),
        _ => None,
    });
    Ok(found.filter(|(address, _)| is_global(address)).collect())
}

/// Those of [`global_addresses`] that are on interfaces with these indices, each as a /128.
///
/// # Errors
///
/// [`DataplaneError::System`].
pub fn interface_addresses(indices: &BTreeSet<u32>) -> Result<BTreeSet<Ipv6Net>, DataplaneError> {
    let addresses = global_addresses()?;
    let ours = addresses.into_iter().filter(|(_, index)| indices.contains(index));
    Ok(ours.map(|(address, _)| Ipv6Net::from(address)).collect())
}

/// Our end; where there is a peer, the attribute for addresses holds that
/// (include/uapi/linux/if_addr.h).
fn own(message: &AddressMessage) -> Option<Ipv6Addr> {
    let find = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
    let local = find(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = || {
        find(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    };
    match local.or_else(address)? {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

fn is_global(address: &Ipv6Addr) -> bool {
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_the_world_can_reach_count() {
        for (address, counts) in [
            ("2001:db8::25", true),
            ("2a01:111:f200:2004::240", true),
            ("fd00::1", true),
            ("fe80::1", false),
            ("::1", false),
            ("::", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_global(&address.parse().unwrap()), counts, "{address}");
        }
    }

    #[test]
    fn of_an_address_with_a_peer_our_end_counts() {
        let (ours, peer): (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let mut message = AddressMessage::default();
        message.attributes = vec![AddressAttribute::Address(peer), AddressAttribute::Local(ours)];
        assert_eq!(own(&message).map(IpAddr::V6), Some(ours));
        message.attributes.pop();
        assert_eq!(own(&message).map(IpAddr::V6), Some(peer));
        assert_eq!(own(&AddressMessage::default()), None);
    }

    #[test]
    fn an_interface_without_addresses_has_none() {
        assert_eq!(interface_addresses(&BTreeSet::from([u32::MAX])).unwrap(), BTreeSet::new());
    }
}
