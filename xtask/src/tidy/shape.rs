//! Rules about the shape of source files: what they open with, how long they and their functions
//! are.
//!
//! It does not judge what is in them.

use super::{File, Problems, Tree};

/// Every file opens with `//!`.
pub(super) fn every_source_file_says_what_it_owns(tree: &Tree, problems: &mut Problems) {
    for file in tree.rust().filter(|file| !file.text.starts_with("//!")) {
        let advice = "open the file with `//!`: what it owns, and one thing that it does not";
        problems.add(&file.path, 1, advice);
    }
}

/// No file over 600 lines (tests not counted), no function over 100.
pub(super) fn nothing_is_too_long(tree: &Tree, problems: &mut Problems) {
    for file in tree.rust() {
        let shipped = file.code.tests_at;
        if shipped > FILE_MAX {
            let advice = format!("{shipped} lines without tests, {FILE_MAX} are allowed: split it");
            problems.add(&file.path, 1, advice);
        }
        for function in functions(file).filter(|function| function.lines > FUNCTION_MAX) {
            let Function { name, line, lines } = function;
            let advice = format!("`{name}` has {lines} lines, {FUNCTION_MAX} are allowed: split it");
            problems.add(&file.path, line, advice);
        }
    }
}

/// Files and functions that are allowed and yet long: each needs a reason in the review.
pub(super) fn long_ones(tree: &Tree) -> Vec<String> {
    let mut notes = Vec::new();
    for file in tree.rust() {
        let shipped = file.code.tests_at;
        if shipped > FILE_LONG {
            notes.push(format!("{} has {shipped} lines without tests", file.path));
        }
        for Function { name, line, lines } in
            functions(file).filter(|function| function.lines > FUNCTION_LONG)
        {
            notes.push(format!("{}:{line}: `{name}` has {lines} lines", file.path));
        }
    }
    notes
}

/// A public function that returns a `Result` has a section `# Errors`: when it fails.
pub(super) fn failures_are_documented(tree: &Tree, problems: &mut Problems) {
    for file in tree.rust().filter(|file| is_library(&file.path)) {
        let code: Vec<&str> = file.shipped().map(|(_, text)| text).collect();
        let text: Vec<&str> = file.text.lines().collect();
        for (at, line) in code.iter().enumerate() {
            let Some(name) = function_name(line).filter(|_| line.trim_start().starts_with("pub ")) else {
                continue;
            };
            let ends = |line: &&str| line.contains(['{', ';']);
            let end = code[at..].iter().position(ends).map_or(code.len(), |length| at + length + 1);
            if returns_result(&code[at..end].join(" ")) && !comment_above(&text[..at]).contains("# Errors") {
                let advice = format!("`{name}` returns a Result: add `# Errors`, and when it fails");
                problems.add(&file.path, at + 1, advice);
            }
        }
    }
}

fn is_library(path: &str) -> bool {
    ["common/", "userspace/"].iter().any(|folder| path.starts_with(folder))
        && !["/fuzz/", "/benches/", "/examples/", "/tests/"].iter().any(|folder| path.contains(folder))
}

fn returns_result(signature: &str) -> bool {
    let Some((_, kind)) = signature.rsplit_once("-> ") else {
        return false;
    };
    kind.split(['<', ' ', '{']).next().is_some_and(|head| head.ends_with("Result"))
}

/// The comments and attributes that lead to what begins after `before`.
fn comment_above(before: &[&str]) -> String {
    let is_part = |line: &&&str| !line.trim().is_empty() && !line.trim_end().ends_with([';', '}', '{']);
    let lines: Vec<&str> = before
        .iter()
        .rev()
        .take_while(|line| line.trim_start().starts_with("//") || is_part(line))
        .copied()
        .collect();
    lines.join("\n")
}

/// A doc comment has three terms at least: fewer repeat the name.
pub(super) fn doc_comments_say_something(tree: &Tree, problems: &mut Problems) {
    for file in tree.rust() {
        let mut open: Option<(usize, usize)> = None;
        for (at, text) in file.text.lines().map(str::trim_start).chain([""]).enumerate() {
            if let Some(text) = text.strip_prefix("///").or_else(|| text.strip_prefix("//!")) {
                open.get_or_insert((at + 1, 0)).1 += text.split_whitespace().count();
            } else if let Some((line, words)) = open.take().filter(|(_, words)| *words < DOC_MIN) {
                let advice = format!("a doc comment of {words} word(s): give its unit, shape or source");
                problems.add(&file.path, line, advice);
            }
        }
    }
}

struct Function<'a> {
    name: &'a str,
    line: usize,
    lines: usize,
}

/// The functions of a file as rustfmt lays them out: they end with a brace in the column where they
/// began. Those of tests do not count: a table with a row per claim is as long as there are claims.
fn functions(file: &File) -> impl Iterator<Item = Function<'_>> {
    let lines: Vec<&str> = file.shipped().map(|(_, text)| text).collect();
    let mut found = Vec::new();
    for (at, text) in lines.iter().enumerate() {
        let Some(name) = function_name(text).filter(|_| !is_test(&lines[..at])) else {
            continue;
        };
        let indent = text.len() - text.trim_start().len();
        let closing = format!("{}}}", " ".repeat(indent));
        let end = lines[at..].iter().position(|text| text.trim_end() == closing);
        // none: the function stands on one line, or is only declared
        if let Some(length) = end.filter(|_| !text.trim_end().ends_with([';', '}'])) {
            found.push(Function { name, line: at + 1, lines: length + 1 });
        }
    }
    found.into_iter()
}

fn is_test(before: &[&str]) -> bool {
    let attributes = before.iter().rev().take_while(|text| text.trim_start().starts_with("#["));
    attributes.into_iter().any(|text| text.contains("test"))
}

fn function_name(text: &str) -> Option<&str> {
    let (before, after) = text.split_once("fn ")?;
    let modifiers = ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern"];
    let heads = before.split_whitespace().all(|word| modifiers.contains(&word) || word.starts_with('"'));
    let name = after.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()?;
    (heads && !name.is_empty()).then_some(name)
}

const DOC_MIN: usize = 3;
const FILE_LONG: usize = 400;
const FILE_MAX: usize = 600;
const FUNCTION_LONG: usize = 60;
const FUNCTION_MAX: usize = 100;
