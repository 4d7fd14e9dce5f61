//! Rules about the shape of source files: what they open with, how long they and their functions are.
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

/// What is allowed and yet long: each needs a reason in the review.
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

struct Function<'a> {
    name: &'a str,
    line: usize,
    lines: usize,
}

/// The functions of a file as rustfmt lays them out: they end with a brace in the column where they began.
/// Those of tests do not count: a table with a row per claim is as long as there are claims.
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

const FILE_LONG: usize = 400;
const FILE_MAX: usize = 600;
const FUNCTION_LONG: usize = 60;
const FUNCTION_MAX: usize = 100;
