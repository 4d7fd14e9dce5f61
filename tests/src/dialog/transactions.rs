//! The transactions of a script: what a client asked for, and the replies that it has to get.
//!
//! It reads what `sixgate explain` has arguments for: greeting, MAIL, RCPT and a message after
//! DATA. A session is left where a script sends anything else than whole lines. Left out are
//! recipients that are written in an odd way or need an SMTPUTF8 that the client does not declare,
//! and messages with a bare LF, which in a file is the end of a line.

use super::{Script, Step};

/// One transaction, answered or refused.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The client's address.
    pub source: String,
    /// The gate's address.
    pub destination: String,
    /// The first line that the client receives.
    pub greeting: Reply,
    /// The name in EHLO or HELO.
    pub hello: String,
    /// What stands between the angle brackets of MAIL, and the reply.
    pub mail: (String, Reply),
    /// The same for each RCPT.
    pub recipients: Vec<(String, Reply)>,
    /// The octets after DATA, without dot-stuffing, and the reply to them.
    pub message: Option<(Vec<u8>, Reply)>,
}

/// The last line of a reply; none: the script ends before.
#[derive(Clone, Debug, Default)]
pub enum Reply {
    /// Not in the script.
    #[default]
    Unknown,
    /// Exactly this line.
    Line(String),
    /// A line that begins so.
    Start(String),
}

impl Reply {
    /// Whether `line` is this reply.
    #[must_use]
    pub fn is(&self, line: &str) -> bool {
        match self {
            Self::Unknown => true,
            Self::Line(wanted) => line == wanted,
            Self::Start(wanted) => line.starts_with(wanted),
        }
    }

    /// Whether it is known and 2xx.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        matches!(self, Self::Line(text) | Self::Start(text) if text.starts_with('2'))
    }

    /// Whether the script has it.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !matches!(self, Self::Unknown)
    }
}

/// A session: the client's lines and the replies, each in their order.
#[derive(Default)]
struct Conversation {
    source: String,
    destination: String,
    said: Vec<Said>,
    replies: Vec<Reply>,
}

enum Said {
    Line(String),
    /// From DATA to the final dot.
    Message(Vec<u8>),
}

/// The transactions of `script` that have a MAIL, in their order.
#[must_use]
pub fn transactions(script: &Script) -> Vec<Asked> {
    conversations(script).into_iter().flat_map(Conversation::transactions).collect()
}

fn conversations(script: &Script) -> Vec<Conversation> {
    let mut all: Vec<Conversation> = Vec::new();
    let mut content: Option<Vec<u8>> = None;
    let mut is_left = false;
    for (_, step) in &script.steps {
        if let Step::Connect { source, destination } = step {
            let (source, destination) = (source.clone(), destination.clone());
            all.push(Conversation { source, destination, ..Conversation::default() });
            (content, is_left) = (None, false);
            continue;
        }
        let Some(present) = all.last_mut().filter(|_| !is_left) else { continue };
        match step {
            Step::Connect { .. } | Step::Closed => {}
            Step::Hear(line) => present.hear(line, Reply::Line(line.clone())),
            Step::HearStart(line) => present.hear(line, Reply::Start(line.clone())),
            Step::Say(line) => match &mut content {
                Some(octets) if line == "." => {
                    present.said.push(Said::Message(std::mem::take(octets)));
                    content = None;
                }
                Some(octets) => {
                    octets.extend(line.strip_prefix('.').unwrap_or(line).as_bytes());
                    octets.extend(b"\r\n");
                }
                None => present.said.push(Said::Line(line.clone())),
            },
            Step::SayOctets(octets) => match &mut content {
                Some(content) => content.extend(octets),
                None => is_left = true,
            },
        }
        let has_data =
            matches!(present.said.last(), Some(Said::Line(line)) if line.eq_ignore_ascii_case("DATA"));
        let is_asked = matches!(present.replies.last(), Some(Reply::Line(line)) if line.starts_with("354"));
        if has_data && is_asked && content.is_none() {
            content = Some(Vec::new());
        }
    }
    all
}

impl Conversation {
    /// Only the last line of a reply counts.
    fn hear(&mut self, line: &str, reply: Reply) {
        if line.as_bytes().get(3) != Some(&b'-') {
            self.replies.push(reply);
        }
    }

    fn transactions(self) -> Vec<Asked> {
        let mut replies = self.replies.into_iter();
        let mut reply = || replies.next().unwrap_or_default();
        let start = Asked {
            source: self.source,
            destination: self.destination,
            greeting: reply(),
            ..Asked::default()
        };
        let (mut all, mut present, mut declares_utf8) = (Vec::new(), start.clone(), false);
        for said in self.said {
            let reply = reply();
            match said {
                Said::Message(octets) => {
                    let is_text = octets.windows(2).all(|pair| pair[1] != b'\n' || pair[0] == b'\r');
                    present.message = is_text.then_some((octets, reply));
                }
                Said::Line(line) => {
                    let upper = line.to_ascii_uppercase();
                    let argument = |verb: usize| line.get(verb..).unwrap_or_default().trim().to_owned();
                    if upper.starts_with("EHLO ") || upper.starts_with("HELO ") {
                        let hello = argument(5);
                        all.push(std::mem::replace(&mut present, Asked { hello, ..start.clone() }));
                    } else if upper.starts_with("MAIL FROM:") && reply.is_positive() {
                        let hello = present.hello.clone();
                        declares_utf8 = upper.ends_with(" SMTPUTF8");
                        let next = Asked { hello, mail: (path(&line), reply), ..start.clone() };
                        all.push(std::mem::replace(&mut present, next));
                    } else if upper.starts_with("RCPT TO:") {
                        let is_plain = upper.starts_with("RCPT TO:<") && line.ends_with('>');
                        if is_plain && (line.is_ascii() || declares_utf8) {
                            present.recipients.push((path(&line), reply));
                        }
                    } else if upper == "RSET" {
                        let hello = present.hello.clone();
                        all.push(std::mem::replace(&mut present, Asked { hello, ..start.clone() }));
                    }
                }
            }
        }
        all.push(present);
        all.retain(|asked| asked.mail.1.is_known());
        all
    }
}

/// What stands between the angle brackets.
fn path(line: &str) -> String {
    let (_, rest) = line.split_once('<').unwrap_or(("", line));
    rest.rsplit_once('>').map_or(rest, |(path, _)| path).to_owned()
}
