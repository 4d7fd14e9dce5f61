//! A whole session without IO: whatever a client sends and whatever is answered, each command and each message has one
//! reply, in order and well formed; what is handed on was accepted; how the input was cut changes nothing.
//!
//! Policy, DNS and the next hop are played by the script: they are not what is tried here.

#![no_main]

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use libfuzzer_sys::fuzz_target;
use sixgate_common::{
    refuse::Reason,
    settings::{REFUSE_AT_GREETING, REFUSE_AT_RCPT},
};
use sixgate_fuzz::{
    script::{self, Script},
    strict::{self, Content, Front},
};
use sixgate_smtp::{
    policy::{Mode, Refusal, evidence::Endpoints},
    reply::{Reply, ReplyKind, ReplyTable},
    session::{
        Admission, Event, Offer, Session, SessionLimits, SessionParameters, StoreFailure, Task, Tls,
        TlsProgress,
    },
};

fuzz_target!(|input: &[u8]| {
    let (mut script, stream) = script::split(input);
    let admission = admission(script.choose());
    let whole = Client::new(admission, script.clone()).say(stream, |_| usize::MAX);
    let cut = Client::new(admission, script.clone()).say(stream, |cuts| cuts.length(PIECE_MAX));
    // of two reasons against a message the first to be found is told
    if !stream.contains(&b'!') {
        assert_eq!(cut.heard.escape_ascii().to_string(), whole.heard.escape_ascii().to_string());
    }
    assert_eq!(cut.messages, whole.messages);
    cut.is_in_step(stream, admission);
    whole.is_in_step(stream, admission);
});

/// How the session is met.
fn admission(choice: u8) -> Admission {
    let (reason, refuse_at) = match choice {
        b'a' => (Reason::NotOptedIn, REFUSE_AT_RCPT),
        b'g' => (Reason::NotOptedIn, REFUSE_AT_GREETING),
        b'n' => (Reason::NoPtr, REFUSE_AT_RCPT),
        _ => return Admission::Serve,
    };
    Admission::Refuse { reason, refuse_at }
}

fn parameters(admission: Admission) -> SessionParameters {
    SessionParameters {
        table: Arc::new(ReplyTable::new("gate.example", MESSAGE_MAX)),
        endpoints: Endpoints {
            source: SOURCE.into(),
            source_port: 1024,
            destination: DESTINATION.into(),
            destination_port: 25,
        },
        admission,
        mode: Mode::Enforce,
        offer: Offer {
            eight_bit_mime: true,
            size: true,
            smtp_utf8: true,
            start_tls: true,
            message_size: MESSAGE_MAX,
        },
        limits: SessionLimits {
            recipients: RECIPIENTS_MAX,
            messages: 4,
            line_length: LINE_MAX,
            received: HOPS_MAX,
            errors: 6,
            command_timeout: Duration::from_secs(300),
            data_timeout: Duration::from_secs(180),
            data_rate: NonZeroU32::new(100),
            transaction_timeout: Duration::from_secs(1800),
            session_timeout: Duration::from_secs(3600),
        },
        temporary: Arc::default(),
    }
}

/// A client, and whoever answers the session's questions.
struct Client<'a> {
    session: Session,
    now: Instant,
    answers: Script<'a>,
    cuts: Script<'a>,
    heard: Vec<u8>,
    /// Recipients accepted in this transaction.
    accepted: usize,
    /// What was to be kept of the message that is arriving.
    kept: Vec<u8>,
    /// The connection was to be encrypted: nothing more is said in the clear.
    cut_short: bool,
    /// How often the log was told that we ended the session.
    ends: usize,
    /// Messages that were handed on, and whether they were taken.
    messages: Vec<(Vec<u8>, bool)>,
}

impl<'a> Client<'a> {
    fn new(admission: Admission, script: Script<'a>) -> Self {
        let now = Instant::now();
        let session = Session::new(parameters(admission), now);
        let (answers, cuts) = (script.clone(), script);
        let mut client = Self {
            session,
            now,
            answers,
            cuts,
            heard: Vec::new(),
            accepted: 0,
            kept: Vec::new(),
            cut_short: false,
            ends: 0,
            messages: Vec::new(),
        };
        client.attend();
        client
    }

    /// Says `stream` in pieces, as long as somebody listens.
    fn say(mut self, mut stream: &[u8], length: impl Fn(&mut Script<'_>) -> usize) -> Self {
        while !stream.is_empty() && !self.session.is_closing() && !self.cut_short {
            assert!(self.session.accepts_input(), "input is left lying though nothing is waited for");
            let (piece, rest) = stream.split_at(length(&mut self.cuts).min(stream.len()));
            self.session.handle_input(self.now, piece);
            self.attend();
            stream = rest;
        }
        if self.session.is_closing() {
            self.session.handle_input(self.now, b"NOOP\r\nRCPT TO:<u@a.example>\r\n");
            assert!(self.session.poll_task().is_none(), "a session goes on behind its last reply");
            assert!(self.session.poll_output().is_empty(), "words behind the last reply");
        }
        self
    }

    fn attend(&mut self) {
        while let Some(task) = self.session.poll_task() {
            self.heard.extend(self.session.poll_output());
            self.perform(task);
        }
        self.heard.extend(self.session.poll_output());
        let told = self.session.poll_incidents();
        self.ends += told.iter().filter(|incident| matches!(incident.event, Event::Session(_))).count();
    }

    fn perform(&mut self, task: Task) {
        match task {
            Task::Begin { .. } | Task::Abandon => {
                self.accepted = 0;
                self.kept.clear();
            }
            Task::Recipient { .. } => {
                assert!(self.accepted < RECIPIENTS_MAX);
                self.lists_who_was_accepted();
                let reply = recipient_reply(self.answers.choose());
                self.accepted += usize::from(reply.is_positive());
                self.session.answer_recipient(self.now, &reply);
            }
            Task::Content(octets) => {
                assert!(self.accepted > 0, "content for nobody");
                self.kept.extend(octets);
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
                assert!(self.accepted > 0, "a message for nobody");
                assert_eq!(kept(&self.kept), Ok(()), "a message that was not kept");
                let reply = message_reply(self.answers.choose());
                self.messages.push((std::mem::take(&mut self.kept), reply.is_positive()));
                self.session.answer_message(self.now, &reply);
                self.accepted = 0;
            }
        }
    }

    /// RFC 3207 4.2: what was said in the clear is forgotten.
    fn start_tls(&mut self) {
        if self.answers.choose() == b'u' {
            return self.session.answer_start_tls(self.now, TlsProgress::Unavailable);
        }
        self.session.answer_start_tls(self.now, TlsProgress::Ready);
        self.heard.extend(self.session.poll_output());
        let tls = Tls { version: "TLS1.3", cipher: "TLS_AES_128_GCM_SHA256".to_owned() };
        self.session.answer_start_tls(self.now, TlsProgress::Done(tls));
        assert!(self.session.hello().is_none() && self.session.poll_output().is_empty());
        self.session.handle_input(self.now, b"MAIL FROM:<a@b.example>\r\n");
        let heard = self.session.poll_output();
        assert!(heard.starts_with(b"503 ") || heard.starts_with(b"421 "), "{}", heard.escape_ascii());
    }

    fn lists_who_was_accepted(&self) {
        let listed = self.session.transaction().map(|transaction| transaction.recipients.len());
        assert_eq!(listed, Some(self.accepted));
    }

    /// Reads both sides of the dialogue once more: each line and each content has its one reply, and a message was
    /// taken exactly where the client heard so.
    fn is_in_step(&self, stream: &[u8], admission: Admission) {
        let mut replies = replies(&self.heard).into_iter();
        let greeting = replies.next();
        assert!(greeting.is_some());
        let serves = admission == Admission::Serve;
        let mut progress =
            Progress { stream, content: false, serves, chunks: Vec::new(), messages: &self.messages };
        let (mut hung_up, mut last) = (false, None);
        for code in replies {
            assert!(!hung_up, "a reply behind the last one");
            last = Some(code);
            // a bound was reached: it is said at once, and is the last word
            hung_up = code == 421 || progress.answered(code);
        }
        assert!(progress.messages.is_empty(), "a message without a reply");
        if serves && !self.cut_short {
            let ended = self.session.is_closing() && last != Some(221);
            assert_eq!(self.ends, usize::from(ended), "what ends a session is told once");
        }
        if !self.session.is_closing() && !self.cut_short {
            assert!(progress.is_idle(), "no reply to {:?}", progress.stream.escape_ascii().to_string());
        }
        assert!(admission == Admission::Serve || self.messages.is_empty());
    }
}

/// How far a dialogue was read.
struct Progress<'a> {
    /// What the client said and was not answered yet.
    stream: &'a [u8],
    /// Content comes next.
    content: bool,
    /// Whether chunks are offered.
    serves: bool,
    /// What came in chunks of the present message.
    chunks: Vec<u8>,
    /// What was handed on and not answered yet.
    messages: &'a [(Vec<u8>, bool)],
}

impl Progress<'_> {
    /// Reads what `code` answers; whether that ends the session.
    fn answered(&mut self, code: u16) -> bool {
        if std::mem::take(&mut self.content) {
            return self.content_answered(code);
        }
        match strict::line(self.stream) {
            Front::Line(line, length) => {
                self.stream = &self.stream[length..];
                match chunk(&line).filter(|_| self.serves) {
                    Some((size, last)) => return self.chunk_answered(code, size, last),
                    None if code < 400 && begins_anew(&line) => self.chunks.clear(),
                    None => {}
                }
                self.content = code == 354;
                assert!(!self.content || line.to_ascii_uppercase().starts_with(b"DATA"));
                code == 221
            }
            Front::Bare => {
                assert_eq!(code, 500);
                true
            }
            Front::More => panic!("{code} to half a line"),
        }
    }

    fn content_answered(&mut self, code: u16) -> bool {
        match strict::content(self.stream) {
            Content::Whole(octets, length) => {
                self.stream = &self.stream[length..];
                if breaks_a_rule(&octets) {
                    assert!(matches!(code, 451 | 452 | 500..560), "{code} to a message that breaks a rule");
                    return false;
                }
                let Some(((message, taken), rest)) = self.messages.split_first() else {
                    panic!("{code} to a message that was not handed on");
                };
                assert_eq!((&octets, code < 300), (message, *taken));
                self.messages = rest;
                false
            }
            Content::Bare => {
                assert_eq!(code, 550);
                true
            }
            Content::More => panic!("{code} to half a message"),
        }
    }

    /// Reads the octets behind BDAT (RFC 3030 2): they are no commands, whatever the reply.
    fn chunk_answered(&mut self, code: u16, size: usize, last: bool) -> bool {
        let Some((octets, rest)) = self.stream.split_at_checked(size) else {
            assert_eq!(code, 550, "a reply to half a chunk");
            return true;
        };
        self.stream = rest;
        // out of order: nothing of it is handed on, even if a later message has the same octets
        if code == 503 || (code >= 400 && !last) {
            self.chunks.clear();
            return false;
        }
        self.chunks.extend(octets);
        if last {
            let mut content = std::mem::take(&mut self.chunks);
            if !content.ends_with(b"\r\n") && !content.is_empty() {
                content.extend(b"\r\n");
            }
            match self.messages.split_first() {
                Some(((message, taken), rest)) if *message == content => {
                    assert_eq!(code < 300, *taken);
                    self.messages = rest;
                }
                _ => assert!(code >= 400, "{code} to chunks that were not handed on"),
            }
        }
        false
    }

    /// Whether nothing is left to be answered.
    fn is_idle(&self) -> bool {
        if self.content {
            strict::content(self.stream) == Content::More
        } else {
            match strict::line(self.stream) {
                Front::Line(line, length) if self.serves => {
                    chunk(&line).is_some_and(|(size, _)| self.stream.len() - length < size)
                }
                front => front == Front::More,
            }
        }
    }
}

/// The size of a chunk and whether it is the last one, if `line` is BDAT as RFC 3030 2 writes it.
fn chunk(line: &[u8]) -> Option<(usize, bool)> {
    let text = str::from_utf8(line).ok().filter(|text| text.len() <= 510)?;
    let mut words = text.trim_ascii_end().split(' ');
    let is_bdat = words.next()?.eq_ignore_ascii_case("BDAT");
    let mut words = words.filter(|word| !word.is_empty());
    let size = words.next().filter(|word| word.bytes().all(|digit| digit.is_ascii_digit()))?;
    let size = size.parse::<u64>().ok().filter(|_| is_bdat)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return None,
    };
    words.next().is_none().then_some((usize::try_from(size).unwrap_or(usize::MAX), last))
}

/// Whether a command that succeeds ends the transaction before, or begins one.
fn begins_anew(line: &[u8]) -> bool {
    let verb = line.to_ascii_uppercase();
    [&b"MAIL"[..], b"RSET", b"EHLO", b"HELO"].iter().any(|word| verb.starts_with(word))
}

/// Whether a message has too many octets, too long a line, too many hops, or cannot be kept.
fn breaks_a_rule(octets: &[u8]) -> bool {
    let mut lines = octets.split_inclusive(|octet| *octet == b'\n');
    let is_long = lines.clone().any(|line| line.len() as u64 > LINE_MAX + 2);
    let header = lines.by_ref().take_while(|line| *line != b"\r\n");
    let is_hop = |line: &&[u8]| {
        let name = line.split(|octet| *octet == b':').next().unwrap_or_default();
        // blanks before the colon are a relic: so many of them are no field to anybody
        name.len() < HOP_MAX.min(line.len()) && name.trim_ascii_end().eq_ignore_ascii_case(b"received")
    };
    let hops = header.filter(is_hop).count();
    octets.len() as u64 > MESSAGE_MAX || is_long || hops > HOPS_MAX as usize || kept(octets).is_err()
}

/// Whether there is room for a message that begins so. What it says decides, so that it does not matter how it comes.
fn kept(octets: &[u8]) -> Result<(), StoreFailure> {
    let says = |word: &[u8]| octets.windows(word.len()).any(|window| window == word);
    if says(b"!disk") {
        Err(StoreFailure::Disk)
    } else if says(b"!memory") {
        Err(StoreFailure::Memory)
    } else if says(b"!failure") {
        Err(StoreFailure::Failure)
    } else {
        Ok(())
    }
}

/// The codes of the replies in `heard`, all of them complete and as RFC 5321 4.2 writes them.
fn replies(heard: &[u8]) -> Vec<u16> {
    let (mut codes, mut at, mut begun) = (Vec::new(), 0, None);
    while at < heard.len() {
        let Front::Line(line, length) = strict::line(&heard[at..]) else {
            panic!("no line: {:?}", heard[at..].escape_ascii().to_string());
        };
        at += length;
        assert!(length <= 512 && line.iter().all(|octet| matches!(octet, b' '..=b'~')));
        let text = String::from_utf8_lossy(&line);
        let code: u16 = text[..3].parse().expect("three digits");
        assert!((200..560).contains(&code), "{text}");
        assert_eq!(*begun.get_or_insert(code), code, "{text}");
        match line[3] {
            b'-' => {}
            b' ' => codes.extend(begun.take()),
            other => panic!("{other} behind {code}"),
        }
    }
    assert_eq!(begun, None, "an unfinished reply");
    codes
}

fn recipient_reply(choice: u8) -> Reply {
    match choice {
        b'd' => refused(Refusal::DomainNotOptedIn),
        b'f' => refused(Refusal::DnsFailure),
        b'n' => refused(Refusal::NoPtr),
        b'r' => next_hop(550, b"5.1.1 no such user"),
        b't' => next_hop(421, b"\xff\r\n250 ok"),
        _ => next_hop(250, b"2.1.5 ok"),
    }
}

fn message_reply(choice: u8) -> Reply {
    match choice {
        b'f' => refused(Refusal::DnsFailure),
        b'n' | b'd' => refused(Refusal::NotAuthenticated),
        b'r' => next_hop(554, b"no"),
        b't' => ReplyTable::new("gate.example", MESSAGE_MAX).reply(ReplyKind::NextHopLost),
        _ => next_hop(250, b"2.0.0 queued"),
    }
}

fn next_hop(code: u16, text: &[u8]) -> Reply {
    Reply::from_next_hop(code, [text]).expect("a final code")
}

fn refused(refusal: Refusal) -> Reply {
    let SessionParameters { table, endpoints, .. } = parameters(Admission::Serve);
    table.refusal(refusal, false, endpoints, None)
}

const SOURCE: [u16; 8] = [0x2001, 0xdb8, 1, 0, 0, 0, 0, 1];
const DESTINATION: [u16; 8] = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x25];
const MESSAGE_MAX: u64 = 300;
const RECIPIENTS_MAX: usize = 3;
const LINE_MAX: u64 = 70;
const HOPS_MAX: u32 = 2;
/// Octets within which a Received field has its colon.
const HOP_MAX: usize = 32;
const PIECE_MAX: usize = 60;
