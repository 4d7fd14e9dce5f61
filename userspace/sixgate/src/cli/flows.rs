//! `sixgate flows`: the sessions that the XDP program refuses by itself, as they are now.
//!
//! It owns the forms of output only.

use std::time::Duration;

use clap::Args;
use humantime_serde::re::humantime::format_duration;
use serde::Serialize;
use sixgate_common::refuse::{Phase, Reason};

use super::{CliError, Exit, Format, Output};
use sixgate_dataplane::{FlowRecord, FlowState};

use crate::{config::Config, control::Control, kernel_facts::KernelFacts};

/// The arguments of `sixgate flows`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Flows {
    /// Tags for the daemon and sessions that are over, too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct FlowRow {
    source: std::net::Ipv6Addr,
    source_port: u16,
    destination: std::net::Ipv6Addr,
    reason: &'static str,
    state: &'static str,
    commands: u16,
    age_seconds: u64,
}

pub(super) fn run(
    command: &Flows,
    config: &Config,
    control: &Control,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let mut records = KernelFacts::new(config, control).flows()?;
    records.retain(|record| command.all || matches!(record.state, FlowState::Live(_)));
    out.list(command.format, "flows", records.iter().map(listed), text)
}

fn listed(record: &FlowRecord) -> FlowRow {
    FlowRow {
        source: *record.source.ip(),
        source_port: record.source.port(),
        destination: *record.destination.ip(),
        reason: match record.reason {
            Reason::NotOptedIn => "not_opted_in",
            Reason::NoPtr => "no_ptr",
        },
        state: state_name(record.state),
        commands: record.commands,
        age_seconds: record.age.as_secs(),
    }
}

fn text(listed: &FlowRow) -> String {
    let FlowRow { source, source_port, destination, reason, state, commands, age_seconds } = listed;
    let age = format_duration(Duration::from_secs(*age_seconds));
    format!("[{source}]:{source_port} {destination} {reason} {state} {commands} {age}")
}

const fn state_name(state: FlowState) -> &'static str {
    match state {
        FlowState::Tag => "tag",
        FlowState::Over => "over",
        FlowState::Live(Phase::Connected) => "connected",
        FlowState::Live(Phase::Greeted) => "greeted",
        FlowState::Live(Phase::Mail) => "mail",
        FlowState::Live(Phase::Rejected) => "rejected",
        FlowState::Live(Phase::Closing) => "closing",
        FlowState::Live(Phase::Resumed) => "resumed",
    }
}

const HELP: &str = "\
The oldest come first. A session that its client left without closing the connection stays until
another one needs its slot.
States: connected, greeted, mail, rejected (greeted with a refusal), closing, resumed (its slot had
        been taken, and the client went on); with --all also tag
        (the daemon refuses it) and over (what comes late is still answered).
Lines:  [SOURCE]:PORT DESTINATION not_opted_in|no_ptr STATE COMMANDS AGE
JSON:   {\"flows\": [{\"source\", \"source_port\", \"destination\", \"reason\", \"state\", \"commands\",
         \"age_seconds\"}]}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_written_in_hours_minutes_and_seconds() {
        for (age, wanted) in [(0, "0s"), (59, "59s"), (60, "1m"), (3725, "1h 2m 5s"), (10_800, "3h")] {
            let record = FlowRecord {
                source: "[2001:db8:1::2]:40000".parse().unwrap(),
                destination: "[2001:db8::99]:25".parse().unwrap(),
                reason: Reason::NoPtr,
                state: FlowState::Live(Phase::Mail),
                commands: 3,
                age: Duration::from_secs(age),
            };
            let line = format!("[2001:db8:1::2]:40000 2001:db8::99 no_ptr mail 3 {wanted}");
            assert_eq!(text(&listed(&record)), line);
        }
    }
}
