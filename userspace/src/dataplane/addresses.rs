//! The interfaces' own addresses, and word of their changes: what GUARD holds by default.
//!
//! It writes no map: the caller projects.

use std::{collections::BTreeSet, io, net::Ipv6Addr};

use ipnet::Ipv6Net;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};
use nix::{ifaddrs::getifaddrs, libc};

use super::{error::DataplaneError, interface::Interface};

/// The global unicast addresses of the interfaces, unique local ones included (RFC 4193), each as a /128; no
/// link-local, no loopback, no multicast.
///
/// # Errors
///
/// [`DataplaneError::NoInterface`] when one of them does not exist; [`DataplaneError::System`].
pub fn interface_addresses(interfaces: &[String]) -> Result<BTreeSet<Ipv6Net>, DataplaneError> {
    for interface in interfaces {
        Interface::named(interface)?;
    }
    let addresses = getifaddrs()
        .map_err(|error| DataplaneError::system("list the interfaces' addresses", error.into()))?;
    Ok(addresses
        .filter(|entry| interfaces.contains(&entry.interface_name))
        .filter_map(|entry| Some(entry.address?.as_sockaddr_in6()?.ip()))
        .filter(is_global)
        .map(Ipv6Net::from)
        .collect())
}

fn is_global(address: &Ipv6Addr) -> bool {
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_unicast_link_local())
}

/// A subscription to changes of IPv6 addresses in this network namespace.
pub struct AddressWatch {
    socket: TokioSocket,
}

/// Subscribes to changes of the interfaces' IPv6 addresses. It must be called within a tokio runtime, and before
/// [`interface_addresses`], so that no change falls between.
///
/// # Errors
///
/// [`DataplaneError::System`] when the kernel gives no netlink socket.
pub fn watch_addresses() -> Result<AddressWatch, DataplaneError> {
    let open = || -> io::Result<TokioSocket> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind(&SocketAddr::new(0, IPV6_ADDRESSES))?;
        Ok(socket)
    };
    open()
        .map(|socket| AddressWatch { socket })
        .map_err(|error| DataplaneError::system("watch the interfaces' addresses", error))
}

impl AddressWatch {
    /// Waits until some address came or went. Changes that nobody waited for are told at the next call, all at
    /// once; it may tell of one that [`interface_addresses`] showed already. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::System`]: the subscription is broken.
    pub async fn changed(&mut self) -> Result<(), DataplaneError> {
        let mut message = Vec::with_capacity(MESSAGE_MAX);
        let mut outcome = self.socket.recv(&mut message).await;
        for _ in 0..MESSAGES_MAX {
            match outcome {
                Ok(()) => {}
                // The kernel had to drop messages, so there were some.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(DataplaneError::system("watch the interfaces' addresses", error)),
            }
            message.clear();
            outcome = self.socket.socket_ref().recv(&mut message, 0).map(drop);
        }
        Ok(())
    }
}

/// RTMGRP_IPV6_IFADDR, include/uapi/linux/rtnetlink.h.
const IPV6_ADDRESSES: u32 = 0x100;
/// What is read of one message; its contents do not matter.
const MESSAGE_MAX: usize = 512;
/// Messages that are taken together; what is beyond is told by the next call.
const MESSAGES_MAX: usize = 1024;

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
    fn a_missing_interface_is_named() {
        let error = interface_addresses(&["sixgate-none".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "no network interface named \"sixgate-none\"");
    }
}
