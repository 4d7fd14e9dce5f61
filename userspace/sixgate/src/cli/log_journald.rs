//! Entries for systemd's journal, with a field for each value (systemd's "Native Journal
//! Protocol").
//!
//! It owns the names of the fields. The text of the entry is that of the form `text`.

use std::{
    fmt,
    io::{self, Write},
    os::unix::net::UnixDatagram,
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer},
    registry::LookupSpan,
};

use super::{
    log::priority,
    log_form::{TextFields, escaped},
};

/// The socket of the journal.
const SOCKET: &str = "/run/systemd/journal/socket";
/// In front of the name of a field of ours.
const PREFIX: &str = "SIXGATE_";

/// Where the journal takes entries: each is one datagram.
#[derive(Debug)]
pub(super) struct Journal(UnixDatagram);

impl Journal {
    /// # Errors
    /// If the journal cannot be reached.
    pub(super) fn open() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // an empty datagram is not an entry
        socket.send_to(&[], SOCKET).map_err(|error| {
            let named = format!("log.format is \"journald\", and {SOCKET} does not take entries: {error}");
            io::Error::new(error.kind(), named)
        })?;
        Ok(Self(socket))
    }
}

/// The address is named each time: a journal that was restarted is found again.
impl Write for Journal {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        self.0.send_to(entry, SOCKET)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Entries of the journal: `KEY=value` on a line each. No value has a line end in it.
#[derive(Debug)]
pub(super) struct JournalForm;

impl<S> FormatEvent<S, JournalFields> for JournalForm
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JournalFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let (mut spans, mut text) = (String::new(), String::new());
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<JournalFields>>() {
                spans.push_str(fields);
                text.push_str(&format!("{}{{{}}}: ", span.name(), as_text(fields)));
            }
        }
        TextFields.format_fields(Writer::new(&mut text), event)?;
        writeln!(writer, "MESSAGE={}", escaped(&text))?;
        writeln!(writer, "PRIORITY={}", priority(*metadata.level()))?;
        writeln!(writer, "SYSLOG_IDENTIFIER=sixgate")?;
        writeln!(writer, "{PREFIX}TARGET={}", metadata.target())?;
        writer.write_str(&spans)?;
        JournalFields.format_fields(writer, event)
    }
}

/// The fields of spans and events as the journal takes them.
#[derive(Debug)]
pub(super) struct JournalFields;

impl<'writer> FormatFields<'writer> for JournalFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = JournalVisitor { writer, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct JournalVisitor<'writer> {
    writer: Writer<'writer>,
    result: fmt::Result,
}

impl JournalVisitor<'_> {
    /// The text of the event is `EVENT`, so that it can be searched for without its values.
    fn write(&mut self, field: &Field, value: &str) {
        let name = match field.name() {
            "message" => "EVENT".to_owned(),
            name => name.to_ascii_uppercase(),
        };
        let written = writeln!(self.writer, "{PREFIX}{name}={}", escaped(value));
        self.result = self.result.and(written);
    }
}

impl Visit for JournalVisitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, &format!("{value:?}"));
    }
}

/// The fields of a span as the form `text` writes them.
fn as_text(fields: &str) -> String {
    let each = fields.lines().filter_map(|line| line.strip_prefix(PREFIX)?.split_once('='));
    let shown = each.map(|(name, value)| format!("{}={value}", name.to_ascii_lowercase()));
    shown.collect::<Vec<_>>().join(" ")
}
