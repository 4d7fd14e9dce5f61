//! `sixgate trust`: sources that are exempt.
//!
//! It owns the forms of input and output only.

use std::net::Ipv6Addr;

use clap::Subcommand;
use ipnet::Ipv6Net;
use serde::Serialize;

use super::{
    CliError, Exit, Format, Output,
    edit::{self, Load, Prefixes},
    export::{self, ExchangeFormat, export},
    output::Lookup,
};
use crate::{
    control::Control,
    store::{Consent, EntryKey, ListKind, StoreEntry},
};

#[derive(Debug, Subcommand)]
pub(super) enum TrustCommand {
    /// Add prefixes of sources that are exempt
    #[command(after_help = ADD_HELP)]
    Add(Prefixes),
    /// Remove prefixes, exactly as they are listed
    Remove(Prefixes),
    /// List all prefixes, sorted by address
    #[command(after_help = LIST_HELP)]
    List(Format),
    /// Print the whole list for a file, in text, CSV or JSON
    #[command(after_help = export::help(ListKind::Trust))]
    Export(ExchangeFormat),
    /// Replace the whole set by a list, and print what was added and removed
    #[command(after_help = load_help())]
    Load(Load),
    /// Show whether a source is exempt, and by which prefix
    #[command(after_help = CHECK_HELP)]
    Check(Lookup),
}

#[derive(Serialize)]
struct TrustRow {
    prefix: Ipv6Net,
}

#[derive(Serialize)]
struct TrustCheck {
    address: Ipv6Addr,
    trusted: bool,
    prefix: Option<Ipv6Net>,
}

impl TrustCommand {
    pub(super) const fn is_dry_run(&self) -> bool {
        match self {
            Self::Add(prefixes) | Self::Remove(prefixes) => prefixes.dry.dry_run,
            Self::Load(load) => load.is_dry_run(),
            Self::List(_) | Self::Export(_) | Self::Check(_) => false,
        }
    }
}

pub(super) fn run(command: TrustCommand, control: &Control, out: &mut Output<'_>) -> Result<Exit, CliError> {
    match command {
        TrustCommand::Add(Prefixes { prefixes, .. }) => {
            edit::add(control, Consent::default(), prefixes.into_iter().map(StoreEntry::Trust), out)
        }
        TrustCommand::Remove(Prefixes { prefixes, .. }) => {
            edit::remove(control, Consent::default(), prefixes.into_iter().map(EntryKey::Trust), out)
        }
        TrustCommand::List(format) => list(control, format, out),
        TrustCommand::Export(format) => export(control, ListKind::Trust, format, out),
        TrustCommand::Load(load) => edit::load(control, ListKind::Trust, load, out),
        TrustCommand::Check(lookup) => check(control, lookup, out),
    }
}

fn list(control: &Control, format: Format, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let trust = control.store().open()?.trust()?;
    let listed = trust.entries().keys().map(|prefix| TrustRow { prefix: *prefix });
    out.list(format, "trust", listed, |listed| listed.prefix.to_string())
}

fn check(
    control: &Control,
    Lookup { address, format }: Lookup,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let prefix = control.store().open()?.trust_rule(address)?;
    let line = match prefix {
        Some(prefix) => format!("{address} is trusted, by {prefix}"),
        None => format!("{address} is not trusted: no prefix holds it"),
    };
    let trusted = prefix.is_some();
    out.answer(format, &TrustCheck { address, trusted, prefix }, line)?;
    Ok(trusted.into())
}

fn load_help() -> String {
    format!("{LOAD_HELP}\n\n{}\n{}", edit::LOAD_RULES, edit::FORMAT_RULES)
}

const LOAD_HELP: &str = "\
Lines are PREFIX; `#` begins a comment. A bad line is named and nothing is changed.

Example:
  sixgate trust load trusted.txt";

const ADD_HELP: &str = "\
Trusted sources skip the destination's opt-in, PTR, SPF and DKIM; never the list of domains.

Example:
  sixgate trust add 2001:db8:10::/48";

const LIST_HELP: &str = "\
Lines:  PREFIX
JSON:   {\"trust\": [{\"prefix\"}]}";

const CHECK_HELP: &str = "\
Exit code 0 if it is trusted, 1 if not.
JSON:   {\"address\", \"trusted\": true|false, \"prefix\": ...|null}";
