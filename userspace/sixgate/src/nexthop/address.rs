//! The address of a mail server's listener: a TCP address or a Unix socket.
//!
//! It owns how such an address is written; it opens nothing.

use std::{
    fmt,
    net::SocketAddr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use serde_with::DeserializeFromStr;
use sixgate_base::endpoint::{Endpoint, EndpointError};

/// Longest path of a Unix socket, in octets: `sun_path` less the zero at its end (unix(7)).
const PATH_MAX: usize = 107;
/// The prefix of a Unix socket's address in writing.
const UNIX: &str = "unix:";

/// Where a mail server listens; cheap to clone. Written `[::1]:25`, `192.0.2.1:25` or
/// `unix:/run/lmtp.sock`.
#[derive(Clone, Debug, DeserializeFromStr, Eq, PartialEq)]
pub enum Address {
    /// An IPv4 or IPv6 address with a port.
    Tcp(Endpoint),
    /// A stream socket in the file system.
    Unix(SocketPath),
}

/// The path of a Unix socket: absolute, and short enough to be connected to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SocketPath(Arc<Path>);

/// Why a text or path cannot be read as an [`Address`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AddressError {
    /// Neither an IP address with a port nor a socket.
    #[error(
        "`{}` is neither an address with a port, such as `[::1]:25`, nor a socket, such as `unix:/run/mail.sock`",
        text.escape_debug()
    )]
    Form {
        /// As it was written.
        text: String,
    },
    /// An address whose zone is missing or needless.
    #[error(transparent)]
    Zone(#[from] EndpointError),
    /// Port 0, at which no server can be reached.
    #[error("`{text}`: port 0 cannot be used")]
    NoPort {
        /// As it was written.
        text: String,
    },
    /// A socket that is another one from each directory.
    #[error("the path of the socket `{}` must be absolute", path.display())]
    Relative {
        /// As it was written.
        path: PathBuf,
    },
    /// A socket that the kernel cannot name.
    #[error("the path of the socket `{}` has {length} octets, {PATH_MAX} are possible", path.display())]
    Long {
        /// As it was written.
        path: PathBuf,
        /// The path's length in octets.
        length: usize,
    },
}

impl SocketPath {
    /// The socket's path in the file system.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl TryFrom<&Path> for SocketPath {
    type Error = AddressError;

    fn try_from(path: &Path) -> Result<Self, AddressError> {
        let length = path.as_os_str().as_bytes().len();
        if !path.is_absolute() {
            Err(AddressError::Relative { path: path.to_owned() })
        } else if length > PATH_MAX {
            Err(AddressError::Long { path: path.to_owned(), length })
        } else {
            Ok(Self(path.into()))
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix(UNIX) {
            Some(path) if !path.contains('\0') => Path::new(path).try_into().map(Self::Unix),
            _ => match text.parse::<Endpoint>() {
                Ok(address) if address.port() == 0 => Err(AddressError::NoPort { text: text.to_owned() }),
                Ok(address) => Ok(Self::Tcp(address)),
                Err(EndpointError::Form { .. }) => Err(AddressError::Form { text: text.to_owned() }),
                Err(error) => Err(error.into()),
            },
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address.into())
    }
}

/// As it is written in the configuration.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.as_path().display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_read() {
        let longest = format!("unix:/{}", "x".repeat(PATH_MAX - 1));
        for text in ["[::1]:25", "192.0.2.1:10025", "[fe80::25%eth0]:25", "unix:/run/lmtp.sock", &longest] {
            assert_eq!(text.parse::<Address>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_cannot_be_connected_to_is_no_address() {
        let long = format!("unix:{}/{}", "/x", "y".repeat(PATH_MAX));
        let rows = [
            ("localhost:25", "neither an address"),
            ("[fe80::25]:25", "name its interface, such as `[fe80::25%eth0]:25`"),
            ("[2001:db8::25%eth0]:25", "only a link-local address"),
            ("::1", "neither an address"),
            ("/run/lmtp.sock", "neither an address"),
            ("", "neither an address"),
            ("unix:/run/a\0b", "neither an address"),
            ("unix:", "must be absolute"),
            ("unix:run/lmtp.sock", "must be absolute"),
            (&long, "has 110 octets, 107 are possible"),
        ];
        for (text, wanted) in rows {
            let error = text.parse::<Address>().expect_err(text).to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
