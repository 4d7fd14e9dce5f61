//! `sixgate store`: the store as a whole.
//!
//! It owns the forms of input and output only.

use std::path::PathBuf;

use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    CliError, Exit, Format, Output,
    edit::{self, Replacing},
    outcomes::{DRY_RUN, DryRun, report_replaced, warn_of_maps},
    progress,
};
use crate::{
    control::{Control, Restored, Restoring},
    store::{Logged, parse_document, write_document},
};

#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Print the whole store as JSON
    #[command(after_help = EXPORT_HELP)]
    Export,
    /// Replace the whole store by what `export` printed, and print what was added, changed and
    /// removed
    #[command(after_help = import_help())]
    Import {
        /// A file, such as the store.json of an earlier version; `-` for standard input
        file: PathBuf,
        #[command(flatten)]
        how: Replacing,
    },
    /// Put the daemon's last backup, made at its start and hourly, where a store is missing
    /// or damaged
    #[command(after_help = RESTORE_HELP)]
    Restore {
        /// Replace a good store, too, which is kept as store.db.replaced
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        dry: DryRun,
    },
    /// List the last changes, the newest first: revision, time, who, what
    #[command(after_help = LOG_HELP)]
    Log {
        /// How many, at most
        #[arg(long, value_name = "NUMBER", default_value_t = 20)]
        last: usize,
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Serialize)]
struct RevisionRow {
    revision: u64,
    time: String,
    who: String,
    what: String,
    added: u64,
    changed: u64,
    removed: u64,
}

pub(super) fn run(command: StoreCommand, control: &Control, out: &mut Output<'_>) -> Result<Exit, CliError> {
    match command {
        StoreCommand::Export => {
            let (contents, _) = control.store().open()?.contents()?;
            let mut text = Vec::new();
            write_document(&contents, &mut text).map_err(|source| CliError::Output { source })?;
            out.line(String::from_utf8_lossy(&text).trim_end())?;
            Ok(Exit::Done)
        }
        StoreCommand::Import { file, how } => {
            let consent = how.consent();
            let replaced = progress::shown(how.quiet, |progress| {
                let octets = edit::read(&file)?;
                let wanted =
                    parse_document(&octets).map_err(|problem| CliError::Document { file, problem })?;
                drop(octets);
                let replaced = control.change(consent, |edit| {
                    edit.report_to(progress);
                    edit.replace_all(&wanted, consent)
                })?;
                Ok::<_, CliError>(replaced)
            })?;
            report_replaced(control, how.quiet, &replaced, out)
        }
        StoreCommand::Restore { force, dry } if dry.dry_run => try_restore(control, force, out),
        StoreCommand::Restore { force, .. } => restore(control, force, out),
        StoreCommand::Log { last, format } => {
            let log = control.store().open()?.log(last)?;
            out.list(format, "revisions", log.into_iter().map(RevisionRow::from), RevisionRow::line)
        }
    }
}

fn restore(control: &Control, force: bool, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let Restored { backup, aside, shown } = control.restore(force)?;
    warn_of_maps(control, out);
    let path = control.store().path().display();
    out.line(format_args!("{path}: put back, {}", backup.describe(shown)))?;
    if let Some(aside) = aside {
        out.line(format_args!("{path}: the store of before is kept as {}", aside.display()))?;
    }
    Ok(Exit::Done)
}

fn try_restore(control: &Control, force: bool, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let Restoring { backup, aside, shown } = control.try_restore(force)?;
    warn_of_maps(control, out);
    let path = control.store().path().display();
    out.line(format_args!("{path}: would be put back, {}", backup.describe(shown)))?;
    if let Some(aside) = aside {
        out.line(format_args!("{path}: the store of before would be kept as {}", aside.display()))?;
    }
    out.line(DRY_RUN)?;
    Ok(Exit::Done)
}

impl StoreCommand {
    pub(super) const fn is_dry_run(&self) -> bool {
        match self {
            Self::Import { how, .. } => how.is_dry_run(),
            Self::Restore { dry, .. } => dry.dry_run,
            Self::Export | Self::Log { .. } => false,
        }
    }
}

impl From<Logged> for RevisionRow {
    fn from(Logged { number, time, who, what, added, changed, removed }: Logged) -> Self {
        let time = Timestamp::from_second(time).map_or_else(|_| time.to_string(), |time| time.to_string());
        Self { revision: number, time, who, what, added, changed, removed }
    }
}

impl RevisionRow {
    fn line(&self) -> String {
        let Self { revision, time, who, what, added, changed, removed } = self;
        format!("{revision} {time} {who}: {what} ({added} added, {changed} changed, {removed} removed)")
    }
}

fn import_help() -> String {
    format!(
        "A bad line is named and nothing is changed. A set that is empty here and there needs no option.\n\n{}\n\nExample:\n  sixgate store import optin-export.json",
        edit::LOAD_RULES
    )
}

const EXPORT_HELP: &str = "\
Example:
  sixgate store export > optin-export.json";

const RESTORE_HELP: &str = "\
Example:
  sixgate store restore";

const LOG_HELP: &str = "\
Lines:  REVISION TIME WHO: COMMAND (NUMBER added, NUMBER changed, NUMBER removed)
JSON:   {\"revisions\": [{\"revision\", \"time\", \"who\", \"what\", \"added\", \"changed\", \"removed\"}]}

Example:
  sixgate store log --last 100";
