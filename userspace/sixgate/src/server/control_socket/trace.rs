//! The form of `sixgate trace` at the control socket: the request, and a line for each segment.
//!
//! It owns the names of flags and outcomes. Why the program did something is explained in
//! `sixgate_common::trace`.

use std::{fmt, num::NonZeroU64, time::Duration};

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};
use sixgate_common::{refuse::Reason, trace};
use sixgate_dataplane::{SegmentOutcome, TracedSegment};

use crate::{mirror::kernel_events::timestamp, shown::reason_name};

/// Which segments to port 25 are to be shown, and for how long.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TraceRequest {
    /// The prefix in which their source lies.
    pub source: Ipv6Net,
    /// That in which their destination lies; none: any.
    pub destination: Option<Ipv6Net>,
    /// How long, in seconds; [`TRACE_DURATION_MAX`] at most.
    pub seconds: u64,
    /// How many are shown at most; none: as many as come.
    pub count: Option<NonZeroU64>,
}

impl TraceRequest {
    /// How long the trace lasts at most.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds).min(TRACE_DURATION_MAX)
    }
}

/// The daemon's answers to a [`TraceRequest`], line after line.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum TraceResponse {
    /// The program of these interfaces is traced now.
    Tracing {
        /// The names of the interfaces.
        interfaces: Vec<String>,
    },
    /// What it did with a segment.
    Segment {
        /// Boxed: it is much larger than the others.
        segment: Box<TracedLine>,
    },
    /// Segments that matched and are not shown.
    Suppressed {
        /// How many, since the last time.
        lines: u64,
    },
    /// The last answer: the ordinary program is back.
    TraceEnded {
        /// How many segments were shown.
        lines: u64,
        /// Why it ended.
        reason: String,
        /// Whether it ended as it was asked to.
        is_complete: bool,
    },
    /// The last answer: nothing is traced.
    Refused {
        /// Why no trace began.
        reason: String,
    },
}

/// A trace that is running.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct TraceStatus {
    /// The prefix of sources.
    pub source: String,
    /// The prefix of destinations; none: any.
    pub destination: Option<String>,
    /// When it began, RFC 3339.
    pub since: String,
    /// When it will have ended, RFC 3339.
    pub until: String,
}

impl fmt::Display for TraceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, destination, since, until } = self;
        write!(f, "source {source}")?;
        if let Some(destination) = destination {
            write!(f, ", destination {destination}")?;
        }
        write!(f, ", since {since}, until {until} at most")
    }
}

/// The action of the XDP program on one segment. The names of the fields are those of
/// `sixgate trace --json`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct TracedLine {
    /// When, RFC 3339.
    pub at: String,
    /// The interface that it came in by.
    pub interface: String,
    /// Address and port of the sender.
    pub source: String,
    /// Address and port that it sent to.
    pub destination: String,
    /// The control bits of its TCP header.
    pub flags: String,
    /// Its sequence number.
    pub sequence: u32,
    /// Its acknowledgment number.
    pub acknowledgment: u32,
    /// Octets of payload.
    pub length: u32,
    /// `passed`, `dropped` or `answered`.
    pub action: String,
    /// The control bits of the answer.
    pub answer: Option<String>,
    /// The code of the reply that the answer carries.
    pub reply: Option<String>,
    /// The counter that was raised.
    pub counter: String,
    /// Why the program did so.
    pub why: String,
    /// Why the session is refused, if it is: `not_opted_in` or `no_ptr`.
    pub reason: Option<String>,
}

impl TracedLine {
    /// The line about a segment.
    #[must_use]
    pub fn of(segment: &TracedSegment) -> Self {
        let (action, answer, reply) = match &segment.outcome {
            SegmentOutcome::Passed => (PASSED, None, None),
            SegmentOutcome::Dropped => (DROPPED, None, None),
            SegmentOutcome::Answered { flags, reply } => (ANSWERED, Some(flag_names(*flags)), reply.clone()),
        };
        Self {
            at: timestamp(segment.at),
            interface: segment.interface.clone(),
            source: segment.source.to_string(),
            destination: segment.destination.to_string(),
            flags: flag_names(segment.flags),
            sequence: segment.sequence,
            acknowledgment: segment.acknowledgment,
            length: segment.length,
            action: action.to_owned(),
            answer,
            reply,
            counter: segment.stat.name().to_owned(),
            why: trace::why(segment.stat).unwrap_or_else(|| segment.stat.help()).to_owned(),
            reason: segment.reason.map(|reason| reason_name(reason).to_owned()),
        }
    }

    /// The action of the program as text.
    fn deed(&self) -> String {
        let answer = self.answer.as_deref().unwrap_or_default();
        match (self.action.as_str(), &self.reply) {
            (PASSED, _) => "passed to the host".to_owned(),
            (DROPPED, _) => "dropped".to_owned(),
            (_, Some(code)) if answer.contains("FIN") => format!("answered with reply {code} and a FIN"),
            (_, Some(code)) => format!("answered with reply {code}"),
            (_, None) if answer == "SYN ACK" => "answered with a SYN-ACK".to_owned(),
            (_, None) if answer.contains("RST") => "answered with a reset".to_owned(),
            (_, None) if answer.contains("FIN") => "answered with a FIN".to_owned(),
            (_, None) => "answered with an ACK".to_owned(),
        }
    }
}

impl fmt::Display for TracedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, interface, source, destination, flags, sequence, acknowledgment, length, why, .. } =
            self;
        write!(
            f,
            "{at} {interface} {source} > {destination} {flags} seq {sequence} ack {acknowledgment} length {length}: {}: \
             {why}",
            self.deed()
        )?;
        let reason = match self.reason.as_deref() {
            Some(name) if name == reason_name(Reason::NotOptedIn) => "the destination has not opted in",
            Some(name) if name == reason_name(Reason::NoPtr) => "the source has no PTR record",
            _ => return Ok(()),
        };
        if why.contains(reason) { Ok(()) } else { write!(f, " ({reason})") }
    }
}

/// The control bits that are set (RFC 9293 3.1), in the order of a handshake.
fn flag_names(flags: u8) -> String {
    let names: Vec<&str> = FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    if names.is_empty() { "no flags".to_owned() } else { names.join(" ") }
}

const FLAGS: [(u8, &str); 8] = [
    (0x02, "SYN"),
    (0x01, "FIN"),
    (0x04, "RST"),
    (0x08, "PSH"),
    (0x10, "ACK"),
    (0x20, "URG"),
    (0x40, "ECE"),
    (0x80, "CWR"),
];
const PASSED: &str = "passed";
const DROPPED: &str = "dropped";
const ANSWERED: &str = "answered";
/// How long a trace lasts unless the command sets another duration.
pub const TRACE_DURATION: Duration = Duration::from_secs(10 * 60);
/// The longest duration of a trace; see also [`TRACE_DURATION`].
pub const TRACE_DURATION_MAX: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use sixgate_common::stat::Stat;

    use super::*;

    fn line(flags: u8, outcome: SegmentOutcome, stat: Stat, reason: Option<Reason>) -> String {
        let segment = TracedSegment {
            at: 0,
            interface: "eth0".to_owned(),
            source: "[2001:db8:51::4]:40000".parse().unwrap(),
            destination: "[2001:db8:25::99]:25".parse().unwrap(),
            flags,
            sequence: 7,
            acknowledgment: 9,
            length: 5,
            outcome,
            stat,
            reason,
        };
        let line = TracedLine::of(&segment).to_string();
        line.split_once(" eth0 ").unwrap().1.to_owned()
    }

    #[test]
    fn a_line_says_what_was_done_and_why() {
        let answered =
            |flags, reply: Option<&str>| SegmentOutcome::Answered { flags, reply: reply.map(str::to_owned) };
        let ends = "[2001:db8:51::4]:40000 > [2001:db8:25::99]:25";
        let refused = Some(Reason::NotOptedIn);
        assert_eq!(
            line(0x02, answered(0x12, None), Stat::AnswerSyn, refused),
            format!(
                "{ends} SYN seq 7 ack 9 length 5: answered with a SYN-ACK: the session is refused (the destination has \
                 not opted in)"
            )
        );
        assert_eq!(
            line(0x10, SegmentOutcome::Passed, Stat::PassTrusted, None),
            format!("{ends} ACK seq 7 ack 9 length 5: passed to the host: the source is trusted")
        );
        // not twice
        let tagged = line(0x02, SegmentOutcome::Passed, Stat::TagNotOptedIn, refused);
        assert_eq!(tagged.matches("has not opted in").count(), 1, "{tagged}");
        for (outcome, wanted) in [
            (answered(0x18, Some("550")), ": answered with reply 550: "),
            (answered(0x19, Some("221")), ": answered with reply 221 and a FIN: "),
            (answered(0x14, None), ": answered with a reset: "),
            (answered(0x11, None), ": answered with a FIN: "),
            (answered(0x10, None), ": answered with an ACK: "),
            (SegmentOutcome::Dropped, ": dropped: "),
        ] {
            let shown = line(0, outcome, Stat::AnswerReply, None);
            assert!(shown.contains(wanted) && shown.contains(" no flags "), "{shown}");
        }
    }
}
