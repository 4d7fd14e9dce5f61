//! `sixgate undo`: makes the entries of one change as they were before it.
//!
//! It owns the forms of input and output only.

use clap::Args;

use super::{CliError, Exit, Output, arguments::change_id, edit::Replacing, outcomes, progress};
use crate::{control::Control, store::Undo as Reversal};

/// The arguments of `sixgate undo`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Undo {
    /// The ID of the change, as `sixgate audit` prints it
    #[arg(value_name = "ID", value_parser = change_id)]
    id: u64,
    /// Undo it although later changes concern the same entries
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    how: Replacing,
}

impl Undo {
    pub(super) const fn is_dry_run(&self) -> bool {
        self.how.is_dry_run()
    }
}

pub(super) fn run(command: &Undo, control: &Control, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let Undo { id, force, how } = *command;
    let consent = how.consent();
    let outcomes = progress::shown(how.quiet, |progress| {
        control.change(consent, |edit| {
            edit.report_to(progress);
            edit.undo(Reversal { number: id, force, consent })
        })
    })?;
    if outcomes.is_empty() {
        out.note(format_args!("nothing to undo: the entries of change {id} are as they were before it"));
        return Ok(Exit::No);
    }
    if how.quiet {
        outcomes::warn_of_maps(control, out);
        return Ok(Exit::Done);
    }
    outcomes::report(control, &outcomes, out)
}

const HELP: &str = "\
The undo is a change of its own, with an ID, and can be undone. If later changes concern the same
entries, they are named, and nothing is changed without --force. An undo of more than 10 entries
leaves no list empty without --allow-empty, and takes no more than half of its entries away without
--allow-shrink. Changes whose entries are not kept any more, and a store's first change, cannot be
undone.

Exit code 0 if something was undone, 1 if the entries are as they were before the change.

Examples:
  sixgate audit --since 1d
  sixgate undo 12 --dry-run";
