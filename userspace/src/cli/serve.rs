//! `sixgate serve`: runs the daemon.
//!
//! It owns the runtime and the log's form; everything else is `server`'s business.

use std::{env, io};

use clap::Args;
use tokio::runtime::Runtime;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::{CliError, Exit};
use crate::{
    config::{Config, Log, LogFormat},
    server::{self, ServeOptions},
};

/// `sixgate serve`
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Serve {
    /// Leave the XDP program and its maps alone, whatever the configuration says
    #[arg(long)]
    no_xdp: bool,
}

pub(super) fn run(command: &Serve, config: Config) -> Result<Exit, CliError> {
    start_log(&config.log);
    let runtime = Runtime::new().map_err(|source| CliError::Runtime { source })?;
    runtime.block_on(server::run(config, ServeOptions { no_xdp: command.no_xdp }))?;
    Ok(Exit::Done)
}

/// RUST_LOG, where it is set, takes the place of the level in the configuration.
fn start_log(log: &Log) {
    let level = LevelFilter::from_level(log.level.into());
    let filter = EnvFilter::builder().with_default_directive(level.into());
    let filter = match env::var(EnvFilter::DEFAULT_ENV) {
        Ok(directives) => filter.parse_lossy(directives),
        Err(_) => filter.parse_lossy(format!("{level},{QUIET}")),
    };
    // a line that cannot be written is lost: complaining about that goes to the same place, and panics there
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .log_internal_errors(false);
    match log.format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// The resolver's library warns of each forged packet, in the forger's words and number.
const QUIET: &str = "hickory_net=error,hickory_proto=error,hickory_resolver=error";

const HELP: &str = "\
The daemon listens, checks and hands mail on, in the foreground, until SIGTERM or SIGINT; its log
goes to standard error. It attaches the XDP program to the interfaces of the configuration.";
