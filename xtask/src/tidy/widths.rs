//! How wide prose is: documents, comments and the cells of tables.
//!
//! Code is rustfmt's business.

use std::collections::BTreeSet;

use super::{File, Problems, Tree, prose};

/// Prose and comments end at column 100, the cells of a table at 200 characters.
pub(super) fn prose_is_narrow(tree: &Tree, problems: &mut Problems) {
    for file in &tree.files {
        if prose::is_document(&file.path) {
            document(file, problems);
        } else if file.is_rust() {
            let lines = file.text.lines().collect::<Vec<_>>();
            for line in comment_lines(file) {
                judge(file, line, lines.get(line - 1).unwrap_or(&""), problems);
            }
        } else if prose::has_hash_comments(&file.path) {
            for (line, text) in prose::hash_comments(file) {
                judge(file, line, text, problems);
            }
        }
    }
}

/// The lines that have a comment, each once.
fn comment_lines(file: &File) -> BTreeSet<usize> {
    let lines = |(line, text): &(usize, String)| *line..*line + text.lines().count();
    file.code.comments.iter().flat_map(lines).collect()
}

fn document(file: &File, problems: &mut Problems) {
    for (line, text) in prose::document_lines(file).filter(|(_, text)| !text.is_code) {
        judge(file, line, text.text, problems);
    }
}

fn judge(file: &File, line: usize, text: &str, problems: &mut Problems) {
    let content = text.trim_start_matches(['/', '!', '#', ' ', '-', '*']);
    if content.starts_with('|') {
        for cell in cells(content).map(|cell| cell.trim().chars().count()).filter(|cell| *cell > CELL_MAX) {
            let advice =
                format!("a cell of {cell} characters, {CELL_MAX} are allowed: make the table a list");
            problems.add(&file.path, line, advice);
        }
        return;
    }
    let columns = text.trim_end().chars().count();
    // a link or a path cannot be broken
    if columns > PROSE_MAX && content.contains(' ') && !text.contains("://") {
        problems.add(&file.path, line, format!("{columns} columns, {PROSE_MAX} are allowed: break the line"));
    }
}

/// The cells of a row; a bar within backticks begins none.
fn cells(row: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    row.split(move |letter| {
        inside ^= letter == '`';
        letter == '|' && !inside
    })
}

const PROSE_MAX: usize = 100;
const CELL_MAX: usize = 200;
