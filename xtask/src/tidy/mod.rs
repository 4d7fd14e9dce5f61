//! `tidy`: the project's rules that neither the compiler nor clippy knows.
//!
//! It owns the walk over the files and the report; each rule is a function that reads the tree and names
//! problems, each with what to do about it. It changes nothing.

mod documents;
mod layering;
mod lexer;
mod shape;
mod testing;

use std::{fs, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::exec;
use lexer::Code;

/// Checks every rule and prints what does not hold.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::of_workspace()?;
    let mut problems = Problems::default();
    for rule in RULES {
        rule(&tree, &mut problems);
    }
    for note in shape::long_ones(&tree) {
        println!("tidy: to consider: {note}");
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
    layering::pure_modules_stay_pure,
    layering::one_door_for_each_library,
    layering::verdicts_are_made_in_one_place,
    layering::session_methods_say_their_kind,
    layering::reply_codes_stand_in_one_table,
    shape::every_source_file_says_what_it_owns,
    shape::nothing_is_too_long,
    testing::tests_do_not_sleep,
    testing::tests_are_never_switched_off,
    documents::named_paths_exist,
    documents::every_counter_is_explained,
    documents::every_setting_is_explained,
    documents::the_readme_is_short,
    documents::text_is_clean,
    documents::nothing_names_a_machine,
];

/// What was found, one sentence each.
#[derive(Debug, Default)]
struct Problems(Vec<String>);

impl Problems {
    /// `place` is a path, with a line where that helps; `advice` says what to do.
    fn add(&mut self, place: &str, line: usize, advice: impl AsRef<str>) {
        self.0.push(format!("{place}:{line}: {}", advice.as_ref()));
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

    /// Lines of code, comments and string contents blanked, with their numbers; of the part that ships.
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

/// Whether `word` stands in `line` and is no part of a longer identifier.
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
mod tests {
    use super::*;

    /// Problems that `rule` finds in a tree of these files.
    fn found(rule: Rule, files: &[(&str, &str)]) -> Vec<String> {
        let tree = Tree { files: files.iter().map(|(path, text)| File::new(*path, *text)).collect() };
        let mut problems = Problems::default();
        rule(&tree, &mut problems);
        problems.0
    }

    #[test]
    fn each_rule_finds_what_breaks_it_and_nothing_else() {
        let long_function = format!("fn f() {{\n{}}}\n", "    g();\n".repeat(101));
        let long_file = "//! a\n".repeat(601);
        let long_tests = format!("//! a\n#[cfg(test)]\nmod tests {{\n{}}}\n", "// b\n".repeat(700));
        let machine = ["see /wo", "rk/main\n"].concat();
        let stat = ("common/src/stat.rs", "    PassTruncated = \"pass_truncated\",\n");
        let config = (
            "userspace/src/config/mod.rs",
            "#[derive(Deserialize)]\npub struct Limits {\n    pub errors: u32,\n}\npub struct Other {\n    pub inner: u32,\n}\n",
        );
        let session = "userspace/src/smtp/session.rs";
        let rows: &[(Rule, &str, &str, bool)] = &[
            (layering::pure_modules_stay_pure, "userspace/src/smtp/a.rs", "use tokio::io;\n", true),
            (
                layering::pure_modules_stay_pure,
                "userspace/src/policy/a.rs",
                "let a = Instant::now();\n",
                true,
            ),
            (
                layering::pure_modules_stay_pure,
                "userspace/src/smtp/a.rs",
                "// tokio\nlet a = \"tokio\";\n",
                false,
            ),
            (layering::pure_modules_stay_pure, "userspace/src/check/a.rs", "use tokio::io;\n", false),
            (layering::one_door_for_each_library, "userspace/src/store/a.rs", "use aya::maps::Map;\n", true),
            (
                layering::one_door_for_each_library,
                "userspace/src/dataplane/a.rs",
                "use aya::maps::Map;\n",
                false,
            ),
            (
                layering::one_door_for_each_library,
                "userspace/src/check/a.rs",
                "use hickory_resolver::A;\n",
                true,
            ),
            (
                layering::one_door_for_each_library,
                "userspace/src/dns.rs",
                "use hickory_resolver::A;\n",
                false,
            ),
            (layering::one_door_for_each_library, "userspace/src/cli/a.rs", "TcpStream::connect(a);\n", true),
            (
                layering::one_door_for_each_library,
                "userspace/src/nexthop/a.rs",
                "TcpStream::connect(a);\n",
                false,
            ),
            (
                layering::verdicts_are_made_in_one_place,
                "userspace/src/server/a.rs",
                "return Verdict::Accept;\n",
                true,
            ),
            (
                layering::verdicts_are_made_in_one_place,
                "userspace/src/server/a.rs",
                "Verdict::Refuse(r) => f(r),\n",
                false,
            ),
            (
                layering::verdicts_are_made_in_one_place,
                "userspace/src/server/a.rs",
                "if let Verdict::Refuse(r) = v {}\n",
                false,
            ),
            (
                layering::verdicts_are_made_in_one_place,
                "userspace/src/server/a.rs",
                "matches!(v, Verdict::Accept)\n",
                false,
            ),
            (
                layering::verdicts_are_made_in_one_place,
                "userspace/src/policy/a.rs",
                "return Verdict::Accept;\n",
                false,
            ),
            (
                layering::session_methods_say_their_kind,
                session,
                "impl Session {\n    pub fn push(&mut self) {}\n}\n",
                true,
            ),
            (
                layering::session_methods_say_their_kind,
                session,
                "impl Session {\n    pub fn handle_input(&mut self) {}\n}\n",
                false,
            ),
            (
                layering::session_methods_say_their_kind,
                session,
                "impl Session {\n    pub fn phase(&self) {}\n}\n",
                false,
            ),
            (
                layering::reply_codes_stand_in_one_table,
                "userspace/src/server/a.rs",
                "send(\"450 4.7.25 no\");\n",
                true,
            ),
            (
                layering::reply_codes_stand_in_one_table,
                "userspace/src/server/a.rs",
                "send(\"250-gate\");\n",
                true,
            ),
            (
                layering::reply_codes_stand_in_one_table,
                "userspace/src/server/a.rs",
                "// 450 4.7.25 no\n",
                false,
            ),
            (
                layering::reply_codes_stand_in_one_table,
                "userspace/src/smtp/reply.rs",
                "send(\"450 4.7.25 no\");\n",
                false,
            ),
            (shape::every_source_file_says_what_it_owns, "xtask/src/a.rs", "fn f() {}\n", true),
            (shape::every_source_file_says_what_it_owns, "xtask/src/a.rs", "//! Owns f.\nfn f() {}\n", false),
            (shape::nothing_is_too_long, "xtask/src/a.rs", &long_function, true),
            (shape::nothing_is_too_long, "xtask/src/a.rs", &long_file, true),
            (shape::nothing_is_too_long, "xtask/src/a.rs", &long_tests, false),
            (testing::tests_do_not_sleep, "tests/src/a.rs", "thread::sleep(a);\n", true),
            (testing::tests_do_not_sleep, "tests/src/a.rs", "let asleep = 1;\n", false),
            (testing::tests_are_never_switched_off, "tests/src/a.rs", "#[ignore]\n", true),
            (testing::tests_are_never_switched_off, "tests/src/a.rs", "#[should_panic]\n", true),
            (
                testing::tests_are_never_switched_off,
                "tests/src/a.rs",
                "#[test]\nfn a() -> Result<()> {\n",
                true,
            ),
            (testing::tests_are_never_switched_off, "tests/src/a.rs", "#[test]\nfn a() {\n", false),
            (documents::named_paths_exist, "docs/a.md", "See `common/src/stat.rs`.\n", true),
            (documents::named_paths_exist, "docs/a.md", "See [this](b.md).\n", true),
            (
                documents::named_paths_exist,
                "docs/a.md",
                "See `docs/a.md`, [a](a.md) and <https://a.example/b.md>.\n",
                false,
            ),
            (documents::the_readme_is_short, "README.md", &"a\n".repeat(151), true),
            (documents::the_readme_is_short, "README.md", &"a\n".repeat(150), false),
            (documents::text_is_clean, "docs/a.md", "a \n", true),
            (documents::text_is_clean, "docs/a.md", "a", true),
            (documents::text_is_clean, "docs/a.md", "a\n", false),
            (documents::text_is_clean, "userspace/fuzz/seeds/line/a", "a \r\n.", false),
            (documents::nothing_names_a_machine, "docs/a.md", &machine, true),
            (
                documents::nothing_names_a_machine,
                ".cargo/config.toml",
                "[source.a]\nregistry = \"x\"\n",
                true,
            ),
            (
                documents::nothing_names_a_machine,
                "Cargo.lock",
                "source = \"registry+https://a.example/\"\n",
                true,
            ),
            (documents::nothing_names_a_machine, "docs/a.md", "framework/main\n", false),
        ];
        for (row, (rule, path, text, breaks)) in rows.iter().enumerate() {
            let problems = found(*rule, &[(path, text)]);
            assert_eq!(!problems.is_empty(), *breaks, "row {row}, {path}: {text:?}: {problems:?}");
        }
        let pairs: &[(Rule, (&str, &str), &str, bool)] = &[
            (documents::every_counter_is_explained, stat, "a\n", true),
            (documents::every_counter_is_explained, stat, "`pass_truncated`\n", false),
            (documents::every_setting_is_explained, config, "a\n", true),
            (documents::every_setting_is_explained, config, "`errors`\n", false),
        ];
        for (row, (rule, source, text, breaks)) in pairs.iter().enumerate() {
            let problems = found(*rule, &[*source, ("docs/operating.md", text)]);
            assert_eq!(!problems.is_empty(), *breaks, "pair {row}: {problems:?}");
        }
    }
}
