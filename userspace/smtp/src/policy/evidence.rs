//! Facts about a session and a message, gathered for a decision.
//!
//! Mechanism fills it in; nothing here looks anything up, and nothing here decides.

use std::net::Ipv6Addr;

/// Everything that a decision may rest on. A field that a stage does not need may be empty.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The source lies in a `trust` prefix.
    pub trusted: bool,
    /// The sender has proved itself by a client certificate that is trusted.
    pub certified: bool,
    /// The decision of the destination address's owner.
    pub destination: OptInStatus,
    /// Reverse DNS of the source; none while it is not known yet, or not needed.
    pub ptr: Option<PtrOutcome>,
    /// The recipient of the RCPT TO that is being decided.
    pub recipient: Option<RecipientEvidence>,
    /// SPF of the MAIL FROM identity, the only one that decides; none before MAIL.
    pub spf: Option<CheckOutcome>,
    /// DKIM, one element for each signature looked at; empty before the end of DATA.
    pub dkim: Vec<CheckOutcome>,
    /// The message has the null reverse-path: it is a bounce, most likely.
    pub null_sender: bool,
}

impl Evidence {
    /// The facts that are known as soon as a connection is accepted.
    #[must_use]
    pub fn at_connect(trusted: bool, destination: OptInStatus) -> Self {
        Self {
            trusted,
            certified: false,
            destination,
            ptr: None,
            recipient: None,
            spf: None,
            dkim: Vec::new(),
            null_sender: false,
        }
    }

    /// Whether no DNS result about the sender could matter.
    #[must_use]
    pub fn sender_is_known(&self) -> bool {
        self.trusted || self.certified
    }
}

/// The facts about a recipient.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RecipientEvidence {
    /// Whether its domain takes mail here.
    pub domain: OptInStatus,
    /// Whether its local part could make a mail server that trusts us route the message elsewhere.
    pub asks_for_routing: bool,
}

/// Whether an address or a domain takes mail over IPv6.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OptInStatus {
    /// It has opted in.
    OptedIn,
    /// It has not.
    NotOptedIn,
}

/// What reverse DNS of an address came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PtrOutcome {
    /// A name of its PTR records leads back to it.
    Confirmed,
    /// It has PTR records, and none of their names leads back to it.
    NotConfirmed,
    /// It has PTR records; DNS could not tell whether a name leads back to it.
    ConfirmationUnknown,
    /// It has no PTR record.
    NoRecord,
    /// DNS could not tell whether it has a PTR record.
    Unknown,
}

/// The result of a check of SPF, or of one DKIM signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CheckOutcome {
    /// It vouches for the message.
    Pass,
    /// DNS could not answer.
    TempError,
    /// It would have to count for nothing: the key of the signature is for testing only (RFC 6376
    /// 3.6.1).
    TestingKey,
    /// It does not vouch for the message.
    NoPass,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Endpoints {
    /// The client's address.
    pub source: Ipv6Addr,
    /// The sender's port.
    pub source_port: u16,
    /// The server's address.
    pub destination: Ipv6Addr,
    /// The server's TCP port.
    pub destination_port: u16,
}
