//! A list as JSON: an object with one array, as `list --json` prints it.
//!
//! It knows no entries, only columns.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write},
};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{COLUMNS_MAX, Cell, Fields, column_names, columns, name, put, rows};
use crate::store::{Contents, Domain, ListError, ListKind, ListReason, Marks, document::reason_of};

pub(super) fn parse(
    kind: ListKind,
    octets: &[u8],
    listed: &BTreeMap<Domain, Marks>,
) -> Result<Contents, ListError> {
    let mut contents = Contents::default();
    let mut reader = serde_json::Deserializer::from_slice(octets);
    let read = reader
        .deserialize_map(WholeList { kind, listed, contents: &mut contents })
        .and_then(|()| reader.end());
    read.map_err(|error| {
        let (line, reason) = reason_of(&error);
        ListError { line, reason: ListReason::Json { reason } }
    })?;
    Ok(contents)
}

pub(super) fn write(kind: ListKind, contents: &Contents, mut out: impl Write) -> io::Result<()> {
    write!(out, "{{\"{}\": [", name(kind))?;
    let mut separator = "\n  ";
    for row in rows(kind, contents) {
        let named = columns(kind).iter().zip(row.cells).map(|(name, cell)| {
            let value = match cell {
                Cell::Text(text) => Value::String(text),
                Cell::Flag(flag) => Value::Bool(flag),
            };
            ((*name).to_owned(), value)
        });
        out.write_all(separator.as_bytes())?;
        serde_json::to_writer(&mut out, &named.collect::<Map<String, Value>>())?;
        separator = ",\n  ";
    }
    writeln!(out, "\n]}}")
}

/// The object that holds the list.
struct WholeList<'a> {
    kind: ListKind,
    listed: &'a BTreeMap<Domain, Marks>,
    contents: &'a mut Contents,
}

impl<'de> Visitor<'de> for WholeList<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an object with the list `{}`, as `sixgate {} export --format json` prints it",
            name(self.kind),
            self.kind
        )
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let name = name(self.kind);
        let Self { kind, listed, contents } = self;
        let mut is_read = false;
        while let Some(key) = map.next_key::<String>()? {
            if key != name {
                return Err(Error::custom(format_args!(
                    "unknown key `{}`, expected `{name}`",
                    key.escape_debug()
                )));
            }
            if is_read {
                return Err(Error::custom(format_args!("the key `{name}` stands twice")));
            }
            map.next_value_seed(Rows { kind, listed, contents: &mut *contents })?;
            is_read = true;
        }
        if is_read { Ok(()) } else { Err(Error::custom(format_args!("the key `{name}` is missing"))) }
    }
}

/// The array of entries.
struct Rows<'a> {
    kind: ListKind,
    listed: &'a BTreeMap<Domain, Marks>,
    contents: &'a mut Contents,
}

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { kind, listed, contents } = self;
        while list.next_element_seed(Row { kind, listed, contents: &mut *contents })?.is_some() {}
        Ok(())
    }
}

/// The object of one entry, which is put into the list within it: so an error has its line.
struct Row<'a> {
    kind: ListKind,
    listed: &'a BTreeMap<Domain, Marks>,
    contents: &'a mut Contents,
}

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with the keys {}", column_names(self.kind))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut fields: Fields = [const { None }; COLUMNS_MAX];
        while let Some(key) = map.next_key::<String>()? {
            let column = columns(self.kind).iter().position(|name| *name == key);
            let field = column.and_then(|column| fields.get_mut(column)).ok_or_else(|| {
                let (found, names) = (key.escape_debug(), column_names(self.kind));
                Error::custom(format_args!("unknown key `{found}`: the keys are {names}"))
            })?;
            if field.is_some() {
                return Err(Error::custom(format_args!("the key `{key}` stands twice")));
            }
            *field = match map.next_value::<Value>()? {
                Value::String(text) => Some(text),
                Value::Bool(flag) => Some(flag.to_string()),
                Value::Null => None,
                _ => {
                    return Err(Error::custom(format_args!("`{key}` is neither a string nor true or false")));
                }
            };
        }
        put(self.kind, fields, self.contents, self.listed).map_err(Error::custom)
    }
}
