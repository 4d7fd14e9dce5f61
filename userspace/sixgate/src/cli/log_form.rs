//! The form of the daemon's lines: which values stand in quotation marks, and which characters are
//! escaped.
//!
//! What clients, DNS and mail servers send is in those values. It owns the rule that none of it
//! ends a line, steers a terminal or passes for another field. It writes nothing by itself.

use std::fmt::{self, Debug};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Fields of a line of text: `key=value`. A value that is more than one plain token is in quotation
/// marks, and what would end them is escaped.
#[derive(Debug)]
pub(super) struct TextFields;

impl<'writer> FormatFields<'writer> for TextFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = TextVisitor { writer, is_first: true, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct TextVisitor<'writer> {
    writer: Writer<'writer>,
    is_first: bool,
    result: fmt::Result,
}

impl TextVisitor<'_> {
    fn write(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let gap = if std::mem::take(&mut self.is_first) { "" } else { " " };
        let written = match field.name() {
            "message" => write!(self.writer, "{gap}{value}"),
            name => write!(self.writer, "{gap}{name}={value}"),
        };
        self.result = self.result.and(written);
    }
}

impl Visit for TextVisitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.write(field, format_args!("{value}")),
            _ => self.write(field, format_args!("{value:?}")),
        }
    }

    /// Numbers, and what is logged by its `Display` or `Debug`.
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" || is_token(&text) {
            self.write(field, format_args!("{text}"));
        } else {
            self.write(field, format_args!("{text:?}"));
        }
    }
}

/// Whether `text` needs no quotation marks: an address, a number, a path without blanks.
fn is_token(text: &str) -> bool {
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._:/@%+[]".contains(&octet);
    !text.is_empty() && text.bytes().all(is_plain)
}

/// Lines in the form of `form`, of printable characters only.
#[derive(Debug)]
pub(super) struct Printable<F> {
    form: F,
    notation: Notation,
}

/// How a character that is not printable is written.
#[derive(Clone, Copy, Debug)]
enum Notation {
    /// As Rust writes it: `\u{202e}`.
    Text,
    /// As RFC 8259 7 writes it: `\u202e`.
    Json,
}

impl<F> Printable<F> {
    pub(super) fn text(form: F) -> Self {
        Self { form, notation: Notation::Text }
    }

    pub(super) fn json(form: F) -> Self {
        Self { form, notation: Notation::Json }
    }
}

impl<S, N, F> FormatEvent<S, N> for Printable<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.form.format_event(context, Writer::new(&mut line), event)?;
        let line = line.strip_suffix('\n').unwrap_or(&line);
        self.notation.write(line, &mut writer)?;
        writer.write_char('\n')
    }
}

impl Notation {
    /// Writes `line` with all but its printable characters escaped.
    fn write(self, line: &str, out: &mut impl fmt::Write) -> fmt::Result {
        for character in line.chars() {
            match self {
                _ if is_printable(character) => out.write_char(character)?,
                Self::Text => write!(out, "{}", character.escape_debug())?,
                Self::Json => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        write!(out, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// `text` with all but its printable characters escaped, as in a line of text.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    // a String takes everything
    let _ = Notation::Text.write(text, &mut escaped);
    escaped
}

/// Neither a control character nor one of those that change how others are shown, such as U+202E,
/// or that end a line, such as U+2028.
pub(super) fn is_printable(character: char) -> bool {
    match character {
        ' '..='~' => true,
        '\0'..='\x7f' => false,
        // one that is escaped becomes several
        _ => character.escape_debug().len() == 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_printable_is_escaped() {
        let rows = [
            ("a \"b\" \\ 'c' ü 用", "a \"b\" \\ 'c' ü 用", "a \"b\" \\ 'c' ü 用"),
            ("\x1b[2J\0", "\\u{1b}[2J\\0", "\\u001b[2J\\u0000"),
            ("a\r\nb", "a\\r\\nb", "a\\u000d\\u000ab"),
            ("\x7f\u{9b}", "\\u{7f}\\u{9b}", "\\u007f\\u009b"),
            ("\u{202e}\u{2028}\u{feff}", "\\u{202e}\\u{2028}\\u{feff}", "\\u202e\\u2028\\ufeff"),
            ("\u{e0001}", "\\u{e0001}", "\\udb40\\udc01"),
        ];
        for (line, text, json) in rows {
            for (notation, wanted) in [(Notation::Text, text), (Notation::Json, json)] {
                let mut written = String::new();
                notation.write(line, &mut written).unwrap();
                assert_eq!(written, wanted, "{notation:?}");
            }
        }
    }

    #[test]
    fn only_what_cannot_be_misread_has_no_quotation_marks() {
        for text in ["[2001:db8::1]:25", "17", "true", "/var/mail/new/1", "fe80::1%eth0"] {
            assert!(is_token(text), "{text}");
        }
        for text in ["", "a b", "a=b", "\"", "a\\", "ü", "a\n"] {
            assert!(!is_token(text), "{text}");
        }
    }
}
