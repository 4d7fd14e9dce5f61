//! `export` of the four lists, and the formats that `load` takes.
//!
//! The formats are the store's business.

use clap::{Args, ValueEnum};

use super::{CliError, Exit, Output};
use crate::{
    control::Control,
    store::{Contents, Database, ListFormat, ListKind, StoreError, write_listing},
};

/// For commands that read or write a list as a file.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct ExchangeFormat {
    /// The format of the list
    #[arg(long, value_enum, default_value_t = FormatArgument::Text)]
    format: FormatArgument,
}

/// The format of a list as a file.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArgument {
    /// One entry a line, as `list` prints them
    Text,
    /// Comma-separated values (RFC 4180), after a line that names the columns
    Csv,
    /// As `list --json` prints them
    Json,
}

impl From<ExchangeFormat> for ListFormat {
    fn from(ExchangeFormat { format }: ExchangeFormat) -> Self {
        match format {
            FormatArgument::Text => Self::Text,
            FormatArgument::Csv => Self::Csv,
            FormatArgument::Json => Self::Json,
        }
    }
}

/// Prints a list of the store.
pub(super) fn export(
    control: &Control,
    kind: ListKind,
    format: ExchangeFormat,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let contents = read(&control.store().open()?, kind)?;
    out.write(|data| write_listing(kind, format.into(), &contents, data))?;
    Ok(Exit::Done)
}

/// One list of the store; the others are empty.
fn read(database: &Database, kind: ListKind) -> Result<Contents, StoreError> {
    let mut contents = Contents::default();
    match kind {
        ListKind::OptIn => contents.optin = database.optin()?,
        ListKind::Guard => contents.guard = database.guard()?,
        ListKind::Trust => contents.trust = database.trust()?,
        ListKind::Domain => contents.domains = database.domains()?,
    }
    Ok(contents)
}

/// Help of `export` of a list, with its columns.
pub(super) fn help(kind: ListKind) -> String {
    let columns = match kind {
        ListKind::OptIn => "prefix, decision (`in` or `out`; where it is missing, `in`)",
        ListKind::Guard | ListKind::Trust => "prefix",
        ListKind::Domain => {
            "domain, opted_in, temporary (`true` or `false`; where they are missing, true and false)"
        }
    };
    let only = if kind == ListKind::Guard { " of the store, without addresses of interfaces" } else { "" };
    format!(
        "Prints the whole list{only}, sorted, as `sixgate {kind} load --format FORMAT` takes it.\n\nColumns of CSV, keys \
         of JSON:  {columns}\n\nExample:\n  sixgate {kind} export --format csv > {kind}.csv"
    )
}
