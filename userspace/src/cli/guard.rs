//! `sixgate guard`: destinations that are ours.
//!
//! It owns the forms of input and output only.

use std::net::Ipv6Addr;

use clap::Subcommand;
use ipnet::Ipv6Net;
use serde::Serialize;

use super::{CliError, Exit, Format, Output, edit};
use crate::{
    control::{Control, GuardOrigin},
    store::{Entry, Key, PrefixMap, parse_address, parse_prefix},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Guard destinations
    #[command(after_help = ADD_HELP)]
    Add {
        /// Prefixes, or addresses, which are prefixes of 128 bits
        #[arg(required = true, value_name = "PREFIX", value_parser = parse_prefix)]
        prefixes: Vec<Ipv6Net>,
    },
    /// Remove prefixes from the store, exactly as they are listed
    Remove {
        /// Prefixes, or addresses, which are prefixes of 128 bits
        #[arg(required = true, value_name = "PREFIX", value_parser = parse_prefix)]
        prefixes: Vec<Ipv6Net>,
    },
    /// List what is guarded now, sorted by address
    #[command(after_help = LIST_HELP)]
    List {
        #[command(flatten)]
        format: Format,
    },
    /// Say whether a destination is guarded, and by which prefix
    #[command(after_help = CHECK_HELP)]
    Check {
        /// The destination
        #[arg(value_parser = parse_address)]
        address: Ipv6Addr,
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Serialize)]
struct List {
    guard: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    prefix: Ipv6Net,
    origin: &'static str,
}

#[derive(Serialize)]
struct Check {
    address: Ipv6Addr,
    guarded: bool,
    prefix: Option<Ipv6Net>,
    origin: Option<&'static str>,
}

pub(super) fn run(command: Command, control: &Control, out: &mut Output<'_>) -> Result<Exit, CliError> {
    match command {
        Command::Add { prefixes } => edit::add(control, prefixes.into_iter().map(Entry::Guard), out),
        Command::Remove { prefixes } => edit::remove(control, prefixes.into_iter().map(Key::Guard), out),
        Command::List { format } => list(control, format, out),
        Command::Check { address, format } => check(control, address, format, out),
    }
}

fn list(control: &Control, format: Format, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let guarded = control.guard()?;
    if format.json {
        let guard = guarded.iter().map(|(prefix, origin)| Listed { prefix: *prefix, origin: origin.word() });
        out.json(&List { guard: guard.collect() })?;
    } else {
        for (prefix, origin) in guarded {
            out.line(format_args!("{prefix} {}", origin.word()))?;
        }
    }
    Ok(Exit::Done)
}

fn check(
    control: &Control,
    address: Ipv6Addr,
    format: Format,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let guarded: PrefixMap<GuardOrigin> = control.guard()?.into_iter().collect();
    let found = guarded.longest_match(address).map(|(prefix, origin)| (prefix, origin.word()));
    let (prefix, origin) = found.unzip();
    if format.json {
        out.json(&Check { address, guarded: found.is_some(), prefix, origin })?;
    } else {
        out.line(match found {
            Some((prefix, origin)) => format!("{address} is guarded, by {prefix} ({origin})"),
            None => format!("{address} is not guarded: no prefix holds it"),
        })?;
    }
    Ok(if found.is_some() { Exit::Done } else { Exit::No })
}

const ADD_HELP: &str = "\
The XDP program refuses only what is guarded. With `guard = \"auto\"` the global addresses of the
attached interfaces are guarded without being added: add what is routed through this host.

Example:
  sixgate guard add 2001:db8:25::/64";

const LIST_HELP: &str = "\
Lines:  PREFIX store|interface
JSON:   {\"guard\": [{\"prefix\", \"origin\": \"store\"|\"interface\"}]}";

const CHECK_HELP: &str = "\
Exit code 0 if it is guarded, 1 if not.
JSON:   {\"address\", \"guarded\": true|false, \"prefix\": ...|null, \"origin\": \"store\"|\"interface\"|null}";
