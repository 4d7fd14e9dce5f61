//! What ends a command with exit code 2.
//!
//! The texts of what failed below are those modules' own.

use std::{io, path::PathBuf};

use crate::{
    config::ConfigError,
    control::ControlError,
    dataplane::DataplaneError,
    server::ServeError,
    store::{ListError, Problem, StoreError},
};

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Store and maps.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The maps.
    #[error(transparent)]
    Dataplane(#[from] DataplaneError),
    /// The daemon.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A list that is to be loaded could not be read.
    #[error("cannot read {}", file.display())]
    ReadList {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A list that is to be loaded has a bad line.
    #[error("{}:{problem}; nothing was changed", file.display())]
    List {
        /// The file.
        file: PathBuf,
        /// Line and reason.
        problem: ListError,
    },
    /// A store that is to be imported is wrong.
    #[error("{}:{problem}; nothing was changed", file.display())]
    Document {
        /// The file.
        file: PathBuf,
        /// Line and reason.
        problem: Problem,
    },
    /// The command needs the maps.
    #[error(
        "the XDP program is not attached, so that there are no maps: `sixgate attach --iface IFACE` attaches it"
    )]
    NotAttached,
    /// Attaching needs an interface.
    #[error("no interface: name one with --iface, or set `interfaces` in [xdp]")]
    NoInterface,
    /// The output.
    #[error("cannot write the output")]
    Output {
        /// What the system said.
        source: io::Error,
    },
    /// The log.
    #[error("cannot write a log")]
    Log {
        /// Why.
        source: io::Error,
    },
    /// The asynchronous runtime.
    #[error("cannot start the runtime")]
    Runtime {
        /// What the system said.
        source: io::Error,
    },
}
