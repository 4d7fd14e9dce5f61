//! The client's commands, played to a session in memory.
//!
//! It owns what the client sends. The replies are the session's; the verdicts are the policy's. The
//! next hop is taken to accept.

use std::{net::Ipv6Addr, sync::Arc, time::Instant};

use bytes::BufMut as _;
use sixgate_common::settings;
use sixgate_smtp::{
    command::{Mailbox, RcptTo},
    policy::{Mode, Policy, Refusal, Stage, Verdict, decide, evidence::Endpoints},
    reply::{Reply, ReplyTable},
    session::{Admission, Session, SessionParameters, Task},
};

use super::{
    Case, ExplainError,
    checks::Checks,
    document::{CONNECTION, Exchange, MESSAGE},
    facts::Facts,
    message::WireMessage,
};
use crate::{config::Config, evidence, nexthop::Capabilities};

/// The client's part of the session.
#[derive(Debug)]
pub(super) struct Commands {
    /// The name after EHLO.
    pub(super) hello: String,
    /// The reverse-path without its brackets.
    pub(super) sender: String,
    /// Whether SPF is asked: there is a sender, or a message without one.
    pub(super) knows_sender: bool,
    pub(super) recipients: Vec<String>,
    /// Whether the recipients are those of the case.
    pub(super) knows_recipients: bool,
    pub(super) message: Option<Vec<u8>>,
    /// After the reverse-path.
    parameters: &'static str,
}

/// All that the replies depend on.
pub(super) struct Dialogue<'a> {
    pub(super) config: &'a Config,
    pub(super) replies: Arc<ReplyTable>,
    pub(super) capabilities: Capabilities,
    pub(super) facts: &'a Facts,
    pub(super) checks: &'a Checks,
    pub(super) endpoints: Endpoints,
}

impl Commands {
    /// Those of `case`; what it leaves open is assumed, and added to `remarks`.
    pub(super) fn new(
        case: &Case,
        message: Option<&WireMessage>,
        offered: Capabilities,
        remarks: &mut Vec<String>,
    ) -> Self {
        let hello = case.helo.clone().unwrap_or_else(|| literal(case.from));
        let knows_sender = case.sender.is_some() || message.is_some();
        if case.helo.is_none() {
            remarks.push(format!(
                "without --helo the client is taken to send EHLO {hello}, for which SPF has no result"
            ));
        }
        if case.sender.is_none() && message.is_some() {
            remarks.push("without --sender the null reverse-path is assumed, that of a bounce".to_owned());
        } else if case.sender.is_none() {
            remarks.push(
                "without --sender and --message it is not known what SPF and DKIM come to: the explanation ends at RCPT"
                    .to_owned(),
            );
        }
        if case.recipients.is_empty() {
            remarks.push(
                "without --rcpt <postmaster> stands for the recipient: whether its domain has opted in is not known, \
                 and a reply names the destination address where it would name the domain"
                    .to_owned(),
            );
        }
        if knows_sender && message.is_none() {
            remarks.push("without --message the message is taken to have no DKIM signature".to_owned());
        }
        let (sender, mut recipients) = (case.sender.clone().unwrap_or_default(), case.recipients.clone());
        if recipients.is_empty() {
            recipients.push("postmaster".to_owned());
        }
        let is_ascii = sender.is_ascii() && recipients.iter().all(|recipient| recipient.is_ascii());
        let parameters = if !is_ascii && offered.smtp_utf8 {
            remarks.push("an address is not ASCII: the client is taken to declare SMTPUTF8".to_owned());
            " SMTPUTF8"
        } else {
            ""
        };
        let message = knows_sender.then(|| message.map_or_else(Vec::new, |message| message.octets.clone()));
        let knows_recipients = !case.recipients.is_empty();
        Self { hello, sender, knows_sender, recipients, knows_recipients, message, parameters }
    }
}

impl Dialogue<'_> {
    /// The client's commands and the replies to them in `mode`, until one is refused for good.
    ///
    /// # Errors
    /// [`ExplainError::Store`].
    pub(super) fn play(&self, commands: &Commands, mode: Mode) -> Result<Vec<Exchange>, ExplainError> {
        let policy = Policy { mode, ..self.config.policy() };
        let evidence = self.checks.at_connect(self.facts).evidence(self.config, None);
        let verdict = decide(&policy, Stage::Connection, &evidence);
        let admission = match evidence::refused_from_the_start(verdict) {
            Some(reason) => evidence::refusing(self.config, reason),
            None => Admission::Serve,
        };
        if let Admission::Refuse { refuse_at: settings::REFUSE_AT_RESET, reason } = admission
            && reason == sixgate_common::refuse::Reason::NotOptedIn
        {
            return Ok(vec![Exchange::reset(Refusal::AddressNotOptedIn)]);
        }
        let parameters = SessionParameters {
            id: String::new(),
            table: Arc::clone(&self.replies),
            endpoints: self.endpoints,
            admission,
            mode,
            offer: evidence::offer(self.config, self.capabilities, self.config.tls.is_some()),
            limits: self.config.limits.session(),
            temporary: self.facts.temporary_domains(),
        };
        let now = Instant::now();
        let mut playing = Playing {
            dialogue: self,
            policy,
            session: Session::new(parameters, now),
            now,
            played: Vec::new(),
        };
        playing.hear(CONNECTION);
        playing.say_line(&format!("EHLO {}", commands.hello))?;
        playing.say_line(&format!("MAIL FROM:<{}>{}", commands.sender, commands.parameters))?;
        let before = playing.played.len();
        for recipient in &commands.recipients {
            playing.say_line(&format!("RCPT TO:<{recipient}>"))?;
        }
        let is_accepted = playing.played.iter().skip(before).any(|exchange| !exchange.refuses());
        if let Some(message) = commands.message.as_ref().filter(|_| is_accepted) {
            playing.say_line("DATA")?;
            if playing.played.last().is_some_and(|exchange| !exchange.refuses()) {
                playing.say(MESSAGE, &stuffed(message))?;
            }
        }
        let mut played = playing.played;
        if matches!(admission, Admission::Refuse { .. }) {
            let concerns = |exchange: &&mut Exchange| exchange.refuses() && exchange.is_about_recipients();
            played.iter_mut().filter(concerns).for_each(|exchange| exchange.note(verdict));
        }
        Ok(played)
    }
}

/// A session under way.
struct Playing<'a> {
    dialogue: &'a Dialogue<'a>,
    policy: Policy,
    session: Session,
    now: Instant,
    played: Vec<Exchange>,
}

impl Playing<'_> {
    fn say_line(&mut self, line: &str) -> Result<(), ExplainError> {
        self.say(line, format!("{line}\r\n").as_bytes())
    }

    /// Sends `octets`, and notes the reply to them as that to `command`.
    fn say(&mut self, command: &str, octets: &[u8]) -> Result<(), ExplainError> {
        if self.session.is_closing() {
            return Ok(());
        }
        let (mut rest, mut verdict) = (octets, None);
        while !rest.is_empty() && !self.session.is_closing() {
            let mut space = self.session.poll_space(rest.len());
            let (front, back) = rest.split_at(space.remaining_mut().min(rest.len()));
            space.put_slice(front);
            rest = back;
            self.session.handle_input(self.now);
            while let Some(task) = self.session.poll_task() {
                verdict = self.perform(task)?.or(verdict);
            }
        }
        self.hear(command);
        if let (Some(exchange), Some(verdict)) = (self.played.last_mut(), verdict) {
            exchange.note(verdict);
        }
        Ok(())
    }

    /// Performs a task of the session; the verdict, if it is about one.
    fn perform(&mut self, task: Task) -> Result<Option<Verdict>, ExplainError> {
        match task {
            Task::Begin { .. } | Task::Abandon | Task::StartTls => Ok(None),
            Task::Content(_) => {
                self.session.answer_content(self.now, Ok(()));
                Ok(None)
            }
            Task::Recipient { recipient, .. } => self.judge_recipient(&recipient).map(Some),
            Task::Message { .. } => {
                let Dialogue { config, facts, checks, endpoints, replies, .. } = self.dialogue;
                let store = facts.ask(None)?;
                let evidence = checks.of_message(&store).evidence(config, None);
                let verdict = decide(&self.policy, Stage::Message, &evidence);
                let reply = match verdict {
                    Verdict::Refuse(refusal) => replies.refusal(refusal, false, *endpoints, None),
                    Verdict::Accept | Verdict::AcceptInShadow(_) => taken(b"2.0.0 Ok", replies),
                };
                self.session.answer_message(self.now, &reply);
                Ok(Some(verdict))
            }
        }
    }

    fn judge_recipient(&mut self, recipient: &RcptTo) -> Result<Verdict, ExplainError> {
        let Dialogue { config, facts, checks, endpoints, replies, .. } = self.dialogue;
        let domain = recipient.mailbox().and_then(Mailbox::domain_name);
        let store = facts.ask(domain)?;
        let evidence = checks.of_sender(&store).evidence(config, Some(recipient));
        let verdict = decide(&self.policy, Stage::Recipient, &evidence);
        let reply = match verdict {
            Verdict::Refuse(refusal) => {
                replies.refusal(refusal, store.recipient.temporary, *endpoints, domain)
            }
            Verdict::Accept | Verdict::AcceptInShadow(_) => taken(b"2.1.5 Ok", replies),
        };
        self.session.answer_recipient(self.now, &reply);
        Ok(verdict)
    }

    fn hear(&mut self, command: &str) {
        let output = String::from_utf8_lossy(&self.session.poll_output()).into_owned();
        self.played.push(Exchange::new(command, output.split_terminator("\r\n").map(str::to_owned)));
    }
}

/// A next hop's reply that takes a recipient or a message.
fn taken(text: &[u8], replies: &ReplyTable) -> Reply {
    // 250 is a final reply to a command
    Reply::from_next_hop(OK, [text]).unwrap_or_else(|| replies.reply(sixgate_smtp::reply::ReplyKind::Noop))
}

/// `message` as it is sent after DATA (RFC 5321 4.5.2), with the line that ends it.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(message.len() + END.len());
    let mut begins_line = true;
    for octet in message {
        if begins_line && *octet == b'.' {
            octets.push(b'.');
        }
        octets.push(*octet);
        begins_line = *octet == b'\n';
    }
    octets.extend_from_slice(END);
    octets
}

/// The name of a client that has none (RFC 5321 4.1.3).
fn literal(address: Ipv6Addr) -> String {
    format!("[IPv6:{address}]")
}

const END: &[u8] = b".\r\n";
const OK: u16 = 250;
