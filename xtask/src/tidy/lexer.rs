//! Rust source, read just far enough to tell code from comments and strings.
//!
//! It knows no syntax beyond that: rules look for names in what it leaves.

/// A source file taken apart.
#[derive(Debug, Default)]
pub(super) struct Code {
    /// The source with comments and the contents of strings blanked: the same lines, the same
    /// columns.
    pub(super) blanked: String,
    /// Contents of string literals, with the number of the line where each starts.
    pub(super) strings: Vec<(usize, String)>,
    /// Comments with their marks, with the number of the line where each starts.
    pub(super) comments: Vec<(usize, String)>,
    /// Number of lines before the module of tests; all of them if there is none.
    pub(super) tests_at: usize,
}

impl Code {
    /// Takes `text` apart.
    pub(super) fn read(text: &str) -> Self {
        let mut reader = Reader { rest: text, line: 1, code: Self::default() };
        while reader.step() {}
        let mut code = reader.code;
        code.tests_at = code
            .blanked
            .lines()
            .position(|line| line.starts_with("#[cfg(test)]"))
            .unwrap_or_else(|| code.blanked.lines().count());
        code
    }
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    code: Code,
}

impl Reader<'_> {
    /// Takes one piece: a comment, a string, a character or a single letter of code.
    fn step(&mut self) -> bool {
        let rest = self.rest;
        let Some(first) = rest.chars().next() else {
            return false;
        };
        if rest.starts_with("//") {
            self.comment(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.comment(rest.find("*/").map_or(rest.len(), |end| end + 2));
        } else if first == '"' {
            self.string(1, string_end(rest, 1), 1);
        } else if let Some(hashes) = raw_string(rest).filter(|_| !self.inside_name()) {
            let close = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            let end = rest.get(start..).and_then(|text| text.find(&close));
            self.string(start, end.map_or(rest.len(), |end| start + end), close.len());
        } else if let Some(length) = character(rest) {
            self.blank(length);
        } else {
            self.keep(first.len_utf8());
        }
        true
    }

    fn inside_name(&self) -> bool {
        let last = self.code.blanked.chars().next_back();
        last.is_some_and(|last| last.is_alphanumeric() || last == '_')
    }

    fn string(&mut self, open: usize, end: usize, close: usize) {
        let (line, text) = (self.line, self.rest.get(open..end).unwrap_or_default().to_owned());
        self.code.strings.push((line, text));
        self.keep(open);
        self.blank(end.saturating_sub(open));
        self.keep(close.min(self.rest.len()));
    }

    fn comment(&mut self, length: usize) {
        let text = self.rest.get(..length).unwrap_or_default().to_owned();
        self.code.comments.push((self.line, text));
        self.blank(length);
    }

    fn keep(&mut self, length: usize) {
        let (taken, rest) = self.rest.split_at(length);
        self.code.blanked.push_str(taken);
        self.line += taken.matches('\n').count();
        self.rest = rest;
    }

    fn blank(&mut self, length: usize) {
        let (taken, rest) = self.rest.split_at(length);
        let blanks = taken.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' });
        self.code.blanked.extend(blanks);
        self.line += taken.matches('\n').count();
        self.rest = rest;
    }
}

/// Where the contents of a string that began before `from` end.
fn string_end(text: &str, from: usize) -> usize {
    let mut escaped = false;
    for (at, octet) in text.bytes().enumerate().skip(from) {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at,
            _ => {}
        }
    }
    text.len()
}

/// The number of hashes, if a raw string starts here.
fn raw_string(text: &str) -> Option<usize> {
    let text = text.strip_prefix('r')?;
    let hashes = text.len() - text.trim_start_matches('#').len();
    text.get(hashes..)?.starts_with('"').then_some(hashes)
}

/// The length of a character literal, if one starts here and no lifetime.
fn character(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('\'')?;
    let length = if inner.starts_with('\\') {
        2 + inner.get(2..)?.find('\'')?
    } else {
        inner.chars().next()?.len_utf8()
    };
    inner.get(length..)?.starts_with('\'').then_some(length + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_distinguished_from_code() {
        for (text, blanked, strings) in [
            ("a // b\nc", "a     \nc", &[][..]),
            ("a /* b\n */ c", "a     \n    c", &[]),
            (r#"f("a\"b", 'c')"#, r#"f("    ",    )"#, &[r#"a\"b"#]),
            (r###"r#"a"b"# x"###, r###"r#"   "# x"###, &[r#"a"b"#]),
            ("&'a str '\"' '\\'' b", "&'a str          b", &[]),
            ("\"// no\" // yes", "\"     \"       ", &["// no"]),
            ("b\"x\"", "b\" \"", &["x"]),
        ] {
            let code = Code::read(text);
            assert_eq!(code.blanked, blanked, "{text}");
            let found: Vec<&str> = code.strings.iter().map(|(_, text)| text.as_str()).collect();
            assert_eq!(found, strings, "{text}");
        }
    }

    #[test]
    fn the_module_of_tests_is_found() {
        assert_eq!(Code::read("a\nb\n#[cfg(test)]\nmod tests {}\n").tests_at, 2);
        assert_eq!(Code::read("a\nb\n").tests_at, 2);
    }
}
