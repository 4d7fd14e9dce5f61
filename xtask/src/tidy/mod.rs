//! `tidy`: the project's rules that neither the compiler nor clippy knows.
//!
//! It owns the walk over the files and the report; each rule is a function that reads the tree and
//! names problems, each with what to do about it. It changes nothing.

mod documents;
mod layering;
mod lexer;
mod log;
mod prose;
mod report;
mod shape;
mod testing;
mod widths;
mod words;

use std::{fmt, fs, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::exec;
use lexer::Code;

/// What `tidy` prints.
#[derive(clap::Args, Default)]
pub(crate) struct TidyOptions {
    /// Count what the rules of style find, by file, held or not; with PATH list it with its lines
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "")]
    report: Option<String>,
}

/// Checks every rule and prints what does not hold.
pub(crate) fn run(options: &TidyOptions) -> Result<()> {
    let tree = Tree::of_workspace()?;
    let mut problems = Problems::default();
    if let Some(below) = &options.report {
        report::print(&tree, below);
        return Ok(());
    }
    for rule in RULES {
        rule(&tree, &mut problems);
    }
    let waiting = report::held(&tree, &mut problems);
    for note in shape::long_ones(&tree) {
        println!("tidy: to consider: {note}");
    }
    if waiting > 0 {
        println!("tidy: {waiting} finding(s) of style are not held yet: cargo xtask tidy --report");
    }
    for problem in &problems.0 {
        println!("tidy: {problem}");
    }
    match problems.0.len() {
        0 => {
            println!("tidy: {} files, no problem", tree.files.len());
            Ok(())
        }
        count => bail!("{count} problem(s) found by tidy"),
    }
}

/// A rule: adds what does not hold to the problems.
type Rule = fn(&Tree, &mut Problems);

const RULES: &[Rule] = &[
    layering::libraries_have_their_crates,
    layering::verdicts_are_made_in_one_place,
    layering::session_methods_say_their_kind,
    layering::reply_codes_stand_in_one_table,
    shape::every_source_file_says_what_it_owns,
    shape::nothing_is_too_long,
    testing::tests_do_not_sleep,
    testing::tests_are_never_switched_off,
    testing::names_of_tests_are_short,
    documents::named_paths_exist,
    documents::linked_headings_exist,
    documents::pictures_match_their_texts,
    documents::every_counter_is_explained,
    documents::every_setting_is_explained,
    log::logged_lines_are_explained,
    documents::tables_have_even_rows,
    documents::the_readme_is_short,
    documents::text_is_clean,
    documents::nothing_names_a_machine,
];

/// Findings in the order of the rules.
#[derive(Debug, Default)]
struct Problems(Vec<RuleBreach>);

/// One breach of a rule.
#[derive(Debug)]
struct RuleBreach {
    /// Relative to the root.
    path: String,
    line: usize,
    /// The change that mends it.
    advice: String,
}

impl Problems {
    fn add(&mut self, path: &str, line: usize, advice: impl Into<String>) {
        self.0.push(RuleBreach { path: path.to_owned(), line, advice: advice.into() });
    }
}

impl fmt::Display for RuleBreach {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.advice)
    }
}

/// The files that are, or are about to be, under version control.
struct Tree {
    files: Vec<File>,
}

/// One text file.
struct File {
    /// Relative to the root.
    path: String,
    text: String,
    /// The text as Rust; empty for other files.
    code: Code,
}

impl File {
    fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let mut code = if path.ends_with(".rs") { Code::read(&text) } else { Code::default() };
        if path.ends_with("/tests.rs") || path.contains("/tests/") {
            code.tests_at = 0;
        }
        Self { path, text, code }
    }

    /// Lines of code, comments and string contents blanked, with their numbers; of the part that
    /// ships.
    fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().take(self.code.tests_at)
    }

    /// Lines of code, comments and string contents blanked, with their numbers.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.blanked.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

impl Tree {
    fn of_workspace() -> Result<Self> {
        let mut list = Command::new("git");
        // a checkout may belong to another user than the one who checks it
        list.args(["-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"]);
        let paths = exec::output(list.current_dir(exec::root())).context("tidy reads a git checkout")?;
        let mut files = Vec::new();
        for path in paths.lines() {
            let full = exec::root().join(path);
            // deleted but not yet committed, or not text
            if let Ok(octets) = fs::read(&full)
                && let Ok(text) = String::from_utf8(octets)
            {
                files.push(File::new(path, text));
            }
        }
        Ok(Self { files })
    }

    fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a File> {
        self.rust().filter(move |file| file.path.starts_with(folder))
    }

    fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// Whether `word` stands in `line` and is not part of a longer identifier.
fn has_word(line: &str, word: &str) -> bool {
    let part_of_name =
        |octet: Option<&u8>| octet.is_some_and(|octet| octet.is_ascii_alphanumeric() || *octet == b'_');
    line.match_indices(word).any(|(at, _)| {
        let before = at.checked_sub(1).and_then(|before| line.as_bytes().get(before));
        let after = line.as_bytes().get(at + word.len());
        let open_start = !word.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_');
        let open_end = !word.ends_with(|last: char| last.is_ascii_alphanumeric() || last == '_');
        (open_start || !part_of_name(before)) && (open_end || !part_of_name(after))
    })
}

#[cfg(test)]
mod tests;
