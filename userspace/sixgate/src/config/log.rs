//! The values of the table `[log]`.
//!
//! It formats nothing; that is `cli`'s.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_with::DeserializeFromStr;

/// The least severe level that is logged.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Failures of the daemon's operations.
    Error,
    /// Likely failures, in addition.
    Warn,
    /// One line for each session and message, in addition.
    #[default]
    Info,
    /// The steps that led to them, in addition.
    Debug,
    /// Everything, in addition.
    Trace,
}

impl From<LogLevel> for tracing::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// In which form is logged.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
    /// Lines as Postfix's smtpd writes them.
    Postfix,
    /// Entries of systemd's journal, with a field for each value.
    Journald,
}

/// The program's name in lines of the form `postfix`.
#[derive(Clone, Debug, DeserializeFromStr, Eq, PartialEq)]
pub struct LogProgram(String);

impl Default for LogProgram {
    /// The one name that pflogsumm, fail2ban and postfix_exporter all take for smtpd's.
    fn default() -> Self {
        Self("postfix/smtpd".to_owned())
    }
}

impl FromStr for LogProgram {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_./".contains(&octet);
        if text.is_empty() || text.len() > PROGRAM_MAX || !text.bytes().all(is_plain) {
            return Err(
                "a program's name is 1 to 64 letters, digits, '-', '_', '.' and '/', such as \"postfix/smtpd\"",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for LogProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Octets of a program's name in the log.
const PROGRAM_MAX: usize = 64;
