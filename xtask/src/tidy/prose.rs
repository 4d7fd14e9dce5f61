//! The prose of a file: a document's text, comments, and the texts that the programs print.
//!
//! It owns where prose stands and what in it is code; other rules judge the terms and the widths.

use super::{File, Problems, Tree};

/// Text in reading order, with the lines that it comes from. A line end of a paragraph is a blank.
#[derive(Debug, Default)]
pub(super) struct Prose {
    pub(super) text: String,
    /// Where each line begins in `text`, and its number in the file.
    starts: Vec<(usize, usize)>,
}

impl Prose {
    /// All prose of `file`; none for a kind of file that has none.
    pub(super) fn of(file: &File) -> Self {
        let mut prose = Self::default();
        if file.is_rust() {
            prose.rust(file);
        } else if is_document(&file.path) {
            for (line, text) in document_lines(file).filter(|(_, text)| !text.is_code) {
                prose.push(line, text.text);
            }
        } else if has_hash_comments(&file.path) {
            for (line, text) in hash_comments(file) {
                prose.push(line, text.trim_start_matches(['#', ' ']));
            }
        }
        prose.blank_code();
        prose
    }

    /// The number of the line that holds the octet at `offset`.
    pub(super) fn line(&self, offset: usize) -> usize {
        let after = self.starts.partition_point(|(start, _)| *start <= offset);
        after.checked_sub(1).and_then(|at| self.starts.get(at)).map_or(1, |(_, line)| *line)
    }

    fn rust(&mut self, file: &File) {
        let mut is_code = false;
        for (line, comment) in &file.code.comments {
            for (below, text) in comment.lines().enumerate() {
                let text = text.trim_start_matches([' ', '/', '!', '*']);
                if text.starts_with("```") {
                    is_code = !is_code;
                } else if !is_code {
                    self.push(line + below, text);
                }
            }
            // a comment at the end of the file leaves no block open
            is_code &= comment.starts_with("//");
        }
        self.paragraph();
        if !has_texts(&file.path) {
            return;
        }
        for (line, text) in file.code.strings.iter().filter(|(line, _)| *line <= file.code.tests_at) {
            // a name, a key or a pattern is not prose
            if text.trim().contains(' ') {
                for (below, text) in text.lines().enumerate() {
                    self.push(line + below, text.trim_end_matches('\\'));
                }
                self.paragraph();
            }
        }
    }

    fn push(&mut self, line: usize, text: &str) {
        if self.starts.last().is_some_and(|(_, last)| line > last + 1) {
            self.paragraph();
        }
        self.starts.push((self.text.len(), line));
        self.text.push_str(text.trim());
        self.text.push(if text.trim().is_empty() { '\n' } else { ' ' });
    }

    fn paragraph(&mut self) {
        self.text.push('\n');
    }

    /// Replaces what stands in backticks, within a paragraph, octet for octet.
    fn blank_code(&mut self) {
        let mut inside = false;
        self.text = self
            .text
            .chars()
            .map(|letter| match letter {
                '`' => {
                    inside = !inside;
                    "`".to_owned()
                }
                '\n' => {
                    inside = false;
                    "\n".to_owned()
                }
                _ if inside => "`".repeat(letter.len_utf8()),
                _ => letter.to_string(),
            })
            .collect();
    }
}

/// A line of a document.
pub(super) struct DocumentLine<'a> {
    pub(super) text: &'a str,
    /// Within a block of code.
    pub(super) is_code: bool,
}

/// The lines of a document, with their numbers.
pub(super) fn document_lines(file: &File) -> impl Iterator<Item = (usize, DocumentLine<'_>)> {
    let mut inside = false;
    file.text.lines().enumerate().map(move |(at, text)| {
        let fence = text.trim_start().starts_with("```");
        inside ^= fence;
        (at + 1, DocumentLine { text, is_code: inside || fence })
    })
}

/// Comments of a file whose comments begin with `#`, with their marks.
pub(super) fn hash_comments(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let lines = file.text.lines().enumerate().map(|(at, text)| (at + 1, text.trim_start()));
    lines.filter(|(_, text)| text.starts_with('#') && !text.starts_with("#!"))
}

/// Markdown of this repository.
pub(super) fn is_document(path: &str) -> bool {
    path.ends_with(".md")
}

/// Configuration, unit files and scripts.
pub(super) fn has_hash_comments(path: &str) -> bool {
    let ends = [".toml", ".service", ".timer", ".sh", ".yml", ".yaml", ".dot"];
    path != WORDS && ends.iter().any(|end| path.ends_with(end))
}

/// Whether what a file's strings hold is printed for users.
fn has_texts(path: &str) -> bool {
    ["userspace/", "common/"].iter().any(|folder| path.starts_with(folder))
        && !path.contains("/fuzz/")
        && !path.contains("/tests/")
        && !path.contains("/benches/")
}

/// A heading names a thing of the field; a question or half a sentence cannot be searched for.
pub(super) fn headings_are_nouns(tree: &Tree, problems: &mut Problems) {
    for file in tree.files.iter().filter(|file| is_document(&file.path)) {
        for (line, text) in document_lines(file).filter(|(_, text)| !text.is_code) {
            let Some(heading) = text.text.strip_prefix('#') else {
                continue;
            };
            let first = heading.trim_start_matches(['#', ' ']).split([' ', ',', '?']).next();
            if let Some(first) = first.filter(|first| QUESTIONS.contains(first)) {
                let advice = format!("a heading that begins with `{first}`: name the subject instead");
                problems.add(&file.path, line, advice);
            }
        }
    }
}

/// The list of terms, which has them all.
const WORDS: &str = "xtask/words.txt";
const QUESTIONS: &[&str] = &[
    "A", "An", "How", "If", "It", "That", "This", "What", "When", "Where", "Which", "Who", "Whom", "Whose",
    "Why",
];
