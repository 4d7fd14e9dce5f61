//! The errors that end a command with exit code 2.
//!
//! The texts of what failed below are those modules' own.

use std::{io, path::PathBuf};

use sixgate_dataplane::DataplaneError;

use crate::{
    config::ConfigError,
    control::ControlError,
    explain::ExplainError,
    kernel_facts::FactsError,
    server::{AskError, ServeError},
    setup::SetupError,
    shadow::ShadowError,
    store::{ListError, ListProblem, StoreError},
};

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Store and maps could not be read or changed together.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The opt-in store could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The terminal cannot be drawn on.
    #[error("cannot use the terminal")]
    Terminal {
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file of the shadow report could not be used.
    #[error(transparent)]
    Shadow(#[from] ShadowError),
    /// The BPF maps or the XDP program could not be used.
    #[error(transparent)]
    Dataplane(#[from] DataplaneError),
    /// The daemon could not start, or failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The process that runs the daemon as its child.
    #[error("cannot run the daemon as a child process")]
    Parent {
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The running daemon.
    #[error("{}", no_daemon(source))]
    Ask {
        /// The failure on the control socket.
        #[from]
        #[source]
        source: AskError,
    },
    /// The running daemon answered something else.
    #[error("the daemon gave an answer that this version does not know: restart it")]
    OddAnswer,
    /// The running daemon keeps another configuration.
    #[error("nothing was changed: the daemon does not take over the configuration: {reason}")]
    ReloadRefused {
        /// The reason, as text for the message.
        reason: String,
    },
    /// Nothing can be explained.
    #[error(transparent)]
    Explain(#[from] ExplainError),
    /// A daemon uses the maps, and would refuse by another configuration.
    #[error(
        "nothing was changed: a daemon uses these pins, does not answer at {}, and refuses by another configuration: \
         restart it (`systemctl restart sixgate`)",
        socket.display()
    )]
    UnaskedDaemon {
        /// Where it does not answer.
        socket: PathBuf,
    },
    /// The daemon refuses by another configuration than the file's.
    #[error(
        "nothing was changed: the file has changes that the daemon has not taken over ({keys}), and XDP program and \
         daemon would refuse by two configurations: `sixgate reload`"
    )]
    NotReloaded {
        /// The settings that differ.
        keys: String,
    },
    /// The maps show the store of a daemon that uses another one.
    #[error(
        "nothing was changed: the daemon uses another opt-in store than {}, which the configuration names now: restart it \
         (`systemctl restart sixgate`)",
        store.display()
    )]
    OtherStore {
        /// The store of the configuration.
        store: PathBuf,
    },
    /// A list that is to be loaded could not be read.
    #[error("cannot read {}", file.display())]
    ReadList {
        /// The path of the file.
        file: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A list that is to be loaded has a bad line.
    #[error("{}:{problem}; nothing was changed", file.display())]
    List {
        /// The path of the list.
        file: PathBuf,
        /// Line and reason.
        problem: ListError,
    },
    /// A store that is to be imported is wrong.
    #[error("{}:{problem}; nothing was changed", file.display())]
    Document {
        /// The path of the file.
        file: PathBuf,
        /// Line and reason.
        problem: ListProblem,
    },
    /// The store is to be taken over, which a dry run does not do.
    #[error(
        "the opt-in store {} is still to be made from that of an earlier version, and --dry-run changes nothing: run \
         `sixgate status` first, which takes it over",
        path.display()
    )]
    DryRunOfEarlier {
        /// Where the store will be.
        path: PathBuf,
    },
    /// Facts of the XDP program and its maps could not be read.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// The user may not change the maps.
    #[error(
        "nothing was changed: only root and the daemon's user may change the BPF maps: run the command as root"
    )]
    MapsAreClosed {
        /// The operation that was not permitted.
        source: ControlError,
    },
    /// Attaching needs an interface.
    #[error("no interface: name one with --iface, or set `interfaces` in [xdp]")]
    NoInterface,
    /// There is no first configuration.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The output could not be written.
    #[error("cannot write the output")]
    Output {
        /// The error of the operating system.
        source: io::Error,
    },
    /// The log could not be written.
    #[error("cannot write a log")]
    Log {
        /// The error of the operating system.
        source: io::Error,
    },
    /// The asynchronous runtime.
    #[error("cannot start the runtime")]
    Runtime {
        /// The error of the operating system.
        source: io::Error,
    },
}

/// What to do if it does not answer at all.
fn no_daemon(error: &AskError) -> &'static str {
    match error {
        AskError::NoDaemon { .. } => {
            "the daemon is not running: `systemctl start sixgate`; or it was started with another control_socket: \
             `systemctl restart sixgate`"
        }
        AskError::Silent { .. } => "no answer to the request",
        _ => "cannot ask the daemon",
    }
}
