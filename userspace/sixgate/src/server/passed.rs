//! The sockets that a daemon does not open itself: those that systemd passes (sd_listen_fds(3)),
//! for sixgate.socket, and those of the daemon that served before.
//!
//! It opens none.

use std::{
    env, io,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixStream,
};

use listenfd::ListenFd;
use nix::libc;
use sixgate_base::endpoint::Endpoint;
use socket2::SockRef;

use crate::server::{
    error::ServeError,
    succession::{Predecessor, STORED_NAME},
};

/// The sockets that are not in use yet.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    sockets: Vec<PassedSocket>,
    /// The daemon that serves until this one is ready.
    predecessor: Option<Predecessor>,
}

#[derive(Debug)]
struct PassedSocket {
    socket: TcpListener,
    address: SocketAddr,
    /// Whether the socket unit has it; else it is the other daemon's.
    is_of_unit: bool,
}

impl Passed {
    /// Takes them, once in the life of a process.
    ///
    /// # Errors
    /// A socket that is not a listening TCP socket, or that takes IPv4, too.
    pub(crate) fn take() -> Result<Self, ServeError> {
        // before the crate removes it from the environment
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut descriptors = ListenFd::from_env();
        let (mut sockets, mut ends) = (Vec::new(), Vec::new());
        for at in 0..descriptors.len() {
            if names.next() == Some(STORED_NAME) {
                let end = descriptors.take_custom(at, libc::AF_UNIX, libc::SOCK_STREAM, STORED_NAME);
                let end: Option<UnixStream> = end.map_err(|source| ServeError::PassedSocket { source })?;
                ends.extend(end);
                continue;
            }
            let socket = descriptors.take_tcp_listener(at);
            if let Some(socket) = socket.map_err(|source| ServeError::PassedSocket { source })? {
                let socket = PassedSocket::examined(socket, true);
                sockets.push(socket.map_err(|source| ServeError::PassedSocket { source })?);
            }
        }
        let takes_ipv4 = |PassedSocket { socket, address, .. }: &&PassedSocket| {
            address.ip().is_unspecified() && !SockRef::from(socket).only_v6().unwrap_or(false)
        };
        if let Some(PassedSocket { address, .. }) = sockets.iter().find(takes_ipv4) {
            return Err(ServeError::PassedIpv4 { address: *address });
        }
        let mut passed = Self { sockets, predecessor: None };
        if let Some((predecessor, theirs)) = Predecessor::find(ends) {
            passed.add(theirs);
            passed.predecessor = Some(predecessor);
        }
        Ok(passed)
    }

    /// Adds the sockets of the other daemon, as far as the socket unit does not have them.
    fn add(&mut self, theirs: Vec<TcpListener>) {
        let theirs = theirs.into_iter().filter_map(|socket| PassedSocket::examined(socket, false).ok());
        for socket in theirs {
            if !self.sockets.iter().any(|known| is_same(known.address, socket.address)) {
                self.sockets.push(socket);
            }
        }
    }

    /// The daemon that serves until this one is ready.
    pub(crate) fn predecessor(&mut self) -> Option<Predecessor> {
        self.predecessor.take()
    }

    /// Whether there is a socket for each address.
    pub(crate) fn cover(&self, addresses: &[Endpoint]) -> bool {
        addresses.iter().all(|address| {
            let resolved = address.resolve().ok();
            resolved.is_some_and(|resolved| self.sockets.iter().any(|known| is_same(known.address, resolved)))
        })
    }

    /// The socket at `address`, if it was passed.
    pub(crate) fn at(&mut self, address: SocketAddr) -> Option<(TcpListener, SocketAddr)> {
        let at = self.sockets.iter().position(|known| is_same(known.address, address))?;
        let PassedSocket { socket, address, .. } = self.sockets.swap_remove(at);
        Some((socket, address))
    }

    /// Whether all are in use; those of the other daemon that are not are closed.
    ///
    /// # Errors
    /// A socket of the unit that is left: its connections would never be accepted.
    pub(crate) fn end(self) -> Result<(), ServeError> {
        match self.sockets.iter().find(|socket| socket.is_of_unit) {
            Some(PassedSocket { address, .. }) => Err(ServeError::PassedElsewhere { address: *address }),
            None => Ok(()),
        }
    }
}

impl PassedSocket {
    fn examined(socket: TcpListener, is_of_unit: bool) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address, is_of_unit })
    }
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
