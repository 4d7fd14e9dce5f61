//! The configuration: one TOML file, read whole and checked whole before anything is applied.
//!
//! It owns the schema, its defaults and its errors, each with file and line. It does not own the
//! state that commands change: that is the opt-in store.

mod changes;
mod document;
mod http;
mod limits;
mod log;
mod paths;
mod problem;
mod quantities;
mod renamed_keys;
mod reply_size;
mod settings;
mod socket;
mod tls;
mod values;

use std::{
    io,
    path::{self, Path, PathBuf},
};

use sixgate_base::bounded;

use settings::FILE_MAX;

pub use changes::{Pending, SettingChanges};
pub use http::Http;
pub use limits::Limits;
pub use log::{LogFormat, LogLevel, LogProgram};
pub use renamed_keys::RenamedKey;
pub use settings::{Config, DEFAULT_PATH, Dkim, Dns, Listen, Log, Metrics, NextHop, Ptr, Shadow, Spf, Xdp};
pub use tls::{CertificateName, ClientTrust, Tls};
pub use values::{Domains, GuardSource, Hostname, InterfaceName, RefuseAt, ResponderSetting, ValueError};

pub(crate) use settings::{OFFER_FILE, SHADOW_FILE};

/// The command for a host without a configuration.
const MAKE_ONE: &str = "`sixgate init --next-hop smtp://[::1]:10025` makes one";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error("there is no configuration {}; {MAKE_ONE}, or --config names another file", path.display())]
    Missing {
        /// The path of the file.
        path: PathBuf,
    },
    /// The file could not be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file has an error.
    #[error("{}:{line}: {reason}", path.display())]
    Wrong {
        /// The path of the file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The error there, as text for the message.
        reason: String,
    },
}

impl Config {
    /// Reads and checks the file `path`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`] if there is none; [`ConfigError::Read`] if the file cannot be read
    /// or is too large; [`ConfigError::Wrong`] if it is not UTF-8 or has an error.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => ConfigError::Missing { path: path.to_owned() },
            _ => ConfigError::Read { path: path.to_owned(), source },
        };
        let octets =
            bounded::open(path).and_then(|file| bounded::read_to_end(file, FILE_MAX)).map_err(read)?;
        let text = String::from_utf8(octets).map_err(|error| ConfigError::Wrong {
            path: path.to_owned(),
            line: line_at(error.as_bytes(), error.utf8_error().valid_up_to()),
            reason: "not UTF-8".to_owned(),
        })?;
        Self::parse(&text, path)
    }

    /// Checks `text`, which is named `path` in errors.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Wrong`] with the line of the first error.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file = path::absolute(path).unwrap_or_else(|_| path.to_owned());
        document::parse(text, file).map_err(|problem| ConfigError::Wrong {
            path: path.to_owned(),
            line: line_at(text.as_bytes(), problem.offset),
            reason: problem.reason,
        })
    }

    /// Where the daemon of this file answers commands. Each file has a socket of its own, so that
    /// commands with the same `--config` find their daemon.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.control_socket.clone().unwrap_or_else(|| socket::default_path(&self.file))
    }

    /// The same where the file does not name another one.
    #[must_use]
    pub fn usual_control_socket(&self) -> PathBuf {
        socket::default_path(&self.file)
    }

    /// The same for a file that may have errors in it: as far as it can be read.
    #[must_use]
    pub fn control_socket_of(path: &Path) -> PathBuf {
        let file = path::absolute(path).unwrap_or_else(|_| path.to_owned());
        socket::named_in(&file).unwrap_or_else(|| socket::default_path(&file))
    }

    /// The directory of the pins that a file names which may have errors in it: as far as it can be
    /// read.
    #[must_use]
    pub fn pins_of(path: &Path) -> PathBuf {
        socket::pins_named_in(path).unwrap_or_else(|| Xdp::default().bpffs)
    }
}

/// The line of the octet at `offset`, counted from 1.
fn line_at(text: &[u8], offset: usize) -> usize {
    let newlines = text.iter().take(offset).filter(|octet| **octet == b'\n').count();
    newlines + 1
}

#[cfg(test)]
mod tests;
