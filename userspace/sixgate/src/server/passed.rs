//! The listening sockets that systemd passes to the daemon (sd_listen_fds(3)), for sixgate.socket.
//!
//! It opens none. Connections to them wait in the kernel's queue while the daemon is restarted.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use listenfd::ListenFd;
use socket2::SockRef;

use crate::server::error::ServeError;

/// The sockets that are not in use yet, each with its address.
#[derive(Debug, Default)]
pub(crate) struct Passed(Vec<(TcpListener, SocketAddr)>);

impl Passed {
    /// Takes them, once in the life of a process.
    ///
    /// # Errors
    /// A socket that is not a listening TCP socket, or that takes IPv4, too.
    pub(crate) fn take() -> Result<Self, ServeError> {
        let mut descriptors = ListenFd::from_env();
        let mut sockets = Vec::new();
        for at in 0..descriptors.len() {
            let socket = descriptors.take_tcp_listener(at);
            if let Some(socket) = socket.map_err(|source| ServeError::PassedSocket { source })? {
                sockets.push(examined(socket).map_err(|source| ServeError::PassedSocket { source })?);
            }
        }
        let takes_ipv4 = |(socket, address): &&(TcpListener, SocketAddr)| {
            address.ip().is_unspecified() && !SockRef::from(socket).only_v6().unwrap_or(false)
        };
        if let Some((_, address)) = sockets.iter().find(takes_ipv4) {
            return Err(ServeError::PassedIpv4 { address: *address });
        }
        Ok(Self(sockets))
    }

    /// The socket at `address`, if it was passed.
    pub(crate) fn at(&mut self, address: SocketAddr) -> Option<(TcpListener, SocketAddr)> {
        let at = self.0.iter().position(|(_, passed)| is_same(*passed, address))?;
        Some(self.0.swap_remove(at))
    }

    /// Whether all are in use.
    ///
    /// # Errors
    /// A socket that is left: its connections would never be accepted.
    pub(crate) fn end(self) -> Result<(), ServeError> {
        match self.0.first() {
            Some((_, address)) => Err(ServeError::PassedElsewhere { address: *address }),
            None => Ok(()),
        }
    }
}

fn examined(socket: TcpListener) -> io::Result<(TcpListener, SocketAddr)> {
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// Whether two addresses are of one socket; the flow label, which resolving does not give, is
/// none of that.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    match (one, other) {
        (SocketAddr::V6(one), SocketAddr::V6(other)) => {
            (one.ip(), one.port(), one.scope_id()) == (other.ip(), other.port(), other.scope_id())
        }
        (one, other) => one == other,
    }
}
