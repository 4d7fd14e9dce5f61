//! `sixgate doctor`: the checks of all that mail depends on.
//!
//! It owns the forms of output only.

use clap::Args;
use serde::Serialize;
use tokio::runtime::Runtime;

use super::{CliError, Exit, Format, Output, escape::escaped};
use crate::{
    config::{Config, ConfigError},
    doctor::{self, CheckOutcome, CheckReport},
};

/// The arguments of `sixgate doctor`.
#[derive(Clone, Copy, Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Doctor {
    #[command(flatten)]
    format: Format,
    /// Print only what is not ok
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Serialize)]
struct DoctorDocument {
    checks: Vec<CheckReport>,
    errors: usize,
    warnings: usize,
    not_checked: usize,
}

pub(super) fn run(
    command: Doctor,
    config: Result<Config, ConfigError>,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let runtime = Runtime::new().map_err(|source| CliError::Runtime { source })?;
    let checks = runtime.block_on(doctor::examine(config));
    // a check that blocks may still be at work
    runtime.shutdown_background();
    let count = |outcome| checks.iter().filter(|check| check.outcome == outcome).count();
    let (errors, warnings) = (count(CheckOutcome::Error), count(CheckOutcome::Warning));
    let document = DoctorDocument { errors, warnings, not_checked: count(CheckOutcome::NotChecked), checks };
    if command.format.json {
        out.json(&document)?;
    } else {
        print(command, &document, out)?;
    }
    Ok((errors == 0).into())
}

fn print(command: Doctor, document: &DoctorDocument, out: &mut Output<'_>) -> Result<(), CliError> {
    for check in &document.checks {
        if command.quiet && check.outcome == CheckOutcome::Ok {
            continue;
        }
        print_report(check, out)?;
    }
    let DoctorDocument { checks, errors, warnings, not_checked } = document;
    out.line(format_args!(
        "{}: {}, {}, {not_checked} not checked",
        counted(checks.len(), "check"),
        counted(*errors, "error"),
        counted(*warnings, "warning")
    ))
}

/// A line, and one for the cure if there is one.
pub(super) fn print_report(check: &CheckReport, out: &mut Output<'_>) -> Result<(), CliError> {
    let object = check.object.as_ref().map(|object| format!(" {object}")).unwrap_or_default();
    let text = format!("{}{object}: {}", check.id, check.found);
    out.line(format_args!("{:<12} {}", check.outcome.name(), escaped(&text)))?;
    match &check.cure {
        Some(cure) => out.line(format_args!("{:<12} cure: {}", "", escaped(cure))),
        None => Ok(()),
    }
}

fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

const HELP: &str = "\
Each check is ok, a warning, an error, or not checked; what is not ok has the command, the setting
or the DNS record that cures it. Nothing is changed and no mail is sent; it takes 20 s at most.
Run it as root: some checks need rights. While the configuration has an error, the host alone is
checked.

Exit code 0 without errors, also with warnings; 1 with errors; 2 if it cannot be run.
JSON:   {\"checks\": [{\"id\", \"object\": ...|null,
                     \"outcome\": \"ok\"|\"warning\"|\"error\"|\"not_checked\",
                     \"found\", \"cure\": ...|null}],
         \"errors\", \"warnings\", \"not_checked\"}

Example:
  sixgate doctor --quiet";
