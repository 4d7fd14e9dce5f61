//! `sixgate config`: looks at the configuration.
//!
//! It changes nothing, and does not tell a running daemon.

use std::path::Path;

use clap::Subcommand;
use serde::Serialize;

use super::{CliError, Exit, Format, Output};
use crate::{
    config::{Config, ConfigError, Tls},
    server,
};

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
        Ok(config) => (None, config.tls.as_ref().and_then(tls_problem)),
        Err(ConfigError::Wrong { line, reason, .. }) => (Some(line), Some(reason)),
        Err(error) => return Err(error.into()),
    };
    let good = reason.is_none();
    if let Some(reason) = &reason {
        let line = line.map(|line| format!(":{line}")).unwrap_or_default();
        out.note(format_args!("{}{line}: {reason}", file.display()));
    } else if !format.json {
        out.line(format_args!("{}: good", file.display()))?;
    }
    if format.json {
        out.json(&Check { file, good, line, reason })?;
    }
    Ok(good.into())
}

/// What is wrong with the files of `[tls]`.
fn tls_problem(settings: &Tls) -> Option<String> {
    let error = server::check_tls(settings).err()?;
    Some(format!("tls: {:#}", anyhow::Error::new(error)))
}

const CHECK_HELP: &str = "\
Exit code 0 if it is good, 1 if something in it is wrong, 2 if it cannot be read.
JSON:   {\"file\", \"good\": true|false, \"line\": ...|null, \"reason\": ...|null}

Example:
  sixgate --config ./sixgate.toml config check";
