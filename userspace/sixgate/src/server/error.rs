//! Why the daemon does not start.
//!
//! It owns the texts. What happens to a daemon that runs is logged where it happens.

use std::{io, net::SocketAddr};

use sixgate_base::endpoint::Endpoint;

use crate::{
    config::Config, control::ControlError, server::control_socket::listening_pid, services::ServicesError,
    store::StoreError,
};

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A listening socket.
    #[error("cannot listen on {address}{}", in_use(source, *running))]
    Listen {
        /// The address of the socket.
        address: Endpoint,
        /// The process of a sixgate that runs with the same configuration.
        running: Option<u32>,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// A socket of the socket unit that cannot be used.
    #[error(
        "cannot use a socket that systemd passed: sixgate.socket may have TCP sockets in `ListenStream=` only"
    )]
    PassedSocket {
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// A socket of the socket unit for IPv4 and IPv6.
    #[error(
        "systemd passed a socket at {address} that takes IPv4, too: set `BindIPv6Only=ipv6-only` in sixgate.socket"
    )]
    PassedIpv4 {
        /// The address of the socket.
        address: SocketAddr,
    },
    /// A socket of the socket unit that the configuration does not have.
    #[error(
        "systemd passed a socket at {address}, which listen.addresses lacks: give `ListenStream=` in sixgate.socket the \
         same addresses, or run `systemctl disable --now sixgate.socket`"
    )]
    PassedElsewhere {
        /// The address of the socket.
        address: SocketAddr,
    },
    /// A signal handler.
    #[error("cannot handle signal {number}")]
    Signal {
        /// Which, by signal(7).
        number: i32,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The opt-in store cannot be read.
    #[error("cannot start without the opt-in store")]
    Store(#[source] StoreError),
    /// The XDP program or its maps.
    #[error("cannot use the XDP program")]
    Control(#[source] ControlError),
    /// The threads for TLS handshakes.
    #[error("cannot start the threads for TLS handshakes")]
    Threads(#[source] io::Error),
    /// The services that the configuration defines, such as the next hop.
    #[error(transparent)]
    Services(#[from] ServicesError),
}

impl ServeError {
    /// Names the process of a sixgate that runs with `config` already.
    pub(super) fn naming_other(self, config: &Config) -> Self {
        match self {
            Self::Listen { address, source, .. } => {
                let running = listening_pid(&config.control_socket());
                Self::Listen { address, running, source }
            }
            error => error,
        }
    }
}

/// What to look for when an address is taken.
fn in_use(error: &io::Error, running: Option<u32>) -> String {
    match (error.kind(), running) {
        (io::ErrorKind::AddrInUse, Some(pid)) => format!(": a sixgate runs already, pid {pid}"),
        (io::ErrorKind::AddrInUse, None) => {
            ": a mail server still has this port over IPv6, or a sixgate runs already".to_owned()
        }
        _ => String::new(),
    }
}
