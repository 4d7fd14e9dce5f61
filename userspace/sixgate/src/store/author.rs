//! The author of a change of the store, the host, and the command: the record in its revision.
//!
//! It decides nothing by it.

use std::{env, fs};

use nix::{
    sys::utsname::uname,
    unistd::{Uid, User},
};

/// Who changes the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Author {
    /// The user, and who became that user by sudo.
    pub who: String,
    /// The command line of the process.
    pub what: String,
    /// The user, the login and the host, as far as they are known.
    pub origin: Origin,
}

/// Where a change comes from. Versions before did not record it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Origin {
    /// The effective user ID of the process.
    pub uid: Option<u32>,
    /// The user who logged in: `loginuid` of the process (proc(5)), else the user before sudo.
    pub login: Option<String>,
    /// The name of the host.
    pub host: Option<String>,
}

impl Origin {
    fn of_this_process(uid: Uid, before_sudo: Option<&str>) -> Self {
        let login = login_uid().map(user_name).or_else(|| before_sudo.map(str::to_owned));
        let host = uname().ok().map(|names| names.nodename().to_string_lossy().into_owned());
        Self {
            uid: Some(uid.as_raw()),
            login: login.map(|login| bounded(&login, WHO_MAX)),
            host: host.map(|host| bounded(&host, WHO_MAX)),
        }
    }
}

/// The user who logged in; none for a process that no login began.
fn login_uid() -> Option<Uid> {
    let text = fs::read_to_string("/proc/self/loginuid").ok()?;
    let uid: u32 = text.trim().parse().ok()?;
    (uid != u32::MAX).then(|| Uid::from_raw(uid))
}

fn user_name(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| format!("uid {uid}"), |user| user.name)
}

impl Author {
    /// The process's user and its command line.
    #[must_use]
    pub fn of_this_process() -> Self {
        let uid = Uid::effective();
        let name = user_name(uid);
        let before = env::var("SUDO_USER").ok();
        let origin = Origin::of_this_process(uid, before.as_deref());
        let who = match before {
            Some(before) if before != name => format!("{name} (sudo by {before})"),
            _ => name,
        };
        let arguments = env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
        let what = without_config(arguments).join(" ");
        Self { who: bounded(&who, WHO_MAX), what: bounded(&what, WHAT_MAX), origin }
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
