//! A list as CSV (RFC 4180): the first line names the columns, in any order.
//!
//! Quoting is the crate's. It knows no entries.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use csv::{ByteRecord, ReaderBuilder, Trim, Writer};

use super::{COLUMNS_MAX, Cell, Fields, column_names, columns, put, rows};
use crate::store::{Contents, Domain, ListError, ListKind, ListReason, Marks};

pub(super) fn parse(
    kind: ListKind,
    octets: &[u8],
    listed: &BTreeMap<Domain, Marks>,
) -> Result<Contents, ListError> {
    // as spreadsheets write it
    let octets = octets.strip_prefix(BYTE_ORDER_MARK).unwrap_or(octets);
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .trim(Trim::All)
        .from_reader(octets);
    let mut record = ByteRecord::new();
    let (mut contents, mut header) = (Contents::default(), None);
    loop {
        let is_read = reader.read_byte_record(&mut record);
        let line = line_of(octets, &record);
        let fail = |reason| ListError { line, reason };
        if !is_read.map_err(|error| fail(ListReason::Csv { reason: error.to_string() }))? {
            break;
        }
        let cells: Vec<&str> = record
            .iter()
            .map(|cell| str::from_utf8(cell).map_err(|_| ListReason::NotText).and_then(bounded))
            .collect::<Result<_, _>>()
            .map_err(fail)?;
        // a row of a spreadsheet in which nothing stands
        if cells.iter().all(|cell| cell.is_empty()) {
            continue;
        }
        match &header {
            None => header = Some(parse_header(kind, &cells).map_err(fail)?),
            Some(header) => {
                let fields = fields(header, &cells).map_err(fail)?;
                put(kind, fields, &mut contents, listed).map_err(fail)?;
            }
        }
    }
    match header {
        Some(_) => Ok(contents),
        None => Err(ListError { line: 1, reason: ListReason::NoHeader { columns: column_names(kind) } }),
    }
}

pub(super) fn write(kind: ListKind, contents: &Contents, out: impl Write) -> io::Result<()> {
    let mut writer = Writer::from_writer(out);
    let names = match kind {
        ListKind::Guard => &columns(kind)[..1],
        _ => columns(kind),
    };
    writer.write_record(names)?;
    for row in rows(kind, contents) {
        writer.write_record(row.cells.iter().map(|cell| match cell {
            Cell::Text(text) => text.as_str(),
            Cell::Flag(true) => "true",
            Cell::Flag(false) => "false",
        }))?;
    }
    writer.flush()
}

/// The list's column for each cell of a line.
fn parse_header(kind: ListKind, cells: &[&str]) -> Result<Vec<usize>, ListReason> {
    let mut found = Vec::new();
    for cell in cells {
        let column = columns(kind).iter().position(|name| cell.eq_ignore_ascii_case(name));
        let column = column.ok_or_else(|| ListReason::UnknownColumn {
            found: (*cell).to_owned(),
            columns: column_names(kind),
        })?;
        if found.contains(&column) {
            return Err(ListReason::Twice { entry: format!("the column `{cell}`") });
        }
        found.push(column);
    }
    if found.contains(&0) { Ok(found) } else { Err(ListReason::NoHeader { columns: column_names(kind) }) }
}

fn fields(header: &[usize], cells: &[&str]) -> Result<Fields, ListReason> {
    if cells.len() != header.len() {
        return Err(ListReason::Cells { found: cells.len(), wanted: header.len() });
    }
    let mut fields: Fields = [const { None }; COLUMNS_MAX];
    for (column, cell) in header.iter().zip(cells) {
        // columns of the header are those of the list
        if let (Some(field), false) = (fields.get_mut(*column), cell.is_empty()) {
            *field = Some((*cell).to_owned());
        }
    }
    Ok(fields)
}

/// The cell, unless a quotation mark that is missing makes it one of many lines.
fn bounded(cell: &str) -> Result<&str, ListReason> {
    let is_broken = cell.len() > CELL_MAX || cell.contains(['\r', '\n']);
    if is_broken { Err(ListReason::LongCell { most: CELL_MAX }) } else { Ok(cell) }
}

/// The line of a record, counted from 1: its position is that of the comments and empty lines
/// before it.
fn line_of(octets: &[u8], record: &ByteRecord) -> usize {
    let Some(position) = record.position() else { return 1 };
    let at = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let mut line = usize::try_from(position.line()).unwrap_or(usize::MAX);
    let rest = octets.get(at..).unwrap_or_default();
    for text in rest.split(|octet| *octet == b'\n') {
        let is_skipped = text.first() == Some(&b'#') || matches!(text, b"" | b"\r");
        if !is_skipped {
            break;
        }
        line += 1;
    }
    line
}

/// Begins some files in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Longest cell, in octets; a domain has at most 253.
const CELL_MAX: usize = 300;
