//! A session with a caller that answers its tasks by a fixed rule.
//!
//! It tests nothing by itself.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use bytes::BufMut;

use super::*;
use crate::{
    policy::{Refusal, evidence::Endpoints},
    reply::Reply,
};

pub(super) fn parameters(admission: Admission) -> SessionParameters {
    SessionParameters {
        id: String::new(),
        table: Arc::new(ReplyTable::new("gate.example", 1000)),
        endpoints: Endpoints {
            source: "2001:db8:1::1".parse().unwrap(),
            source_port: 1024,
            destination: "2001:db8::25".parse().unwrap(),
            destination_port: 25,
        },
        admission,
        mode: Mode::Enforce,
        offer: Offer {
            eight_bit_mime: true,
            size: true,
            smtp_utf8: true,
            start_tls: true,
            message_size: 1000,
        },
        limits: SessionLimits {
            recipients: 3,
            messages: 2,
            errors: 3,
            line_length: 998,
            received: 100,
            data_rate: NonZeroU32::new(100),
            transaction_timeout: Duration::from_secs(1800),
            command_timeout: Duration::from_secs(300),
            data_timeout: Duration::from_secs(180),
            session_timeout: Duration::from_secs(3600),
        },
        temporary: Arc::default(),
    }
}

/// A session with a caller that answers its tasks: `bad…` recipients are refused by the next hop,
/// `policy…` ones by the policy; messages are delivered unless they contain `spam`.
pub(super) struct Pair {
    pub(super) session: Session,
    pub(super) now: Instant,
    /// Why octets are not kept, if they are not.
    pub(super) unkept: Option<StoreFailure>,
    pub(super) arriving: Vec<u8>,
    pub(super) messages: Vec<Vec<u8>>,
    pub(super) abandoned: usize,
}

impl Pair {
    pub(super) fn new(admission: Admission) -> Self {
        let now = Instant::now();
        Self {
            session: Session::new(parameters(admission), now),
            now,
            unkept: None,
            arriving: Vec::new(),
            messages: Vec::new(),
            abandoned: 0,
        }
    }

    /// A session that is served, at the point where the next hop has taken a recipient.
    pub(super) fn with_recipient() -> Self {
        let mut pair = Self::new(Admission::Serve);
        pair.say(b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\n");
        pair
    }

    /// The same, at the point where the message begins.
    pub(super) fn in_data() -> Self {
        let mut pair = Self::with_recipient();
        pair.say(b"DATA\r\n");
        pair
    }

    pub(super) fn hear(&mut self) -> String {
        String::from_utf8(self.session.poll_output()).unwrap()
    }

    /// The incidents since the last call.
    pub(super) fn events(&mut self) -> Vec<Event> {
        self.session.poll_incidents().iter().map(|incident| incident.event).collect()
    }

    /// Gives the session input, and answers none of its tasks.
    pub(super) fn receive(&mut self, mut input: &[u8]) {
        while !input.is_empty() {
            let mut space = self.session.poll_space(input.len());
            let (front, rest) = input.split_at(space.remaining_mut());
            space.put_slice(front);
            input = rest;
        }
        self.session.handle_input(self.now);
    }

    pub(super) fn say(&mut self, input: &[u8]) -> String {
        self.receive(input);
        while let Some(task) = self.session.poll_task() {
            self.perform(task);
        }
        self.hear()
    }

    pub(super) fn perform(&mut self, task: Task) {
        match task {
            Task::Begin { .. } => {}
            Task::Abandon => {
                self.abandoned += 1;
                self.arriving.clear();
            }
            Task::Content(octets) => {
                self.arriving.extend(octets.slices().iter().flatten());
                self.session.answer_content(self.now, self.unkept.map_or(Ok(()), Err));
            }
            Task::StartTls => {
                self.session.answer_start_tls(self.now, TlsProgress::Ready);
                let tls = Tls { version: "TLS1.3", cipher: "TLS_AES_128_GCM_SHA256".to_owned() };
                self.session.answer_start_tls(self.now, TlsProgress::Done(tls));
            }
            Task::Recipient { recipient, .. } => {
                let reply = match recipient.to_string() {
                    name if name.starts_with("bad") => next_hop(550, "5.1.1 unknown"),
                    name if name.starts_with("another") => next_hop(452, "4.5.3 one at a time"),
                    name if name.starts_with("policy") => {
                        refused(Refusal::DomainNotOptedIn, recipient.mailbox().and_then(Mailbox::domain_name))
                    }
                    _ => next_hop(250, "2.1.5 ok"),
                };
                self.session.answer_recipient(self.now, &reply);
            }
            Task::Message { .. } => {
                let octets = mem::take(&mut self.arriving);
                let spam = octets.windows(4).any(|window| window == b"spam");
                self.messages.push(octets);
                let refused = refused(Refusal::NotAuthenticated, None);
                let reply = if spam { refused } else { next_hop(250, "2.0.0 queued") };
                self.session.answer_message(self.now, &reply);
            }
        }
    }
}

pub(super) fn refused(refusal: Refusal, domain: Option<&str>) -> Reply {
    let SessionParameters { table, endpoints, .. } = parameters(Admission::Serve);
    table.refusal(refusal, false, endpoints, domain)
}

pub(super) fn next_hop(code: u16, text: &str) -> Reply {
    Reply::from_next_hop(code, [text.as_bytes()]).unwrap()
}

/// Runs lines of `C: ` (sent with CRLF) and `S: ` (expected).
pub(super) fn check(admission: Admission, script: &str) -> Pair {
    let mut pair = Pair::new(admission);
    let mut heard = pair.hear();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(said) = line.strip_prefix("C:") {
            let said = said.trim_start();
            assert_eq!(heard, "", "unexpected before {line}");
            heard = pair.say(format!("{said}\r\n").as_bytes());
        } else {
            let wanted = line.strip_prefix("S: ").expect(line);
            let (first, rest) =
                heard.split_once("\r\n").unwrap_or_else(|| panic!("nothing heard for {line}"));
            assert_eq!(first, wanted);
            heard = rest.to_owned();
        }
    }
    assert_eq!(heard, "");
    pair
}
