//! Who makes a change of the store, and by which command: what its revision records.
//!
//! It decides nothing by it.

use std::env;

use nix::unistd::{Uid, User};

/// Who changes the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Author {
    /// The user, and who became that user by sudo.
    pub who: String,
    /// The command line of the process.
    pub what: String,
}

impl Author {
    /// The process's user and its command line.
    #[must_use]
    pub fn of_this_process() -> Self {
        let uid = Uid::effective();
        let name = User::from_uid(uid).ok().flatten().map_or_else(|| format!("uid {uid}"), |user| user.name);
        let who = match env::var("SUDO_USER") {
            Ok(before) if before != name => format!("{name} (sudo by {before})"),
            _ => name,
        };
        let arguments = env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
        let what = without_config(arguments).join(" ");
        Self { who: bounded(&who, WHO_MAX), what: bounded(&what, WHAT_MAX) }
    }
}

/// The arguments without the option that names the configuration.
fn without_config(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut is_value = false;
    let mut kept = Vec::new();
    for argument in arguments {
        if std::mem::take(&mut is_value) || argument.starts_with("--config=") {
            continue;
        }
        is_value = argument == "--config";
        if !is_value {
            kept.push(argument);
        }
    }
    kept
}

/// The text without control characters, cut off where it is too long.
fn bounded(text: &str, most: usize) -> String {
    let mut bounded: String = text.escape_debug().take(most).collect();
    if text.escape_debug().nth(most).is_some() {
        bounded.push('…');
    }
    bounded
}

/// Longest name that is recorded, in characters.
const WHO_MAX: usize = 100;
/// Longest command that is recorded, in characters.
const WHAT_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_recorded_without_the_name_of_the_configuration() {
        for line in ["--config a optin add b", "optin --config=a add b", "optin add b --config a"] {
            let arguments = line.split(' ').map(str::to_owned);
            assert_eq!(without_config(arguments), ["optin", "add", "b"]);
        }
    }

    #[test]
    fn a_long_command_is_cut_off_and_control_characters_are_escaped() {
        assert_eq!(bounded("a\nb", 10), "a\\nb");
        assert_eq!(bounded("abcdef", 3), "abc…");
        assert_eq!(bounded("abc", 3), "abc");
    }
}
