//! A segment that is to be sent, and the answer to the frame at hand.
//!
//! It knows neither the frame nor the session.

use sixgate_common::{
    domain::Span,
    stat::{self, Stat},
};

/// A segment to be sent.
pub(crate) struct Outgoing {
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    pub(crate) flags: u32,
    /// 1 with the MSS option and nothing else: it is a SYN-ACK.
    pub(crate) offers_mss: u32,
    /// The reply that it carries, an index of REPLIES, or [`NO_REPLY`].
    pub(crate) reply: u32,
    /// The part of the scratch's text that is inserted into the reply.
    pub(crate) subject: Span,
}

impl Outgoing {
    /// Without options and data.
    #[inline(always)]
    pub(crate) const fn bare(sequence: u32, acknowledgment: u32, flags: u8) -> Self {
        Self {
            sequence,
            acknowledgment,
            flags: flags as u32,
            offers_mss: 0,
            reply: NO_REPLY,
            subject: Span::EMPTY,
        }
    }
}

/// [`Outgoing::reply`] of a segment without a reply.
pub(crate) const NO_REPLY: u32 = u32::MAX;

/// The answer to a frame.
pub(crate) enum Answer {
    /// The scratch's [`Outgoing`] is sent, and the counter is its kind's.
    Send(Stat),
    /// It is dropped: its sender's TCP sends it again if need be.
    Drop(Stat),
    /// It is the host's.
    Pass(Stat),
}

impl Answer {
    /// The answer as a number, which functions that are verified on their own can return.
    pub(crate) const fn encode(self) -> u32 {
        match self {
            Self::Send(stat) => SEND | stat as u32,
            Self::Drop(stat) => DROP | stat as u32,
            Self::Pass(stat) => PASS | stat as u32,
        }
    }
}

pub(crate) const STAT_MASK: u32 = 0xff;
pub(crate) const PASS: u32 = 0x100;
pub(crate) const DROP: u32 = 0x200;
pub(crate) const SEND: u32 = 0x400;
const _: () = assert!(stat::COUNT <= STAT_MASK);
