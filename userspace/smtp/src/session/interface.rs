//! What goes into a session and what comes out of it.
//!
//! Plain values; the session's rules are in its own file.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

#[cfg(doc)]
use sixgate_common::flow::ARGUMENT_KEPT;
use sixgate_common::refuse::Reason;

use crate::{
    MessageOctets,
    command::{HelloName, MailFrom, RcptTo},
    policy::{Mode, TemporaryDomains, evidence::Endpoints},
    reply::{Reply, ReplyTable},
};

/// The facts that a session needs from the start.
#[derive(Clone, Debug)]
pub struct SessionParameters {
    /// The session's name in the log, for replies; empty: it has none.
    pub id: String,
    /// The reply texts.
    pub table: Arc<ReplyTable>,
    /// Both ends of the connection.
    pub endpoints: Endpoints,
    /// Whether the session is served at all.
    pub admission: Admission,
    /// What becomes of a message that breaks a rule of taste.
    pub mode: Mode,
    /// The extensions that the next hop supports.
    pub offer: Offer,
    /// The limits of the session.
    pub limits: SessionLimits,
    /// The recipients' domains whose refusal is temporary.
    pub temporary: Arc<TemporaryDomains>,
}

/// Whether a session is served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    /// Recipients are judged one by one.
    Serve,
    /// It is greeted with 421, because what the next hop takes is not known.
    Unavailable,
    /// Every recipient is refused: the dialogue of [`sixgate_common::refuse`].
    Refuse {
        /// The reason for it.
        reason: Reason,
        /// Where, a number of [`sixgate_common::settings`].
        refuse_at: u32,
    },
}

/// The commands that a session whose every recipient is refused got, for the log.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Refused {
    /// What followed EHLO or HELO last, cut at [`ARGUMENT_KEPT`].
    pub hello: Vec<u8>,
    /// What followed `MAIL FROM:` last, cut at [`ARGUMENT_KEPT`].
    pub sender: Vec<u8>,
    /// The refused recipients, each with its sender. [`sixgate_common::refuse::COMMANDS_MAX`]
    /// bounds them.
    pub recipients: Vec<RefusedRecipient>,
    /// The greeting, if it refused the session.
    pub greeting: Option<Reply>,
}

/// A recipient of a session whose every recipient is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RefusedRecipient {
    /// What followed `MAIL FROM:`, cut at [`ARGUMENT_KEPT`].
    pub sender: Vec<u8>,
    /// What followed `RCPT TO:`, likewise.
    pub recipient: Vec<u8>,
    /// The reply to it.
    pub reply: Reply,
}

/// The extensions that depend on the next hop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Offer {
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SIZE (RFC 1870).
    pub size: bool,
    /// SMTPUTF8 (RFC 6531), which needs 8BITMIME.
    pub smtp_utf8: bool,
    /// STARTTLS (RFC 3207).
    pub start_tls: bool,
    /// Largest message, octets, whether it is announced or not.
    pub message_size: u64,
}

/// Bounds of one session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionLimits {
    /// Recipients of one message (RFC 5321 4.5.3.1.8: at least 100).
    pub recipients: usize,
    /// Messages of one session.
    pub messages: u32,
    /// Octets of a message's line without its CRLF (RFC 5322 2.1.1).
    pub line_length: u64,
    /// Received fields of a message (RFC 5321 6.3).
    pub received: u32,
    /// Commands that were not understood or not allowed.
    pub errors: u32,
    /// Wait for a command (RFC 5321 4.5.3.2.7: at least 5 minutes).
    pub command_timeout: Duration,
    /// Wait for a piece of a message (RFC 5321 4.5.3.2.5).
    pub data_timeout: Duration,
    /// The slowest pace of a message, octets in a second; it may fall `data_timeout` behind. None:
    /// any.
    pub data_rate: Option<NonZeroU32>,
    /// From MAIL to the end of DATA.
    pub transaction_timeout: Duration,
    /// Length of the session.
    pub session_timeout: Duration,
}

/// A task for the caller, with all that it is about.
#[derive(Debug)]
pub enum Task {
    /// A transaction began. Needs no answer.
    Begin {
        /// The client's name for itself.
        hello: Arc<Hello>,
        /// The accepted MAIL.
        mail: Arc<MailFrom>,
    },
    /// Judge this recipient, then [`Session::answer_recipient`](super::Session::answer_recipient).
    Recipient {
        /// Whom RCPT named.
        recipient: RcptTo,
        /// The accepted MAIL.
        mail: Arc<MailFrom>,
        /// The client's name for itself.
        hello: Arc<Hello>,
    },
    /// Keep the next octets of the message, then
    /// [`Session::answer_content`](super::Session::answer_content). They are as they were received,
    /// dot-stuffing removed, and lie where they were read; in all, each line ends with CRLF.
    Content(MessageOctets),
    /// Encrypt the connection, then
    /// [`Session::answer_start_tls`](super::Session::answer_start_tls). Unread octets that came in
    /// the clear are to be dropped.
    StartTls,
    /// Judge and hand on the message, then
    /// [`Session::answer_message`](super::Session::answer_message).
    Message {
        /// From whom to whom.
        transaction: Transaction,
        /// How it came; none: in the clear.
        tls: Option<Tls>,
    },
    /// The transaction was dropped. Needs no answer.
    Abandon,
}

/// Why octets of a message were not kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StoreFailure {
    /// No memory is left for messages.
    Memory,
    /// The disk has no space left.
    Disk,
    /// The disk failed otherwise.
    Failure,
}

/// EHLO or HELO, as last given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hello {
    /// The client's name for itself.
    pub name: HelloName,
    /// Whether EHLO was used.
    pub extended: bool,
}

/// A mail transaction (RFC 5321 3.3).
#[derive(Clone, Debug)]
pub struct Transaction {
    /// EHLO or HELO before it.
    pub hello: Arc<Hello>,
    /// The accepted MAIL.
    pub mail: Arc<MailFrom>,
    /// The recipients that were accepted.
    pub recipients: Vec<RcptTo>,
}

/// How a session is encrypted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tls {
    /// Such as `TLS1.3`.
    pub version: &'static str,
    /// The cipher suite's name in the registry of IANA.
    pub cipher: String,
}

/// How far the answer to a [`Task::StartTls`] is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TlsProgress {
    /// It cannot be done for the moment.
    Unavailable,
    /// The handshake begins when our reply is sent.
    Ready,
    /// The connection is encrypted. All that follows comes through TLS.
    Done(Tls),
}
