//! The replies of a refused session to a stream of octets, however the stream is cut: the dialogue
//! that the daemon would hold, computed in one go from the tables that both share.
//!
//! It knows no TCP: `stream` lays it under one.

use std::net::Ipv6Addr;

use sixgate_common::{
    domain::{self, Span},
    line::{self, Cut},
    refuse::{self, Phase, Reason, ReplyId, Verb},
};

use super::session::about;
use crate::program::temporary;

/// A session's two ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) refuse_at: u32,
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
}

/// The program's replies to one stream of octets.
#[derive(Debug)]
pub(crate) struct Dialogue {
    /// All replies that it sends, the greeting first.
    pub(crate) sent: Vec<u8>,
    /// After each command: where it ends in the stream, and where its reply ends in [`Self::sent`].
    pub(crate) exchanges: Vec<(usize, usize)>,
    /// Whether the program ends the connection by itself.
    pub(crate) ends: bool,
}

impl Dialogue {
    /// The dialogue to `input`.
    pub(crate) fn of(refusal: Refusal, input: &[u8]) -> Self {
        let opening = refuse::open(refusal.reason, refusal.refuse_at);
        let mut dialogue = Self { sent: Vec::new(), exchanges: Vec::new(), ends: false };
        dialogue.send(refusal, opening.reply, b"");
        let (mut phase, mut commands, mut at, mut skipping, mut skipped) = (opening.next, 0, 0, false, 0);
        while phase != Phase::Closing {
            let mut goes_on = false;
            let (verb, length, taken) = match line::cut(input, at, input.len() - at, skipping) {
                Cut::Incomplete => break,
                Cut::Skipped(octets) => {
                    (goes_on, skipped) = line::skip(skipped, octets);
                    if !goes_on {
                        at += octets;
                        skipping = true;
                        continue;
                    }
                    (Verb::TooLong, 0, octets)
                }
                Cut::TooLong(octets) => (Verb::TooLong, 0, octets),
                Cut::Line(length) => (line::verb(input, at, length), length, length + 2),
                Cut::BareLineEnd => (Verb::BareLineEnd, 0, input.len() - at),
            };
            let step = refuse::step(refusal.reason, phase, verb, commands);
            dialogue.send(refusal, step.reply, &input[at..at + length]);
            phase = step.next;
            commands += 1;
            at += taken;
            skipping = goes_on;
            skipped = if goes_on { skipped } else { 0 };
            dialogue.exchanges.push((at, dialogue.sent.len()));
        }
        dialogue.ends = phase == Phase::Closing;
        dialogue
    }

    fn send(&mut self, refusal: Refusal, reply: ReplyId, line: &[u8]) {
        let (source, destination) = (refusal.source.to_string(), refusal.destination.to_string());
        let octets = |span: Span| &line[span.start..span.start + span.length];
        let is_temporary = domain::path_domain(line, 0, line.len())
            .is_some_and(|domain| temporary().contains(octets(domain.span)));
        let reply = reply.about_domain(is_temporary);
        let domain = domain::recipient_domain(line, 0, line.len()).map(octets);
        let domain = domain.and_then(|octets| str::from_utf8(octets).ok());
        let subject = match reply {
            ReplyId::NotOptedIn | ReplyId::NotOptedInTemporary => domain.unwrap_or(&destination),
            ReplyId::GreetingRefused => &destination,
            ReplyId::NoPtr => &source,
            _ => "",
        };
        self.sent.extend(about(reply, subject).as_bytes());
    }

    /// Octets of the greeting.
    pub(crate) fn greeting(&self) -> usize {
        self.sent.iter().position(|octet| *octet == b'\n').map_or(0, |end| end + 1)
    }
}
