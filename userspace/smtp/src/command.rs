//! Command lines of RFC 5321, parsed into values: a value that exists is well formed.
//!
//! It owns the grammar of commands, paths and parameters; it knows no session state and no reply.

mod mailbox;

use std::{fmt, str};

use sixgate_common::refuse::{LINE_MAX, MAIL_LINE_MAX};

pub use mailbox::Mailbox;
pub(crate) use mailbox::trim_blanks_start;

use mailbox::{DOMAIN_MAX, Path, is_blank, trim_blanks};

/// A command line that was understood.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// BDAT (RFC 3030 2): so many octets of a message follow the line.
    Bdat(Chunk),
    /// DATA (RFC 5321 4.1.1.4).
    Data,
    /// EHLO (RFC 5321 4.1.1.1).
    Ehlo(HelloName),
    /// HELO (RFC 5321 4.1.1.1).
    Helo(HelloName),
    /// HELP (RFC 5321 4.1.1.8).
    Help,
    /// MAIL FROM (RFC 5321 4.1.1.2).
    Mail(MailFrom),
    /// NOOP (RFC 5321 4.1.1.9).
    Noop,
    /// A command of an extension that is not offered.
    NotOffered,
    /// The opening of another protocol, HTTP or PROXY, whose lines must not be taken for SMTP
    /// commands.
    OtherProtocol,
    /// QUIT (RFC 5321 4.1.1.10).
    Quit,
    /// RCPT TO (RFC 5321 4.1.1.3).
    Rcpt(RcptTo),
    /// RSET (RFC 5321 4.1.1.5).
    Rset,
    /// STARTTLS (RFC 3207).
    StartTls,
    /// VRFY or EXPN.
    Vrfy,
}

/// Why a command line was not understood: what the peer did wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CommandError {
    /// BDAT without a size: where the next command begins cannot be known.
    #[error("bad chunk size")]
    BadChunk,
    /// RCPT with a path that RFC 5321 4.1.2 and RFC 6531 3.3 do not know.
    #[error("bad recipient address syntax")]
    BadRecipient,
    /// MAIL with a path that RFC 5321 4.1.2 and RFC 6531 3.3 do not know.
    #[error("bad sender address syntax")]
    BadSender,
    /// EHLO or HELO without a usable name.
    #[error("no host name")]
    NoName,
    /// The command's arguments are wrong.
    #[error("syntax error in arguments")]
    Syntax,
    /// The line is longer than RFC 5321 4.5.3.1.4 allows.
    #[error("line too long")]
    TooLong,
    /// No such command.
    #[error("unknown command")]
    Unknown,
    /// A parameter that no offered extension defines.
    #[error("unknown parameter")]
    UnknownParameter,
}

/// The name that a client gave itself: visible ASCII, at most 255 octets. It may be false or absurd
/// (RFC 5321 4.1.4 forbids to refuse it for that).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HelloName(String);

impl HelloName {
    /// Any other character than visible ASCII becomes a question mark, as in Postfix, and a name
    /// that is too long is cut: neither can then be the name of a host for which SPF passes.
    fn parse(text: &[u8]) -> Option<Self> {
        let shown = |octet: &u8| if octet.is_ascii_graphic() { char::from(*octet) } else { '?' };
        (!text.is_empty()).then(|| Self(text.iter().take(DOMAIN_MAX).map(shown).collect()))
    }

    /// The name as it was given, but for the octets that no name has.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HelloName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What BDAT announces (RFC 3030 2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Chunk {
    /// Octets that follow the line.
    pub size: u64,
    /// Whether the message ends with them.
    pub last: bool,
}

/// `MAIL FROM:` (RFC 5321 4.1.1.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MailFrom {
    /// The reverse-path; none is the null reverse-path `<>`. A source route was dropped.
    pub reverse_path: Option<Mailbox>,
    /// SIZE= (RFC 1870), octets.
    pub size: Option<u64>,
    /// BODY= (RFC 6152).
    pub body: Option<Body>,
    /// SMTPUTF8 (RFC 6531 3.4): addresses and header fields may be UTF-8.
    pub smtp_utf8: bool,
}

/// BODY= (RFC 6152).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Body {
    /// BODY=7BIT (RFC 6152).
    SevenBit,
    /// BODY=8BITMIME (RFC 6152).
    EightBitMime,
}

/// `RCPT TO:` (RFC 5321 4.1.1.3). A source route was dropped.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum RcptTo {
    /// An ordinary recipient.
    Mailbox(Mailbox),
    /// `<Postmaster>` without a domain, as it was written (RFC 5321 4.5.1).
    Postmaster(String),
}

impl RcptTo {
    /// The recipient's mailbox, unless it is the bare postmaster.
    #[must_use]
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Mailbox(mailbox) => Some(mailbox),
            Self::Postmaster(_) => None,
        }
    }
}

impl fmt::Display for RcptTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mailbox(mailbox) => mailbox.fmt(f),
            Self::Postmaster(text) => f.write_str(text),
        }
    }
}

impl Command {
    /// Parses a command line, given without its CRLF.
    ///
    /// # Errors
    /// [`CommandError`]: the client's mistake.
    pub fn parse(line: &[u8]) -> Result<Self, CommandError> {
        Self::parse_with(line, DsnParameters::Unknown)
    }

    /// Parses a command line as [`Self::parse`] does, without the parameters of an extension that
    /// is not offered and that changes nothing about a message: delivery status notifications (RFC
    /// 3461 4).
    ///
    /// # Errors
    /// [`CommandError`]: the client's mistake.
    pub fn parse_without_dsn(line: &[u8]) -> Result<Self, CommandError> {
        Self::parse_with(line, DsnParameters::Dropped)
    }

    fn parse_with(line: &[u8], dsn: DsnParameters) -> Result<Self, CommandError> {
        let line = trim_blanks(line);
        let end = line.iter().position(|octet| is_blank(*octet)).unwrap_or(line.len());
        let (word, rest) = line.split_at(end);
        let verb = word.to_ascii_uppercase();
        let limit = if verb == b"MAIL" { MAIL_LINE_MAX } else { LINE_MAX };
        if line.len() + 2 > limit {
            return Err(CommandError::TooLong);
        }
        let bare = |command| {
            if rest.is_empty() { Ok(command) } else { Err(CommandError::Syntax) }
        };
        let name = || HelloName::parse(trim_blanks(rest)).ok_or(CommandError::NoName);
        match verb.as_slice() {
            b"BDAT" => parse_bdat(rest).map(Self::Bdat),
            b"CONNECT" | b"DELETE" | b"GET" | b"HEAD" | b"OPTIONS" | b"PATCH" | b"POST" | b"PRI"
            | b"PROXY" | b"PUT" | b"TRACE" => Ok(Self::OtherProtocol),
            b"DATA" => bare(Self::Data),
            b"EHLO" => name().map(Self::Ehlo),
            b"HELO" => name().map(Self::Helo),
            b"HELP" => Ok(Self::Help),
            b"MAIL" => parse_mail(rest, dsn).map(Self::Mail),
            b"NOOP" => Ok(Self::Noop),
            b"QUIT" => Ok(Self::Quit),
            b"RCPT" => parse_rcpt(rest, dsn).map(Self::Rcpt),
            b"RSET" => bare(Self::Rset),
            b"STARTTLS" => bare(Self::StartTls),
            b"VRFY" | b"EXPN" => Ok(Self::Vrfy),
            b"AUTH" | b"ETRN" | b"SAML" | b"SEND" | b"SOML" | b"TURN" | b"XCLIENT" | b"XFORWARD" => {
                Ok(Self::NotOffered)
            }
            _ => Err(CommandError::Unknown),
        }
    }
}

/// What becomes of the parameters of RFC 3461 4.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum DsnParameters {
    /// They are unknown, as the extension is not offered.
    Unknown,
    /// They are left out.
    Dropped,
}

/// `BDAT size [LAST]`.
fn parse_bdat(rest: &[u8]) -> Result<Chunk, CommandError> {
    let mut words = words(rest);
    let size = words.next().filter(|word| word.iter().all(u8::is_ascii_digit));
    let size = size.and_then(|digits| ascii(digits).parse().ok()).ok_or(CommandError::BadChunk)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case(b"LAST") => true,
        Some(_) => return Err(CommandError::BadChunk),
    };
    if words.next().is_none() { Ok(Chunk { size, last }) } else { Err(CommandError::BadChunk) }
}

fn parse_mail(rest: &[u8], dsn: DsnParameters) -> Result<MailFrom, CommandError> {
    let path = split_path(rest, b"FROM:", CommandError::BadSender)?;
    let reverse_path = match path.inner {
        "" => None,
        inner => Some(Mailbox::parse(inner).ok_or(CommandError::BadSender)?),
    };
    let mut mail = MailFrom { reverse_path, size: None, body: None, smtp_utf8: false };
    for parameter in words(path.rest) {
        let (keyword, value) = split_parameter(parameter);
        match (keyword.as_slice(), value) {
            (b"SIZE", value) => mail.size = Some(value.and_then(parse_size).ok_or(CommandError::Syntax)?),
            (b"BODY", value) => mail.body = Some(value.and_then(parse_body).ok_or(CommandError::Syntax)?),
            (b"SMTPUTF8", None) => mail.smtp_utf8 = true,
            (b"SMTPUTF8", Some(_)) => return Err(CommandError::Syntax),
            // a client that may not vouch for others: its value counts as `<>` (RFC 4954 5)
            (b"AUTH", Some(_)) => {}
            (b"RET" | b"ENVID", Some(_)) if dsn == DsnParameters::Dropped => {}
            _ => return Err(CommandError::UnknownParameter),
        }
    }
    Ok(mail)
}

fn parse_rcpt(rest: &[u8], dsn: DsnParameters) -> Result<RcptTo, CommandError> {
    let path = split_path(rest, b"TO:", CommandError::BadRecipient)?;
    for parameter in words(path.rest) {
        match (dsn, split_parameter(parameter)) {
            (DsnParameters::Dropped, (keyword, Some(_)))
                if matches!(keyword.as_slice(), b"NOTIFY" | b"ORCPT") => {}
            _ => return Err(CommandError::UnknownParameter),
        }
    }
    // quotes make no other mailbox (RFC 5321 4.1.2)
    let inner = path.inner;
    let unquoted = inner.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(inner);
    if unquoted.eq_ignore_ascii_case("postmaster") {
        return Ok(RcptTo::Postmaster(unquoted.to_owned()));
    }
    Mailbox::parse(path.inner).map(RcptTo::Mailbox).ok_or(CommandError::BadRecipient)
}

/// Splits ` KEYWORD:<path> parameters`. A blank after the colon is not part of the grammar, but too
/// common to be refused.
fn split_path<'a>(rest: &'a [u8], keyword: &[u8], bad: CommandError) -> Result<Path<'a>, CommandError> {
    let rest = trim_blanks_start(rest);
    let Some((found, rest)) = rest.split_at_checked(keyword.len()) else {
        return Err(CommandError::Syntax);
    };
    if !found.eq_ignore_ascii_case(keyword) {
        return Err(CommandError::Syntax);
    }
    Path::split(trim_blanks_start(rest)).ok_or(bad)
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|octet| is_blank(*octet)).filter(|word| !word.is_empty())
}

/// `KEYWORD` or `KEYWORD=value`, the keyword in upper case.
fn split_parameter(parameter: &[u8]) -> (Vec<u8>, Option<&[u8]>) {
    let mut parts = parameter.splitn(2, |octet| *octet == b'=');
    let keyword = parts.next().unwrap_or_default().to_ascii_uppercase();
    (keyword, parts.next())
}

/// Up to 20 digits (RFC 1870 4); what does not fit into 64 bits is as large as can be.
fn parse_size(value: &[u8]) -> Option<u64> {
    let digits = (1..=20).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    digits.then(|| ascii(value).parse().unwrap_or(u64::MAX))
}

fn parse_body(value: &[u8]) -> Option<Body> {
    if value.eq_ignore_ascii_case(b"7BIT") {
        Some(Body::SevenBit)
    } else if value.eq_ignore_ascii_case(b"8BITMIME") {
        Some(Body::EightBitMime)
    } else {
        None
    }
}

/// Text of octets that were checked to be ASCII.
fn ascii(octets: &[u8]) -> String {
    octets.iter().map(|octet| char::from(*octet)).collect()
}

#[cfg(test)]
mod tests;
