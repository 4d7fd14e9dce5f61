//! `sixgate config`: looks at the configuration.
//!
//! It changes nothing, and does not tell a running daemon.

use std::path::Path;

use clap::Subcommand;
use serde::Serialize;

use super::{CliError, Exit, Format, Output, log_journald::Journal};
use crate::{
    config::{Config, ConfigError, LogFormat},
    server, services, tls,
};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check the configuration: errors and warnings
    #[command(after_help = CHECK_HELP)]
    Check {
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Serialize)]
struct ConfigCheck<'a> {
    file: &'a Path,
    good: bool,
    line: Option<usize>,
    reason: Option<String>,
    /// Warnings: what should be changed although the configuration is good.
    warnings: Vec<String>,
}

pub(super) fn run(command: &ConfigCommand, file: &Path, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let ConfigCommand::Check { format } = command;
    let (line, checked) = match Config::load(file) {
        Ok(config) => (None, check_surroundings(&config)),
        Err(ConfigError::Wrong { line, reason, .. }) => (Some(line), Err(reason)),
        Err(error) => return Err(error.into()),
    };
    let (warnings, reason) = match checked {
        Ok(warnings) => (warnings, None),
        Err(reason) => (Vec::new(), Some(reason)),
    };
    for warning in &warnings {
        out.note(format_args!("{}: warning: {warning}", file.display()));
    }
    let good = reason.is_none();
    if let Some(reason) = &reason {
        let line = line.map(|line| format!(":{line}")).unwrap_or_default();
        out.note(format_args!("{}{line}: {reason}", file.display()));
    } else if !format.json {
        out.line(format_args!("{}: good", file.display()))?;
    }
    if format.json {
        out.json(&ConfigCheck { file, good, line, reason, warnings })?;
    }
    Ok(good.into())
}

/// Looks at the files that the configuration names, as `serve` does when it starts. Warnings, or
/// what is wrong.
fn check_surroundings(config: &Config) -> Result<Vec<String>, String> {
    let directory = services::check_temporary_directory(config).err().map(|error| {
        let reason = anyhow::Error::new(error);
        format!("temporary_directory: {reason:#}; messages above 256 KiB are deferred until one can be made")
    });
    services::check_next_hop(config).map_err(|error| error.to_string())?;
    if config.log.format == LogFormat::Journald {
        Journal::open().map_err(|error| error.to_string())?;
    }
    let warning = match &config.tls {
        Some(settings) => {
            tls::check_tls(settings).map_err(|error| format!("tls: {:#}", anyhow::Error::new(error)))?
        }
        None => None,
    };
    Ok(directory.into_iter().chain(warning).chain(server::warnings(config)).collect())
}

const CHECK_HELP: &str = "\
Exit code 0 if it is good, 1 if something in it is wrong, 2 if it cannot be read.
JSON:   {\"file\", \"good\": true|false, \"line\": ...|null, \"reason\": ...|null, \"warnings\": [...]}

Example:
  sixgate --config ./sixgate.toml config check";
