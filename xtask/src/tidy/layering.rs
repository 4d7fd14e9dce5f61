//! Rules about which module may do what: the directions and invariants of docs/architecture.md.
//!
//! Which crate may name which library is read off the manifests; what a crate itself may call is in
//! its clippy.toml.

use super::log::is_apart;
use super::{File, Problems, Tree};

/// Each library that needs rights, a network or a runtime is a dependency of the packages that may
/// have it, and of no other.
pub(super) fn libraries_have_their_crates(tree: &Tree, problems: &mut Problems) {
    for file in tree.files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        let package = file.path.trim_end_matches("/Cargo.toml");
        for (line, name) in dependencies(&file.text) {
            let Some((_, packages)) = OWNERS.iter().find(|(libraries, _)| libraries.contains(&name)) else {
                continue;
            };
            if !packages.contains(&package) {
                let advice = format!("`{name}` is a dependency of {} only", packages.join(", "));
                problems.add(&file.path, line, advice);
            }
        }
    }
}

/// The dependencies that a manifest names, with their lines.
fn dependencies(manifest: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    manifest.lines().enumerate().filter_map(move |(at, line)| {
        if line.starts_with('[') {
            inside = line.trim_end().ends_with("dependencies]");
            return None;
        }
        let name = line.split([' ', '.', '=']).next()?;
        (inside && !name.is_empty() && !name.starts_with('#')).then_some((at + 1, name))
    })
}

/// Outside `policy`, verdicts are matched and never made.
pub(super) fn verdicts_are_made_in_one_place(tree: &Tree, problems: &mut Problems) {
    let others = tree.below(LIBRARY).filter(|file| !file.path.starts_with(POLICY) && !is_apart(&file.path));
    for file in others {
        let end: usize = file.code.blanked.split_inclusive('\n').take(file.code.tests_at).map(str::len).sum();
        let shipped = &file.code.blanked[..end];
        for (at, name) in shipped.match_indices("Verdict::") {
            if !is_pattern(&shipped[..at], &shipped[at + name.len()..]) {
                let line = shipped[..at].matches('\n').count() + 1;
                problems.add(&file.path, line, "only policy::decide makes a Verdict: pass evidence to it");
            }
        }
    }
}

/// Whether what stands between `before` and `after` is matched or compared, not made.
fn is_pattern(before: &str, after: &str) -> bool {
    let statement = before.rsplit([';', '{']).next().unwrap_or_default();
    if statement.contains("matches!(")
        || before.trim_end().ends_with("==")
        || before.trim_end().ends_with("!=")
    {
        return true;
    }
    let name = after.trim_start_matches(|letter: char| letter.is_alphanumeric() || letter == '_');
    let next = skip_parentheses(name).trim_start();
    let assigned = next.starts_with('=') && !next.starts_with("==");
    assigned || next.starts_with('|') || next.starts_with("if ") || next.starts_with(')') && is_nested(next)
}

/// Whether the closing parentheses at the start of `text` end a pattern:
/// `Some(Verdict::Accept) => …`.
fn is_nested(text: &str) -> bool {
    let next = text.trim_start_matches([')', ' ', '\n']);
    next.starts_with("=>") || next.starts_with("= ") || next.starts_with("| ") || next.starts_with("if ")
}

fn skip_parentheses(text: &str) -> &str {
    if !text.starts_with(['(', '{']) && !text.starts_with(" {") {
        return text;
    }
    let mut depth = 0_usize;
    for (at, letter) in text.char_indices() {
        match letter {
            '(' | '{' => depth += 1,
            ')' | '}' if depth == 1 => return &text[at + 1..],
            ')' | '}' => depth -= 1,
            _ => {}
        }
    }
    ""
}

/// A method that changes a session is named `handle_…`, `answer_…` or `poll_…`.
pub(super) fn session_methods_say_their_kind(tree: &Tree, problems: &mut Problems) {
    for file in tree.below(SESSION) {
        for (line, text) in file.shipped() {
            let Some((_, signature)) = text.split_once("pub fn ") else {
                continue;
            };
            let kind = KINDS.iter().any(|kind| signature.starts_with(kind));
            if signature.contains("&mut self") && !kind {
                let advice =
                    "a method that changes the session is one of handle_*, answer_*, poll_*: rename it";
                problems.add(&file.path, line, advice);
            }
        }
    }
}

/// Replies to senders stand in the reply table and nowhere else.
pub(super) fn reply_codes_stand_in_one_table(tree: &Tree, problems: &mut Problems) {
    for file in tree.below(LIBRARY).filter(|file| file.path != REPLY_TABLE && !is_apart(&file.path)) {
        for (line, text) in shipped_strings(file) {
            if is_reply(text) {
                problems.add(&file.path, line, format!("a reply outside {REPLY_TABLE}: make it a row there"));
            }
        }
    }
}

fn shipped_strings(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let shipped = file.code.strings.iter().filter(|(line, _)| *line <= file.code.tests_at);
    shipped.map(|(line, text)| (*line, text.as_str()))
}

/// Whether `text` starts as a reply does: a code of the classes 2, 4, 5 and a space or hyphen.
fn is_reply(text: &str) -> bool {
    matches!(
        text.as_bytes(),
        [b'2' | b'4' | b'5', b'0'..=b'5', b'0'..=b'9', b' ' | b'-', next, ..] if !next.is_ascii_lowercase()
    ) || matches!(text.as_bytes(), [b'2' | b'4' | b'5', b'0'..=b'5', b'0'..=b'9', b'-', ..])
}

const LIBRARY: &str = "userspace/";
const POLICY: &str = "userspace/smtp/src/policy/";
/// A file, and a folder of the same name.
const SESSION: &str = "userspace/smtp/src/session";
const REPLY_TABLE: &str = "userspace/smtp/src/reply.rs";
const KINDS: &[&str] = &["handle_", "answer_", "poll_"];

/// Libraries, and the folders of the packages that may depend on them.
const OWNERS: &[(&[&str], &[&str])] = &[
    // common: only `Pod`, which has to stand beside the types
    (&["aya", "aya-obj"], &["common", "userspace/dataplane", "tests", "bench"]),
    (
        &["hickory-net", "hickory-proto", "hickory-resolver", "hickory-server", "mail-auth"],
        &["userspace/auth", "tests", "bench"],
    ),
    (&["rusqlite"], &["userspace/sixgate", "tests", "bench"]),
    (
        &["tokio", "tokio-util"],
        &["userspace/auth", "userspace/base", "userspace/sixgate", "userspace/fuzz", "tests", "bench"],
    ),
    (&["tracing"], &["userspace/auth", "userspace/dataplane", "userspace/sixgate", "tests", "bench"]),
];
