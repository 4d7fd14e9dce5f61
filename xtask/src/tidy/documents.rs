//! Rules about documents and text: what they name exists, what exists is explained, nothing is left
//! lying.
//!
//! It does not judge their language.

use std::path::Path;

use super::{File, Problems, Tree, prose};
use crate::picture;

/// A path of this repository that a document names is there.
pub(super) fn named_paths_exist(tree: &Tree, problems: &mut Problems) {
    for file in documents(tree) {
        for (at, text) in file.text.lines().enumerate() {
            for path in quoted_paths(text).chain(linked_paths(&file.path, text)) {
                if !exists(tree, &path) {
                    problems.add(
                        &file.path,
                        at + 1,
                        format!("`{path}` does not exist: correct the document"),
                    );
                }
            }
        }
    }
}

/// A link to a heading leads to one.
pub(super) fn linked_headings_exist(tree: &Tree, problems: &mut Problems) {
    for file in documents(tree) {
        for (at, text) in file.text.lines().enumerate() {
            for (path, anchor) in linked_anchors(&file.path, text) {
                let target = tree.file(&path);
                if target.is_some_and(|target| !anchors(target).any(|name| name == anchor)) {
                    let advice = format!("{path} has no heading `#{anchor}`: correct the link");
                    problems.add(&file.path, at + 1, advice);
                }
            }
        }
    }
}

/// The anchors of a document's headings, as Markdown's readers make them.
fn anchors(file: &File) -> impl Iterator<Item = String> {
    let headings = file.text.lines().filter(|text| text.starts_with('#'));
    headings.map(|text| {
        let text = text.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    })
}

/// The links of `text` that name a heading: the document's path, and the anchor.
fn linked_anchors(document: &str, text: &str) -> impl Iterator<Item = (String, String)> {
    text.split("](").skip(1).filter_map(move |rest| {
        let (path, anchor) = rest.split(')').next()?.split_once('#')?;
        let folder = Path::new(document).parent().unwrap_or_else(|| Path::new(""));
        let path = if path.is_empty() { document.to_owned() } else { normal(&folder.join(path)) };
        (!path.contains("://")).then(|| (path, anchor.to_owned()))
    })
}

/// A picture is the drawing of the text beside it.
pub(super) fn pictures_match_their_texts(tree: &Tree, problems: &mut Problems) {
    let is_text = |path: &str| path.starts_with(picture::FOLDER) && path.ends_with(".txt");
    for file in tree.files.iter().filter(|file| is_text(&file.path)) {
        let drawn = tree.file(&file.path.replace(".txt", ".svg")).map(|drawn| &drawn.text);
        match picture::draw(&file.text) {
            Ok(picture) if Some(&picture) == drawn => {}
            Ok(_) => problems.add(&file.path, 1, "its picture is another one: run `cargo xtask picture`"),
            Err(error) => problems.add(&file.path, 1, format!("cannot be drawn: {error:#}")),
        }
    }
}

/// Every counter of the XDP program is in docs/operating.md.
pub(super) fn every_counter_is_explained(tree: &Tree, problems: &mut Problems) {
    let Some(file) = tree.file("common/src/maps/stat.rs") else {
        return;
    };
    for (line, text) in file.text.lines().enumerate() {
        let Some((_, rest)) = text.split_once(" = \"") else {
            continue;
        };
        let name = rest.trim_end_matches("\",");
        if !rest.ends_with("\",") || is_explained(tree, name) {
            continue;
        }
        problems.add(
            &file.path,
            line + 1,
            format!("counter `{name}` is not in docs/operating.md: explain it there"),
        );
    }
}

/// Every setting is in docs/policy.md or docs/operating.md, once one of them is there.
pub(super) fn every_setting_is_explained(tree: &Tree, problems: &mut Problems) {
    for file in tree.below("userspace/sixgate/src/config") {
        for (line, name) in settings(file).filter(|(_, name)| !is_explained(tree, name)) {
            let advice = format!("setting `{name}` is in no document: explain it in docs/policy.md");
            problems.add(&file.path, line, advice);
        }
    }
}

/// The fields of the structs that are read from the configuration file.
fn settings(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let (mut is_read, mut inside) = (false, false);
    file.shipped().filter_map(move |(line, text)| {
        if text.starts_with("#[derive(") {
            is_read = text.contains("Deserialize");
        } else if text.contains("struct ") || text.contains("enum ") {
            inside = is_read && text.contains("struct ") && text.trim_end().ends_with('{');
        } else if text.starts_with('}') {
            (is_read, inside) = (false, false);
        }
        let (name, _) = text.trim_start().trim_start_matches("pub ").split_once(": ")?;
        let is_field = name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
        (inside && is_field).then_some((line, name))
    })
}

/// Each row of a table has as many cells as its head: readers see nothing of those beyond it.
/// Lines between code fences are not a table.
pub(super) fn tables_have_even_rows(tree: &Tree, problems: &mut Problems) {
    for file in documents(tree) {
        let (mut head, mut is_code) = (None, false);
        for (at, text) in file.text.lines().enumerate() {
            is_code ^= text.starts_with("```");
            if is_code || !text.starts_with('|') {
                head = None;
                continue;
            }
            // a bar within backticks begins no cell
            let cells = text.split('`').step_by(2).map(|part| part.matches('|').count()).sum::<usize>() - 1;
            let wanted = *head.get_or_insert(cells);
            if cells != wanted {
                let advice = format!("{cells} cells in a table of {wanted}: correct the row");
                problems.add(&file.path, at + 1, advice);
            }
        }
    }
}

/// The README is read in one sitting.
pub(super) fn the_readme_is_short(tree: &Tree, problems: &mut Problems) {
    let lines = tree.file("README.md").map_or(0, |file| file.text.lines().count());
    if lines > README_MAX {
        problems.add(
            "README.md",
            lines,
            format!("{lines} lines, {README_MAX} are allowed: move some to docs/"),
        );
    }
}

/// No trailing blanks, and a newline at the end.
pub(super) fn text_is_clean(tree: &Tree, problems: &mut Problems) {
    for file in tree.files.iter().filter(|file| !file.path.starts_with(FUZZ_SEEDS)) {
        for (at, text) in file.text.lines().enumerate() {
            // rustfmt sees to Rust, where a blank may stand at the end of a string's line
            if text.ends_with([' ', '\t', '\r']) && !file.is_rust() {
                problems.add(&file.path, at + 1, "blanks at the end of the line: remove them");
            }
        }
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            problems.add(&file.path, file.text.lines().count(), "no newline at the end of the file: add one");
        }
    }
}

/// No file names a folder of the machine it was written on, or another package registry than
/// crates.io.
pub(super) fn nothing_names_a_machine(tree: &Tree, problems: &mut Problems) {
    for file in &tree.files {
        for (at, text) in file.text.lines().enumerate() {
            if MACHINE_FOLDERS.iter().any(|folder| names_folder(text, folder)) {
                problems.add(&file.path, at + 1, "a folder of one machine: use a relative path or a setting");
            }
            if names_registry(&file.path, text) {
                problems.add(
                    &file.path,
                    at + 1,
                    "another package registry: leave that to the user's own settings",
                );
            }
        }
    }
}

fn names_folder(text: &str, folder: &str) -> bool {
    let part_of_path = |before: char| before.is_alphanumeric() || "_-./}".contains(before);
    text.match_indices(folder).any(|(at, _)| !text[..at].ends_with(part_of_path))
}

fn names_registry(path: &str, text: &str) -> bool {
    match path.rsplit('/').next() {
        Some("Cargo.lock") => text.starts_with("source = ") && !text.contains(CRATES_IO),
        Some("config.toml" | "Cargo.toml") => {
            ["[source", "[registr", "replace-with"].iter().any(|key| text.starts_with(key))
        }
        _ => false,
    }
}

fn documents(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.files.iter().filter(|file| prose::is_document(&file.path))
}

/// Whether `name` stands in backticks in one of the operator's documents, alone or as a part of a
/// dotted name.
fn is_explained(tree: &Tree, name: &str) -> bool {
    let mut pages =
        ["docs/operating.md", "docs/policy.md"].iter().filter_map(|path| tree.file(path)).peekable();
    let quoted = |page: &File| {
        let mut words = page.text.split('`').skip(1).step_by(2);
        words.any(|word| word.split('.').any(|part| part == name))
    };
    pages.peek().is_none() || pages.any(quoted)
}

/// What stands in backticks and begins with a top-level folder of ours; a pattern or a placeholder
/// is none.
fn quoted_paths(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).filter_map(|quoted| {
        let folder = FOLDERS.iter().any(|folder| quoted.starts_with(folder));
        let plain = !quoted.contains([' ', '*', '<', '…', '{', '$']);
        (folder && plain).then(|| quoted.split([':', '#']).next().unwrap_or_default().to_owned())
    })
}

/// The targets of Markdown links that stay in the repository.
fn linked_paths(document: &str, text: &str) -> impl Iterator<Item = String> {
    let folder = Path::new(document).parent().unwrap_or_else(|| Path::new("")).to_owned();
    text.split("](").skip(1).filter_map(move |rest| {
        let target = rest.split([')', '#']).next()?;
        let local = !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:");
        local.then(|| normal(&folder.join(target)))
    })
}

/// `path` without its `..`.
fn normal(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.iter().filter_map(|part| part.to_str()) {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Whether `path` is a file or a folder of the tree.
fn exists(tree: &Tree, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    tree.files.iter().any(|file| {
        let rest = file.path.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Octets as clients send them, not text.
const FUZZ_SEEDS: &str = "userspace/fuzz/seeds/";
const README_MAX: usize = 150;
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
const FOLDERS: &[&str] =
    &["bench/", "common/", "docs/", "ebpf/", "packaging/", "tests/", "userspace/", "xtask/"];
/// Put together here, so that this file does not name them.
const MACHINE_FOLDERS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
