//! Rules about tests: they do not wait for time to pass, none is switched off, and their names stay
//! short.
//!
//! It does not run them.

use super::{File, Problems, Tree, has_word};

/// No `sleep` in a test or a helper of tests.
pub(super) fn tests_do_not_sleep(tree: &Tree, problems: &mut Problems) {
    for file in tree.below("tests/") {
        for (line, text) in file.lines().filter(|(_, text)| has_word(text, "sleep")) {
            let name = text.trim();
            let advice = format!("`{name}`: wait for the event itself, or use tokio's paused time");
            problems.add(&file.path, line, advice);
        }
    }
}

/// No test is ignored, expects a panic, or returns a result.
pub(super) fn tests_are_never_switched_off(tree: &Tree, problems: &mut Problems) {
    for file in tree.rust() {
        let mut is_test = false;
        for (line, text) in file.lines() {
            let text = text.trim_start();
            if text.starts_with("#[ignore") {
                problems.add(
                    &file.path,
                    line,
                    "a test is run or removed: what it lacks goes through gate::require",
                );
            }
            if text.starts_with("#[should_panic") {
                problems.add(&file.path, line, "a panic is no outcome: return an error and assert it");
            }
            if text.starts_with("#[test]") || text.starts_with("#[tokio::test") {
                is_test = true;
            } else if is_test && text.contains("fn ") {
                is_test = false;
                if text.contains("->") {
                    problems.add(&file.path, line, "a test panics: return nothing and unwrap");
                }
            }
        }
    }
}

/// The name of a test has 70 characters at most: a listing of tests shows it with its module.
pub(super) fn names_of_tests_are_short(tree: &Tree, problems: &mut Problems) {
    for file in tree.rust() {
        for (line, name) in tests_of(file).filter(|(_, name)| name.len() > NAME_MAX) {
            let length = name.len();
            let advice = format!("`{name}` has {length} characters, {NAME_MAX} are allowed");
            problems.add(&file.path, line, advice);
        }
    }
}

/// The names of the tests in a file, with their lines.
fn tests_of(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let mut is_test = false;
    file.lines().filter_map(move |(line, text)| {
        let text = text.trim_start();
        if text.starts_with("#[test]") || text.starts_with("#[tokio::test") {
            is_test = true;
        }
        let (_, rest) = text.split_once("fn ").filter(|_| is_test)?;
        is_test = false;
        let end = rest.find(['(', '<']).unwrap_or(rest.len());
        Some((line, rest.get(..end)?))
    })
}

const NAME_MAX: usize = 70;
