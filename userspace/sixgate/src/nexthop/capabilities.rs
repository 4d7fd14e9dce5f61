//! The extensions and sizes that a next hop accepts, and how much of that is offered to senders.
//!
//! Plain values; how they are learned is the next hop's.

/// Space for the headers that are put in front of a message, in octets: the largest size that may
/// be announced is smaller than the next hop's by this.
pub const HEADER_RESERVE: u64 = 24_576;

/// [`HEADER_RESERVE`], but no more than a quarter of what a next hop takes: messages that small
/// have few results.
pub(super) fn header_reserve(limit: u64) -> u64 {
    HEADER_RESERVE.min(limit / 4)
}

/// What may be offered to a sender because the next hop can take it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Capabilities {
    /// It accepts 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// The largest message that may be announced (RFC 1870), in octets: [`HEADER_RESERVE`] less
    /// than the next hop takes. `u64::MAX` when the next hop has no limit, none when it does not
    /// offer SIZE at all.
    pub size: Option<u64>,
    /// It accepts SMTPUTF8 (RFC 6531).
    pub smtp_utf8: bool,
}
