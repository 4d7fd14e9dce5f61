//! `sixgate attach` and `sixgate detach`.
//!
//! It owns the forms of input and output only.

use clap::Args;

use super::{CliError, Exit, Output};
use crate::{
    config::{Config, InterfaceName, XdpMode},
    control::Control,
};

/// `sixgate attach`
#[derive(Debug, Args)]
#[command(after_help = ATTACH_HELP)]
pub(super) struct Attach {
    /// An interface, several times if needed; else those of the configuration, else those that have it
    #[arg(long = "iface", value_name = "IFACE")]
    interfaces: Vec<InterfaceName>,
    /// In the driver (native), in the generic path, or native if possible (auto); else as the configuration says
    #[arg(long)]
    mode: Option<XdpMode>,
}

/// `sixgate detach`
#[derive(Debug, Args)]
#[command(after_help = DETACH_HELP)]
pub(super) struct Detach {
    /// An interface, several times if needed; else all
    #[arg(long = "iface", value_name = "IFACE")]
    interfaces: Vec<InterfaceName>,
}

pub(super) fn attach(
    command: Attach,
    config: &Config,
    control: &Control,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let Attach { interfaces, mode } = command;
    let interfaces = if interfaces.is_empty() { &config.xdp.interfaces } else { &interfaces };
    if interfaces.is_empty() && control.maps()?.is_none() {
        return Err(CliError::NoInterface);
    }
    let attached = control.attach(interfaces, mode.unwrap_or(config.xdp.mode))?;
    for attachment in attached {
        out.line(attachment)?;
    }
    if let Some(answering) = control.answering()?.filter(|answering| answering.hindrance().is_some()) {
        out.line(format_args!("answer: {answering}"))?;
    }
    for doubt in control.doubts()? {
        out.note(format_args!("warning: {doubt}"));
    }
    Ok(Exit::Done)
}

pub(super) fn detach(command: &Detach, control: &Control, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let detached = control.detach(&command.interfaces)?;
    if detached.is_empty() {
        out.note("nothing is attached");
        return Ok(Exit::No);
    }
    for interface in detached {
        out.line(format_args!("{interface}: detached"))?;
    }
    Ok(Exit::Done)
}

const ATTACH_HELP: &str = "\
Fills the maps from the store, attaches the program, and lets it refuse. Where it is attached
already, the program, the settings and the maps are brought up to date without a gap. Where the
program is to answer refused senders and cannot, the daemon does, and a line says why. Start with
`mode = \"shadow\"`: it refuses nothing and counts what would be refused.

Examples:
  sixgate attach --iface eth0
  sixgate attach --iface eth0 --iface eth1 --mode native";

const DETACH_HELP: &str = "\
With the last interface the maps are removed, too; the store stays.";
