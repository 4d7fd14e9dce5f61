//! Where a command's output goes: data to one place, messages to another.
//!
//! It owns no texts.

use std::{collections::BTreeMap, fmt::Display, io::Write};

use serde::Serialize;

use super::{CliError, Exit, Format, arguments::escaped};

/// The places of the output.
pub struct Output<'a> {
    data: &'a mut dyn Write,
    messages: &'a mut dyn Write,
}

impl<'a> Output<'a> {
    /// `data` is what was asked for, `messages` what is said beside it.
    pub fn new(data: &'a mut dyn Write, messages: &'a mut dyn Write) -> Self {
        Self { data, messages }
    }

    /// One line of data.
    pub(super) fn line(&mut self, line: impl Display) -> Result<(), CliError> {
        writeln!(self.data, "{line}").map_err(|source| CliError::Output { source })
    }

    /// All data as one JSON document.
    pub(super) fn json(&mut self, document: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer_pretty(&mut *self.data, document)
            .map_err(|error| CliError::Output { source: error.into() })?;
        self.line("")
    }

    /// The entries of a set: `line` of each, or one document with an array of that name.
    pub(super) fn list<T: Serialize>(
        &mut self,
        format: Format,
        name: &'static str,
        entries: impl Iterator<Item = T>,
        line: impl Fn(&T) -> String,
    ) -> Result<Exit, CliError> {
        if format.json {
            self.json(&BTreeMap::from([(name, entries.collect::<Vec<T>>())]))?;
        } else {
            for entry in entries {
                self.line(line(&entry))?;
            }
        }
        Ok(Exit::Done)
    }

    /// The answer to a question: a line or a document.
    pub(super) fn answer(
        &mut self,
        format: Format,
        document: &impl Serialize,
        line: impl Display,
    ) -> Result<(), CliError> {
        if format.json { self.json(document) } else { self.line(line) }
    }

    /// A message, on one line. That it cannot be written is no reason to fail.
    pub fn note(&mut self, message: impl Display) {
        let _ = writeln!(self.messages, "sixgate: {}", escaped(&message.to_string()));
    }

    pub(super) fn flush(&mut self) -> Result<(), CliError> {
        self.data.flush().map_err(|source| CliError::Output { source })
    }
}
