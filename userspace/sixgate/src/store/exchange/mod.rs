//! The four lists as files of other programs: text, CSV and JSON, to be exported and loaded.
//!
//! It owns the columns, which CSV and JSON have in common; reading and writing files is not its
//! business.

mod csv;
mod json;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt::Display,
    io::{self, Write},
};

use ipnet::Ipv6Net;
use sixgate_common::dest::OptIn;

use crate::store::{
    Contents, Domain, ListError, ListKind, ListReason, Marks,
    list::{listed_domain, parse_text},
    parse_prefix,
};

/// The form of a list in a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ListFormat {
    /// One entry a line, as the command `list` prints them.
    Text,
    /// RFC 4180, with a first line that names the columns; `#` begins a comment line.
    Csv,
    /// As the command `list --json` prints it.
    Json,
}

/// Reads a list. Addresses that stand for domains stay where they are `listed`. In CSV and JSON no
/// entry may stand twice.
///
/// # Errors
///
/// [`ListError`]: the first bad line.
pub fn parse_listing(
    kind: ListKind,
    format: ListFormat,
    octets: &[u8],
    listed: &BTreeMap<Domain, Marks>,
) -> Result<Contents, ListError> {
    match format {
        ListFormat::Text => parse_text(kind, octets, listed),
        ListFormat::Csv => csv::parse(kind, octets, listed),
        ListFormat::Json => json::parse(kind, octets, listed),
    }
}

/// Writes a list of the store, sorted.
///
/// # Errors
///
/// An error of writing to `out`.
pub fn write_listing(
    kind: ListKind,
    format: ListFormat,
    contents: &Contents,
    mut out: impl Write,
) -> io::Result<()> {
    match format {
        ListFormat::Text => rows(kind, contents).try_for_each(|row| writeln!(out, "{}", row.line)),
        ListFormat::Csv => csv::write(kind, contents, out),
        ListFormat::Json => json::write(kind, contents, out),
    }
}

/// The columns of a list; the first one has to be there.
const fn columns(kind: ListKind) -> &'static [&'static str] {
    match kind {
        ListKind::OptIn => &["prefix", "decision"],
        // an export is of the store alone, and has no `origin`
        ListKind::Guard => &["prefix", "origin"],
        ListKind::Trust => &["prefix"],
        ListKind::Domain => &["domain", "opted_in", "temporary"],
    }
}

/// The name of a list in JSON.
const fn name(kind: ListKind) -> &'static str {
    match kind {
        ListKind::Domain => "domains",
        _ => kind.name(),
    }
}

/// An entry as it is written.
struct ListRow {
    /// The entry as a line of text.
    line: String,
    /// The values of the columns.
    cells: Vec<Cell>,
}

/// A value in a column.
enum Cell {
    Text(String),
    Flag(bool),
}

impl Cell {
    fn text(value: impl Display) -> Self {
        Self::Text(value.to_string())
    }
}

fn rows(kind: ListKind, contents: &Contents) -> Box<dyn Iterator<Item = ListRow> + '_> {
    let member = |prefix: &Ipv6Net| ListRow { line: prefix.to_string(), cells: vec![Cell::text(prefix)] };
    match kind {
        ListKind::OptIn => Box::new(contents.optin.entries().iter().map(|(prefix, optin)| ListRow {
            line: format!("{prefix} {}", optin.name()),
            cells: vec![Cell::text(prefix), Cell::text(optin.name())],
        })),
        ListKind::Guard => Box::new(contents.guard.entries().keys().map(member)),
        ListKind::Trust => Box::new(contents.trust.entries().keys().map(member)),
        ListKind::Domain => Box::new(contents.domains.iter().map(|(domain, marks)| ListRow {
            line: format!("{domain}{}", marks.list_suffix()),
            cells: vec![Cell::text(domain), Cell::Flag(marks.opted_in), Cell::Flag(marks.temporary)],
        })),
    }
}

/// An entry as it is read: a text for each of its list's columns, where there is one.
type Fields = [Option<String>; COLUMNS_MAX];

/// Puts an entry into a list in which it is not yet.
fn put(
    kind: ListKind,
    [first, second, third]: Fields,
    contents: &mut Contents,
    listed: &BTreeMap<Domain, Marks>,
) -> Result<(), ListReason> {
    let name = columns(kind)[0];
    let first = first.ok_or(ListReason::NoValue { column: name })?;
    let twice = |entry: &dyn Display| ListReason::Twice { entry: entry.to_string() };
    let prefix = || parse_prefix(&first).map_err(ListReason::Prefix);
    match kind {
        ListKind::OptIn => {
            let optin = match second.as_deref() {
                None | Some("in") => OptIn::In,
                Some("out") => OptIn::Out,
                Some(found) => return Err(other(found, "decision", "`in` or `out`")),
            };
            let prefix = prefix()?;
            contents.optin.insert(prefix, optin).map_or(Ok(()), |_| Err(twice(&prefix)))
        }
        ListKind::Guard => {
            let prefix = prefix()?;
            match second.as_deref() {
                None | Some("store") => {}
                Some("interface") => return Ok(()),
                Some(found) => return Err(other(found, "origin", "`store` or `interface`")),
            }
            contents.guard.insert(prefix, ()).map_or(Ok(()), |()| Err(twice(&prefix)))
        }
        ListKind::Trust => {
            let prefix = prefix()?;
            contents.trust.insert(prefix, ()).map_or(Ok(()), |()| Err(twice(&prefix)))
        }
        ListKind::Domain => {
            let domain = listed_domain(&first, listed)?;
            let opted_in = flag(second.as_deref(), "opted_in", true)?;
            let temporary = flag(third.as_deref(), "temporary", false)?;
            if !opted_in && !temporary {
                return Err(ListReason::NoMark);
            }
            let marks = Marks { opted_in, temporary };
            contents.domains.insert(domain.clone(), marks).map_or(Ok(()), |_| Err(twice(&domain)))
        }
    }
}

fn flag(text: Option<&str>, column: &'static str, default: bool) -> Result<bool, ListReason> {
    match text {
        None => Ok(default),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(found) => Err(other(found, column, "`true` or `false`")),
    }
}

fn other(found: &str, column: &'static str, wanted: &'static str) -> ListReason {
    ListReason::Value { found: found.to_owned(), column, wanted }
}

/// The names of the columns, for a message.
fn column_names(kind: ListKind) -> String {
    let names: Vec<String> = columns(kind).iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Columns of the list that has most.
const COLUMNS_MAX: usize = 3;
