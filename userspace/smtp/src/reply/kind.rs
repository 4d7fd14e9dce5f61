//! The rows of the reply table: code, enhanced code and text of each reply but those to EHLO.
//!
//! Which row is sent when is decided elsewhere.

macro_rules! replies {
    ($($(#[$doc:meta])+ $kind:ident = $code:literal $enhanced:literal $text:literal,)+) => {
        /// Every reply that sixgate makes itself, but the replies to EHLO.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum ReplyKind {
            $($(#[$doc])+ $kind,)+
        }

        impl ReplyKind {
            /// Every row of the table.
            #[cfg(test)]
            pub(super) const ALL: &'static [Self] = &[$(Self::$kind),+];

            pub(super) const fn row(self) -> (u16, &'static str, &'static str) {
                match self {
                    $(Self::$kind => ($code, $enhanced, $text),)+
                }
            }
        }
    };
}

// `{host}` is this server's name; `{}` is the subject that the row names.
replies! {
    /// The greeting of a session.
    Greeting = 220 "" "{host} ESMTP sixgate",
    /// The greeting that refuses (RFC 5321 3.1); about the destination address.
    GreetingRefused = 554 "" "{host} Service unavailable, [{}] does not accept email over IPv6.",
    /// HELO is accepted.
    Helo = 250 "" "{host}",
    /// EHLO or HELO without a name.
    NoName = 501 "" "EHLO and HELO need a host name",
    /// MAIL is accepted.
    Mail = 250 "2.1.0" "Sender ok",
    /// RSET is done.
    Rset = 250 "2.0.0" "Reset",
    /// NOOP is done.
    Noop = 250 "2.0.0" "Ok",
    /// VRFY and EXPN (RFC 5321 3.5.3).
    Vrfy = 252 "2.5.0" "Cannot verify; send mail and see",
    /// The reply to HELP.
    Help = 214 "2.0.0" "See RFC 5321",
    /// The reply to QUIT.
    Quit = 221 "2.0.0" "{host} closing connection",
    /// A chunk taken that is not the last one (RFC 3030 2); about its octets.
    Chunk = 250 "2.0.0" "{} octets received",
    /// STARTTLS accepted (RFC 3207 4).
    StartTls = 220 "2.0.0" "Ready to start TLS",
    /// DATA is accepted.
    StartData = 354 "" "End data with <CRLF>.<CRLF>",
    /// Delivered; about the name under which the message lies.
    Delivered = 250 "2.0.0" "Delivered as {}",
    /// A recipient accepted by a next hop that does not judge recipients.
    Recipient = 250 "2.1.5" "Recipient ok",

    /// Not opted in; about the recipient's domain or the destination address.
    NotOptedIn = 550 "5.2.1" "Service unavailable, [{}] does not accept email over IPv6.",
    /// The same for a domain whose refusal is temporary, so that senders fall back to IPv4.
    NotOptedInTemporary = 450 "4.2.1" "Service unavailable, [{}] does not accept email over IPv6.",
    /// No PTR; about the source address.
    NoPtr = 450 "4.7.25" "Service unavailable, sending IPv6 address [{}] must have reverse DNS record.",
    /// No PTR record that leads back, where that is demanded; about the source address.
    PtrNotConfirmed = 450 "4.7.25" "Service unavailable, sending IPv6 address [{}] must have reverse DNS record that leads back to it.",
    /// Neither SPF nor DKIM; about the source address.
    NotAuthenticated = 450 "4.7.26" "Service unavailable, message sent over IPv6 [{}] must pass either SPF or DKIM validation.",
    /// The same where a key is being tested, which is never a reason to refuse for good; about the
    /// source address.
    TestingKey = 450 "4.7.26" "Service unavailable, message sent over IPv6 [{}] must pass either SPF or DKIM validation.",
    /// DNS could not answer.
    DnsFailure = 451 "4.4.3" "Temporary DNS failure, please try again later.",

    /// The next hop cannot be reached, or not in the configured way.
    NextHopUnavailable = 451 "4.4.1" "Mail server is not available, please try again later.",
    /// The next hop has never answered, so that what it takes is not known.
    NextHopUnknown = 421 "4.4.1" "{host} Mail server is not available, please try again later.",
    /// All connections to the next hop that the client's network may have are in use.
    NextHopBusy = 451 "4.3.2" "Too many connections to the mail server, please try again later.",
    /// The next hop was lost in the middle of a transaction.
    NextHopLost = 451 "4.4.2" "Connection to the mail server was lost, please try again later.",
    /// The next hop did not reply in time within a transaction, or did not take the message in
    /// time.
    NextHopTimeout = 451 "4.4.2" "Mail server did not respond in time, please try again later.",
    /// The next hop sent what has no meaning there, or another reply than before.
    NextHopUnexpected = 451 "4.3.0" "Unexpected reply of the mail server, please try again later.",
    /// The message could not be stored.
    StorageFailed = 451 "4.3.0" "The message could not be stored, please try again later.",
    /// The message memory is used up.
    NoMemory = 452 "4.3.1" "Insufficient system storage, please try again later.",

    /// The disk has no space for the message.
    NoDisk = 452 "4.3.1" "Insufficient system storage, please try again later.",
    /// TLS cannot be had for the moment (RFC 3207 4).
    TlsNotAvailable = 454 "4.7.0" "TLS is not available for the moment",

    /// The command is unknown.
    Unknown = 500 "5.5.2" "Command not recognized",
    /// Command line too long.
    TooLong = 500 "5.5.2" "Line too long",
    /// HTTP or PROXY; the session ends.
    OtherProtocol = 500 "5.5.1" "This is SMTP",
    /// BDAT whose size cannot be read; the session ends, because the beginning of the next command
    /// is unknown.
    BadChunk = 501 "5.5.4" "Syntax: BDAT size [LAST]",
    /// A bare CR, a bare LF or a NUL in a command.
    BareCommand = 500 "5.5.2" "Lines end with <CRLF>; bare <CR>, bare <LF> and NUL are not accepted",
    /// A bare CR, a bare LF or a NUL in the message.
    BareData = 550 "5.6.0" "Lines end with <CRLF>; bare <CR>, bare <LF> and NUL are not accepted",
    /// MAIL, RCPT or another command with wrong arguments.
    Syntax = 501 "5.5.4" "Syntax error in parameters or arguments",
    /// An address that cannot be read.
    BadAddress = 501 "5.1.3" "Bad address syntax",
    /// A sender's address that cannot be read.
    BadSender = 501 "5.1.7" "Bad sender address syntax",
    /// A recipient that needs SMTPUTF8 (RFC 6531 3.5).
    NotAscii = 553 "5.6.7" "Non-ASCII addresses are not accepted",
    /// A sender that needs SMTPUTF8 (RFC 6531 3.5).
    NotAsciiSender = 550 "5.6.7" "Non-ASCII addresses are not accepted",
    /// A local part that asks a mail server to route further.
    Routed = 550 "5.7.1" "Sender-specified routing is not accepted",
    /// A parameter that was not offered.
    UnknownParameter = 555 "5.5.4" "Parameter not recognized or not implemented",
    /// A command that exists and is not offered.
    NotOffered = 502 "5.5.1" "Command not implemented",
    /// A command out of order.
    BadSequence = 503 "5.5.1" "Bad sequence of commands",
    /// DATA without an accepted recipient.
    NoRecipients = 554 "5.5.1" "No valid recipients",
    /// The declared or actual size is over the limit.
    TooBig = 552 "5.3.4" "Message size exceeds fixed limit",
    /// The header is over the limit.
    HeaderTooBig = 552 "5.3.4" "Message header size exceeds fixed limit",
    /// A line of the message is over the limit (RFC 5322 2.1.1).
    LineTooLong = 550 "5.6.0" "A line of the message is too long",
    /// Received fields over the limit (RFC 5321 6.3).
    TooManyHops = 554 "5.4.6" "Too many Received fields, mail loop detected",
    /// Recipients over the limit (RFC 5321 4.5.3.1.10).
    TooManyRecipients = 452 "4.5.3" "Too many recipients",
    /// A further recipient where the next hop takes them one by one.
    OneRecipient = 452 "4.5.3" "One recipient for each transaction, please send again to the others",
    /// Messages over the limit.
    TooManyMessages = 421 "4.7.0" "{host} Too many messages in this connection",
    /// Errors over the limit.
    TooManyErrors = 421 "4.7.0" "{host} Too many errors",
    /// Recipients that were not accepted, over the limit.
    TooManyRejected = 421 "4.7.0" "{host} Too many rejected recipients",
    /// Commands over the limit.
    TooManyCommands = 421 "4.7.0" "{host} Too many commands",
    /// Connections over the limit.
    TooManyConnections = 421 "4.7.0" "{host} Too many connections, please try again later.",
    /// Connections of one address or network over the limit.
    TooManyFromNetwork = 421 "4.7.0" "{host} Too many connections from your network, please try again later.",
    /// The client sent nothing for too long.
    IdleTimeout = 421 "4.4.2" "{host} Time-out waiting for input",
    /// The message came too slowly for too long.
    TooSlow = 421 "4.4.2" "{host} The message arrives too slowly",
    /// A transaction took too long.
    TransactionTooLong = 421 "4.4.2" "{host} The transaction takes too long",
    /// A session took too long.
    SessionTooLong = 421 "4.4.2" "{host} The session takes too long",
    /// We are stopping.
    ShuttingDown = 421 "4.3.2" "{host} Service is shutting down",
    /// A defect of ours.
    InternalError = 451 "4.3.0" "Local error in processing, please try again later.",
}

impl ReplyKind {
    /// The bound whose excess this reply reports, as counters name it.
    #[must_use]
    pub fn bound(self) -> Option<&'static str> {
        Some(match self {
            Self::BareCommand | Self::BareData => "line_end",
            Self::IdleTimeout => "timeout",
            Self::HeaderTooBig => "header_size",
            Self::LineTooLong => "message_line",
            Self::NoDisk => "message_disk",
            Self::NoMemory => "message_memory",
            Self::SessionTooLong => "session_timeout",
            Self::TooBig => "message_size",
            Self::TooLong => "line_length",
            Self::TooManyCommands => "commands",
            Self::TooManyErrors => "errors",
            Self::TooManyRejected => "rejected_recipients",
            Self::TooManyMessages => "messages_per_connection",
            Self::TooManyHops => "received",
            Self::TooManyRecipients => "recipients",
            Self::TooSlow => "data_rate",
            Self::TransactionTooLong => "transaction_timeout",
            _ => return None,
        })
    }

    /// Whether the session's name follows the text: in replies about a message that are sixgate's
    /// own, which senders find in a bounce or in their log. The texts of refusals by policy are
    /// prescribed, and those that the XDP program sends, too, are the same from both.
    pub(super) const fn takes_id(self) -> bool {
        matches!(
            self,
            Self::Delivered
                | Self::NextHopUnavailable
                | Self::NextHopBusy
                | Self::NextHopLost
                | Self::NextHopTimeout
                | Self::NextHopUnexpected
                | Self::StorageFailed
                | Self::NoMemory
                | Self::NoDisk
                | Self::BareData
                | Self::TooBig
                | Self::HeaderTooBig
                | Self::LineTooLong
                | Self::TooManyHops
                | Self::InternalError
        )
    }

    /// Whether it is about a message that another server would take, and that shadow mode passes on
    /// therefore.
    #[must_use]
    pub(crate) fn is_waived_in_shadow(self) -> bool {
        matches!(self, Self::HeaderTooBig | Self::LineTooLong | Self::TooManyHops)
    }

    /// The reason of this reply as a short name: the bound, or the rule that the client broke.
    #[must_use]
    pub fn reason(self) -> &'static str {
        self.bound().unwrap_or(match self {
            Self::BadAddress => "bad_address",
            Self::BadChunk => "bad_chunk",
            Self::BadSender => "bad_sender",
            Self::BadSequence => "bad_sequence",
            Self::NextHopUnknown => "next_hop_unknown",
            Self::NoName => "no_name",
            Self::NoRecipients => "no_recipients",
            Self::NotAscii | Self::NotAsciiSender => "not_ascii",
            Self::NotOffered => "not_offered",
            Self::OtherProtocol => "other_protocol",
            Self::ShuttingDown => "stopping",
            Self::StorageFailed => "storage",
            Self::Syntax => "syntax",
            Self::Unknown => "unknown_command",
            Self::UnknownParameter => "unknown_parameter",
            _ => "other",
        })
    }
}
