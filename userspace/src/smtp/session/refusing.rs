//! The session that refuses everything: the dialogue of [`sixgate_common::refuse`], spoken by the daemon.
//!
//! It owns no reply and no order of them; both are the tables that the XDP program speaks from, too.

use sixgate_common::{
    line,
    refuse::{self, Phase, Reason, ReplyId, Verb},
};

use super::{Session, State};
use crate::{policy::evidence::Endpoints, smtp::line::Line};

impl Session {
    pub(super) fn read_refused(&mut self, reason: Reason, phase: Phase, commands: u16, line: Line) {
        let (verb, line) = match line {
            Line::Complete(line) => (line::verb(line.as_slice(), 0, line.len()), line),
            Line::TooLong | Line::Endless => (Verb::TooLong, Vec::new()),
            Line::BareLineEnd => (Verb::BareLineEnd, Vec::new()),
        };
        let step = refuse::step(reason, phase, verb, commands);
        self.refuse(reason, step, commands.saturating_add(1), &line);
    }

    pub(super) fn refuse(&mut self, reason: Reason, step: refuse::Step, commands: u16, line: &[u8]) {
        let Endpoints { source, destination, .. } = self.parameters.endpoints;
        if matches!(step.reply, ReplyId::NotOptedIn | ReplyId::NoPtr) {
            let domain = line::recipient_domain(line, 0, line.len())
                .and_then(|span| line.get(span.start..span.start + span.length));
            self.refused_domain = domain.map(|domain| String::from_utf8_lossy(domain).into_owned());
        }
        let subject = match step.reply {
            ReplyId::NotOptedIn => self.refused_domain.clone().unwrap_or_else(|| destination.to_string()),
            ReplyId::GreetingRefused => destination.to_string(),
            ReplyId::NoPtr => source.to_string(),
            _ => String::new(),
        };
        self.parameters.table.refusing(step.reply, &subject).write_to(&mut self.output);
        self.state = match step.next {
            Phase::Closing => State::Closing,
            phase => State::Refusing { reason, phase, commands },
        };
    }
}
