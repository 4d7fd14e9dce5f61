//! The common part of the commands that change a list.
//!
//! The lists' own options are their modules' business, what is printed that of `outcomes`.

use std::{collections::BTreeMap, fs::File, io, path::PathBuf};

use clap::Args;
use ipnet::Ipv6Net;

use super::{
    CliError, Exit, Output,
    export::ExchangeFormat,
    outcomes::{DryRun, report, report_replaced},
    progress,
};
use sixgate_base::bounded;

use crate::{
    control::Control,
    store::{Consent, EntryKey, ListFormat, ListKind, StoreEntry, parse_listing, parse_prefix},
};

/// For commands that change a set of prefixes.
#[derive(Debug, Args)]
pub(super) struct Prefixes {
    /// Prefixes, or addresses, which are prefixes of 128 bits
    #[arg(required = true, value_name = "PREFIX", value_parser = parse_prefix)]
    pub(super) prefixes: Vec<Ipv6Net>,
    #[command(flatten)]
    pub(super) dry: DryRun,
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
    /// A file in the format of --format; `-` for standard input
    file: PathBuf,
    #[command(flatten)]
    format: ExchangeFormat,
    #[command(flatten)]
    how: Replacing,
}

/// How a set is replaced.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Replacing {
    /// Allow a change after which a list is empty
    #[arg(long)]
    allow_empty: bool,
    /// Allow a change that removes more than half of a list
    #[arg(long)]
    allow_shrink: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(super) quiet: bool,
    #[command(flatten)]
    dry: DryRun,
}

/// Adds entries; what is there already is fine.
pub(super) fn add(
    control: &Control,
    consent: Consent,
    entries: impl Iterator<Item = StoreEntry>,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let outcomes: Vec<_> = control.change(consent, |edit| entries.map(|entry| edit.add(entry)).collect())?;
    report(control, &outcomes, out)
}

/// Removes entries; those that are not there are named.
pub(super) fn remove(
    control: &Control,
    consent: Consent,
    keys: impl Iterator<Item = EntryKey>,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let outcomes: Vec<_> = control.change(consent, |edit| keys.map(|key| edit.remove(key)).collect())?;
    report(control, &outcomes, out)
}

/// Replaces a list by a file.
pub(super) fn load(
    control: &Control,
    kind: ListKind,
    Load { file, format, how }: Load,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let consent = how.consent();
    let name = file.display().to_string();
    let (replaced, is_cut) = progress::shown(how.quiet, |progress| {
        let octets = read(&file)?;
        let is_cut = is_cut(format.into(), &octets);
        // earlier versions took addresses for domains: those that are listed stay
        let listed = match kind {
            ListKind::Domain => control.store().open()?.domains()?,
            ListKind::OptIn | ListKind::Guard | ListKind::Trust => BTreeMap::new(),
        };
        let wanted = parse_listing(kind, format.into(), &octets, &listed)
            .map_err(|problem| CliError::List { file, problem })?;
        drop(octets);
        let replaced = control.change(consent, |edit| {
            edit.report_to(progress);
            edit.replace_list(kind, &wanted, consent)
        })?;
        Ok::<_, CliError>((replaced, is_cut))
    })?;
    let exit = report_replaced(control, how.quiet, &replaced, out)?;
    if is_cut {
        out.note(format_args!(
            "warning: the last line of {name} has no line end: make sure that nothing is missing"
        ));
    }
    Ok(exit)
}

/// Whether the list ends within a line, as one that was cut off may. JSON has an end of its own.
fn is_cut(format: ListFormat, octets: &[u8]) -> bool {
    format != ListFormat::Json && octets.contains(&b'\n') && !octets.ends_with(b"\n")
}

impl Load {
    pub(super) const fn is_dry_run(&self) -> bool {
        self.how.is_dry_run()
    }
}

impl Replacing {
    pub(super) const fn is_dry_run(self) -> bool {
        self.dry.dry_run
    }

    pub(super) const fn consent(self) -> Consent {
        Consent { empty: self.allow_empty, shrink: self.allow_shrink }
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
/// Help of the lists' formats.
pub(super) const FORMAT_RULES: &str = "\
`sixgate LIST export --format csv|json` prints what `load --format csv|json` takes. The first line
of CSV names the columns; lines that begin with `#` are comments. In CSV and JSON no entry may stand
twice.";
