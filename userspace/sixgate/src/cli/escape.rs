//! Control characters in what is printed: shown, not sent to the terminal.
//!
//! It prints nothing.

use std::borrow::Cow;

/// `text` in which control characters are escaped as in `\u{1b}`.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escape = |letter: char| match letter.is_control() {
        true => letter.escape_debug().collect::<String>(),
        false => letter.to_string(),
    };
    text.chars().map(escape).collect::<String>().into()
}

/// The same, each line by itself.
pub(super) fn escaped_lines(text: &str) -> String {
    text.split('\n').map(escaped).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_other_letters_are_not() {
        for (text, wanted) in [
            ("plain \\ `ü`", "plain \\ `ü`"),
            ("a\x1b[31mb", "a\\u{1b}[31mb"),
            ("a\tb\r", "a\\tb\\r"),
            ("\u{9b}31m", "\\u{9b}31m"),
        ] {
            assert_eq!(escaped(text), wanted);
        }
        assert_eq!(escaped_lines("a\x07\nb"), "a\\u{7}\nb");
    }
}
