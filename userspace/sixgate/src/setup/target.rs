//! Where mail is to go, as it is written on the command line.
//!
//! It owns these forms; those of the configuration file are `config`'s.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::nexthop::{Address, AddressError, Protocol};

/// A next hop: `smtp://[::1]:10025`, `lmtp://[::1]:24`, `lmtp://unix:/run/dovecot/lmtp`,
/// `unix:/run/dovecot/lmtp`, which is LMTP, too, or `maildir:/var/mail/gate`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NextHopTarget {
    /// A Maildir, an absolute path.
    Maildir(PathBuf),
    /// A mail server.
    Server {
        /// How it is spoken to.
        protocol: Protocol,
        /// Where it listens.
        address: Address,
    },
}

/// Why a text is not a [`NextHopTarget`].
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum TargetError {
    /// It has no form that is known.
    #[error(
        "`{}` is not a next hop such as smtp://[::1]:10025, lmtp://unix:/run/dovecot/lmtp or maildir:/var/mail/gate",
        text.escape_debug()
    )]
    Form {
        /// As it was written.
        text: String,
    },
    /// The address in it.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A Maildir that is another one from each directory.
    #[error("the path of the Maildir `{}` must be absolute", path.display())]
    Relative {
        /// As it was written.
        path: PathBuf,
    },
}

impl FromStr for NextHopTarget {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let server = |protocol, address: &str| {
            let address = address.strip_suffix('/').unwrap_or(address).parse()?;
            Ok(Self::Server { protocol, address })
        };
        if let Some(path) = text.strip_prefix("maildir:") {
            let path = Path::new(path);
            return match path.is_absolute() {
                true => Ok(Self::Maildir(path.to_owned())),
                false => Err(TargetError::Relative { path: path.to_owned() }),
            };
        }
        match text.split_once("://") {
            Some(("smtp", address)) => server(Protocol::Smtp, address),
            Some(("lmtp", address)) => server(Protocol::Lmtp, address),
            None if text.starts_with("unix:") => server(Protocol::Lmtp, text),
            _ => Err(TargetError::Form { text: text.to_owned() }),
        }
    }
}

/// As it is read.
impl fmt::Display for NextHopTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Maildir(path) => write!(f, "maildir:{}", path.display()),
            Self::Server { protocol: Protocol::Smtp, address } => write!(f, "smtp://{address}"),
            Self::Server { protocol: Protocol::Lmtp, address } => write!(f, "lmtp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read_and_what_is_none_is_named() {
        for (text, wanted) in [
            ("smtp://[::1]:10025", "smtp://[::1]:10025"),
            ("smtp://192.0.2.1:25/", "smtp://192.0.2.1:25"),
            ("lmtp://[::1]:24", "lmtp://[::1]:24"),
            ("lmtp://unix:/run/dovecot/lmtp", "lmtp://unix:/run/dovecot/lmtp"),
            ("unix:/run/dovecot/lmtp", "lmtp://unix:/run/dovecot/lmtp"),
            ("maildir:/var/mail/gate", "maildir:/var/mail/gate"),
        ] {
            assert_eq!(text.parse::<NextHopTarget>().unwrap().to_string(), wanted, "{text}");
        }
        for (text, wanted) in [
            ("[::1]:10025", "is not a next hop such as"),
            ("http://[::1]:10025", "is not a next hop such as"),
            ("smtp://localhost:10025", "neither an address with a port"),
            ("smtp://[::1]", "neither an address with a port"),
            ("smtp://[::1]:0", "port 0"),
            ("unix:run/lmtp", "must be absolute"),
            ("maildir:mail", "must be absolute"),
            ("", "is not a next hop such as"),
        ] {
            let error = text.parse::<NextHopTarget>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
