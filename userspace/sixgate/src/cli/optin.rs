//! `sixgate optin`: destinations that take mail over IPv6.
//!
//! It owns the forms of input and output only.

use std::net::Ipv6Addr;

use clap::Subcommand;
use ipnet::Ipv6Net;
use serde::Serialize;
use sixgate_common::dest::OptIn;

use super::{
    CliError, Exit, Format, Output,
    edit::{self, AllowEmpty, Load, Prefixes},
    export::{self, ExchangeFormat, export},
    output::Lookup,
};
use crate::{
    control::Control,
    store::{EntryKey, ListKind, StoreEntry},
};

#[derive(Debug, Subcommand)]
pub(super) enum OptinCommand {
    /// Opt destinations in
    #[command(after_help = ADD_HELP)]
    Add {
        /// Exclude them instead, from a shorter prefix that opted in
        #[arg(long)]
        out: bool,
        #[command(flatten)]
        prefixes: Prefixes,
        #[command(flatten)]
        allow: AllowEmpty,
    },
    /// Remove prefixes, opted in or excluded, exactly as they are listed
    #[command(after_help = REMOVE_HELP)]
    Remove {
        #[command(flatten)]
        prefixes: Prefixes,
        #[command(flatten)]
        allow: AllowEmpty,
    },
    /// List all prefixes, sorted by address
    #[command(after_help = LIST_HELP)]
    List(Format),
    /// Print the whole list for a file, in text, CSV or JSON
    #[command(after_help = export::help(ListKind::OptIn))]
    Export(ExchangeFormat),
    /// Replace the whole set by a list, and print what was added, changed and removed
    #[command(after_help = load_help())]
    Load(Load),
    /// Show whether a destination has opted in, and which prefix decides
    #[command(after_help = CHECK_HELP)]
    Check(Lookup),
}

#[derive(Serialize)]
struct OptinRow {
    prefix: Ipv6Net,
    decision: OptIn,
}

#[derive(Serialize)]
struct OptinCheck {
    address: Ipv6Addr,
    opted_in: bool,
    prefix: Option<Ipv6Net>,
    decision: Option<OptIn>,
}

impl OptinCommand {
    pub(super) const fn is_dry_run(&self) -> bool {
        match self {
            Self::Add { prefixes, .. } | Self::Remove { prefixes, .. } => prefixes.dry.dry_run,
            Self::Load(load) => load.is_dry_run(),
            Self::List(_) | Self::Export(_) | Self::Check(_) => false,
        }
    }
}

pub(super) fn run(command: OptinCommand, control: &Control, out: &mut Output<'_>) -> Result<Exit, CliError> {
    match command {
        OptinCommand::Add { out: exclude, prefixes: Prefixes { prefixes, .. }, allow } => {
            let decision = if exclude { OptIn::Out } else { OptIn::In };
            let entries = prefixes.into_iter().map(|prefix| StoreEntry::OptIn(prefix, decision));
            edit::add(control, allow.consent(), entries, out)
        }
        OptinCommand::Remove { prefixes: Prefixes { prefixes, .. }, allow } => {
            edit::remove(control, allow.consent(), prefixes.into_iter().map(EntryKey::OptIn), out)
        }
        OptinCommand::List(format) => list(control, format, out),
        OptinCommand::Export(format) => export(control, ListKind::OptIn, format, out),
        OptinCommand::Load(load) => edit::load(control, ListKind::OptIn, load, out),
        OptinCommand::Check(lookup) => check(control, lookup, out),
    }
}

fn list(control: &Control, format: Format, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let optin = control.store().open()?.optin()?;
    let entries = optin.entries().iter();
    let listed = entries.map(|(prefix, decision)| OptinRow { prefix: *prefix, decision: *decision });
    out.list(format, "optin", listed, |listed| StoreEntry::OptIn(listed.prefix, listed.decision).to_string())
}

fn check(
    control: &Control,
    Lookup { address, format }: Lookup,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let rule = control.store().open()?.optin_rule(address)?;
    let line = match rule {
        Some((prefix, OptIn::In)) => format!("{address} has opted in, by {prefix}"),
        Some((prefix, OptIn::Out)) => format!("{address} has not opted in: {prefix} is excluded"),
        None => format!("{address} has not opted in: no prefix holds it"),
    };
    let (prefix, decision) = rule.unzip();
    let opted_in = decision == Some(OptIn::In);
    out.answer(format, &OptinCheck { address, opted_in, prefix, decision }, line)?;
    Ok(opted_in.into())
}

fn load_help() -> String {
    format!("{LOAD_HELP}\n\n{}\n{}", edit::LOAD_RULES, edit::FORMAT_RULES)
}

const ADD_HELP: &str = "\
The longest prefix that holds a destination decides.

Examples:
  sixgate optin add 2001:db8::/32
  sixgate optin add --out 2001:db8:bad::/48    all of 2001:db8::/32, but not these
  sixgate optin add 2001:db8::25 2001:db8::26";

const REMOVE_HELP: &str = "\
Example:
  sixgate optin remove 2001:db8::/32";

const LIST_HELP: &str = "\
Lines:  PREFIX in|out
JSON:   {\"optin\": [{\"prefix\", \"decision\": \"in\"|\"out\"}]}";

const LOAD_HELP: &str = "\
Lines are PREFIX [in|out], as `sixgate optin list` prints them; `#` begins a comment. A bad line
is named and nothing is changed. Meanwhile no prefix is missing that is there before and after;
if both sets together do not fit into the map, the XDP program refuses nothing meanwhile.

Examples:
  sixgate optin load destinations.txt
  generate-list | sixgate optin load -";

const CHECK_HELP: &str = "\
Exit code 0 if it has opted in, 1 if not.
JSON:   {\"address\", \"opted_in\": true|false, \"prefix\": ...|null, \"decision\": \"in\"|\"out\"|null}";
