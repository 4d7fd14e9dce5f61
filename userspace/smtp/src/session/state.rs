//! The state of a session: what it waits for, and what its limits are compared with.
//!
//! It changes nothing by itself.

use std::time::{Duration, Instant};

use sixgate_common::refuse::{Phase, Reason};

use crate::{command::RcptTo, incoming_message::IncomingMessage, reply::ReplyKind};

/// How long a command is waited for while most connections are taken.
pub(super) const HURRIED_COMMAND: Duration = Duration::from_secs(10);

/// The input or answer for which the session waits.
#[derive(Debug)]
pub(super) enum SessionState {
    /// Waiting for a command.
    Command,
    /// Within the dialogue that refuses everything.
    Refusing { reason: Reason, phase: Phase, commands: u16 },
    /// Reading a message.
    Data(IncomingMessage),
    /// Waiting until a piece of a message is kept.
    Keeping(IncomingMessage),
    /// Reading the rest of an unwanted chunk, so many octets, then sending this reply.
    Skipping(u64, ReplyKind),
    /// Waiting until the connection is encrypted, or will not be.
    StartingTls,
    /// Waiting for an answer about a recipient.
    Recipient(RcptTo),
    /// Waiting for an answer about a message.
    Message,
    /// The last reply is sent; input is dropped.
    Closing,
}

/// Numbers that limits are compared with.
#[derive(Debug, Default)]
pub(super) struct SessionCounts {
    pub(super) errors: u32,
    pub(super) idle_commands: u32,
    /// Of the present message.
    pub(super) small_chunks: u32,
    pub(super) messages: u32,
    pub(super) refused_recipients: usize,
    /// Of the present message: those that were too many, no fault of the sender, who may come back
    /// with them.
    pub(super) deferred_recipients: usize,
}

/// The instants from which the timeouts count, and at which they end.
#[derive(Debug)]
pub(super) struct Times {
    /// The latest instant that we were told.
    pub(super) now: Instant,
    /// The last command line, the last octets of a message, or the last answer of ours.
    pub(super) active: Instant,
    /// When the message that is arriving is too slow. Each octet puts it off, but never further
    /// than `data_timeout` from now, so that a fast client cannot save time up.
    pub(super) too_slow: Option<Instant>,
    /// When the transaction takes too long.
    pub(super) transaction_end: Option<Instant>,
    /// When the session is over in any case.
    pub(super) end: Instant,
}
