//! A session that is served, command by command (RFC 5321 4.1).
//!
//! It owns what each command may do when, and the replies to lines that do not hold a command. How
//! one is spelled is in `crate::command`, what follows DATA and BDAT in `session::content`.

use std::sync::Arc;

use super::{Argument, Hello, Offer, Session, SessionState, Task, Transaction};
use crate::{
    command::{Body, Chunk, Command, CommandError, MailFrom, Mailbox, RcptTo},
    line::InputLine,
    reply::{Extension, ReplyKind},
};

/// Commands that carry no mail (NOOP, RSET, VRFY, HELP, EHLO, …) which a session may send between
/// the ends of two messages. RSET and EHLO are among them, so that transactions that come to
/// nothing are bounded, too.
pub(super) const IDLE_COMMANDS_MAX: u32 = 100;
/// A chunk below this many octets is a small one.
const SMALL_CHUNK: u64 = 1024;
/// Small chunks that a message may consist of.
const SMALL_CHUNKS_MAX: u32 = 1000;

impl Session {
    pub(super) fn read_line(&mut self, line: InputLine) {
        let refusing = match self.state {
            SessionState::Refusing { reason, phase, commands } => Some((reason, phase, commands)),
            _ => None,
        };
        // octets of an unfinished line put nothing off: a command has to come within the time for a
        // command
        if line == InputLine::Endless && refusing.is_none() {
            return;
        }
        self.times.active = self.times.now;
        if let Some((reason, phase, commands)) = refusing {
            return self.read_refused(reason, phase, commands, line);
        }
        self.count_command(match &line {
            InputLine::Complete(line) => Some(line),
            _ => None,
        });
        let line = match line {
            InputLine::Complete(line) => line,
            InputLine::TooLong | InputLine::Endless => return self.reject_error(ReplyKind::TooLong),
            InputLine::BareLineEnd => return self.hang_up(ReplyKind::BareCommand),
        };
        self.argument = Argument::of(&line);
        let mut parsed = Command::parse(&line);
        if parsed == Err(CommandError::UnknownParameter)
            && let Ok(command) = Command::parse_without_dsn(&line)
            && self.waives(ReplyKind::UnknownParameter)
        {
            parsed = Ok(command);
        }
        match parsed {
            Ok(command) => self.handle_command(command),
            Err(error) => self.reject_error(match error {
                CommandError::BadChunk => return self.hang_up(ReplyKind::BadChunk),
                CommandError::BadRecipient => ReplyKind::BadAddress,
                CommandError::BadSender => ReplyKind::BadSender,
                CommandError::NoName => ReplyKind::NoName,
                CommandError::Syntax => ReplyKind::Syntax,
                CommandError::TooLong => ReplyKind::TooLong,
                CommandError::Unknown => ReplyKind::Unknown,
                CommandError::UnknownParameter => ReplyKind::UnknownParameter,
            }),
        }
        self.argument = None;
    }

    pub(super) fn handle_command(&mut self, command: Command) {
        let is_mail = matches!(
            command,
            Command::Bdat(_) | Command::Data | Command::Mail(_) | Command::Quit | Command::Rcpt(_)
        );
        if !is_mail && !self.may_idle() {
            return self.hang_up(ReplyKind::TooManyCommands);
        }
        match command {
            Command::Bdat(chunk) => self.bdat(chunk),
            Command::Data => self.data(),
            Command::Ehlo(name) => self.hello_as(Hello { name, extended: true }),
            Command::Helo(name) => self.hello_as(Hello { name, extended: false }),
            Command::Help => self.reply(ReplyKind::Help),
            Command::Mail(mail) => self.mail(mail),
            Command::Noop => self.reply(ReplyKind::Noop),
            Command::NotOffered => self.reject_error(ReplyKind::NotOffered),
            Command::OtherProtocol => self.hang_up(ReplyKind::OtherProtocol),
            Command::Quit => self.hang_up(ReplyKind::Quit),
            Command::Rcpt(recipient) => self.rcpt(recipient),
            Command::Rset => {
                self.abandon();
                self.reply(ReplyKind::Rset);
            }
            Command::StartTls => self.start_tls(),
            Command::Vrfy => self.reply(ReplyKind::Vrfy),
        }
    }

    /// Counts a command that carries no mail; whether it may be obeyed.
    fn may_idle(&mut self) -> bool {
        self.counts.idle_commands += 1;
        self.counts.idle_commands <= IDLE_COMMANDS_MAX
    }

    fn hello_as(&mut self, hello: Hello) {
        self.abandon();
        let reply = if hello.extended {
            self.parameters.table.ehlo(&self.extensions())
        } else {
            self.parameters.table.reply(ReplyKind::Helo)
        };
        self.send(&reply);
        self.hello = Some(Arc::new(hello));
    }

    /// The extensions that are offered now.
    fn extensions(&self) -> Vec<Extension> {
        let Offer { eight_bit_mime, size, smtp_utf8, start_tls, message_size } = self.parameters.offer;
        let start_tls = start_tls && self.tls.is_none();
        let offer = [
            Some(Extension::Pipelining),
            size.then_some(Extension::Size(message_size)),
            start_tls.then_some(Extension::StartTls),
            eight_bit_mime.then_some(Extension::EightBitMime),
            Some(Extension::Chunking),
            smtp_utf8.then_some(Extension::SmtpUtf8),
            Some(Extension::EnhancedStatusCodes),
        ];
        offer.into_iter().flatten().collect()
    }

    /// What follows the command in the clear is dropped at once (RFC 3207 4.2).
    fn start_tls(&mut self) {
        if !self.parameters.offer.start_tls {
            self.reject_error(ReplyKind::NotOffered);
        } else if self.tls.is_some() || self.hello.is_none() || self.transaction.is_some() {
            self.reject_error(ReplyKind::BadSequence);
        } else {
            self.input.clear();
            self.task = Some(Task::StartTls);
            self.state = SessionState::StartingTls;
        }
    }

    fn mail(&mut self, mail: MailFrom) {
        let offer = self.parameters.offer;
        let hello = match &self.hello {
            Some(hello) if self.transaction.is_none() => Arc::clone(hello),
            _ => return self.reject_error(ReplyKind::BadSequence),
        };
        if self.counts.messages >= self.parameters.limits.messages {
            self.hang_up(ReplyKind::TooManyMessages);
        } else if (mail.body == Some(Body::EightBitMime) && !offer.eight_bit_mime)
            || (mail.size.is_some() && !offer.size)
            || (mail.smtp_utf8 && !offer.smtp_utf8)
        {
            self.reject_error(ReplyKind::UnknownParameter);
        } else if !mail.smtp_utf8
            && !mail.reverse_path.as_ref().is_none_or(Mailbox::is_ascii)
            && !self.waives(ReplyKind::NotAsciiSender)
        {
            self.reject_error(ReplyKind::NotAsciiSender);
        } else if mail.size.is_some_and(|size| size > offer.message_size) {
            // no mail comes of it
            if self.may_idle() {
                self.reject(ReplyKind::TooBig);
            } else {
                self.hang_up(ReplyKind::TooManyCommands);
            }
        } else {
            (self.counts.small_chunks, self.counts.deferred_recipients) = (0, 0);
            let mail = Arc::new(mail);
            self.task = Some(Task::Begin { hello: Arc::clone(&hello), mail: Arc::clone(&mail) });
            self.transaction = Some(Transaction { hello, mail, recipients: Vec::new() });
            self.times.transaction_end = Some(self.times.now + self.parameters.limits.transaction_timeout);
            self.reply(ReplyKind::Mail);
        }
    }

    fn rcpt(&mut self, recipient: RcptTo) {
        let transaction = match &self.transaction {
            Some(transaction) if self.chunks.is_none() => transaction,
            _ => return self.reject_error(ReplyKind::BadSequence),
        };
        let Transaction { hello, mail, recipients } = transaction;
        let (hello, mail, recipients) = (Arc::clone(hello), Arc::clone(mail), recipients.len());
        let is_known = mail.smtp_utf8 || recipient.mailbox().is_none_or(Mailbox::is_ascii);
        if !is_known && !self.waives(ReplyKind::NotAscii) {
            self.reject_error(ReplyKind::NotAscii);
        } else if recipients >= self.parameters.limits.recipients {
            self.reject(ReplyKind::TooManyRecipients);
            self.counts.deferred_recipients += 1;
            if self.has_too_many_recipients() {
                self.hang_up(ReplyKind::TooManyRejected);
            }
        } else {
            self.task = Some(Task::Recipient { recipient: recipient.clone(), mail, hello });
            self.state = SessionState::Recipient(recipient);
        }
    }

    fn data(&mut self) {
        match &self.transaction {
            None => self.reject_error(ReplyKind::BadSequence),
            Some(_) if self.chunks.is_some() => self.reject_error(ReplyKind::BadSequence),
            Some(transaction) if transaction.recipients.is_empty() => {
                self.reject_error(ReplyKind::NoRecipients)
            }
            Some(_) => {
                self.reply(ReplyKind::StartData);
                self.begin_content();
            }
        }
    }

    /// The octets of a chunk are read in any case: they are not commands.
    fn bdat(&mut self, chunk: Chunk) {
        let is_due = self.transaction.as_ref().is_some_and(|transaction| !transaction.recipients.is_empty());
        self.counts.small_chunks += u32::from(chunk.size < SMALL_CHUNK);
        if self.counts.small_chunks > SMALL_CHUNKS_MAX {
            self.hang_up(ReplyKind::TooManyCommands);
        } else if is_due {
            self.begin_chunk(chunk);
        } else {
            self.begin_skipping(chunk.size, ReplyKind::BadSequence);
        }
    }
}
