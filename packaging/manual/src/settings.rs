//! sixgate.toml(5): each setting of the packaged configuration, with the comment above it.
//!
//! It owns the page's frame; the text is the configuration's.

use clap_mangen::roff::{Roff, bold, roman};

/// The page about the configuration whose text is `document`.
pub(crate) fn page(document: &str) -> String {
    let mut roff = Roff::new();
    let source = concat!("sixgate ", env!("CARGO_PKG_VERSION"));
    roff.control("TH", ["sixgate.toml", "5", "", source, "File Formats"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman("sixgate.toml - the configuration of sixgate")]);
    roff.control("SH", ["DESCRIPTION"]);
    let (head, rest) = document.split_once("\n\n").unwrap_or(("", document));
    paragraph(&mut roff, &head.lines().map(comment).collect::<Vec<_>>());
    roff.control("SH", ["SETTINGS OF NO SECTION"]);
    let mut group = Group::default();
    for line in rest.lines() {
        match SettingsLine::of(line) {
            SettingsLine::Section(name) => {
                group.end(&mut roff);
                roff.control("SH", [format!("SECTION [{}]", name.to_uppercase()).as_str()]);
            }
            SettingsLine::Setting(text) => group.settings.push(text),
            SettingsLine::Comment(text) => {
                if !group.settings.is_empty() {
                    group.end(&mut roff);
                }
                group.comments.push(text);
            }
            SettingsLine::Empty => group.end(&mut roff),
        }
    }
    group.end(&mut roff);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([
        bold("sixgate"),
        roman("(8), "),
        bold("sixgate-config"),
        roman("(8), "),
        bold("sixgate-reload"),
        roman("(8)"),
    ]);
    roff.to_roff()
}

/// A line of the configuration. A setting that is commented out is a setting, too.
enum SettingsLine<'a> {
    Section(&'a str),
    Setting(&'a str),
    Comment(&'a str),
    Empty,
}

impl<'a> SettingsLine<'a> {
    fn of(line: &'a str) -> Self {
        let text = comment(line);
        if let Some(name) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return SettingsLine::Section(name);
        }
        let is_key = |key: &str| {
            !key.is_empty() && key.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'_')
        };
        if text.split_once(" = ").is_some_and(|(key, _)| is_key(key)) {
            SettingsLine::Setting(text)
        } else if text.is_empty() {
            SettingsLine::Empty
        } else {
            SettingsLine::Comment(text)
        }
    }
}

/// Settings, and what is written above them.
#[derive(Default)]
struct Group<'a> {
    comments: Vec<&'a str>,
    settings: Vec<&'a str>,
}

impl Group<'_> {
    /// Writes what there is, and begins anew.
    fn end(&mut self, roff: &mut Roff) {
        for (at, setting) in self.settings.iter().enumerate() {
            roff.control(if at == 0 { "TP" } else { "TQ" }, []);
            let (key, value) = setting.split_once(" = ").unwrap_or((setting, ""));
            roff.text([bold(key), roman(format!(" = {value}"))]);
        }
        if self.settings.is_empty() && !self.comments.is_empty() {
            roff.control("PP", []);
        }
        paragraph(roff, &self.comments);
        *self = Self::default();
    }
}

/// Fills `lines`; one that begins with a quoted value, as a list has it, begins a line of its own.
fn paragraph(roff: &mut Roff, lines: &[&str]) {
    for (at, line) in lines.iter().enumerate() {
        let is_item = line.starts_with('"') && line.contains("\"  ");
        if is_item && at > 0 {
            roff.control("br", []);
        }
        roff.text([roman(*line)]);
    }
}

/// `line` without the sign of a comment.
fn comment(line: &str) -> &str {
    line.strip_prefix('#').unwrap_or(line).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# /etc/sixgate/sixgate.toml\n#\n# Every key.\n\n# Our name.\nhostname = \"gate\"\n\n\
        [listen]\n# Where:\n# \"a\"  one;\n# \"b\"  two.\naddresses = []\n# other = 1\nthird = 2\n# TLS.\n# [tls]\n\
        # key = \"/k\"\n";

    #[test]
    fn settings_come_with_the_comment_above_them() {
        let text = page(DOCUMENT);
        for part in [
            ".SH DESCRIPTION\n/etc/sixgate/sixgate.toml\n\nEvery key.\n",
            ".TP\n\\fBhostname\\fR = \"gate\"\nOur name.\n.SH \"SECTION [LISTEN]\"\n",
            ".TP\n\\fBaddresses\\fR = []\n.TQ\n\\fBother\\fR = 1\n.TQ\n\\fBthird\\fR = 2\nWhere:\n.br\n\"a\"  one;\n.br\n",
            ".PP\nTLS.\n.SH \"SECTION [TLS]\"\n.TP\n\\fBkey\\fR = \"/k\"\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
    }
}
