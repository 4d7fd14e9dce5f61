//! The rules of style: which parts of the tree they hold, and a report of what they find in the
//! others.
//!
//! It owns no rule. A rule is held where the tree is clean of what it finds, and widened as more of
//! it is.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
};

use super::{Problems, Rule, RuleBreach, Tree, prose, shape, widths, words};

/// A rule of style.
struct Style {
    /// The head of its column in the report.
    name: &'static str,
    rule: Rule,
    /// Whether a finding in the file of this path is a problem.
    is_held: fn(&str) -> bool,
}

const STYLES: &[Style] = &[
    Style { name: "words", rule: words::plain_words, is_held: is_clean },
    Style { name: "width", rule: widths::prose_is_narrow, is_held: is_clean },
    Style { name: "heading", rule: prose::headings_are_nouns, is_held: is_clean },
    Style { name: "errors", rule: shape::failures_are_documented, is_held: outside_the_binary },
    Style { name: "short", rule: shape::doc_comments_say_something, is_held: is_clean },
];

/// Documents, packaging, and the folders whose code has been mended.
fn is_clean(path: &str) -> bool {
    prose::is_document(path) || CLEAN.iter().any(|start| path.starts_with(start))
}

fn outside_the_binary(path: &str) -> bool {
    !path.starts_with("userspace/sixgate/")
}

/// Beginnings of the paths that have no findings and are to stay so: add what is mended.
const CLEAN: &[&str] = &[
    "Cargo.toml",
    "bench/",
    "common/",
    "ebpf/",
    "packaging/",
    "tests/ebpf/",
    "tests/src/",
    "tests/suites/",
    "userspace/auth/",
    "userspace/base/",
    "userspace/dataplane/",
    "userspace/fuzz/",
    "userspace/sixgate/",
    "userspace/smtp/",
    "xtask/",
];

/// Adds what is found where a rule is held to `problems`; the number of the other findings.
pub(super) fn held(tree: &Tree, problems: &mut Problems) -> usize {
    let mut waiting = 0;
    for style in STYLES {
        for problem in found(style, tree) {
            if (style.is_held)(&problem.path) {
                problems.0.push(problem);
            } else {
                waiting += 1;
            }
        }
    }
    waiting
}

/// Prints how many findings each file has by rule; for the files below `below`, the findings
/// themselves.
pub(super) fn print(tree: &Tree, below: &str) {
    // a reader such as head(1) may close the pipe early
    let _ = io::stdout().write_all(report(tree, below).as_bytes());
}

fn report(tree: &Tree, below: &str) -> String {
    let mut counts: BTreeMap<String, [usize; STYLES.len()]> = BTreeMap::new();
    let mut sums = [0; STYLES.len()];
    let mut report = String::new();
    for (at, style) in STYLES.iter().enumerate() {
        for problem in found(style, tree).into_iter().filter(|problem| problem.path.starts_with(below)) {
            counts.entry(problem.path.clone()).or_default()[at] += 1;
            sums[at] += 1;
            if !below.is_empty() {
                let _ = writeln!(report, "{}: {problem}", style.name);
            }
        }
    }
    let row = |counts: &[usize]| counts.iter().map(|count| format!("{count:>8}")).collect::<String>();
    let names = STYLES.iter().map(|style| format!("{:>8}", style.name)).collect::<String>();
    let _ = writeln!(report, "{names}");
    for (path, counts) in &counts {
        let _ = writeln!(report, "{}  {path}", row(counts));
    }
    let _ = writeln!(report, "{}  in {} file(s)", row(&sums), counts.len());
    report
}

fn found(style: &Style, tree: &Tree) -> Vec<RuleBreach> {
    let mut problems = Problems::default();
    (style.rule)(tree, &mut problems);
    problems.0
}
