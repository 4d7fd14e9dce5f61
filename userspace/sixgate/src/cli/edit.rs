//! The common part of the commands that change a set: they change the store and report the outcome
//! for each entry.
//!
//! The kinds of entries are defined by the modules of the sets.

use std::{fs::File, io, path::PathBuf};

use clap::Args;
use ipnet::Ipv6Net;

use super::{CliError, Exit, Output, progress};
use sixgate_base::bounded;

use crate::{
    control::Control,
    store::{
        Consent, DOUBTS_MAX, Edit, EditOutcome, EntryKey, ListError, Replaced, StoreEntry, StoreError,
        parse_prefix,
    },
};

/// For commands that change a set of prefixes.
#[derive(Debug, Args)]
pub(super) struct Prefixes {
    /// Prefixes, or addresses, which are prefixes of 128 bits
    #[arg(required = true, value_name = "PREFIX", value_parser = parse_prefix)]
    pub(super) prefixes: Vec<Ipv6Net>,
}

/// For commands that may leave an empty set.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct AllowEmpty {
    /// Allow a change after which nothing takes mail
    #[arg(long)]
    allow_empty: bool,
}

impl AllowEmpty {
    pub(super) const fn consent(self) -> Consent {
        Consent { empty: self.allow_empty, shrink: false }
    }
}

/// For commands that replace a whole set by a list.
#[derive(Debug, Args)]
pub(super) struct Load {
    /// One entry a line; `-` for standard input
    file: PathBuf,
    #[command(flatten)]
    how: Replacing,
}

/// How a set is replaced.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Replacing {
    /// Accept an empty list
    #[arg(long)]
    allow_empty: bool,
    /// Accept a list that removes more than half of the entries
    #[arg(long)]
    allow_shrink: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(super) quiet: bool,
}

/// Adds entries; what is there already is fine.
pub(super) fn add(
    control: &Control,
    consent: Consent,
    entries: impl Iterator<Item = StoreEntry>,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let outcomes = control.change(consent, |edit| entries.map(|entry| edit.add(entry)).collect())?;
    report(control, outcomes, out)
}

/// Removes entries; those that are not there are named.
pub(super) fn remove(
    control: &Control,
    consent: Consent,
    keys: impl Iterator<Item = EntryKey>,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let outcomes = control.change(consent, |edit| keys.map(|key| edit.remove(key)).collect())?;
    report(control, outcomes, out)
}

/// Warns that the store alone has the change, where the maps are to have it and something prevents
/// that.
pub(super) fn warn_of_maps(control: &Control, out: &mut Output<'_>) {
    // the change is made: `sixgate status` reports what cannot be found out here
    if let Ok(Some(reason)) = control.unreached() {
        out.note(format_args!("warning: the BPF maps did not take it, the opt-in store has it: {reason}"));
    }
}

/// One line for each outcome; no, if something was not there.
pub(super) fn report(
    control: &Control,
    outcomes: Vec<EditOutcome>,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    warn_of_maps(control, out);
    let mut exit = Exit::Done;
    for outcome in &outcomes {
        match outcome {
            EditOutcome::Missing(_) => {
                exit = Exit::No;
                out.note(outcome);
            }
            _ => out.line(outcome)?,
        }
    }
    warn(&outcomes, out);
    Ok(exit)
}

/// Warns of entries in the store that are likely not meant.
fn warn(outcomes: &[EditOutcome], out: &mut Output<'_>) {
    let entries = outcomes.iter().filter_map(|outcome| match outcome {
        EditOutcome::Added(entry) | EditOutcome::Changed(entry) | EditOutcome::Unchanged(entry) => {
            Some(entry)
        }
        EditOutcome::Removed(_) | EditOutcome::Missing(_) => None,
    });
    for doubt in entries.filter_map(StoreEntry::doubt).take(DOUBTS_MAX) {
        out.note(format_args!("warning: {doubt}"));
    }
}

/// Replaces a set by a list: reads it by `parse`, puts it in by `replace`.
pub(super) fn load<T>(
    control: &Control,
    Load { file, how }: Load,
    parse: impl FnOnce(&[u8]) -> Result<T, ListError>,
    replace: impl FnOnce(&mut Edit<'_>, T, Consent) -> Result<Replaced, StoreError>,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let consent = how.consent();
    let replaced = progress::shown(how.quiet, |progress| {
        let octets = read(&file)?;
        let wanted = parse(&octets).map_err(|problem| CliError::List { file, problem })?;
        drop(octets);
        let replaced = control.change(consent, |edit| {
            edit.report_to(progress);
            replace(edit, wanted, consent)
        })?;
        Ok::<_, CliError>(replaced)
    })?;
    how.report(control, &replaced, out)
}

impl Replacing {
    pub(super) const fn consent(self) -> Consent {
        Consent { empty: self.allow_empty, shrink: self.allow_shrink }
    }

    /// A line for each entry that differs, and a summary.
    pub(super) fn report(
        self,
        control: &Control,
        replaced: &Replaced,
        out: &mut Output<'_>,
    ) -> Result<Exit, CliError> {
        warn_of_maps(control, out);
        if self.quiet {
            return Ok(Exit::Done);
        }
        warn(&replaced.outcomes, out);
        let Replaced { outcomes, unchanged, total } = replaced;
        outcomes.iter().try_for_each(|outcome| out.line(outcome))?;
        let count =
            |which: fn(&EditOutcome) -> bool| outcomes.iter().filter(|outcome| which(outcome)).count();
        let added = count(|outcome| matches!(outcome, EditOutcome::Added(_)));
        let changed = count(|outcome| matches!(outcome, EditOutcome::Changed(_)));
        let removed = count(|outcome| matches!(outcome, EditOutcome::Removed(_)));
        out.line(format_args!(
            "{added} added, {changed} changed, {removed} removed, {unchanged} unchanged, {total} in all"
        ))?;
        Ok(Exit::Done)
    }
}

/// All octets of a file, or of standard input for `-`.
pub(super) fn read(file: &std::path::Path) -> Result<Vec<u8>, CliError> {
    let read = if file.as_os_str() == "-" {
        bounded::read_to_end(io::stdin(), LIST_MAX)
    } else {
        File::open(file).and_then(|opened| bounded::read_to_end(opened, LIST_MAX))
    };
    read.map_err(|source| CliError::ReadList { file: file.to_owned(), source })
}

/// Longest list, in octets.
const LIST_MAX: u64 = 512 << 20;

/// Help of all lists.
pub(super) const LOAD_RULES: &str = "\
An empty list is refused without --allow-empty, and one that removes more than half of the entries,
or no longer opts them in, without --allow-shrink: a pipe that failed looks the same.";
