//! Where a command's output goes: data to one writer, messages to another.
//!
//! It owns no texts.

use std::{
    collections::BTreeMap,
    fmt::Display,
    io::{self, Write},
    net::Ipv6Addr,
    process::ExitCode,
};

use clap::Args;
use serde::Serialize;

use super::{error::CliError, escape::escaped};
use crate::store::parse_address;

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// It did what it was asked, or the answer is yes.
    Done,
    /// It refused or found nothing, or the answer is negative.
    No,
    /// It failed, which is in the log.
    Failed,
}

impl From<bool> for Exit {
    fn from(is_yes: bool) -> Self {
        if is_yes { Self::Done } else { Self::No }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::No => Self::from(1),
            Exit::Failed => Self::from(2),
        }
    }
}

/// For reading commands.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Format {
    /// Print JSON instead of text
    #[arg(long)]
    pub(super) json: bool,
}

/// For commands that show what holds for an address.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Lookup {
    /// The IPv6 address to look up
    #[arg(value_parser = parse_address)]
    pub(super) address: Ipv6Addr,
    #[command(flatten)]
    pub(super) format: Format,
}

/// The writers of the output.
pub struct Output<'a> {
    data: &'a mut dyn Write,
    messages: &'a mut dyn Write,
}

impl<'a> Output<'a> {
    /// `data` gets the result that was asked for, `messages` the warnings and errors.
    pub fn new(data: &'a mut dyn Write, messages: &'a mut dyn Write) -> Self {
        Self { data, messages }
    }

    /// One line of data.
    pub(super) fn line(&mut self, line: impl Display) -> Result<(), CliError> {
        writeln!(self.data, "{line}").map_err(|source| CliError::Output { source })
    }

    /// Data in a form of its own.
    pub(super) fn write(
        &mut self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CliError> {
        write(&mut *self.data).map_err(|source| CliError::Output { source })
    }

    /// All data as one JSON document.
    pub(super) fn json(&mut self, document: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer_pretty(&mut *self.data, document)
            .map_err(|error| CliError::Output { source: error.into() })?;
        self.line("")
    }

    /// A line of data that is a JSON document by itself.
    pub(super) fn json_line(&mut self, document: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer(&mut *self.data, document)
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

    /// A message, on one line. That it cannot be written does not make the command fail.
    pub fn note(&mut self, message: impl Display) {
        let _ = writeln!(self.messages, "sixgate: {}", escaped(&message.to_string()));
    }

    pub(super) fn flush(&mut self) -> Result<(), CliError> {
        self.data.flush().map_err(|source| CliError::Output { source })
    }
}
