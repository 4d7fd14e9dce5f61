//! Refusals, aborts and ends of a session, reported to the code that counts and logs them.
//!
//! It owns how far a session had come when that happened; it writes no log line.

use sixgate_common::flow::ARGUMENT_KEPT;

use super::{CommandName, Session, SessionState};
use crate::{
    command::{Mailbox, RcptTo},
    incoming_message::IncomingMessage,
    reply::{Reply, ReplyKind},
};

/// What happened in a session, and how far it had come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Incident {
    /// The kind of incident.
    pub event: Event,
    /// How far the session had come.
    pub progress: SessionProgress,
    /// The reply of sixgate; for a waived refusal, the one that enforce would have given. `None`:
    /// the client is gone, or the reply was the next hop's.
    pub reply: Option<Reply>,
}

/// The kinds of incidents.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// A command was refused; the session goes on.
    Command(ReplyKind),
    /// The next hop takes no further recipient in this transaction; its own reply was passed on.
    Deferred,
    /// The client has gone without QUIT.
    Left,
    /// A message was given up while it arrived, and its transaction with it; the session goes on.
    Message(ReplyKind),
    /// We ended the session.
    Session(ReplyKind),
    /// In shadow mode a command or a message broke a rule for which enforce would have refused it.
    Waived(ReplyKind),
}

impl Event {
    /// The bound that was reached, as counters name it.
    #[must_use]
    pub fn bound(self) -> Option<&'static str> {
        match self {
            Self::Command(kind) | Self::Message(kind) | Self::Session(kind) => kind.bound(),
            Self::Deferred => ReplyKind::TooManyRecipients.bound(),
            Self::Left | Self::Waived(_) => None,
        }
    }

    /// Why enforce and shadow alike refuse what the client wanted, if they do: neither a stop of
    /// ours nor a silence of the client is a refusal.
    #[must_use]
    pub fn refused(self) -> Option<ReplyKind> {
        match self {
            Self::Session(ReplyKind::IdleTimeout | ReplyKind::ShuttingDown) => None,
            Self::Command(kind) | Self::Message(kind) | Self::Session(kind) => Some(kind),
            Self::Deferred | Self::Left | Self::Waived(_) => None,
        }
    }
}

/// How far a session has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionProgress {
    /// The last step that counts.
    pub stage: Stage,
    /// Octets of the message that is arriving, as they came; 0 if none is.
    pub octets: u64,
    /// MAIL of the open transaction, empty for the null path; none: there is no transaction.
    pub mail_from: Option<String>,
    /// Recipients that it has.
    pub recipients: usize,
    /// Which they are; empty where a single command was refused.
    pub to: Vec<RcptTo>,
    /// Message-ID of the message that is arriving, its first
    /// [`MESSAGE_ID_KEPT`](crate::MESSAGE_ID_KEPT) octets; empty if none is known.
    pub message_id: String,
    /// The argument of MAIL or RCPT, if that is the command that is being obeyed.
    pub argument: Option<Argument>,
    /// The last command; none: there was none yet.
    pub command: Option<CommandName>,
    /// Messages that came to their end before, with any result.
    pub messages: u32,
}

/// What followed MAIL FROM or RCPT TO, cut at [`ARGUMENT_KEPT`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Argument {
    /// The argument of `MAIL FROM:`.
    Sender(Vec<u8>),
    /// The argument of `RCPT TO:`.
    Recipient(Vec<u8>),
}

impl Argument {
    /// That of a command line, if it is one of the two.
    pub(super) fn of(line: &[u8]) -> Option<Self> {
        let after = |command: &str| {
            let (name, argument) = line.split_at_checked(command.len())?;
            let kept = argument.get(..ARGUMENT_KEPT).unwrap_or(argument);
            name.eq_ignore_ascii_case(command.as_bytes()).then(|| kept.to_vec())
        };
        after("MAIL FROM:").map(Self::Sender).or_else(|| after("RCPT TO:").map(Self::Recipient))
    }
}

/// The last step of a session that counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// No command yet, or none that counts.
    Connect,
    /// EHLO or HELO, or a transaction that is over.
    Hello,
    /// STARTTLS, or what follows it up to the next EHLO.
    StartTls,
    /// MAIL was accepted.
    Mail,
    /// A recipient was accepted, or is being judged.
    Rcpt,
    /// DATA: the message is arriving.
    Data,
    /// BDAT: chunks are arriving.
    Bdat,
    /// The whole message has arrived and is being judged.
    EndOfData,
    /// Everything is refused from the first packet on.
    Refused,
}

impl Stage {
    /// The name for the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bdat => "BDAT",
            Self::Connect => "connect",
            Self::Data => "DATA",
            Self::EndOfData => "end of data",
            Self::Hello => "EHLO",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Refused => "refused",
            Self::StartTls => "STARTTLS",
        }
    }
}

impl Session {
    /// Keeps in mind what happens now. To be called before what happens changes anything.
    pub(super) fn note(&mut self, event: Event, reply: Option<Reply>) {
        let incident = Incident { event, progress: self.progress(event), reply };
        self.incidents.push(incident);
    }

    /// The same of a rule that is waived in shadow mode.
    pub(super) fn note_waived(&mut self, kind: ReplyKind) {
        let reply = self.parameters.table.reply(kind);
        self.note(Event::Waived(kind), Some(reply));
    }

    /// Sends the reply to something that happens now, and notes both.
    pub(super) fn reply_noted(&mut self, event: Event, kind: ReplyKind) {
        let reply = self.parameters.table.reply(kind);
        self.send(&reply);
        self.note(event, Some(reply));
    }

    fn progress(&self, event: Event) -> SessionProgress {
        let transaction = self.transaction.as_ref();
        let path = transaction.map(|transaction| transaction.mail.reverse_path.as_ref());
        SessionProgress {
            stage: self.stage(),
            octets: self.incoming_message().map_or(0, IncomingMessage::octets),
            mail_from: path.map(|path| path.map(Mailbox::to_string).unwrap_or_default()),
            recipients: transaction.map_or(0, |transaction| transaction.recipients.len()),
            to: match (event, transaction) {
                // there may be many of these, and their lines name one recipient
                (Event::Command(_) | Event::Deferred, _) | (_, None) => Vec::new(),
                (_, Some(transaction)) => transaction.recipients.clone(),
            },
            message_id: self.incoming_message().map(IncomingMessage::message_id).unwrap_or_default(),
            argument: self.argument.clone(),
            command: self.last_command.name(),
            messages: self.counts.messages,
        }
    }

    fn stage(&self) -> Stage {
        match (&self.state, &self.transaction) {
            (SessionState::Refusing { .. }, _) => Stage::Refused,
            (SessionState::StartingTls, _) => Stage::StartTls,
            (SessionState::Skipping(..), _) => Stage::Bdat,
            (SessionState::Message, _) => Stage::EndOfData,
            (SessionState::Recipient(_), _) => Stage::Rcpt,
            _ if let Some(arriving) = self.incoming_message() => {
                if arriving.is_in_chunks() {
                    Stage::Bdat
                } else {
                    Stage::Data
                }
            }
            (_, Some(transaction)) if transaction.recipients.is_empty() => Stage::Mail,
            (_, Some(_)) => Stage::Rcpt,
            (_, None) if self.hello.is_some() => Stage::Hello,
            (_, None) if self.tls.is_some() => Stage::StartTls,
            (_, None) => Stage::Connect,
        }
    }

    /// The message that is arriving, between two chunks, too.
    fn incoming_message(&self) -> Option<&IncomingMessage> {
        match &self.state {
            SessionState::Data(arriving) | SessionState::Keeping(arriving) => Some(arriving),
            _ => self.chunks.as_ref(),
        }
    }
}
