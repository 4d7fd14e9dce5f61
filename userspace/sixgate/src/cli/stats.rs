//! `sixgate stats`: the XDP program's counters, once or as rates.
//!
//! The daemon's own counters are in the metrics file, not here.

use std::{
    fs::File,
    io::{self, IsTerminal},
    path::Path,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use sixgate_common::stat::Stat;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use super::{CliError, Exit, Format, Output};
use crate::{config::Config, control::Control, kernel_facts::KernelFacts};

/// The arguments of `sixgate stats`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Stats {
    /// Show how much is counted in a second, every SECONDS (1 to 3600) anew, until Ctrl-C
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "1",
        value_parser = clap::value_parser!(u64).range(1..=3600),
        conflicts_with = "json"
    )]
    watch: Option<u64>,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct StatsDocument<'a> {
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
    let facts = KernelFacts::new(config, control);
    if let Some(seconds) = command.watch {
        return watch(Duration::from_secs(seconds), &facts, out);
    }
    let counters = facts.counters()?.into_iter();
    let counters: Vec<Counter> = counters
        .map(|(stat, value)| Counter { name: stat.name(), value, help: stat.help().trim() })
        .collect();
    let metrics_file = config.metrics.file.as_deref().filter(|file| File::open(file).is_ok());
    if command.format.json {
        out.json(&StatsDocument { counters, metrics_file })?;
        return Ok(Exit::Done);
    }
    for Counter { name, value, help } in counters {
        out.line(format_args!("{name:<24} {value:>12}  {help}"))?;
    }
    if let Some(file) = metrics_file {
        out.note(format_args!("the daemon's counters are in {}", file.display()));
    }
    Ok(Exit::Done)
}

/// Shows rates until SIGINT.
fn watch(pause: Duration, facts: &KernelFacts<'_>, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let failed = |source| CliError::Runtime { source };
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let form = if io::stdout().is_terminal() { RateDisplay::Screen } else { RateDisplay::Lines };
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut ticks = interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut before, mut at) = (facts.counters()?, Instant::now());
        // the first tick comes at once
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = interrupt.recv() => return Ok(Exit::Done),
                _ = ticks.tick() => {}
            }
            let (after, now) = (facts.counters()?, Instant::now());
            show(&rates(&before, &after, now - at), form, out)?;
            (before, at) = (after, now);
        }
    })
}

/// How rates are shown.
#[derive(Clone, Copy)]
enum RateDisplay {
    /// In place of the last ones.
    Screen,
    /// Below the last ones.
    Lines,
}

/// One counter that is not zero.
#[derive(Debug, PartialEq)]
struct Rate {
    name: &'static str,
    per_second: f64,
    value: u64,
}

/// Counters that are smaller than before were made anew meanwhile.
fn rates(before: &[(Stat, u64)], after: &[(Stat, u64)], elapsed: Duration) -> Vec<Rate> {
    let seconds = elapsed.as_secs_f64().max(f64::EPSILON);
    let rate = |((_, before), (stat, value)): (&(Stat, u64), &(Stat, u64))| {
        let counted = value.checked_sub(*before).unwrap_or(*value);
        // no counter is so great that its difference within a second is not exact
        Rate { name: stat.name(), per_second: counted as f64 / seconds, value: *value }
    };
    before.iter().zip(after).map(rate).filter(|rate| rate.value > 0).collect()
}

fn show(rates: &[Rate], form: RateDisplay, out: &mut Output<'_>) -> Result<(), CliError> {
    if matches!(form, RateDisplay::Screen) {
        out.line(format_args!("{CLEAR}{:<24} {:>12} {:>14}", "counter", "per second", "in all"))?;
    }
    for Rate { name, per_second, value } in rates {
        match form {
            RateDisplay::Screen => out.line(format_args!("{name:<24} {per_second:>12.1} {value:>14}"))?,
            RateDisplay::Lines if *per_second > 0.0 => {
                out.line(format_args!("{name} {per_second:.1} {value}"))?
            }
            RateDisplay::Lines => {}
        }
    }
    out.flush()
}

/// Cursor to the upper left, and everything away (ECMA-48 CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[2J";

const HELP: &str = "\
One counter is raised for each packet, so that their sum is the number of packets seen; those that
begin with `also_` are raised beside another one.
Lines:  NAME VALUE HELP; with --watch NAME PER-SECOND VALUE: on a terminal of all that are not zero,
        else of those that were raised
JSON:   {\"counters\": [{\"name\", \"value\", \"help\"}], \"metrics_file\": ...|null}
        metrics_file holds the daemon's counters";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_was_counted_in_a_second() {
        let counters = |values: [u64; 4]| -> Vec<(Stat, u64)> { Stat::ALL.into_iter().zip(values).collect() };
        let found = rates(&counters([0, 10, 7, 50]), &counters([0, 30, 7, 4]), Duration::from_secs(2));
        let found: Vec<(&str, f64, u64)> =
            found.iter().map(|rate| (rate.name, rate.per_second, rate.value)).collect();
        let name = |at: usize| Stat::ALL[at].name();
        assert_eq!(found, [(name(1), 10.0, 30), (name(2), 0.0, 7), (name(3), 2.0, 4)]);
    }
}
