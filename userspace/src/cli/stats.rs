//! `sixgate stats`: the XDP program's counters.
//!
//! The daemon's own counters are in the metrics file, not here.

use std::{fs::File, path::Path};

use clap::Args;
use serde::Serialize;

use super::{CliError, Exit, Format, Output};
use crate::{config::Config, control::Control};

/// `sixgate stats`
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Stats {
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Document<'a> {
    counters: Vec<Counter>,
    metrics_file: Option<&'a Path>,
}

#[derive(Serialize)]
struct Counter {
    name: &'static str,
    value: u64,
    help: &'static str,
}

pub(super) fn run(
    command: Stats,
    config: &Config,
    control: &Control,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let maps = control.maps()?.ok_or(CliError::NotAttached)?;
    let counters = maps.stats()?.into_iter();
    let counters: Vec<Counter> = counters
        .map(|(stat, value)| Counter { name: stat.name(), value, help: stat.help().trim() })
        .collect();
    let metrics_file = config.metrics.file.as_deref().filter(|file| File::open(file).is_ok());
    if command.format.json {
        out.json(&Document { counters, metrics_file })?;
        return Ok(Exit::Done);
    }
    for Counter { name, value, help } in counters {
        out.line(format_args!("{name:<22} {value:>12}  {help}"))?;
    }
    if let Some(file) = metrics_file {
        out.note(format_args!("the daemon's counters are in {}", file.display()));
    }
    Ok(Exit::Done)
}

const HELP: &str = "\
One counter is raised for each packet, so that their sum is the number of packets seen; those that
begin with `also_` are raised beside another one.
Lines:  NAME VALUE HELP
JSON:   {\"counters\": [{\"name\", \"value\", \"help\"}], \"metrics_file\": ...|null}
        metrics_file holds the daemon's counters";
