//! The listening sockets: those that are open, and those whose interface is not there yet.
//!
//! It accepts no connection.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use sixgate_base::endpoint::Endpoint;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tracing::warn;

use crate::server::{error::ServeError, passed::Passed};

/// Connections that the kernel completes before they are accepted (listen(2)).
const BACKLOG: i32 = 1024;

/// An open socket and its address.
pub(crate) type Listener = (Arc<TcpListener>, SocketAddr);

/// The addresses of the configuration, for as long as the daemon runs.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    state: Mutex<ListeningState>,
}

#[derive(Debug, Default)]
struct ListeningState {
    open: Vec<(Weak<TcpListener>, SocketAddr)>,
    /// Those whose interface is not there.
    missing: Vec<Endpoint>,
}

impl Listening {
    /// Opens a socket at each address, or uses that which was passed. They take IPv6 only, so
    /// that a mail server may keep 0.0.0.0:25. An address on an interface that is not there yet is
    /// left to [`Self::open_missing`].
    ///
    /// # Errors
    /// The first address that cannot be listened at for another reason, or a passed socket that no
    /// address is of.
    pub(crate) fn open(addresses: &[Endpoint], passed: Passed) -> Result<(Self, Vec<Listener>), ServeError> {
        let listening = Self::default();
        let (mut listeners, rest) = listening.use_passed(addresses, passed)?;
        listeners.extend(listening.try_each(&rest)?);
        for address in listening.missing() {
            warn!(
                "cannot listen on {address}: its interface is not there (see `ip link`); mail for it is taken once it is"
            );
        }
        Ok((listening, listeners))
    }

    /// The passed sockets, and the addresses that have none.
    fn use_passed(
        &self,
        addresses: &[Endpoint],
        mut passed: Passed,
    ) -> Result<(Vec<Listener>, Vec<Endpoint>), ServeError> {
        let (mut listeners, mut rest) = (Vec::new(), Vec::new());
        for address in addresses {
            let socket = address.resolve().ok().and_then(|resolved| passed.at(resolved));
            let Some((socket, local)) = socket else {
                rest.push(address.clone());
                continue;
            };
            let listener =
                TcpListener::from_std(socket).map_err(|source| ServeError::PassedSocket { source })?;
            listeners.push(self.note((Arc::new(listener), local)));
        }
        passed.end()?;
        Ok((listeners, rest))
    }

    /// Opens those whose interface has come.
    pub(crate) fn open_missing(&self) -> Vec<Listener> {
        let missing = self.missing();
        if missing.is_empty() {
            return Vec::new();
        }
        self.state().missing.clear();
        let mut listeners = Vec::new();
        for address in missing {
            match self.try_each(std::slice::from_ref(&address)) {
                Ok(opened) => listeners.extend(opened),
                // it is tried again
                Err(_) => self.state().missing.push(address),
            }
        }
        listeners
    }

    fn try_each(&self, addresses: &[Endpoint]) -> Result<Vec<Listener>, ServeError> {
        let mut listeners = Vec::new();
        for address in addresses {
            match open(address) {
                Ok(listener) => listeners.push(self.note(listener)),
                Err(error) if is_missing_interface(&error) => self.state().missing.push(address.clone()),
                Err(source) => {
                    return Err(ServeError::Listen { address: address.clone(), running: None, source });
                }
            }
        }
        Ok(listeners)
    }

    fn note(&self, listener: Listener) -> Listener {
        self.state().open.push((Arc::downgrade(&listener.0), listener.1));
        listener
    }

    /// The addresses of the open sockets.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.state().open.iter().map(|(_, address)| *address).collect()
    }

    /// The open sockets, for the daemon that comes next.
    pub(crate) fn sockets(&self) -> Vec<Arc<TcpListener>> {
        self.state().open.iter().filter_map(|(socket, _)| socket.upgrade()).collect()
    }

    fn missing(&self) -> Vec<Endpoint> {
        self.state().missing.clone()
    }

    /// Addresses for which no mail can arrive now.
    pub(crate) fn problems(&self) -> Vec<String> {
        let without_interface = self.missing().into_iter().map(|address| {
            format!("the daemon does not listen on {address}: its interface is not there (see `ip link`)")
        });
        let without_address = self.addresses().into_iter().filter(|address| !is_here(*address)).map(|address| {
            format!(
                "no interface has the address of {address}, at which the daemon listens: no mail arrives for it \
                 (see `ip -6 address`)"
            )
        });
        without_interface.chain(without_address).collect()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, ListeningState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(address: &Endpoint) -> io::Result<Listener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(true)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    let local = address.resolve()?.into();
    if let Err(error) = socket.bind(&local) {
        if error.kind() != io::ErrorKind::AddrNotAvailable {
            return Err(error);
        }
        // duplicate address detection goes on, or the address comes later
        socket.set_freebind_v6(true)?;
        socket.bind(&local)?;
        warn!(
            "no interface has the address {address} yet (see `ip -6 address`, \"tentative\" or missing): mail for it is \
             taken once it is there"
        );
    }
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    let address = listener.local_addr()?;
    Ok((Arc::new(listener), address))
}

/// A zone without an interface: by name, or by number.
fn is_missing_interface(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

/// Whether an interface has the address: else a socket without IPV6_FREEBIND is not bound to it.
/// Port 0 is free always.
fn is_here(address: SocketAddr) -> bool {
    let mut address = address;
    address.set_port(0);
    match UdpSocket::bind(address) {
        Err(error) => {
            error.kind() != io::ErrorKind::AddrNotAvailable && error.raw_os_error() != Some(libc::ENODEV)
        }
        Ok(_) => true,
    }
}
