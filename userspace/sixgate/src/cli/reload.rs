//! `sixgate reload`: has the running daemon take over the configuration.
//!
//! It changes nothing itself.

use std::path::Path;

use clap::Args;

use super::{
    CliError, Exit, Format, Output,
    outcomes::{DRY_RUN, DryRun},
};
use crate::{
    config::{Config, Pending},
    server::{self, Reloaded, Request, Response},
};

/// The arguments of `sixgate reload`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Reload {
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    dry: DryRun,
}

pub(super) fn run(command: &Reload, file: &Path, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let request = if command.dry.dry_run { Request::TryReload } else { Request::Reload };
    let reloaded = match server::ask(&Config::control_socket_of(file), request)? {
        Response::Reloaded(reloaded) => reloaded,
        Response::Refused { reason } => {
            let done = command.dry.either("reload rejected", "a reload would be rejected");
            out.note(format_args!("{done}, the daemon keeps its configuration: {reason}"));
            return Ok(Exit::No);
        }
        Response::Status(_) | Response::Identity(_) | Response::Overview(_) => {
            return Err(CliError::OddAnswer);
        }
    };
    if command.format.json {
        out.json(&reloaded)?;
    } else {
        print(&reloaded, command.dry, out)?;
    }
    for warning in &reloaded.warnings {
        out.note(format_args!("warning: {warning}"));
    }
    let dry = command.dry;
    for Pending { keys, command, effect } in reloaded.changes.pending() {
        let effect = effect.map(|effect| format!("; {effect}")).unwrap_or_default();
        let keys = keys.join(", ");
        let until = dry.either("not in force until", "would not be in force until");
        out.note(format_args!("warning: {until} `{command}`: {keys}{effect}"));
    }
    Ok(Exit::Done)
}

fn print(reloaded: &Reloaded, dry: DryRun, out: &mut Output<'_>) -> Result<(), CliError> {
    let changed = &reloaded.changes.reload;
    match (changed.is_empty(), dry.dry_run) {
        (true, false) => out.line("reloaded, no setting that is in force has changed"),
        (false, false) => out.line(format_args!("reloaded, changed: {}", changed.join(", "))),
        (true, true) => out.line(format_args!("{DRY_RUN}: no setting to change")),
        (false, true) => out.line(format_args!("{DRY_RUN}: to change: {}", changed.join(", "))),
    }
}

const HELP: &str = "\
The daemon reads the file that it was started with, and takes over all of it or, if something in it
is wrong, nothing; SIGHUP does the same, and the daemon's log has the result. It holds from
the next transaction on. What needs a restart is named. With --dry-run the daemon makes the same
checks, but does not try a new next hop, and changes nothing.

Exit code 0 if it was taken over, 1 if not, 2 if no daemon answers.
JSON:   {\"changes\": {\"reload\": [KEY...], \"restart\": [KEY...]}, \"warnings\": [...]}

Example:
  sixgate config check && sixgate reload";
