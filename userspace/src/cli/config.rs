//! `sixgate config`: looks at the configuration.
//!
//! It changes nothing, and does not tell a running daemon.

use std::path::Path;

use clap::Subcommand;
use serde::Serialize;

use super::{CliError, Exit, Format, Output};
use crate::config::{Config, ConfigError};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say whether the configuration is good
    #[command(after_help = CHECK_HELP)]
    Check {
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Serialize)]
struct Check<'a> {
    file: &'a Path,
    good: bool,
    line: Option<usize>,
    reason: Option<String>,
}

pub(super) fn run(command: &Command, file: &Path, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let Command::Check { format } = command;
    let (line, reason) = match Config::load(file) {
        Ok(_) => (None, None),
        Err(ConfigError::Wrong { line, reason, .. }) => (Some(line), Some(reason)),
        Err(error) => return Err(error.into()),
    };
    let good = reason.is_none();
    if let (Some(line), Some(reason)) = (line, &reason) {
        out.note(format_args!("{}:{line}: {reason}", file.display()));
    } else if !format.json {
        out.line(format_args!("{}: good", file.display()))?;
    }
    if format.json {
        out.json(&Check { file, good, line, reason })?;
    }
    Ok(if good { Exit::Done } else { Exit::No })
}

const CHECK_HELP: &str = "\
Exit code 0 if it is good, 1 if something in it is wrong, 2 if it cannot be read.
JSON:   {\"file\", \"good\": true|false, \"line\": ...|null, \"reason\": ...|null}

Example:
  sixgate --config ./sixgate.toml config check";
