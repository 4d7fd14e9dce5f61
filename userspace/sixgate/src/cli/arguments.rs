//! The command line, read; what is wrong with it is printed so that no terminal takes it for a command.
//!
//! What a command means is not its business.

use std::{
    borrow::Cow,
    env,
    ffi::{OsStr, OsString},
    io::{self, Write as _},
};

use clap::{CommandFactory, Parser, builder::Styles};

use super::Cli;

/// The command line of this process. Ends the process where it asks for help, or is wrong.
#[must_use]
pub fn parse_arguments() -> Cli {
    let arguments: Vec<OsString> = env::args_os().collect();
    match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() || !arguments.iter().any(|word| has_control(word)) => error.exit(),
        Err(_) => {
            // again in plain letters: the only control characters are the user's then
            let error = Cli::command().styles(Styles::plain()).try_get_matches_from(arguments).err();
            let text = error.map(|error| error.render().ansi().to_string()).unwrap_or_default();
            // an error here cannot be printed either
            let _ = writeln!(io::stderr(), "{}", escaped_lines(text.trim_end()));
            std::process::exit(WRONG)
        }
    }
}

/// `text` in which control characters are escaped, each line by itself.
fn escaped_lines(text: &str) -> String {
    text.split('\n').map(escaped).collect::<Vec<_>>().join("\n")
}

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

fn has_control(word: &OsStr) -> bool {
    word.to_string_lossy().contains(char::is_control)
}

/// The exit code of a command line that is wrong.
const WRONG: i32 = 2;

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
