//! A client that sends an input in pieces, and the daemon's part behind the session: it carries out
//! the session's tasks as the script has it.
//!
//! How replies and messages belong together is read in `dialogue`.

use std::time::Instant;

use bytes::BufMut;
use sixgate_fuzz::script::Script;
use sixgate_smtp::session::{Admission, Event, Session, Task, Tls, TlsProgress};

use crate::{
    answers::{MESSAGE_MAX, RECIPIENTS_MAX, kept, message_reply, parameters, recipient_reply},
    dialogue::{Progress, replies},
};

/// A client, and the answers to the session's tasks.
pub(crate) struct Client<'a> {
    admission: Admission,
    session: Session,
    now: Instant,
    answers: Script<'a>,
    cuts: Script<'a>,
    /// The octets that the client received.
    pub(crate) received: Vec<u8>,
    /// Recipients accepted in this transaction.
    accepted: usize,
    /// The octets of the message that is arriving.
    kept: Vec<u8>,
    /// The connection was to be encrypted: nothing more is sent in the clear.
    cut_short: bool,
    /// How often an incident reported the session's end.
    ends: usize,
    /// Messages that were handed on, and whether they were taken.
    pub(crate) messages: Vec<(Vec<u8>, bool)>,
}

impl<'a> Client<'a> {
    pub(crate) fn new(admission: Admission, script: Script<'a>) -> Self {
        let now = Instant::now();
        let session = Session::new(parameters(admission), now);
        let (answers, cuts) = (script.clone(), script);
        let mut client = Self {
            admission,
            session,
            now,
            answers,
            cuts,
            received: Vec::new(),
            accepted: 0,
            kept: Vec::new(),
            cut_short: false,
            ends: 0,
            messages: Vec::new(),
        };
        client.attend();
        client
    }

    /// Sends `stream` in pieces until the session is closing.
    pub(crate) fn send(mut self, mut stream: &[u8], length: impl Fn(&mut Script<'_>) -> usize) -> Self {
        while !stream.is_empty() && !self.session.is_closing() && !self.cut_short {
            assert!(self.session.accepts_input(), "the session takes no input though it waits for nothing");
            let (piece, rest) = stream.split_at(length(&mut self.cuts).min(stream.len()));
            self.receive(piece);
            self.attend();
            stream = rest;
        }
        if self.session.is_closing() {
            self.receive(b"NOOP\r\nRCPT TO:<u@a.example>\r\n");
            assert!(self.session.poll_task().is_none(), "a session goes on behind its last reply");
            assert!(self.session.poll_output().is_empty(), "octets behind the last reply");
        }
        self
    }

    /// Gives the session octets that the client sent.
    fn receive(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let mut space = self.session.poll_space(octets.len());
            let (front, rest) = octets.split_at(space.remaining_mut());
            space.put_slice(front);
            octets = rest;
        }
        self.session.handle_input(self.now);
    }

    fn attend(&mut self) {
        while let Some(task) = self.session.poll_task() {
            self.received.extend(self.session.poll_output());
            self.perform(task);
        }
        self.received.extend(self.session.poll_output());
        let incidents = self.session.poll_incidents();
        self.ends += incidents.iter().filter(|incident| matches!(incident.event, Event::Session(_))).count();
    }

    fn perform(&mut self, task: Task) {
        match task {
            Task::Begin { .. } | Task::Abandon => {
                self.accepted = 0;
                self.kept.clear();
            }
            Task::Recipient { .. } => {
                assert!(self.accepted < RECIPIENTS_MAX);
                self.lists_the_accepted();
                let reply = recipient_reply(self.answers.choose());
                self.accepted += usize::from(reply.is_positive());
                self.session.answer_recipient(self.now, &reply);
            }
            Task::Content(octets) => {
                assert!(self.accepted > 0, "content without recipients");
                self.kept.extend(octets.slices().iter().flatten());
                assert!(self.kept.len() as u64 <= MESSAGE_MAX);
                self.session.answer_content(self.now, kept(&self.kept));
            }
            Task::StartTls => {
                assert_eq!(self.accepted, 0);
                self.cut_short = true;
                self.start_tls();
            }
            Task::Message { transaction, .. } => {
                assert_eq!(transaction.recipients.len(), self.accepted);
                assert!(self.accepted > 0, "a message without recipients");
                assert_eq!(kept(&self.kept), Ok(()), "a message that was not kept");
                let reply = message_reply(self.answers.choose());
                self.messages.push((std::mem::take(&mut self.kept), reply.is_positive()));
                self.session.answer_message(self.now, &reply);
                self.accepted = 0;
            }
        }
    }

    /// RFC 3207 4.2: all that was sent in the clear is forgotten.
    fn start_tls(&mut self) {
        if self.answers.choose() == b'u' {
            return self.session.answer_start_tls(self.now, TlsProgress::Unavailable);
        }
        self.session.answer_start_tls(self.now, TlsProgress::Ready);
        self.received.extend(self.session.poll_output());
        let tls = Tls { version: "TLS1.3", cipher: "TLS_AES_128_GCM_SHA256".to_owned() };
        self.session.answer_start_tls(self.now, TlsProgress::Done(tls));
        assert!(self.session.hello().is_none() && self.session.poll_output().is_empty());
        self.receive(b"MAIL FROM:<a@b.example>\r\n");
        let received = self.session.poll_output();
        assert!(
            received.starts_with(b"503 ") || received.starts_with(b"421 "),
            "{}",
            received.escape_ascii()
        );
    }

    fn lists_the_accepted(&self) {
        let listed = self.session.transaction().map(|transaction| transaction.recipients.len());
        assert_eq!(listed, Some(self.accepted));
    }

    /// Reads both sides of the dialogue once more: each line and each content has its one reply,
    /// and a message was taken exactly where the reply that the client received is positive.
    pub(crate) fn is_in_step(&self, stream: &[u8]) {
        let mut replies = replies(&self.received).into_iter();
        let greeting = replies.next();
        assert!(greeting.is_some());
        let serves = self.admission == Admission::Serve;
        let mut progress = Progress::new(stream, serves, &self.messages);
        let (mut hung_up, mut last) = (false, None);
        for code in replies {
            assert!(!hung_up, "a reply behind the last one");
            last = Some(code);
            // a bound was reached: 421 comes at once, and is the last reply
            hung_up = code == 421 || progress.answered(code);
        }
        assert!(progress.messages.is_empty(), "a message without a reply");
        if serves && !self.cut_short {
            let ended = self.session.is_closing() && last != Some(221);
            assert_eq!(self.ends, usize::from(ended), "a session's end is reported once");
        }
        if !self.session.is_closing() && !self.cut_short {
            assert!(progress.is_idle(), "no reply to {:?}", progress.stream.escape_ascii().to_string());
        }
        assert!(self.admission == Admission::Serve || self.messages.is_empty());
    }
}
