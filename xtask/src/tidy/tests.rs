//! What each rule finds, and what it leaves alone.

use super::*;

/// Problems that `rule` finds in a tree of these files.
fn found(rule: Rule, files: &[(&str, &str)]) -> Vec<RuleBreach> {
    let tree = Tree { files: files.iter().map(|(path, text)| File::new(*path, *text)).collect() };
    let mut problems = Problems::default();
    rule(&tree, &mut problems);
    problems.0
}

/// Rows: a file's path, its text, and whether that breaks the rule.
fn judges(rule: Rule, rows: &[(&str, &str, bool)]) {
    for (path, text, breaks) in rows {
        let problems = found(rule, &[(path, text)]);
        assert_eq!(!problems.is_empty(), *breaks, "{path}: {text:?}: {problems:?}");
    }
}

#[test]
fn which_package_may_depend_on_a_library() {
    let aya = "[dependencies]\naya.workspace = true\n";
    let tokio = "[dev-dependencies]\ntokio = { workspace = true }\n";
    judges(
        layering::libraries_have_their_crates,
        &[
            ("userspace/sixgate/Cargo.toml", aya, true),
            ("userspace/dataplane/Cargo.toml", aya, false),
            ("userspace/smtp/Cargo.toml", tokio, true),
            ("userspace/sixgate/Cargo.toml", tokio, false),
            ("userspace/smtp/Cargo.toml", "[package]\ntokio = 1\n[dependencies]\n# tokio\n", false),
        ],
    );
}

#[test]
fn what_stands_in_one_place_only() {
    judges(
        layering::verdicts_are_made_in_one_place,
        &[
            ("userspace/sixgate/src/server/a.rs", "return Verdict::Accept;\n", true),
            ("userspace/sixgate/src/server/a.rs", "Verdict::Refuse(r) => f(r),\n", false),
            ("userspace/sixgate/src/server/a.rs", "if let Verdict::Refuse(r) = v {}\n", false),
            ("userspace/sixgate/src/server/a.rs", "matches!(v, Verdict::Accept)\n", false),
            ("userspace/smtp/src/policy/a.rs", "return Verdict::Accept;\n", false),
        ],
    );
    judges(
        layering::reply_codes_stand_in_one_table,
        &[
            ("userspace/sixgate/src/server/a.rs", "send(\"450 4.7.25 no\");\n", true),
            ("userspace/sixgate/src/server/a.rs", "send(\"250-gate\");\n", true),
            ("userspace/sixgate/src/server/a.rs", "// 450 4.7.25 no\n", false),
            ("userspace/smtp/src/reply.rs", "send(\"450 4.7.25 no\");\n", false),
        ],
    );
}

#[test]
fn how_methods_of_a_session_are_named() {
    let session = "userspace/smtp/src/session.rs";
    judges(
        layering::session_methods_say_their_kind,
        &[
            (session, "impl Session {\n    pub fn push(&mut self) {}\n}\n", true),
            (session, "impl Session {\n    pub fn handle_input(&mut self) {}\n}\n", false),
            (session, "impl Session {\n    pub fn phase(&self) {}\n}\n", false),
        ],
    );
}

#[test]
fn how_source_files_begin_and_how_long_things_are() {
    judges(
        shape::every_source_file_says_what_it_owns,
        &[("xtask/src/a.rs", "fn f() {}\n", true), ("xtask/src/a.rs", "//! Owns f.\nfn f() {}\n", false)],
    );
    let long_function = format!("fn f() {{\n{}}}\n", "    g();\n".repeat(101));
    let long_file = "//! a\n".repeat(601);
    let long_tests = format!("//! a\n#[cfg(test)]\nmod tests {{\n{}}}\n", "// b\n".repeat(700));
    judges(
        shape::nothing_is_too_long,
        &[
            ("xtask/src/a.rs", &long_function, true),
            ("xtask/src/a.rs", &long_file, true),
            ("xtask/src/a.rs", &long_tests, false),
        ],
    );
}

#[test]
fn what_tests_may_not_do() {
    judges(
        testing::tests_do_not_sleep,
        &[("tests/src/a.rs", "thread::sleep(a);\n", true), ("tests/src/a.rs", "let asleep = 1;\n", false)],
    );
    judges(
        testing::tests_are_never_switched_off,
        &[
            ("tests/src/a.rs", "#[ignore]\n", true),
            ("tests/src/a.rs", "#[should_panic]\n", true),
            ("tests/src/a.rs", "#[test]\nfn a() -> Result<()> {\n", true),
            ("tests/src/a.rs", "#[test]\nfn a() {\n", false),
        ],
    );
    let name = "a".repeat(71);
    judges(
        testing::names_of_tests_are_short,
        &[
            ("tests/src/a.rs", &format!("#[test]\nfn {name}() {{\n"), true),
            ("common/src/a.rs", &format!("#[tokio::test]\nasync fn {name}() {{\n"), true),
            ("tests/src/a.rs", &format!("#[test]\nfn {}() {{\n", &name[1..]), false),
            ("tests/src/a.rs", &format!("fn {name}() {{\n"), false),
        ],
    );
}

#[test]
fn what_documents_say_and_name() {
    judges(
        documents::named_paths_exist,
        &[
            ("docs/a.md", "See `common/src/maps/stat.rs`.\n", true),
            ("docs/a.md", "See [this](b.md).\n", true),
            ("docs/a.md", "See `docs/a.md`, [a](a.md) and <https://a.example/b.md>.\n", false),
        ],
    );
    judges(
        documents::linked_headings_exist,
        &[
            ("docs/a.md", "# One, two\n\n[a](#one-two), [b](a.md#one-two)\n", false),
            ("docs/a.md", "# One\n\n[a](#two)\n", true),
        ],
    );
    let drawn = crate::picture::draw("size 1 1\n").unwrap();
    for (picture, breaks) in [(drawn.as_str(), false), ("<svg/>\n", true)] {
        let files = [("docs/pictures/a.txt", "size 1 1\n"), ("docs/pictures/a.svg", picture)];
        assert_eq!(!found(documents::pictures_match_their_texts, &files).is_empty(), breaks);
    }
    judges(
        documents::tables_have_even_rows,
        &[
            ("docs/a.md", "| a | b |\n|---|---|\n| 1 | 2 | |\n", true),
            ("docs/a.md", "| a | b |\n|---|---|\n| 1 |\n", true),
            ("docs/a.md", "| a | b |\n|---|---|\n| 1 | `2 | 3` |\n\n| a |\n|---|\n| 1 |\n", false),
            ("docs/a.md", "```text\n|- a\n|  |- b\n```\n", false),
            ("docs/a.md", "```text\na\n```\n| a |\n|---|\n| 1 | 2 |\n", true),
        ],
    );
    judges(
        documents::the_readme_is_short,
        &[("README.md", &"a\n".repeat(151), true), ("README.md", &"a\n".repeat(150), false)],
    );
    judges(
        documents::text_is_clean,
        &[
            ("docs/a.md", "a \n", true),
            ("docs/a.md", "a", true),
            ("docs/a.md", "a\n", false),
            ("userspace/fuzz/seeds/line/a", "a \r\n.", false),
        ],
    );
    let machine = ["see /wo", "rk/main\n"].concat();
    judges(
        documents::nothing_names_a_machine,
        &[
            ("docs/a.md", &machine, true),
            (".cargo/config.toml", "[source.a]\nregistry = \"x\"\n", true),
            ("Cargo.lock", "source = \"registry+https://a.example/\"\n", true),
            ("docs/a.md", "framework/main\n", false),
        ],
    );
}

#[test]
fn what_documents_have_to_explain() {
    let stat = ("common/src/maps/stat.rs", "    PassTruncated = \"pass_truncated\",\n");
    let config = (
        "userspace/sixgate/src/config/mod.rs",
        "#[derive(Deserialize)]\npub struct Limits {\n    pub errors: u32,\n}\npub struct Other {\n    pub inner: u32,\n}\n",
    );
    let rows: [(Rule, _, _, _); 4] = [
        (documents::every_counter_is_explained, stat, "a\n", true),
        (documents::every_counter_is_explained, stat, "`pass_truncated`\n", false),
        (documents::every_setting_is_explained, config, "a\n", true),
        (documents::every_setting_is_explained, config, "`errors`\n", false),
    ];
    for (rule, source, text, breaks) in rows {
        let problems = found(rule, &[source, ("docs/operating.md", text)]);
        assert_eq!(!problems.is_empty(), breaks, "{source:?}, {text:?}: {problems:?}");
    }
}

#[test]
fn which_words_prose_does_without() {
    judges(
        words::plain_words,
        &[
            ("docs/a.md", "The sender hears 550.\n", true),
            ("docs/a.md", "Nobody listens.\n", true),
            ("docs/a.md", "The sender receives `nobody hears`.\n", false),
            ("docs/a.md", "```text\nnobody\n```\n", false),
            ("docs/a.md", "It stands in\nplace of another.\n", false),
            ("docs/a.md", "The place of another.\n", true),
            ("docs/a.md", "Keywords, passwords and headwords.\n", false),
            ("packaging/a.toml", "# whoever\nplace = 1\n", true),
            ("packaging/a.toml", "place = 1\n", false),
            ("userspace/sixgate/src/a.rs", "// whoever\n", true),
            ("userspace/sixgate/src/a.rs", "f(\"nobody is there\");\n", true),
            ("userspace/sixgate/src/a.rs", "f(\"nobody\");\nlet place = 1;\n", false),
            ("userspace/sixgate/src/a.rs", "#[cfg(test)]\nf(\"nobody is there\");\n", false),
            ("tests/src/a.rs", "f(\"nobody is there\");\n", false),
        ],
    );
    let phrase = found(words::plain_words, &[("docs/a.md", "a\nb\nto be share\nout\n")]);
    assert_eq!(phrase.first().map(|problem| problem.line), Some(3), "{phrase:?}");
}

#[test]
fn how_wide_prose_may_be() {
    let wide = format!("{}\n", "word ".repeat(21));
    let narrow = format!("{}\n", "word ".repeat(20).trim());
    let cell = |length: usize| format!("| a | b |\n|---|---|\n| 1 | {} |\n", "x ".repeat(length / 2));
    let (fits, beyond) = (cell(200), cell(204));
    let comment = format!("    // {wide}");
    judges(
        widths::prose_is_narrow,
        &[
            ("docs/a.md", &wide, true),
            ("docs/a.md", &narrow, false),
            ("docs/a.md", &format!("```\n{wide}```\n"), false),
            ("docs/a.md", &beyond, true),
            ("docs/a.md", &fits, false),
            ("docs/a.md", &"x".repeat(101), false),
            ("xtask/src/a.rs", &comment, true),
            ("xtask/src/a.rs", &format!("let a = \"{wide}\";\n"), false),
            ("packaging/a.service", &format!("# {wide}"), true),
            ("packaging/a.service", &wide, false),
        ],
    );
}

#[test]
fn what_comments_and_headings_have_to_say() {
    judges(
        prose::headings_are_nouns,
        &[("docs/a.md", "## Who answers\n", true), ("docs/a.md", "## Replies\n\nWho answers?\n", false)],
    );
    judges(
        shape::doc_comments_say_something,
        &[
            ("userspace/sixgate/src/a.rs", "/// Why.\nwhy: String,\n", true),
            ("userspace/sixgate/src/a.rs", "/// Octets of the body.\nbody: usize,\n", false),
            ("userspace/sixgate/src/a.rs", "/// Why.\n///\n/// More of it.\nwhy: String,\n", false),
        ],
    );
    let fails = "/// Reads.\n#[must_use]\npub fn f(\n    a: u8,\n) -> io::Result<()> {\n";
    judges(
        shape::failures_are_documented,
        &[
            ("userspace/sixgate/src/a.rs", fails, true),
            (
                "userspace/sixgate/src/a.rs",
                "/// Reads.\n///\n/// # Errors\n///\n/// If not.\npub fn f() -> Result<()> {\n",
                false,
            ),
            ("userspace/sixgate/src/a.rs", "pub fn f() -> Option<()> {\n", false),
            ("userspace/sixgate/src/a.rs", "pub(crate) fn f() -> Result<()> {\n", false),
            ("tests/src/a.rs", fails, false),
        ],
    );
}

#[test]
fn which_lines_of_the_log_have_to_be_explained() {
    let document =
        |event: &str| format!("# A\n\n## Log\n\n| event | level |\n|---|---|\n| `{event}` | info |\n");
    let source = "fn f() {\n    info!(\n        a = \"x y z\",\n        \"cannot open {}: \\\n         {b}\",\n        c\n    );\n}\n";
    for (event, source, count) in [
        ("cannot open …", source, 0),
        // the event is not logged, and the line is not explained
        ("cannot close …", source, 2),
        ("cannot open …", "fn f() {\n    g();\n}\n", 1),
        (
            "cannot open …",
            "fn f() {\n    g(\"cannot open a\");\n    debug!(\"unknown\");\n    warn!(\"{a}: {b}\");\n}\n",
            0,
        ),
    ] {
        let files = [("docs/operating.md", document(event)), ("userspace/a/src/a.rs", source.to_owned())];
        let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let problems = found(log::logged_lines_are_explained, &files);
        assert_eq!(problems.len(), count, "{event}: {source}: {problems:?}");
    }
}
