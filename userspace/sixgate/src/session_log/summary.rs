//! The summary of a session: who came, what was asked for, what was refused and why, how it ended.
//!
//! It is bounded: [`REJECTIONS_MAX`] refusals with their texts, the others by number alone.

use std::{collections::BTreeMap, net::Ipv6Addr, time::Duration};

use jiff::Timestamp;
use sixgate_smtp::session::{SessionTally, Tls};

use crate::session_id::SessionId;

/// A session that is over.
#[expect(dead_code, reason = "for parts of the daemon that follow sessions")]
#[derive(Clone, Debug)]
pub(crate) struct SessionSummary {
    /// Its name in log and Received.
    pub(crate) id: SessionId,
    /// Whether the XDP program refused it, without the daemon. Then `tally` has no more than the
    /// number of commands, and `helo` is unknown.
    pub(crate) by_kernel: bool,
    /// When it ended.
    pub(crate) ended: Timestamp,
    pub(crate) duration: Duration,
    pub(crate) source: Ipv6Addr,
    pub(crate) source_port: u16,
    pub(crate) destination: Ipv6Addr,
    /// The client's name, if DNS confirms it.
    pub(crate) client_name: Option<String>,
    /// The client's name for itself.
    pub(crate) helo: Option<String>,
    pub(crate) tls: Option<Tls>,
    /// The prefix or the certificate that exempts the client.
    pub(crate) trusted_by: Option<String>,
    /// Commands, messages and octets.
    pub(crate) tally: SessionTally,
    /// The first [`REJECTIONS_MAX`] refusals, with those that shadow mode passed on.
    pub(crate) rejections: Vec<Rejection>,
    /// All of them, by reason.
    pub(crate) reasons: BTreeMap<&'static str, u32>,
    /// How it ended: `quit`, or why without QUIT.
    pub(crate) ending: &'static str,
}

/// A command, a message or a session that was refused, or would have been by enforce.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Rejection {
    /// The refused command, `END-OF-MESSAGE` or `CONNECT`.
    pub(crate) command: &'static str,
    pub(crate) reason: &'static str,
    /// The reply; in shadow mode the one that enforce would have given.
    pub(crate) reply: String,
    /// Empty for the null path; none: not known.
    pub(crate) mail_from: Option<String>,
    /// The recipient, or the only one of a message.
    pub(crate) recipient: Option<String>,
    /// How many the message has, if a message was refused.
    pub(crate) recipients: usize,
    pub(crate) message_id: Option<String>,
    /// It was passed on, because the mode is shadow.
    pub(crate) shadow: bool,
}

/// Refusals whose texts a summary keeps.
pub(crate) const REJECTIONS_MAX: usize = 20;
/// Characters of a reply in a summary: a next hop's may be long.
const REPLY_MAX: usize = 512;

/// The part of a summary that is known only as it happens.
#[derive(Debug, Default)]
pub(crate) struct SummaryDraft {
    pub(crate) rejections: Vec<Rejection>,
    pub(crate) reasons: BTreeMap<&'static str, u32>,
    ending: Option<&'static str>,
}

impl SummaryDraft {
    pub(crate) fn add(&mut self, mut rejection: Rejection) {
        *self.reasons.entry(rejection.reason).or_default() += 1;
        if self.rejections.len() < REJECTIONS_MAX {
            if let Some((end, _)) = rejection.reply.char_indices().nth(REPLY_MAX) {
                rejection.reply.truncate(end);
            }
            self.rejections.push(rejection);
        }
    }

    /// How the session ends; the first reason counts.
    pub(crate) fn end(&mut self, ending: &'static str) {
        self.ending.get_or_insert(ending);
    }

    /// How the session ended: by QUIT, unless [`Self::end`] was told otherwise.
    pub(crate) fn ending(&self) -> &'static str {
        self.ending.unwrap_or(QUIT)
    }
}

/// The client sent QUIT.
pub(crate) const QUIT: &str = "quit";

/// `name=number` of each reason.
pub(crate) fn reasons_text(reasons: &BTreeMap<&'static str, u32>) -> String {
    let each = reasons.iter().map(|(reason, times)| format!("{reason}={times}"));
    each.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_bounded_and_counts_everything() {
        let mut draft = SummaryDraft::default();
        for _ in 0..100 {
            draft.add(Rejection { reason: "no_ptr", reply: "ü".repeat(10_000), ..Rejection::default() });
        }
        assert_eq!(draft.rejections.len(), REJECTIONS_MAX);
        assert!(draft.rejections.iter().all(|rejection| rejection.reply.chars().count() == REPLY_MAX));
        assert_eq!(reasons_text(&draft.reasons), "no_ptr=100");
        assert_eq!(draft.ending(), "quit");
        draft.end("timeout");
        draft.end("closed");
        assert_eq!(draft.ending(), "timeout");
    }
}
