//! Reads the command line, and prints errors in it so that no terminal takes them for a command.
//!
//! The meaning of a command is defined elsewhere.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, Write as _},
};

use clap::{CommandFactory, Parser, builder::Styles};

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

fn has_control(argument: &OsStr) -> bool {
    argument.to_string_lossy().contains(char::is_control)
}

/// The exit code of a command line that is wrong.
const WRONG: i32 = 2;
