//! One SMTP session (RFC 5321) without IO: octets and answers in, replies and tasks out.
//!
//! It owns the order of commands and the limits of one session. It decides nothing about senders
//! and recipients, opens nothing and reads no clock.

mod answers;
mod commands;
mod content;
mod incident;
mod interface;
mod refusing;
mod state;
mod tally;

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{BytesMut, buf::Limit};
use sixgate_common::refuse;

use crate::{
    command::Command,
    incoming_message::IncomingMessage,
    line::LineBuffer,
    policy::Mode,
    reply::{ReplyKind, ReplyTable},
};

pub use incident::{Argument, Event, Incident, SessionProgress, Stage};
pub use interface::{
    Admission, Hello, Offer, Refused, RefusedRecipient, SessionLimits, SessionParameters, StoreFailure, Task,
    Tls, TlsProgress, Transaction,
};
use state::{HURRIED_COMMAND, SessionCounts, SessionState, Times};
use tally::LastCommand;
pub use tally::{CommandName, SessionTally, Tally};

/// Octets of the buffer for input that is kept while the session waits for an answer. A pipelined
/// group of commands fits in many times over.
const WAITING_INPUT_MAX: usize = 64 * 1024;
/// Octets of commands that are read at once.
const COMMANDS_READ: usize = 4 * 1024;

/// An SMTP session, from the greeting to the last reply.
///
/// Its methods are of four kinds: getters; `handle_*` takes what happened; `answer_*` takes the
/// answer to the task that the session waits for; `poll_*` gives what is to be done.
///
/// The caller repeats: perform [`Self::poll_task`] until it gives none; send [`Self::poll_output`];
/// if [`Self::is_closing`], end the connection; if it [`Self::accepts_input`], read into
/// [`Self::poll_space`] and call [`Self::handle_input`]; let [`Self::poll_timeout`] pass at the
/// latest. While a task is performed, input may be read by the same rule: it is kept, and
/// interpreted once the session has its answer. `now` must never go back.
#[derive(Debug)]
pub struct Session {
    parameters: SessionParameters,
    state: SessionState,
    input: LineBuffer,
    output: Vec<u8>,
    task: Option<Task>,
    hello: Option<Arc<Hello>>,
    transaction: Option<Transaction>,
    /// A message of which chunks have come and the last one has not; within a transaction only.
    chunks: Option<IncomingMessage>,
    /// How the connection is encrypted; none: it is not.
    tls: Option<Tls>,
    counts: SessionCounts,
    times: Times,
    /// The commands and messages, by their replies, for the log.
    tally: SessionTally,
    last_command: LastCommand,
    /// The argument of the command that is being handled, for the log.
    argument: Option<Argument>,
    /// The incidents that are not reported yet.
    incidents: Vec<Incident>,
    /// The last sender that the refusing dialogue got, and the recipients that it refused.
    refused: Refused,
    /// Reply 421 as soon as no transaction is under way.
    stopping: bool,
    /// Whether commands have to come soon.
    in_a_hurry: bool,
}

impl Session {
    /// A session whose client has just connected; the greeting is the first output.
    #[must_use]
    pub fn new(parameters: SessionParameters, now: Instant) -> Self {
        let times = Times {
            now,
            active: now,
            too_slow: None,
            transaction_end: None,
            end: now + parameters.limits.session_timeout,
        };
        let mut session = Self {
            parameters,
            state: SessionState::Command,
            input: LineBuffer::default(),
            output: Vec::new(),
            task: None,
            hello: None,
            transaction: None,
            chunks: None,
            tls: None,
            counts: SessionCounts::default(),
            times,
            tally: SessionTally::default(),
            last_command: LastCommand::default(),
            argument: None,
            incidents: Vec::new(),
            refused: Refused::default(),
            stopping: false,
            in_a_hurry: false,
        };
        match session.parameters.admission {
            Admission::Serve => session.reply(ReplyKind::Greeting),
            Admission::Unavailable => session.hang_up(ReplyKind::NextHopUnknown),
            Admission::Refuse { reason, refuse_at } => {
                let step = refuse::open(reason, refuse_at);
                session.refuse(reason, step, 0, b"");
            }
        }
        session
    }

    /// The octets of a session that is rejected before it begins, for the reason `why`.
    #[must_use]
    pub fn rejected_at_once(table: &ReplyTable, why: ReplyKind) -> Vec<u8> {
        let mut output = Vec::new();
        table.reply(why).write_to(&mut output);
        output
    }

    /// Space to read input into, for `most` octets of a message or fewer of commands. A message's
    /// octets are handed on from there without being copied.
    pub fn poll_space(&mut self, most: usize) -> Limit<&mut BytesMut> {
        let is_content = matches!(self.state, SessionState::Data(_) | SessionState::Skipping(..));
        self.input.space(if is_content { most } else { most.min(COMMANDS_READ) })
    }

    /// Takes the input that was read into [`Self::poll_space`]. What comes in the clear once
    /// STARTTLS was read is dropped: the client has to wait (RFC 3207 4.2), and another could have
    /// sent it.
    pub fn handle_input(&mut self, now: Instant) {
        if matches!(self.state, SessionState::Closing | SessionState::StartingTls) {
            return self.input.clear();
        }
        self.times.now = now;
        self.advance();
    }

    /// The client closed its side: nothing more will come, and an unfinished transaction is void.
    pub fn handle_end_of_input(&mut self) {
        if !self.is_closing() {
            self.note(Event::Left, None);
        }
        self.abandon();
        self.state = SessionState::Closing;
    }

    /// The daemon stops: ends the session as soon as no message is under way. One in chunks is
    /// under way from its first to its last.
    pub fn handle_shutdown(&mut self) {
        self.stopping = true;
        self.advance();
    }

    /// The instant of [`Self::poll_timeout`] passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|timeout| timeout > now) {
            return;
        }
        let passed = |instant: Option<Instant>| instant.is_some_and(|instant| instant <= now);
        // silence is different from slowness, though both may be due at the same instant
        self.hang_up(if passed(self.silence_end()) {
            ReplyKind::IdleTimeout
        } else if passed(self.times.too_slow) {
            ReplyKind::TooSlow
        } else if passed(self.times.transaction_end) {
            ReplyKind::TransactionTooLong
        } else {
            ReplyKind::SessionTooLong
        });
    }

    /// Goes on with other reply texts and bounds and in another mode, between two transactions or
    /// as one begins. Extensions that were offered to the client stay offered.
    pub fn handle_settings(&mut self, table: Arc<ReplyTable>, limits: SessionLimits, mode: Mode) {
        self.parameters.table = table;
        self.parameters.limits = limits;
        self.parameters.mode = mode;
    }

    /// Whether the session is served and no transaction is open.
    #[must_use]
    pub fn is_between_transactions(&self) -> bool {
        matches!(self.state, SessionState::Command) && self.transaction.is_none()
    }

    /// Commands have to come soon, or may take their time again: others wait for the connection.
    pub fn handle_stress(&mut self, is_stressed: bool) {
        self.in_a_hurry = is_stressed;
    }

    /// The next task, given once.
    pub fn poll_task(&mut self) -> Option<Task> {
        let task = self.task.take();
        if task.is_some() {
            self.advance();
        }
        task
    }

    /// The octets to be sent; empty if there are none.
    pub fn poll_output(&mut self) -> Vec<u8> {
        mem::take(&mut self.output)
    }

    /// The refusals, aborts and ends since the last call, to be counted and logged.
    pub fn poll_incidents(&mut self) -> Vec<Incident> {
        mem::take(&mut self.incidents)
    }

    /// When [`Self::handle_timeout`] is due; none while the client waits for us.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let silence_end = self.silence_end()?;
        let Times { end, too_slow, transaction_end, .. } = self.times;
        [Some(silence_end), Some(end), too_slow, transaction_end].into_iter().flatten().min()
    }

    /// When the client has been silent for too long; none while it waits for us.
    fn silence_end(&self) -> Option<Instant> {
        let limits = &self.parameters.limits;
        let wait = match self.state {
            SessionState::Command | SessionState::Refusing { .. } | SessionState::StartingTls => {
                let hurried = if self.in_a_hurry { HURRIED_COMMAND } else { Duration::MAX };
                limits.command_timeout.min(hurried)
            }
            SessionState::Data(_) | SessionState::Skipping(..) => limits.data_timeout,
            SessionState::Keeping(_)
            | SessionState::Recipient(_)
            | SessionState::Message
            | SessionState::Closing => return None,
        };
        Some(self.times.active + wait)
    }

    /// Whether input is interpreted now, and not only kept.
    fn reads(&self) -> bool {
        let may_read = matches!(
            self.state,
            SessionState::Command
                | SessionState::Refusing { .. }
                | SessionState::Data(_)
                | SessionState::Skipping(..)
        );
        may_read && self.task.is_none()
    }

    /// Whether there is space for input, now or for later.
    #[must_use]
    pub fn accepts_input(&self) -> bool {
        self.input.unread().len() + COMMANDS_READ <= WAITING_INPUT_MAX
    }

    /// Whether QUIT is the last of the input that is kept for later.
    #[must_use]
    pub fn has_quit_waiting(&self) -> bool {
        let mut lines = self.input.unread().rsplit(|octet| *octet == b'\n');
        let (end, last) = (lines.next(), lines.next());
        let last = last.and_then(|line| line.strip_suffix(b"\r"));
        end.is_some_and(<[u8]>::is_empty)
            && last.is_some_and(|line| matches!(Command::parse(line), Ok(Command::Quit)))
    }

    /// Whether the last reply has been sent.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        matches!(self.state, SessionState::Closing)
    }

    /// EHLO or HELO, as last given.
    #[must_use]
    pub fn hello(&self) -> Option<&Hello> {
        self.hello.as_deref()
    }

    /// The open transaction.
    #[must_use]
    pub fn transaction(&self) -> Option<&Transaction> {
        self.transaction.as_ref()
    }

    /// How the connection is encrypted; none: it is not.
    #[must_use]
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// The commands that the refusing dialogue got, and those that it refused.
    #[must_use]
    pub fn refused(&self) -> &Refused {
        &self.refused
    }

    /// Reads input until a task needs an answer. Only here is it decided when a session has to end
    /// because the daemon stops.
    fn advance(&mut self) {
        while self.reads() {
            if self.stopping && self.rests() {
                return self.hang_up(ReplyKind::ShuttingDown);
            }
            match &mut self.state {
                SessionState::Data(_) => {
                    if !self.read_content() {
                        return;
                    }
                }
                SessionState::Skipping(..) => {
                    if !self.skip_content() {
                        return;
                    }
                }
                _ => match self.input.next_line() {
                    None => return,
                    Some(line) => self.read_line(line),
                },
            }
        }
    }

    /// Whether no message is under way.
    fn rests(&self) -> bool {
        self.chunks.is_none() && matches!(self.state, SessionState::Command | SessionState::Refusing { .. })
    }

    /// Drops the transaction, if there is one.
    fn abandon(&mut self) {
        if self.end_transaction() {
            self.task = Some(Task::Abandon);
        }
    }

    /// Whether there was one.
    fn end_transaction(&mut self) -> bool {
        (self.times.too_slow, self.times.transaction_end) = (None, None);
        self.chunks = None;
        self.transaction.take().is_some()
    }

    fn reply(&mut self, kind: ReplyKind) {
        let reply = self.parameters.table.reply(kind);
        self.send(&reply);
    }

    /// Whether the mode is shadow, in which `waived` is not a reason to refuse a command; it is
    /// noted then.
    fn waives(&mut self, waived: ReplyKind) -> bool {
        let waives = self.parameters.mode == Mode::Shadow;
        if waives {
            self.note_waived(waived);
        }
        waives
    }

    /// Reports the client's mistake, and hangs up after too many of them.
    fn reject_error(&mut self, kind: ReplyKind) {
        self.counts.errors += 1;
        if self.counts.errors > self.parameters.limits.errors {
            self.hang_up(ReplyKind::TooManyErrors);
        } else {
            self.reject(kind);
        }
    }

    /// Refuses a command.
    fn reject(&mut self, kind: ReplyKind) {
        self.reply_noted(Event::Command(kind), kind);
    }

    /// Sends the last reply.
    fn hang_up(&mut self, kind: ReplyKind) {
        if kind == ReplyKind::Quit {
            self.reply(kind);
        } else {
            self.reply_noted(Event::Session(kind), kind);
        }
        self.abandon();
        self.input.clear();
        self.state = SessionState::Closing;
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test begins at any instant")]
mod tests;
