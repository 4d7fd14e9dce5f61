//! `sixgate ptr`: DNS results about senders, as the XDP program knows them.
//!
//! It owns the forms of input and output only. DNS is never asked here.

use std::{net::Ipv6Addr, time::Duration};

use clap::{Subcommand, ValueEnum};
use humantime_serde::re::humantime::format_duration;
use serde::Serialize;

use super::{CliError, Exit, Format, Output, arguments, outcomes::DryRun, output::Lookup};
use sixgate_dataplane::{Maps, PtrOrigin, PtrRecord, PtrState};

use crate::{
    config::Config,
    control::Control,
    kernel_facts::{FactsError, KernelFacts},
    store::parse_address,
};

#[derive(Debug, Subcommand)]
pub(super) enum PtrCommand {
    /// List all entries that still hold, sorted by address
    #[command(after_help = LIST_HELP)]
    List(Format),
    /// Show the PTR result of a sender
    #[command(after_help = GET_HELP)]
    Get(Lookup),
    /// Set what is known about a sender, without asking DNS
    #[command(after_help = SET_HELP)]
    Set {
        /// The sender's IPv6 address
        #[arg(value_parser = parse_address)]
        address: Ipv6Addr,
        /// Whether it has a PTR record
        state: PtrStateArgument,
        /// For how long, at most a day
        #[arg(long = "for", value_name = "DURATION", default_value = "15m", value_parser = parse_lifetime)]
        lifetime: Duration,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Forget what is known about senders: DNS is asked anew
    Remove {
        /// The senders' IPv6 addresses
        #[arg(required = true, value_name = "ADDRESS", value_parser = parse_address)]
        addresses: Vec<Ipv6Addr>,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Remove all results
    Flush(DryRun),
}

/// Whether there is a PTR record.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum PtrStateArgument {
    /// It has one
    Exists,
    /// It has none: the sender is refused
    Absent,
}

#[derive(Serialize)]
struct PtrRow {
    address: Ipv6Addr,
    state: &'static str,
    origin: &'static str,
    remaining_seconds: u64,
}

pub(super) fn run(
    command: PtrCommand,
    config: &Config,
    control: &Control,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let facts = KernelFacts::new(config, control);
    match command {
        PtrCommand::List(format) => out.list(format, "ptr", facts.ptr_records()?.iter().map(listed), text),
        PtrCommand::Get(lookup) => get(&facts, lookup, out),
        command => change(command, control, out),
    }
}

fn change(command: PtrCommand, control: &Control, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let maps = control.maps().map_err(|error| match error.is_about_rights() {
        true => CliError::MapsAreClosed { source: error },
        false => error.into(),
    })?;
    let mut maps = maps.ok_or(FactsError::NotAttached)?;
    match command {
        PtrCommand::Set { address, state, lifetime, dry } => {
            let state = match state {
                PtrStateArgument::Exists => PtrState::Exists,
                PtrStateArgument::Absent => PtrState::Absent,
            };
            if !dry.dry_run {
                maps.ptr_set(address, state, PtrOrigin::Command, lifetime)?;
            }
            let done = dry.either("set", "would set");
            out.line(format_args!(
                "{done} {address} {} for {}",
                state_name(state),
                format_duration(lifetime)
            ))?;
            dry.end(out)
        }
        PtrCommand::Remove { addresses, dry } => remove(&mut maps, &addresses, dry, out),
        PtrCommand::Flush(dry) => {
            let count = if dry.dry_run { maps.ptr_list()?.len() } else { maps.ptr_flush()? };
            out.line(format_args!("{} {count}", dry.either("removed", "would remove")))?;
            dry.end(out)
        }
        // they change nothing: `run`
        PtrCommand::List(_) | PtrCommand::Get(_) => Ok(Exit::Done),
    }
}

fn get(
    facts: &KernelFacts<'_>,
    Lookup { address, format }: Lookup,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let Some(record) = facts.ptr_record(address)? else {
        out.note(format_args!("nothing is known about {address}"));
        if format.json {
            out.json(&None::<PtrRow>)?;
        }
        return Ok(Exit::No);
    };
    let listed = listed(&record);
    out.answer(format, &listed, text(&listed))?;
    Ok(Exit::Done)
}

fn remove(
    maps: &mut Maps,
    addresses: &[Ipv6Addr],
    dry: DryRun,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let mut exit = Exit::Done;
    for address in addresses {
        let was_there =
            if dry.dry_run { maps.ptr_get(*address)?.is_some() } else { maps.ptr_remove(*address)? };
        if was_there {
            out.line(format_args!("{} {address}", dry.either("removed", "would remove")))?;
        } else {
            exit = Exit::No;
            out.note(format_args!("not there: {address}"));
        }
    }
    dry.end(out)?;
    Ok(exit)
}

fn listed(record: &PtrRecord) -> PtrRow {
    PtrRow {
        address: record.address,
        state: state_name(record.state),
        origin: origin(record.origin),
        remaining_seconds: record.remaining.as_secs(),
    }
}

fn text(listed: &PtrRow) -> String {
    let PtrRow { address, state, origin, remaining_seconds } = listed;
    format!("{address} {state} {origin} {}", format_duration(Duration::from_secs(*remaining_seconds)))
}

const fn state_name(state: PtrState) -> &'static str {
    match state {
        PtrState::Exists => "exists",
        PtrState::Absent => "absent",
    }
}

const fn origin(origin: PtrOrigin) -> &'static str {
    match origin {
        PtrOrigin::Dns => "dns",
        PtrOrigin::Command => "command",
    }
}

fn parse_lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = arguments::duration(text)?;
    if lifetime.is_zero() || lifetime > LIFETIME_MAX {
        return Err("it must be above zero and at most a day".to_owned());
    }
    Ok(lifetime)
}

/// Longest lifetime that can be set; as long as a record of DNS is believed at most.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

const LIST_HELP: &str = "\
Lines:  ADDRESS exists|absent dns|command REMAINING
JSON:   {\"ptr\": [{\"address\", \"state\": \"exists\"|\"absent\", \"origin\": \"dns\"|\"command\",
          \"remaining_seconds\"}]}
A result of DNS is replaced by a later one; a result set by a command stays until it expires.";

const GET_HELP: &str = "\
Exit code 0 if something is known, 1 if not.
JSON:   {\"address\", \"state\": \"exists\"|\"absent\", \"origin\": \"dns\"|\"command\",
         \"remaining_seconds\"}, or null";

const SET_HELP: &str = "\
Examples:
  sixgate ptr set 2001:db8:bad::1 absent            refused from its next connection on
  sixgate ptr set 2001:db8:10::1 exists --for 2h";
