//! Lines in the form of Postfix's log: time, host, program, then the text.
//!
//! It owns the front of a line. The text of lines about sessions is made by `session_log`; all
//! other lines have the text of the form `text`, behind `warning:` or `error:` as Postfix's.

use std::fmt;

use jiff::Zoned;
use nix::sys::utsname::uname;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer},
    registry::LookupSpan,
};

use super::log::priority;
use crate::config::LogProgram;

/// Lines as Postfix and syslog write them.
#[derive(Debug)]
pub(super) struct PostfixForm {
    /// What goes in front; none for the journal, which adds it.
    front: Option<Front>,
}

#[derive(Debug)]
struct Front {
    host: String,
    program: LogProgram,
    process: u64,
}

impl PostfixForm {
    /// For a file or a terminal.
    pub(super) fn new(program: LogProgram) -> Self {
        let host = uname().map(|names| names.nodename().to_string_lossy().into_owned()).unwrap_or_default();
        let host = host.split('.').next().filter(|host| !host.is_empty()).unwrap_or("localhost").to_owned();
        Self { front: Some(Front { host, program, process: std::process::id().into() }) }
    }

    /// For the journal: behind its priority only.
    pub(super) fn for_journal() -> Self {
        Self { front: None }
    }
}

impl<S, N> FormatEvent<S, N> for PostfixForm
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = SmtpdLine::default();
        event.record(&mut line);
        let level = *event.metadata().level();
        match &self.front {
            Some(Front { host, program, process }) => {
                let time = Zoned::now().strftime("%b %e %H:%M:%S").to_string();
                let process = line.session.unwrap_or(*process);
                write!(writer, "{time} {host} {program}[{process}]: ")?;
            }
            None => write!(writer, "<{}>", priority(level))?,
        }
        if line.session.is_some() {
            return writeln!(writer, "{}", plain(&line.text));
        }
        writer.write_str(match level {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            _ => "",
        })?;
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                write!(writer, "{}{{{fields}}}: ", span.name())?;
            }
        }
        let mut text = String::new();
        context.field_format().format_fields(Writer::new(&mut text), event)?;
        writeln!(writer, "{}", plain(&text))
    }
}

/// A line that `session_log` has made: its field `postfix` is the number of the session.
#[derive(Default)]
struct SmtpdLine {
    session: Option<u64>,
    text: String,
}

impl Visit for SmtpdLine {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "postfix" {
            self.session = Some(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.text = format!("{value:?}");
        }
    }
}

/// The text with a question mark for each character that is not printable, as Postfix writes it.
fn plain(text: &str) -> String {
    text.chars()
        .map(|character| if super::log_form::is_printable(character) { character } else { '?' })
        .collect()
}
