//! What can go wrong on the way to the next hop: for the log alone.
//!
//! It owns the mapping of errors to our own replies; none of its texts is sent to a client.

use std::{error::Error, fmt, io, path::PathBuf};

use super::{
    address::Address,
    smtp::{BadReply, ClientIdentity, Unframed},
};
use sixgate_smtp::reply::ReplyKind;

/// Why the next hop did not take a message, or could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum NextHopError {
    /// A file operation of the Maildir failed.
    #[error("cannot {action} {}", path.display())]
    Maildir {
        /// The operation that failed.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file with the next hop's last offer.
    #[error("cannot {action} {}", path.display())]
    OfferFile {
        /// The operation that failed.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The next hop is sixgate.
    #[error("{address} is sixgate itself: give the mail server a listener of its own")]
    Ourselves {
        /// The next hop.
        address: Address,
    },
    /// The connection failed.
    #[error("the connection to {address} failed {step}{}", step.doubt())]
    Connection {
        /// The next hop.
        address: Address,
        /// The step that failed.
        step: Step,
        /// The error of the socket.
        source: io::Error,
    },
    /// The next hop closed the connection.
    #[error("{address} closed the connection {step}{}", step.doubt())]
    Closed {
        /// The next hop.
        address: Address,
        /// The step during which it closed.
        step: Step,
    },
    /// The next hop took too long.
    #[error("{address} took too long {step}{}", step.doubt())]
    Timeout {
        /// The next hop.
        address: Address,
        /// The step that timed out.
        step: Step,
    },
    /// The next hop sent octets that are not an SMTP reply.
    #[error("{address} sent a reply that cannot be read {step}{}", step.doubt())]
    BadReply {
        /// The next hop.
        address: Address,
        /// The step that was to be answered.
        step: Step,
        /// The fault of the reply.
        source: BadReply,
    },
    /// The next hop sent a reply that has no meaning where it was sent.
    #[error("{address} sent an unexpected reply {step}{}: {reply}", step.doubt())]
    Meaningless {
        /// The next hop.
        address: Address,
        /// The step that was answered.
        step: Step,
        /// The reply, escaped and bounded.
        reply: String,
    },
    /// The next hop sent data that no command asked for.
    #[error("{address} sent data before a command, {step}{}", step.doubt())]
    Unasked {
        /// The next hop.
        address: Address,
        /// The step before which it came.
        step: Step,
    },
    /// The next hop does not take mail from us as things are set up.
    #[error("{address} rejected sixgate itself, not the sender, {step}: {reply}")]
    Refused {
        /// The next hop.
        address: Address,
        /// The step that was refused.
        step: Step,
        /// The reply, escaped and bounded.
        reply: String,
    },
    /// The next hop lacks an extension that is needed.
    #[error("{address} does not offer {extension}")]
    NotOffered {
        /// The next hop.
        address: Address,
        /// The extension, with its parameters.
        extension: &'static str,
    },
    /// The connection was lost within a transaction, and the transaction could not be repeated on a
    /// new one.
    #[error("the transaction could not be repeated on a new connection")]
    Replay {
        /// The error on the new connection.
        source: Box<Self>,
    },
    /// All connections that the client's network may have are in use.
    #[error(
        "no connection to {address} became free in time: `limits.next_hop_connections` are in use, or this network's share"
    )]
    Busy {
        /// The next hop.
        address: Address,
    },
    /// The connection was lost within a transaction again.
    #[error("the connection to {address} was lost again")]
    LostAgain {
        /// The next hop.
        address: Address,
    },
    /// The next hop took back, on a new connection, what it had accepted.
    #[error("{address} accepted the same before, and now replied {step}: {reply}")]
    Differs {
        /// The next hop.
        address: Address,
        /// The step that was refused.
        step: Step,
        /// The reply, escaped and bounded.
        reply: String,
    },
    /// The message could not be read from its temporary file; the next hop has but a part, and no
    /// end of it.
    #[error("cannot read the message from its temporary file")]
    Unreadable {
        /// The error of the read.
        source: io::Error,
    },
    /// We were given a message that must not be sent.
    #[error("the message was not sent")]
    Unframed {
        /// The fault of its lines.
        source: Unframed,
    },
}

impl NextHopError {
    /// The reply to the sender.
    pub(super) fn reply_kind(&self) -> ReplyKind {
        match self {
            Self::Maildir { .. } | Self::OfferFile { .. } | Self::Unreadable { .. } => {
                ReplyKind::StorageFailed
            }
            Self::Ourselves { .. } | Self::Refused { .. } | Self::NotOffered { .. } => {
                ReplyKind::NextHopUnavailable
            }
            Self::Connection { step, .. }
            | Self::Closed { step, .. }
            | Self::Timeout { step, .. }
            | Self::Unasked { step, .. }
            | Self::BadReply { step, .. }
            | Self::Meaningless { step, .. }
                if step.is_opening() =>
            {
                ReplyKind::NextHopUnavailable
            }
            Self::Timeout { .. } => ReplyKind::NextHopTimeout,
            Self::Connection { .. } | Self::Closed { .. } | Self::Unasked { .. } | Self::LostAgain { .. } => {
                ReplyKind::NextHopLost
            }
            Self::BadReply { .. } | Self::Meaningless { .. } | Self::Differs { .. } => {
                ReplyKind::NextHopUnexpected
            }
            Self::Busy { .. } => ReplyKind::NextHopBusy,
            Self::Replay { source } => source.reply_kind(),
            Self::Unframed { .. } => ReplyKind::InternalError,
        }
    }

    /// Whether no client can cause it: the next hop knew nothing of one yet, where it learns of
    /// clients by `identity`.
    pub(super) fn is_about_no_client(&self, identity: ClientIdentity) -> bool {
        match self {
            Self::Ourselves { .. } | Self::NotOffered { .. } => true,
            Self::Connection { step, .. }
            | Self::Closed { step, .. }
            | Self::Timeout { step, .. }
            | Self::BadReply { step, .. }
            | Self::Refused { step, .. } => match step {
                Step::Connect => true,
                Step::Greeting | Step::Hello | Step::Helo => identity != ClientIdentity::Proxy,
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether the next hop went away, as it may do between two commands, rather than misbehaved.
    /// Farewells that came before our command count.
    pub(super) fn is_hangup(&self) -> bool {
        matches!(self, Self::Connection { .. } | Self::Closed { .. } | Self::Unasked { .. })
    }
}

/// An error as a value for the log, with what caused it: one text, which the log quotes.
pub(crate) fn as_value(error: &NextHopError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Where in a dialogue with the next hop something happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Opening the socket.
    Connect,
    /// The PROXY header.
    Proxy,
    /// Its first reply.
    Greeting,
    /// EHLO or LHLO with our own name.
    Hello,
    /// EHLO or LHLO with the client's name, after XCLIENT or a PROXY header.
    ClientHello,
    /// The command HELO.
    Helo,
    /// The command XCLIENT.
    Xclient,
    /// The command MAIL.
    Mail,
    /// The command RCPT.
    Rcpt,
    /// The command DATA.
    Data,
    /// The message's octets, before the final dot.
    Message,
    /// The final dot: from here on the next hop may have the message.
    FinalDot,
    /// Between two commands.
    Idle,
    /// The command RSET.
    Rset,
    /// The command QUIT.
    Quit,
}

impl Step {
    /// What follows where the reply that counts did not come: the next hop may have the message.
    fn doubt(self) -> &'static str {
        match self {
            Self::FinalDot => ", so that the message may be delivered twice",
            _ => "",
        }
    }

    fn is_opening(self) -> bool {
        matches!(
            self,
            Self::Connect
                | Self::Proxy
                | Self::Greeting
                | Self::Hello
                | Self::ClientHello
                | Self::Helo
                | Self::Xclient
        )
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "while connecting",
            Self::Proxy => "at the PROXY header",
            Self::Greeting => "at the greeting",
            Self::Hello => "at EHLO or LHLO",
            Self::ClientHello => "at EHLO or LHLO with the client's name",
            Self::Helo => "at HELO",
            Self::Xclient => "at XCLIENT",
            Self::Mail => "at MAIL",
            Self::Rcpt => "at RCPT",
            Self::Data => "at DATA",
            Self::Message => "while the message was sent",
            Self::FinalDot => "after the final dot",
            Self::Idle => "between two commands",
            Self::Rset => "at RSET",
            Self::Quit => "at QUIT",
        })
    }
}
