//! Notice of changes of the network: interfaces that come, go or change, and IPv6 addresses.
//!
//! What changed is not told: the listener looks.

use std::io;

use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};
use nix::libc;

use super::error::DataplaneError;

/// A subscription to changes of interfaces and of IPv6 addresses in this network namespace.
pub struct NetworkWatch {
    socket: TokioSocket,
}

/// Subscribes to changes of interfaces and of their IPv6 addresses. It must be called within a
/// tokio runtime, and before the first look, so that no change falls between.
///
/// # Errors
///
/// [`DataplaneError::System`] when the kernel gives no netlink socket.
pub fn watch_network() -> Result<NetworkWatch, DataplaneError> {
    let open = || -> io::Result<TokioSocket> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind(&SocketAddr::new(0, LINKS | IPV6_ADDRESSES))?;
        Ok(socket)
    };
    open()
        .map(|socket| NetworkWatch { socket })
        .map_err(|error| DataplaneError::system("watch the network interfaces", error))
}

impl NetworkWatch {
    /// Waits until something changed. Changes since the last call are told at the next one, all at
    /// once; it may tell of one that was seen already. Dropping the future loses nothing.
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
                Err(error) => return Err(DataplaneError::system("watch the network interfaces", error)),
            }
            message.clear();
            outcome = self.socket.socket_ref().recv(&mut message, 0).map(drop);
        }
        Ok(())
    }
}

/// RTMGRP_LINK and RTMGRP_IPV6_IFADDR, include/uapi/linux/rtnetlink.h.
const LINKS: u32 = 0x1;
const IPV6_ADDRESSES: u32 = 0x100;
/// The number of octets that are read of one message; its contents do not matter.
const MESSAGE_MAX: usize = 512;
/// Messages that are taken together; what is beyond is told by the next call.
const MESSAGES_MAX: usize = 1024;
