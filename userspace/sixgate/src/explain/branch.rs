//! A tree of text, drawn in lines 100 columns wide where blanks allow.
//!
//! Control characters are escaped by who prints.

/// The widest line.
const WIDTH: usize = 100;

/// A line, and what stands below it.
pub(super) struct Branch {
    text: String,
    /// Whether the text is shown to the letter, however wide it is.
    is_literal: bool,
    below: Vec<Self>,
}

impl Branch {
    pub(super) fn new(text: String, below: Vec<Self>) -> Self {
        Self { text, is_literal: false, below }
    }

    pub(super) fn leaf(text: String) -> Self {
        Self::new(text, Vec::new())
    }

    pub(super) fn literal(text: String) -> Self {
        Self { is_literal: true, ..Self::leaf(text) }
    }
}

/// Draws `branches`, each line after `before`.
pub(super) fn write(branches: &[Branch], before: &str, lines: &mut Vec<String>) {
    for (at, Branch { text, is_literal, below }) in branches.iter().enumerate() {
        let is_last = at + 1 == branches.len();
        let [first, further] = if is_last { ["`- ", "   "] } else { ["|- ", "|  "] };
        let further = format!("{before}{further}");
        let rest = if below.is_empty() { format!("{further}  ") } else { format!("{further}| ") };
        if *is_literal {
            lines.push(format!("{before}{first}{text}"));
        } else {
            wrap(&format!("{before}{first}"), &rest, text, lines);
        }
        write(below, &further, lines);
    }
}

/// Adds `text` in lines of [`WIDTH`], broken at blanks.
fn wrap(first: &str, further: &str, text: &str, lines: &mut Vec<String>) {
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split(' ') {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut line, further.to_owned()));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_drawn_and_its_lines_are_broken_at_blanks() {
        let leaf = |text: &str| Branch::leaf(text.to_owned());
        let long = "word ".repeat(25);
        let tree = [Branch::new("a".to_owned(), vec![leaf("b"), leaf(long.trim())]), leaf("c")];
        let mut lines = Vec::new();
        write(&tree, "", &mut lines);
        let wanted = [
            "|- a",
            "|  |- b",
            &format!("|  `- {}", "word ".repeat(19).trim()),
            &format!("|       {}", "word ".repeat(6).trim()),
            "`- c",
        ];
        assert_eq!(lines, wanted);
    }
}
