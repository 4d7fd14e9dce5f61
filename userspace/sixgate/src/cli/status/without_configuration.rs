//! `sixgate status` while the configuration has an error.

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;

use super::{Status, no_daemon, print_daemon};
use crate::{
    cli::{CliError, Exit, Output},
    config::{Config, ConfigError},
    kernel_facts::kernel_settings,
    server::{self, DaemonStatus, Request, Response},
};

/// The report where the configuration has an error: the daemon's report of itself and, where the
/// pins are at their usual path, the settings of the kernel.
#[derive(Serialize)]
struct WithoutConfiguration {
    problems: Vec<String>,
    kernel: BTreeMap<String, String>,
    daemon: Option<DaemonStatus>,
}

/// The status while the configuration cannot be used: exit code 1, as for each other problem.
pub(in crate::cli) fn run_without_configuration(
    command: Status,
    file: &Path,
    error: ConfigError,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let reason = anyhow::Error::new(error);
    let (pins, socket) = (Config::pins_of(file), Config::control_socket_of(file));
    let mut document = WithoutConfiguration {
        problems: vec![format!("the configuration has an error: {reason:#}; see `sixgate config check`")],
        kernel: kernel_settings(&pins, &socket),
        daemon: None,
    };
    match server::ask(&socket, Request::Status) {
        Ok(Response::Status(daemon)) => {
            document.problems.extend(daemon.problems.iter().cloned());
            document.daemon = Some(*daemon);
        }
        Ok(Response::Reloaded(_) | Response::Identity(_) | Response::Overview(_)) => {
            return Err(CliError::OddAnswer);
        }
        Ok(Response::Refused { reason }) => {
            document.problems.push(format!("the daemon refused to report its status: {reason}"));
        }
        Err(error) => document.problems.push(no_daemon(error, None)),
    }
    if command.format.json {
        out.json(&document)?;
        return Ok(Exit::No);
    }
    print_daemon(document.daemon.as_ref(), "not running, or does not answer", out)?;
    if document.kernel.is_empty() {
        out.line(format_args!("kernel     unknown: no maps are pinned in {}", pins.display()))?;
    }
    for (key, value) in &document.kernel {
        out.line(format_args!("kernel     {key} {value}"))?;
    }
    document.problems.iter().for_each(|problem| out.note(problem));
    Ok(Exit::No)
}
