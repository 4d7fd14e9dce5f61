//! Dialogues as text: the lines of a client, the replies that it has to receive, and the mail that
//! has to be delivered.
//!
//! It reads scripts and runs none. One directive a line; `#` begins a comment line; the lines of a
//! block are indented.
//!
//! ```text
//! INCLUDE: open.inc            the lines of another file, relative to this one, stand here
//! SETTINGS:                    block: TOML laid over the usual configuration
//!     mode = "shadow"
//! ZONE:                        block: what DNS answers, in the notation of `sixgate_tests::dns`
//!     2001:db8:51::4 PTR mail.sender.example
//! SETUP: optin add 2001:db8::25
//!                              a command of sixgate before the daemon starts, which has to succeed
//! CONNECT: 2001:db8:51::4 2001:db8:25::25
//!                              a session begins, from this address to port 25 of that one; the
//!                              one before ends, and may leave nothing that it has not read
//! C: EHLO mail.example         the client sends this and CRLF; `C:` alone is an empty line
//! C< NOOP\n                    the client sends this as it is; \r \n \0 \t \\ and \xHH are octets
//! C* 4096 x                    the client sends so many of this letter, without CRLF
//! S: 250 2.0.0 Ok              it receives exactly this line
//! S~ 250 2.0.0 Deliv           it receives a line that begins so
//! CLOSED                       the daemon ends the connection
//! EXPECT-DELIVERED:            block: at the end a message is in the Maildir; one block for each,
//!     Return-Path: <a@b>       in their order; it has lines that begin so, in this order,
//!     ! bank.example           and nowhere this text
//! ```

pub mod facts;
pub mod play;
pub mod transactions;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

/// A script of one dialogue.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// TOML laid over the usual configuration.
    pub settings: String,
    /// What DNS answers.
    pub zone: String,
    /// Commands of sixgate that come first.
    pub setup: Vec<String>,
    /// What happens, each with the line where it is written.
    pub steps: Vec<(ScriptPosition, Step)>,
    /// The messages that have to be there in the end: starts of lines, in their order.
    pub delivered: Vec<Vec<String>>,
}

/// Where a step is written.
#[derive(Clone, Debug)]
pub struct ScriptPosition {
    /// The file of the script.
    pub path: PathBuf,
    /// Counted from 1.
    pub line: usize,
}

impl fmt::Display for ScriptPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// Something that happens in a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// A session begins.
    Connect {
        /// The sender's address.
        source: String,
        /// The gate's address.
        destination: String,
    },
    /// The sender sends this and CRLF.
    Say(String),
    /// The sender sends this as it is.
    SayOctets(Vec<u8>),
    /// The sender receives exactly this line.
    Hear(String),
    /// The sender receives a line that begins so.
    HearStart(String),
    /// The daemon ends the connection.
    Closed,
}

impl Script {
    /// Reads the script `path` and what it includes.
    ///
    /// # Errors
    /// With file and line.
    pub fn read(path: &Path) -> Result<Self> {
        let mut script = Self::default();
        script.add(path)?;
        Ok(script)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut lines = text.lines().enumerate().peekable();
        while let Some((at, line)) = lines.next() {
            let position = ScriptPosition { path: path.to_owned(), line: at + 1 };
            let mut block = Vec::new();
            while let Some((_, line)) = lines.next_if(|(_, line)| line.starts_with(' ')) {
                block.push(line.trim_start().to_owned());
            }
            self.directive(&position, line, block).with_context(|| position.to_string())?;
        }
        Ok(())
    }

    fn directive(&mut self, position: &ScriptPosition, line: &str, block: Vec<String>) -> Result<()> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let has_block = matches!(word, "SETTINGS:" | "ZONE:" | "EXPECT-DELIVERED:");
        if !block.is_empty() && !has_block {
            bail!("{word} has no block");
        }
        let step = match word {
            "" | "#" => return Ok(()),
            "INCLUDE:" => return self.add(&position.path.with_file_name(rest)),
            "SETTINGS:" => {
                block.iter().for_each(|line| self.settings.extend([line, "\n"]));
                return Ok(());
            }
            "ZONE:" => {
                block.iter().for_each(|line| self.zone.extend([line, "\n"]));
                return Ok(());
            }
            "EXPECT-DELIVERED:" => {
                self.delivered.push(block);
                return Ok(());
            }
            "SETUP:" => {
                self.setup.push(rest.to_owned());
                return Ok(());
            }
            "CONNECT:" => {
                let (source, destination) = rest.split_once(' ').context("CONNECT: SOURCE DESTINATION")?;
                Step::Connect { source: source.to_owned(), destination: destination.to_owned() }
            }
            "C:" => Step::Say(rest.to_owned()),
            "C<" => Step::SayOctets(octets(rest)?),
            "C*" => {
                let (count, letter) = rest.split_once(' ').context("C* COUNT LETTER")?;
                Step::SayOctets(letter.repeat(count.parse()?).into_bytes())
            }
            "S:" => Step::Hear(rest.to_owned()),
            "S~" => Step::HearStart(rest.to_owned()),
            "CLOSED" => Step::Closed,
            _ => bail!("{word:?} is no directive"),
        };
        self.steps.push((position.clone(), step));
        Ok(())
    }
}

/// The octets that `text` stands for.
fn octets(text: &str) -> Result<Vec<u8>> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        octets.extend(plain.as_bytes());
        let (octet, length) = match escape.as_bytes().first() {
            Some(b'r') => (b'\r', 1),
            Some(b'n') => (b'\n', 1),
            Some(b't') => (b'\t', 1),
            Some(b'0') => (0, 1),
            Some(b'\\') => (b'\\', 1),
            Some(b'x') => (u8::from_str_radix(escape.get(1..3).context("\\x needs two digits")?, 16)?, 3),
            _ => bail!("no such escape: \\{escape}"),
        };
        octets.push(octet);
        rest = escape.get(length..).context("escapes are ASCII")?;
    }
    octets.extend(rest.as_bytes());
    Ok(octets)
}
