//! Both sides of a dialogue read once more, in the plainest way: which reply belongs to which
//! command, and to which message.
//!
//! It calls nothing of the session.

use sixgate_fuzz::strict::{self, Content, Front};

use crate::answers::{HOPS_MAX, LINE_MAX, MESSAGE_MAX, kept};

/// How far a dialogue was read.
pub(crate) struct Progress<'a> {
    /// The client's octets that were not answered yet.
    pub(crate) stream: &'a [u8],
    /// Content comes next.
    content: bool,
    /// Whether chunks are offered.
    serves: bool,
    /// The chunks of the present message.
    chunks: Vec<u8>,
    /// Messages that were handed on and not answered yet.
    pub(crate) messages: &'a [(Vec<u8>, bool)],
}

impl<'a> Progress<'a> {
    pub(crate) fn new(stream: &'a [u8], serves: bool, messages: &'a [(Vec<u8>, bool)]) -> Self {
        Self { stream, content: false, serves, chunks: Vec::new(), messages }
    }

    /// Reads the command or the content that `code` answers; whether that ends the session.
    pub(crate) fn answered(&mut self, code: u16) -> bool {
        if std::mem::take(&mut self.content) {
            return self.content_answered(code);
        }
        match strict::line(self.stream) {
            Front::Line(line, length) => {
                self.stream = &self.stream[length..];
                let line = without_blanks(&line);
                match chunk(line).filter(|_| self.serves) {
                    Some((size, last)) => return self.chunk_answered(code, size, last),
                    None if code < 400 && begins_anew(line) => self.chunks.clear(),
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

    /// Reads the octets behind BDAT (RFC 3030 2): they are not commands, with any reply.
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
    pub(crate) fn is_idle(&self) -> bool {
        if self.content {
            strict::content(self.stream) == Content::More
        } else {
            match strict::line(self.stream) {
                Front::Line(line, length) if self.serves => {
                    chunk(without_blanks(&line)).is_some_and(|(size, _)| self.stream.len() - length < size)
                }
                front => front == Front::More,
            }
        }
    }
}

/// The size of a chunk and whether it is the last one, if `line` is BDAT as RFC 3030 2 writes it.
fn chunk(line: &[u8]) -> Option<(usize, bool)> {
    let text = str::from_utf8(line).ok().filter(|text| text.len() <= 510)?;
    let mut parts = text.split([' ', '\t']).filter(|part| !part.is_empty());
    let is_bdat = parts.next()?.eq_ignore_ascii_case("BDAT");
    let size = parts.next().filter(|size| size.bytes().all(|digit| digit.is_ascii_digit()))?;
    let size = size.parse::<u64>().ok().filter(|_| is_bdat)?;
    let last = match parts.next() {
        None => false,
        Some(part) if part.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return None,
    };
    parts.next().is_none().then_some((usize::try_from(size).unwrap_or(usize::MAX), last))
}

/// `line` without the spaces and tabs at its ends, which the session does not mind.
fn without_blanks(mut line: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = line {
        line = rest;
    }
    line
}

/// Whether a command that succeeds ends the transaction before, or begins one.
fn begins_anew(line: &[u8]) -> bool {
    let verb = line.to_ascii_uppercase();
    [&b"MAIL"[..], b"RSET", b"EHLO", b"HELO"].iter().any(|name| verb.starts_with(name))
}

/// Whether a message has too many octets, too long a line, too many hops, or cannot be kept.
fn breaks_a_rule(octets: &[u8]) -> bool {
    let mut lines = octets.split_inclusive(|octet| *octet == b'\n');
    let is_long = lines.clone().any(|line| line.len() as u64 > LINE_MAX + 2);
    let header = lines.by_ref().take_while(|line| *line != b"\r\n");
    let is_hop = |line: &&[u8]| {
        let name = line.split(|octet| *octet == b':').next().unwrap_or_default();
        // blanks before the colon are a relic: no reader takes so many of them for a field
        name.len() < HOP_MAX.min(line.len()) && name.trim_ascii_end().eq_ignore_ascii_case(b"received")
    };
    let hops = header.filter(is_hop).count();
    octets.len() as u64 > MESSAGE_MAX || is_long || hops > HOPS_MAX as usize || kept(octets).is_err()
}

/// The codes of the replies in `received`, all of them complete and as RFC 5321 4.2 writes them.
pub(crate) fn replies(received: &[u8]) -> Vec<u16> {
    let (mut codes, mut at, mut begun) = (Vec::new(), 0, None);
    while at < received.len() {
        let Front::Line(line, length) = strict::line(&received[at..]) else {
            panic!("no line: {:?}", received[at..].escape_ascii().to_string());
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

/// Octets within which a Received field has its colon.
const HOP_MAX: usize = 32;
