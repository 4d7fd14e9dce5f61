//! What the verbs of all sets have in common: change, and say what became of each entry.
//!
//! Which entries there are is the nouns' business.

use clap::Args;
use ipnet::Ipv6Net;

use super::{CliError, Exit, Output};
use crate::{
    control::Control,
    store::{Entry, Key, Outcome, parse_prefix},
};

/// For commands that change a set of prefixes.
#[derive(Debug, Args)]
pub(super) struct Prefixes {
    /// Prefixes, or addresses, which are prefixes of 128 bits
    #[arg(required = true, value_name = "PREFIX", value_parser = parse_prefix)]
    pub(super) prefixes: Vec<Ipv6Net>,
}

/// Adds entries; what is there already is fine.
pub(super) fn add(
    control: &Control,
    entries: impl Iterator<Item = Entry>,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let outcomes = control.change(|contents| entries.map(|entry| contents.add(entry)).collect())?;
    report(&outcomes, out)
}

/// Removes entries; those that are not there are named.
pub(super) fn remove(
    control: &Control,
    keys: impl Iterator<Item = Key>,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let outcomes = control.change(|contents| keys.map(|key| contents.remove(key)).collect())?;
    report(&outcomes, out)
}

/// One line for each outcome; no, if something was not there.
pub(super) fn report(outcomes: &[Outcome], out: &mut Output<'_>) -> Result<Exit, CliError> {
    let mut exit = Exit::Done;
    for outcome in outcomes {
        match outcome {
            Outcome::Missing(_) => {
                exit = Exit::No;
                out.note(outcome);
            }
            _ => out.line(outcome)?,
        }
    }
    Ok(exit)
}
