//! The reference of the log in docs/operating.md and the lines that the daemon logs: each names the
//! other.
//!
//! It compares texts only. Fields and levels are for the reader to keep.

use super::{File, Problems, Tree};

/// A line that the daemon logs is in the reference, and a line of the reference is logged.
pub(super) fn logged_lines_are_explained(tree: &Tree, problems: &mut Problems) {
    let Some(document) = tree.file(DOCUMENT) else {
        return;
    };
    let events = events(document);
    let shipped: Vec<&File> = tree.below("userspace/").filter(|file| !is_apart(&file.path)).collect();
    let texts: Vec<String> = shipped.iter().flat_map(|file| texts(file)).map(|(_, text)| text).collect();
    for (line, event) in &events {
        let piece = pieces(event).find(|piece| !texts.iter().any(|text| text.contains(piece)));
        if let Some(piece) = piece {
            let advice = format!("no line of the log has \"{piece}\": correct the reference");
            problems.add(DOCUMENT, *line, advice);
        }
    }
    let named = named(document);
    let known: Vec<&str> = named.iter().flat_map(|name| pieces(name)).collect();
    for file in shipped {
        for (line, text) in logged(file) {
            let is_known = known.iter().any(|piece| text.contains(piece));
            // a text that comes from elsewhere has no event of its own
            if !is_known && pieces(&placeholders(&text)).next().is_some() {
                let advice = format!("\"{text}\" is not in the reference of {DOCUMENT}: add its event");
                problems.add(&file.path, line, advice);
            }
        }
    }
}

pub(super) fn is_apart(path: &str) -> bool {
    ["/fuzz/", "/tests/", "/tests.rs", "/benches/", "/examples/"].iter().any(|part| path.contains(part))
}

/// What stands in backticks in the first cells of the tables of events, with the line.
fn events(document: &File) -> Vec<(usize, String)> {
    let (mut is_log, mut is_event) = (false, false);
    let mut events = Vec::new();
    for (at, text) in document.text.lines().enumerate() {
        if text.starts_with("## ") {
            is_log = text == "## Log";
        }
        match text.strip_prefix('|') {
            None => is_event = false,
            Some(row) if row.trim_start().starts_with("event ") => is_event = true,
            Some(row) if is_log && is_event => {
                let first = row.split('|').next().unwrap_or_default();
                events.extend(first.split('`').skip(1).step_by(2).map(|event| (at + 1, event.to_owned())));
            }
            Some(_) => {}
        }
    }
    events
}

/// All that stands in backticks in the tables of the log: the end of an event is named beside it.
fn named(document: &File) -> Vec<String> {
    let log = document.text.split("\n## Log\n").nth(1).unwrap_or_default();
    let log = log.split("\n## ").next().unwrap_or_default();
    let rows = log.lines().filter(|text| text.starts_with('|'));
    rows.flat_map(|row| row.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
}

/// The parts of a text between its placeholders that are long enough to be found.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let pieces = text.split(['…', '\u{1}']).map(|piece| piece.trim_matches([' ', ':', ';', ',', '.']));
    pieces.filter(|piece| piece.len() >= PIECE_MIN)
}

/// A format string with `…` where a value stands.
fn placeholders(text: &str) -> String {
    let mut depth = 0_u8;
    text.chars()
        .filter_map(|letter| match letter {
            '{' => {
                depth += 1;
                (depth == 1).then_some('…')
            }
            '}' => {
                depth = depth.saturating_sub(1);
                None
            }
            letter => (depth == 0).then_some(letter),
        })
        .collect()
}

/// The strings of the part that ships, lines joined as Rust joins them.
fn texts(file: &File) -> impl Iterator<Item = (usize, String)> {
    let shipped = file.code.strings.iter().filter(|(line, _)| *line <= file.code.tests_at);
    shipped.map(|(line, text)| {
        let joined = text.split("\\\n").enumerate();
        let parts = joined.map(|(at, part)| if at == 0 { part } else { part.trim_start() });
        (*line, parts.collect::<String>().replace("\\\"", "\"").replace('`', ""))
    })
}

/// The messages that the file logs at info, warn and error: the last string of each call.
fn logged(file: &File) -> Vec<(usize, String)> {
    let lines: Vec<&str> = file.shipped().map(|(_, text)| text).collect();
    let mut found = Vec::new();
    for (at, text) in lines.iter().enumerate() {
        let call = ["info!(", "warn!(", "error!("].iter().any(|call| text.trim_start().starts_with(call));
        if !call {
            continue;
        }
        let indent = text.len() - text.trim_start().len();
        let is_end = |line: &&str| line.len() - line.trim_start().len() <= indent && line.contains(')');
        let end = lines[at..].iter().position(is_end).unwrap_or(0) + at + 1;
        let inside = texts(file).filter(|(line, _)| (at + 1..=end).contains(line));
        found.extend(inside.last());
    }
    found
}

const DOCUMENT: &str = "docs/operating.md";
/// Shorter parts are found anywhere.
const PIECE_MIN: usize = 5;
