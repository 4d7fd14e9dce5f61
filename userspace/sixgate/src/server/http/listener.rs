//! The listening socket of HTTP: TCP on a loopback address, or a Unix socket with its file.
//!
//! It answers nothing.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
};

use crate::nexthop::Address;

/// A socket that is open.
pub(crate) enum HttpListener {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        path: PathBuf,
        /// Device and inode, to know the file again.
        file: (u64, u64),
    },
}

/// Why the socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpListenError {
    #[error("another process listens there")]
    InUse,
    #[error("a file that is not a socket is there already: it stays as it is; name another path")]
    OtherFile,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An accepted connection's octets.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl HttpListener {
    /// Opens the socket at `address`. The file that a daemon left which was killed is replaced.
    pub(super) fn open(address: &Address) -> Result<Self, HttpListenError> {
        match address {
            Address::Tcp(endpoint) => {
                let address = endpoint.resolve()?;
                let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
                socket.set_reuse_address(true)?;
                socket.set_nonblocking(true)?;
                socket.bind(&address.into()).map_err(in_use)?;
                socket.listen(BACKLOG).map_err(in_use)?;
                Ok(Self::Tcp(TcpListener::from_std(socket.into())?))
            }
            Address::Unix(path) => Self::open_unix(path.as_path()),
        }
    }

    fn open_unix(path: &Path) -> Result<Self, HttpListenError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        check_path(path)?;
        match StdUnixStream::connect(path) {
            Ok(_) => return Err(HttpListenError::InUse),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            Err(_) => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
        Ok(Self::Unix { listener, path: path.to_owned(), file: identity(path)? })
    }

    /// Whether a client has to name this host: at a Unix socket there is no name.
    pub(super) const fn has_host(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Waits for a connection.
    pub(super) async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix { listener, .. } => Box::new(listener.accept().await?.0),
        })
    }

    /// Whether the file of the socket is gone, or another.
    pub(super) fn is_removed(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Unix { path, file, .. } => !identity(path).is_ok_and(|found| found == *file),
        }
    }
}

impl Drop for HttpListener {
    fn drop(&mut self) {
        if let (Self::Unix { path, .. }, false) = (&*self, self.is_removed()) {
            // what stays is replaced by the next daemon
            let _ = fs::remove_file(path);
        }
    }
}

/// What keeps the socket from being made at `address`: another file that is there.
pub(crate) fn problem(address: &Address) -> Option<String> {
    let Address::Unix(path) = address else {
        return None;
    };
    let error = check_path(path.as_path()).err()?;
    Some(format!("http.listen: cannot listen on {address}: {:#}", anyhow::Error::new(error)))
}

/// Only a socket, or nothing, may be at `path`.
fn check_path(path: &Path) -> Result<(), HttpListenError> {
    match fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => Ok(()),
        Ok(_) => Err(HttpListenError::OtherFile),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn in_use(error: io::Error) -> HttpListenError {
    match error.kind() {
        io::ErrorKind::AddrInUse => HttpListenError::InUse,
        _ => error.into(),
    }
}

/// Device and inode of the file at `path`.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Of the socket's file: the daemon's user and group.
const MODE: u32 = 0o660;
/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 64;
