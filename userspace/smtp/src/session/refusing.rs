//! The session that refuses everything: the dialogue of [`sixgate_common::refuse`], held by the
//! daemon.
//!
//! It owns no reply and no order of them; the tables of the XDP program define both.

use bytes::Bytes;
use sixgate_common::{
    domain::{self, Span},
    flow::ARGUMENT_KEPT,
    line,
    refuse::{self, Phase, Reason, ReplyId, Verb},
};

use super::{RefusedRecipient, Session, SessionState};
use crate::{line::InputLine, policy::evidence::Endpoints, reply::Reply};

impl Session {
    pub(super) fn read_refused(&mut self, reason: Reason, phase: Phase, commands: u16, line: InputLine) {
        let (verb, line) = match line {
            InputLine::Complete(line) => (line::verb(&*line, 0, line.len()), line),
            InputLine::TooLong | InputLine::Endless => (Verb::TooLong, Bytes::new()),
            InputLine::BareLineEnd => (Verb::BareLineEnd, Bytes::new()),
        };
        self.count_command((!line.is_empty()).then_some(&line));
        let step = refuse::step(reason, phase, verb, commands);
        self.refuse(reason, step, commands.saturating_add(1), &line);
    }

    pub(super) fn refuse(&mut self, reason: Reason, step: refuse::Step, commands: u16, line: &[u8]) {
        let Endpoints { source, destination, .. } = self.parameters.endpoints;
        let domain = match step.reply {
            ReplyId::NotOptedIn | ReplyId::NoPtr => domain::path_domain(line, 0, line.len()),
            _ => None,
        };
        let octets = |span: Span| line.get(span.start..span.start + span.length).unwrap_or_default();
        let is_temporary =
            domain.is_some_and(|domain| self.parameters.temporary.contains(octets(domain.span)));
        let id = step.reply.about_domain(is_temporary);
        let name = domain.filter(|domain| domain.is_name).map(|domain| octets(domain.span));
        let subject = match id {
            ReplyId::NotOptedIn | ReplyId::NotOptedInTemporary => name
                .map_or_else(|| destination.to_string(), |name| String::from_utf8_lossy(name).into_owned()),
            ReplyId::GreetingRefused => destination.to_string(),
            ReplyId::NoPtr => source.to_string(),
            _ => String::new(),
        };
        let reply = self.parameters.table.refusing(id, &subject);
        self.send(&reply);
        self.keep_refused(id, reply, line);
        self.state = match step.next {
            Phase::Closing => SessionState::Closing,
            phase => SessionState::Refusing { reason, phase, commands },
        };
    }

    /// Keeps for the log what the client sent, as the XDP program does.
    fn keep_refused(&mut self, id: ReplyId, reply: Reply, line: &[u8]) {
        let argument = |command: &str| {
            let argument = line.get(command.len()..).unwrap_or_default();
            argument.get(..ARGUMENT_KEPT).unwrap_or(argument).to_vec()
        };
        match id {
            ReplyId::Ehlo | ReplyId::Helo => self.refused.hello = argument("EHLO "),
            ReplyId::Mail => self.refused.sender = argument("MAIL FROM:"),
            ReplyId::GreetingRefused => self.refused.greeting = Some(reply),
            ReplyId::NotOptedIn | ReplyId::NotOptedInTemporary | ReplyId::NoPtr => {
                let (sender, recipient) = (self.refused.sender.clone(), argument("RCPT TO:"));
                self.refused.recipients.push(RefusedRecipient { sender, recipient, reply });
            }
            _ => {}
        }
    }
}
