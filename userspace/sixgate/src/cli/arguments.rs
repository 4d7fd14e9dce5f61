//! Reads the command line, and prints errors in it so that no terminal takes them for a command;
//! the values that several commands take.
//!
//! The meaning of a command is defined elsewhere.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, Write as _},
    time::Duration,
};

use clap::{CommandFactory, Parser, builder::Styles};
use humantime_serde::re::humantime;

use super::{Cli, escape::escaped_lines};

/// The command line of this process. Ends the process where it asks for help, or is wrong.
#[must_use]
pub fn parse_arguments() -> Cli {
    let arguments: Vec<OsString> = env::args_os().collect();
    match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() || !arguments.iter().any(|argument| has_control(argument)) => {
            error.exit()
        }
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

/// A duration, such as `12h`.
///
/// # Errors
///
/// A sentence with an example.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "write a number with its unit, such as 90s, 12h or 7d".to_owned())
}

/// A duration as a person writes it: the number, a space, the unit.
pub(super) fn spoken(duration: Duration) -> String {
    let mut text = String::new();
    for part in humantime::format_duration(duration).to_string().split(' ') {
        let unit = part.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(part.len());
        let (number, unit) = part.split_at(unit);
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(number);
        // "7 days", but "5m" and "30s", as in the configuration
        if unit.len() > "ms".len() {
            text.push(' ');
        }
        text.push_str(unit);
    }
    text
}

/// The ID of a change of the four lists.
///
/// # Errors
///
/// A sentence with the command that prints them.
pub(super) fn change_id(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "the ID of a change is a number, as `sixgate audit` prints it".to_owned())
}

fn has_control(argument: &OsStr) -> bool {
    argument.to_string_lossy().contains(char::is_control)
}

/// The exit code of a command line that is wrong.
const WRONG: i32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_with_a_space_before_a_long_unit() {
        for (given, shown) in
            [("7d", "7 days"), ("1d", "1 day"), ("36h", "1 day 12h"), ("90s", "1m 30s"), ("0s", "0s")]
        {
            assert_eq!(spoken(duration(given).unwrap()), shown);
        }
    }

    #[test]
    fn what_is_no_duration_or_id_is_answered_with_an_example() {
        for wrong in ["", "7", "yesterday", "2026-11-30", "1h30", "-1d"] {
            assert_eq!(duration(wrong).unwrap_err(), "write a number with its unit, such as 90s, 12h or 7d");
        }
        for wrong in ["", "abc", "-1", "99999999999999999999"] {
            assert!(change_id(wrong).unwrap_err().contains("`sixgate audit`"));
        }
    }
}
