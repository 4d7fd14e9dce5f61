//! `sixgate guard`: destinations that are ours.
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
    config::Config,
    control::{Control, GuardOrigin},
    kernel_facts::KernelFacts,
    store::{Consent, EntryKey, ListKind, PrefixMap, StoreEntry},
};

#[derive(Debug, Subcommand)]
pub(super) enum GuardCommand {
    /// Add prefixes of destinations that are ours
    #[command(after_help = ADD_HELP)]
    Add(Prefixes),
    /// Remove prefixes from the store, exactly as they are listed
    Remove(Prefixes),
    /// List what is guarded now, sorted by address
    #[command(after_help = LIST_HELP)]
    List(Format),
    /// Print the whole list for a file, in text, CSV or JSON
    #[command(after_help = export::help(ListKind::Guard))]
    Export(ExchangeFormat),
    /// Replace the whole set by a list, and print what was added and removed
    #[command(after_help = load_help())]
    Load(Load),
    /// Show whether a destination is guarded, and by which prefix
    #[command(after_help = CHECK_HELP)]
    Check(Lookup),
}

#[derive(Serialize)]
struct GuardRow {
    prefix: Ipv6Net,
    origin: &'static str,
}

#[derive(Serialize)]
struct GuardCheck {
    address: Ipv6Addr,
    guarded: bool,
    prefix: Option<Ipv6Net>,
    origin: Option<&'static str>,
}

impl GuardCommand {
    pub(super) const fn is_dry_run(&self) -> bool {
        match self {
            Self::Add(prefixes) | Self::Remove(prefixes) => prefixes.dry.dry_run,
            Self::Load(load) => load.is_dry_run(),
            Self::List(_) | Self::Export(_) | Self::Check(_) => false,
        }
    }
}

pub(super) fn run(
    command: GuardCommand,
    config: &Config,
    control: &Control,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let facts = KernelFacts::new(config, control);
    match command {
        GuardCommand::Add(Prefixes { prefixes, .. }) => {
            edit::add(control, Consent::default(), prefixes.into_iter().map(StoreEntry::Guard), out)
        }
        GuardCommand::Remove(Prefixes { prefixes, .. }) => remove(control, prefixes, out),
        GuardCommand::List(format) => list(&facts, format, out),
        GuardCommand::Export(format) => export(control, ListKind::Guard, format, out),
        GuardCommand::Load(load) => edit::load(control, ListKind::Guard, load, out),
        GuardCommand::Check(lookup) => check(&facts, lookup, out),
    }
}

/// Removes prefixes of the store. Of an interface's address, why it is guarded all the same.
fn remove(control: &Control, prefixes: Vec<Ipv6Net>, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let keys = prefixes.iter().copied().map(EntryKey::Guard);
    let exit = edit::remove(control, Consent::default(), keys, out)?;
    if exit == Exit::No || prefixes.iter().any(|prefix| prefix.prefix_len() == ADDRESS) {
        let guarded = control.guard()?;
        for prefix in &prefixes {
            if guarded.get(prefix) == Some(&GuardOrigin::Interface) {
                out.note(format_args!(
                    "{prefix} stays guarded: it is an address of an attached interface, and `guard` in [xdp] is \
                     \"auto\"; with `guard = \"store\"` only what `sixgate guard add` adds is guarded"
                ));
            }
        }
    }
    Ok(exit)
}

fn list(facts: &KernelFacts<'_>, format: Format, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let guarded = facts.guard()?.into_iter();
    let listed = guarded.map(|(prefix, origin)| GuardRow { prefix, origin: origin.name() });
    out.list(format, "guard", listed, |GuardRow { prefix, origin }| format!("{prefix} {origin}"))
}

fn check(
    facts: &KernelFacts<'_>,
    Lookup { address, format }: Lookup,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let guarded: PrefixMap<GuardOrigin> = facts.guard()?.into_iter().collect();
    let found = guarded.longest_match(address).map(|(prefix, origin)| (prefix, origin.name()));
    let line = match found {
        Some((prefix, origin)) => format!("{address} is guarded, by {prefix} ({origin})"),
        None => format!("{address} is not guarded: no prefix holds it"),
    };
    let (guarded, (prefix, origin)) = (found.is_some(), found.unzip());
    out.answer(format, &GuardCheck { address, guarded, prefix, origin }, line)?;
    Ok(guarded.into())
}

fn load_help() -> String {
    format!("{LOAD_HELP}\n\n{}\n{}", edit::LOAD_RULES, edit::FORMAT_RULES)
}

const LOAD_HELP: &str = "\
Lines are PREFIX, as `sixgate guard list` prints them; addresses of interfaces among them are left
out. `#` begins a comment. A bad line is named and nothing is changed.

Example:
  sixgate guard load guarded.txt";

/// Length of the prefix of one address.
const ADDRESS: u8 = 128;

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
