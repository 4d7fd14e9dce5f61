//! The result of a change, or of a dry run: a line for each entry, and counts.
//!
//! It changes nothing.

use clap::Args;

use super::{CliError, Exit, Output};
use crate::{
    control::Control,
    store::{DOUBTS_MAX, EditOutcome, Replaced, StoreEntry},
};

/// For commands that change something.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct DryRun {
    /// Make every check and print what would change, but change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

impl DryRun {
    /// The text for a change that was made, or for one that was only tried.
    pub(super) const fn either<'a>(self, done: &'a str, tried: &'a str) -> &'a str {
        if self.dry_run { tried } else { done }
    }

    /// Ends the output: in a dry run with a line that nothing was changed.
    pub(super) fn end(self, out: &mut Output<'_>) -> Result<Exit, CliError> {
        if self.dry_run {
            out.line(DRY_RUN)?;
        }
        Ok(Exit::Done)
    }
}

/// How many entries of each kind of outcome there are.
#[derive(Clone, Copy, Debug, Default)]
struct OutcomeCounts {
    added: usize,
    changed: usize,
    removed: usize,
}

impl OutcomeCounts {
    fn of(outcomes: &[EditOutcome]) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            match outcome {
                EditOutcome::Added(_) => counts.added += 1,
                EditOutcome::Changed(_) => counts.changed += 1,
                EditOutcome::Removed(_) => counts.removed += 1,
                EditOutcome::Unchanged(_) | EditOutcome::Missing(_) => {}
            }
        }
        counts
    }
}

/// Warns that the store alone has the change, where the maps are to have it and something prevents
/// that.
pub(super) fn warn_of_maps(control: &Control, out: &mut Output<'_>) {
    // the change is made: `sixgate status` reports what cannot be found out here
    if let Ok(Some(reason)) = control.unreached() {
        out.note(match control.is_dry_run() {
            true => format!("warning: the BPF maps would not take it, only the opt-in store: {reason}"),
            false => format!("warning: the BPF maps did not take it, the opt-in store has it: {reason}"),
        });
    }
}

/// One line for each outcome; no, if something was not there.
pub(super) fn report(
    control: &Control,
    outcomes: &[EditOutcome],
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    warn_of_maps(control, out);
    let mut exit = Exit::Done;
    for missing in outcomes.iter().filter(|outcome| matches!(outcome, EditOutcome::Missing(_))) {
        exit = Exit::No;
        out.note(missing);
    }
    let others = outcomes.iter().filter(|outcome| !matches!(outcome, EditOutcome::Missing(_)));
    print_lines(control, others, out)?;
    if control.is_dry_run() {
        let OutcomeCounts { added, changed, removed } = OutcomeCounts::of(outcomes);
        out.line(format_args!("{DRY_RUN}: {added} to add, {changed} to change, {removed} to remove"))?;
    }
    warn(outcomes, out);
    Ok(exit)
}

/// A line for each entry that differs, and a summary.
pub(super) fn report_replaced(
    control: &Control,
    quiet: bool,
    replaced: &Replaced,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    warn_of_maps(control, out);
    if quiet {
        return Ok(Exit::Done);
    }
    let Replaced { outcomes, unchanged, total } = replaced;
    warn(outcomes, out);
    print_lines(control, outcomes.iter(), out)?;
    let OutcomeCounts { added, changed, removed } = OutcomeCounts::of(outcomes);
    if control.is_dry_run() {
        out.line(format_args!(
            "{DRY_RUN}: {added} to add, {changed} to change, {removed} to remove, {unchanged} unchanged, {total} in all"
        ))?;
    } else {
        out.line(format_args!(
            "{added} added, {changed} changed, {removed} removed, {unchanged} unchanged, {total} in all"
        ))?;
    }
    Ok(Exit::Done)
}

fn print_lines<'a>(
    control: &Control,
    outcomes: impl Iterator<Item = &'a EditOutcome>,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    if !control.is_dry_run() {
        for outcome in outcomes {
            out.line(outcome)?;
        }
        return Ok(());
    }
    let mut outcomes = outcomes;
    for outcome in outcomes.by_ref().take(DRY_RUN_LINES) {
        out.line(outcome.planned())?;
    }
    match outcomes.count() {
        0 => Ok(()),
        more => out.line(format_args!("and {more} more")),
    }
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

/// Begins the last line of a dry run.
pub(super) const DRY_RUN: &str = "dry run, nothing was changed";
/// Entries that a dry run prints.
const DRY_RUN_LINES: usize = 100;
