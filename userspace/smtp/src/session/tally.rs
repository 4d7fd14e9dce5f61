//! The commands and messages of a session, counted by the replies that they got.
//!
//! It owns no limit: those compare with the counts in `state`.

use super::Session;
use crate::{command::trim_blanks_start, reply::Reply};

/// The commands and messages of a session.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SessionTally {
    commands: [Tally; CommandName::ALL.len()],
    /// The messages that came to their end.
    pub messages: Tally,
    /// Octets of messages, as they came; of those that were given up, too.
    pub octets: u64,
}

/// The replies to one kind of command.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// How many came, with a reply or without.
    pub total: u32,
    /// How many got a reply 2yz.
    pub accepted: u32,
    /// How many got a reply 4yz.
    pub deferred: u32,
    /// How many got a reply 5yz.
    pub rejected: u32,
}

impl Tally {
    fn reply(&mut self, code: u16) {
        match code {
            ..400 => self.accepted += 1,
            400..500 => self.deferred += 1,
            _ => self.rejected += 1,
        }
    }
}

/// The command at the beginning of a line, whether the rest of it can be read or not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CommandName {
    /// HELO (RFC 5321 4.1.1.1).
    Helo,
    /// EHLO (RFC 5321 4.1.1.1).
    Ehlo,
    /// STARTTLS (RFC 3207).
    StartTls,
    /// AUTH, which is never offered.
    Auth,
    /// MAIL (RFC 5321 4.1.1.2).
    Mail,
    /// RCPT (RFC 5321 4.1.1.3).
    Rcpt,
    /// DATA, with the message.
    Data,
    /// BDAT (RFC 3030), one chunk of a message.
    Bdat,
    /// RSET (RFC 5321 4.1.1.5).
    Rset,
    /// NOOP (RFC 5321 4.1.1.9).
    Noop,
    /// VRFY (RFC 5321 4.1.1.6).
    Vrfy,
    /// HELP (RFC 5321 4.1.1.8).
    Help,
    /// QUIT (RFC 5321 4.1.1.10).
    Quit,
    /// Any other line.
    Unknown,
}

impl CommandName {
    /// All of them, in the order in which logs list them.
    pub const ALL: [Self; 14] = [
        Self::Helo,
        Self::Ehlo,
        Self::StartTls,
        Self::Auth,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::Bdat,
        Self::Rset,
        Self::Noop,
        Self::Vrfy,
        Self::Help,
        Self::Quit,
        Self::Unknown,
    ];

    /// The name as it is sent.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Helo => "HELO",
            Self::Ehlo => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Bdat => "BDAT",
            Self::Rset => "RSET",
            Self::Noop => "NOOP",
            Self::Vrfy => "VRFY",
            Self::Help => "HELP",
            Self::Quit => "QUIT",
            Self::Unknown => "UNKNOWN",
        }
    }

    fn of(line: &[u8]) -> Self {
        let line = trim_blanks_start(line);
        let end = line.iter().position(|octet| !octet.is_ascii_alphabetic()).unwrap_or(line.len());
        let verb = line.get(..end).unwrap_or(line);
        let is_named = |name: &Self| verb.eq_ignore_ascii_case(name.name().as_bytes());
        Self::ALL.into_iter().find(is_named).unwrap_or(Self::Unknown)
    }
}

impl SessionTally {
    /// So many commands, of which no more is known.
    #[must_use]
    pub fn of_total(commands: u32) -> Self {
        let mut tally = Self::default();
        if let Some(unknown) = tally.of_mut(CommandName::Unknown) {
            unknown.total = commands;
        }
        tally
    }

    /// The replies to the commands of this name.
    #[must_use]
    pub fn of(&self, name: CommandName) -> Tally {
        self.commands.get(name as usize).copied().unwrap_or_default()
    }

    /// The replies to all commands.
    #[must_use]
    pub fn all(&self) -> Tally {
        self.commands.iter().fold(Tally::default(), |all, one| Tally {
            total: all.total + one.total,
            accepted: all.accepted + one.accepted,
            deferred: all.deferred + one.deferred,
            rejected: all.rejected + one.rejected,
        })
    }

    fn of_mut(&mut self, name: CommandName) -> Option<&mut Tally> {
        self.commands.get_mut(name as usize)
    }
}

/// The command that was read last, and whether its reply is still to come.
#[derive(Debug, Default)]
pub(super) struct LastCommand {
    name: Option<CommandName>,
    waits: bool,
}

impl LastCommand {
    /// Its name; none: there was no command yet.
    pub(super) fn name(&self) -> Option<CommandName> {
        self.name
    }
}

impl Session {
    /// The commands and messages so far, by the replies that they got.
    #[must_use]
    pub fn tally(&self) -> &SessionTally {
        &self.tally
    }

    /// Counts a line that is to be obeyed now; none: it could not be read.
    pub(super) fn count_command(&mut self, line: Option<&[u8]>) {
        let name = line.map_or(CommandName::Unknown, CommandName::of);
        self.last_command = LastCommand { name: Some(name), waits: true };
        if let Some(tally) = self.tally.of_mut(name) {
            tally.total += 1;
        }
    }

    /// Sends a reply, and counts it as that of the last command if that had none yet. To DATA the
    /// reply after the message counts.
    pub(super) fn send(&mut self, reply: &Reply) {
        reply.with_id(&self.parameters.id).write_to(&mut self.output);
        let code = reply.code();
        let Some(name) = self.last_command.name.filter(|_| self.last_command.waits && code != START_DATA)
        else {
            return;
        };
        self.last_command.waits = false;
        if let Some(tally) = self.tally.of_mut(name) {
            tally.reply(code);
        }
    }

    /// Counts a message that came to its end with the reply `code`.
    pub(super) fn count_message_reply(&mut self, code: u16) {
        self.tally.messages.total += 1;
        self.tally.messages.reply(code);
    }
}

/// The reply to DATA that only asks for the message.
const START_DATA: u16 = 354;
