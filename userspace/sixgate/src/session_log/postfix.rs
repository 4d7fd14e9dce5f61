//! Lines as Postfix's smtpd writes them, for programs that read Postfix's log: pflogsumm, fail2ban,
//! exporters.
//!
//! It owns their text. Time, host and program in front of it are `cli::log_postfix`'s; which event
//! has a line, and how many there may be, is decided as for every other form of the log.

use std::net::Ipv6Addr;

use sixgate_smtp::session::{CommandName, SessionTally};
use tracing::info;

use super::{Rejection, SessionSummary};
use crate::log_limit::{CLOSED, DELIVERED, OPENED};

/// The client of a session, as its lines name it.
#[derive(Clone, Debug)]
pub(crate) struct PostfixClient {
    /// Postfix has a process for each session at a time, and programs pair the lines of a session
    /// by its process id: here it is a number of the session.
    pub(crate) number: u64,
    pub(crate) source: Ipv6Addr,
    /// The name that DNS confirms.
    pub(crate) name: Option<String>,
    /// The name in EHLO or HELO.
    pub(crate) helo: Option<String>,
    /// Whether EHLO was sent.
    pub(crate) extended: bool,
}

impl PostfixClient {
    /// The client of a session that is over.
    pub(crate) fn of(summary: &SessionSummary) -> Self {
        Self {
            number: summary.id.number(),
            source: summary.source,
            name: summary.client_name.clone(),
            helo: summary.helo.clone(),
            extended: summary.tally.of(CommandName::Ehlo).accepted > 0,
        }
    }

    /// The connection was accepted.
    pub(crate) fn connect(&self) {
        let Self { number, source, .. } = self;
        info!(name: OPENED, postfix = number, %source, "connect from {}", self.name_and_address());
    }

    /// A command, a message or the session is refused, or would be by enforce.
    pub(crate) fn reject(&self, rejection: &Rejection) {
        let Self { number, source, .. } = self;
        info!(postfix = number, %source, "{}", self.reject_text(rejection));
    }

    /// The next hop has taken a message.
    pub(crate) fn accept(&self, accepted: &Rejection) {
        let Self { number, source, .. } = self;
        let received = format!("NOQUEUE: client={}", self.name_and_address());
        info!(postfix = number, %source, outcome = DELIVERED, "{received}");
        info!(postfix = number, %source, outcome = DELIVERED, "{}", self.accept_text(accepted));
    }

    /// The session ended without QUIT, for `reason`, after the step `after`.
    pub(crate) fn broken(&self, reason: &str, after: &str) {
        let Self { number, source, .. } = self;
        let client = self.name_and_address();
        info!(name: OPENED, postfix = number, %source, "{reason} after {after} from {client}");
    }

    /// The session is over.
    pub(crate) fn disconnect(&self, SessionSummary { tally, by_kernel, reasons, .. }: &SessionSummary) {
        let Self { number, source, .. } = self;
        let text = if *by_kernel {
            // which commands they were is not known
            let (all, refused) = (tally.all().total, reasons.values().sum());
            let accepted = all.saturating_sub(refused);
            format!("disconnect from {} commands={accepted}/{all}", self.name_and_address())
        } else {
            self.disconnect_text(tally)
        };
        info!(name: CLOSED, postfix = number, %source, "{text}");
    }

    fn reject_text(&self, rejection: &Rejection) -> String {
        let Rejection { command, reply, shadow, .. } = rejection;
        let verb = if *shadow { "reject_warning" } else { "reject" };
        let (client, reply) = (self.name_and_address(), one_line(reply));
        format!("NOQUEUE: {verb}: {command} from {client}: {reply};{}", self.attributes(rejection))
    }

    fn accept_text(&self, accepted: &Rejection) -> String {
        let Rejection { command, reply, .. } = accepted;
        format!("proxy-accept: {command}: {};{}", one_line(reply), self.attributes(accepted))
    }

    fn disconnect_text(&self, tally: &SessionTally) -> String {
        let mut text = format!("disconnect from {}", self.name_and_address());
        let mut add = |name: &str, accepted: u32, total: u32| {
            text.push_str(&format!(" {name}={accepted}"));
            if accepted != total {
                text.push_str(&format!("/{total}"));
            }
        };
        for name in CommandName::ALL {
            let count = tally.of(name);
            if count.total > 0 {
                add(&name.name().to_ascii_lowercase(), count.accepted, count.total);
            }
        }
        let all = tally.all();
        add("commands", all.accepted, all.total);
        if all.total == 0 {
            text.push_str("/0");
        }
        text
    }

    fn name_and_address(&self) -> String {
        format!("{}[{}]", self.name.as_deref().unwrap_or("unknown"), self.source)
    }

    fn attributes(&self, Rejection { mail_from, recipient, .. }: &Rejection) -> String {
        let mut text = String::new();
        let mut add = |name: &str, value: &Option<String>| {
            if let Some(value) = value {
                text.push_str(&format!(" {name}=<{value}>"));
            }
        };
        add("from", mail_from);
        add("to", recipient);
        text.push_str(if self.extended { " proto=ESMTP" } else { " proto=SMTP" });
        if let Some(helo) = &self.helo {
            text.push_str(&format!(" helo=<{helo}>"));
        }
        text
    }
}

/// A reply of several lines on one: its code and enhanced code once.
fn one_line(reply: &str) -> String {
    let mut lines = reply.lines();
    let first = lines.next().unwrap_or_default();
    let mut text = first.to_owned();
    if text.get(3..4) == Some("-") {
        text.replace_range(3..4, " ");
    }
    let enhanced = first.get(4..).and_then(|text| text.split(' ').next()).unwrap_or_default();
    for line in lines {
        let rest = line.get(4..).unwrap_or_default();
        let rest = match rest.strip_prefix(enhanced) {
            Some(rest) if enhanced.starts_with(['2', '4', '5']) => rest.trim_start(),
            _ => rest,
        };
        text.push(' ');
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: Option<&str>, helo: Option<&str>) -> PostfixClient {
        PostfixClient {
            number: 7,
            source: "2001:db8::1".parse().unwrap(),
            name: name.map(str::to_owned),
            helo: helo.map(str::to_owned),
            extended: helo.is_some(),
        }
    }

    #[test]
    fn a_rejection_is_written_as_postfix_writes_it() {
        let rejection = Rejection {
            command: "RCPT",
            reply: "450 4.7.25 Service unavailable, x".to_owned(),
            mail_from: Some(String::new()),
            recipient: Some("\"a b\"@b.example".to_owned()),
            ..Rejection::default()
        };
        assert_eq!(
            client(None, Some("mail.a.example")).reject_text(&rejection),
            "NOQUEUE: reject: RCPT from unknown[2001:db8::1]: 450 4.7.25 Service unavailable, x; from=<> \
             to=<\"a b\"@b.example> proto=ESMTP helo=<mail.a.example>"
        );
        let greeting = Rejection {
            command: "CONNECT",
            reply: "554 gate.example Service unavailable".to_owned(),
            shadow: true,
            ..Rejection::default()
        };
        assert_eq!(
            client(Some("a.example"), None).reject_text(&greeting),
            "NOQUEUE: reject_warning: CONNECT from a.example[2001:db8::1]: 554 gate.example Service \
             unavailable; proto=SMTP"
        );
    }

    #[test]
    fn a_reply_of_several_lines_is_one() {
        for (reply, wanted) in [
            ("250 2.0.0 Ok", "250 2.0.0 Ok"),
            ("550-5.7.1 Not\r\n550-5.7.1 here,\r\n550 5.7.1 please", "550 5.7.1 Not here, please"),
            ("550-No\r\n550 way", "550 No way"),
            ("", ""),
            ("connection reset", "connection reset"),
        ] {
            assert_eq!(one_line(reply), wanted);
        }
    }

    #[test]
    fn a_session_without_commands_has_none_of_none() {
        let text = client(None, None).disconnect_text(&SessionTally::default());
        assert_eq!(text, "disconnect from unknown[2001:db8::1] commands=0/0");
    }
}
