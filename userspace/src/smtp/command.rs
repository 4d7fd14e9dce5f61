//! Command lines of RFC 5321, parsed into values: a value that exists is well formed.
//!
//! It owns the grammar of commands, paths and parameters; it knows no session state and no reply.

use std::{fmt, net::Ipv4Addr, net::Ipv6Addr, str};

use sixgate_common::{
    line::is_domain_name,
    refuse::{LINE_MAX, MAIL_LINE_MAX},
};

/// Longest local part (RFC 5321 4.5.3.1.1), octets.
const LOCAL_PART_MAX: usize = 64;
/// Longest domain (RFC 5321 4.5.3.1.2), octets.
const DOMAIN_MAX: usize = 255;
/// Longest path, angle brackets included (RFC 5321 4.5.3.1.3), octets.
const PATH_MAX: usize = 256;

/// A command line that was understood.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// DATA.
    Data,
    /// EHLO.
    Ehlo(HelloName),
    /// HELO.
    Helo(HelloName),
    /// HELP.
    Help,
    /// MAIL FROM.
    Mail(MailFrom),
    /// NOOP.
    Noop,
    /// A command of an extension that is not offered.
    NotOffered,
    /// QUIT.
    Quit,
    /// RCPT TO.
    Rcpt(RcptTo),
    /// RSET.
    Rset,
    /// VRFY or EXPN.
    Vrfy,
}

/// Why a command line was not understood: what the peer did wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CommandError {
    /// RCPT with a path that RFC 5321 4.1.2 does not know.
    #[error("bad recipient address syntax")]
    BadRecipient,
    /// MAIL with a path that RFC 5321 4.1.2 does not know.
    #[error("bad sender address syntax")]
    BadSender,
    /// EHLO or HELO without a usable name.
    #[error("no host name")]
    NoName,
    /// An address with octets above 127 (RFC 6531), which is not offered.
    #[error("non-ASCII address")]
    NotAscii,
    /// Wrong arguments.
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
    fn parse(text: &[u8]) -> Option<Self> {
        let visible = text.iter().all(|octet| matches!(octet, b'!'..=b'~'));
        ((1..=DOMAIN_MAX).contains(&text.len()) && visible).then(|| Self(ascii(text)))
    }

    /// The name as it was given.
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

/// A mailbox (RFC 5321 4.1.2): ASCII, without control characters, within the RFC's limits.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Mailbox {
    local_part: String,
    domain: String,
}

impl Mailbox {
    /// The local part as it was written, quotes included.
    #[must_use]
    pub fn local_part(&self) -> &str {
        &self.local_part
    }

    /// The domain as it was written: a domain name or an address literal in brackets.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The domain, if it is a name and not an address literal.
    #[must_use]
    pub fn domain_name(&self) -> Option<&str> {
        (!self.domain.starts_with('[')).then_some(self.domain.as_str())
    }

    /// Whether the local part could make a mail server route the message further (`user%other@here`,
    /// `other!user@here`, `"user@other"@here`): mail servers do so for clients they trust, as they trust us.
    #[must_use]
    pub fn asks_for_routing(&self) -> bool {
        self.local_part.contains(['%', '!', '@'])
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local_part, self.domain)
    }
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
}

/// BODY= (RFC 6152).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Body {
    /// 7BIT.
    SevenBit,
    /// 8BITMIME.
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
    /// What the client did wrong.
    pub fn parse(line: &[u8]) -> Result<Self, CommandError> {
        let line = line.trim_ascii_end();
        let end = line.iter().position(|octet| *octet == b' ').unwrap_or(line.len());
        let (word, rest) = line.split_at(end);
        let verb = word.to_ascii_uppercase();
        let limit = if verb == b"MAIL" { MAIL_LINE_MAX } else { LINE_MAX };
        if line.len() + 2 > limit {
            return Err(CommandError::TooLong);
        }
        let bare = |command| {
            if rest.is_empty() { Ok(command) } else { Err(CommandError::Syntax) }
        };
        let name = || HelloName::parse(rest.trim_ascii()).ok_or(CommandError::NoName);
        match verb.as_slice() {
            b"DATA" => bare(Self::Data),
            b"EHLO" => name().map(Self::Ehlo),
            b"HELO" => name().map(Self::Helo),
            b"HELP" => Ok(Self::Help),
            b"MAIL" => parse_mail(rest).map(Self::Mail),
            b"NOOP" => Ok(Self::Noop),
            b"QUIT" => bare(Self::Quit),
            b"RCPT" => parse_rcpt(rest).map(Self::Rcpt),
            b"RSET" => bare(Self::Rset),
            b"VRFY" | b"EXPN" => Ok(Self::Vrfy),
            b"AUTH" | b"BDAT" | b"ETRN" | b"SAML" | b"SEND" | b"SOML" | b"STARTTLS" | b"TURN"
            | b"XCLIENT" => Ok(Self::NotOffered),
            _ => Err(CommandError::Unknown),
        }
    }
}

fn parse_mail(rest: &[u8]) -> Result<MailFrom, CommandError> {
    let (path, parameters) = split_path(rest, b"FROM:", CommandError::BadSender)?;
    let reverse_path = match path {
        b"" => None,
        path => Some(parse_mailbox(path).ok_or(CommandError::BadSender)?),
    };
    let mut mail = MailFrom { reverse_path, size: None, body: None };
    for parameter in words(parameters) {
        let (keyword, value) = split_parameter(parameter);
        match keyword.as_slice() {
            b"SIZE" => set_once(&mut mail.size, parse_size(value))?,
            b"BODY" => set_once(&mut mail.body, parse_body(value))?,
            _ => return Err(CommandError::UnknownParameter),
        }
    }
    Ok(mail)
}

fn parse_rcpt(rest: &[u8]) -> Result<RcptTo, CommandError> {
    let (path, parameters) = split_path(rest, b"TO:", CommandError::BadRecipient)?;
    if words(parameters).next().is_some() {
        return Err(CommandError::UnknownParameter);
    }
    if path.eq_ignore_ascii_case(b"postmaster") {
        return Ok(RcptTo::Postmaster(ascii(path)));
    }
    parse_mailbox(path).map(RcptTo::Mailbox).ok_or(CommandError::BadRecipient)
}

/// Splits ` KEYWORD:<path> parameters` into path, without brackets, and parameters. A space after the
/// colon is no part of the grammar, but too common to be refused.
fn split_path<'a>(
    rest: &'a [u8],
    keyword: &[u8],
    bad: CommandError,
) -> Result<(&'a [u8], &'a [u8]), CommandError> {
    let rest = rest.trim_ascii_start();
    let Some((found, rest)) = rest.split_at_checked(keyword.len()) else {
        return Err(CommandError::Syntax);
    };
    if !found.eq_ignore_ascii_case(keyword) {
        return Err(CommandError::Syntax);
    }
    let rest = rest.trim_ascii_start();
    if !rest.is_ascii() {
        return Err(CommandError::NotAscii);
    }
    let end = path_end(rest).filter(|end| *end < PATH_MAX).ok_or(bad)?;
    let (path, parameters) = (&rest[1..end], &rest[end + 1..]);
    if !parameters.is_empty() && parameters[0] != b' ' {
        return Err(bad);
    }
    Ok((path, parameters))
}

/// Where the `>` stands that ends the path at the start of `text`.
fn path_end(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    if text.first() != Some(&b'<') {
        return None;
    }
    for (at, octet) in text.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// A mailbox, after an optional source route that is dropped (RFC 5321 4.1.1.3, appendix C).
fn parse_mailbox(path: &[u8]) -> Option<Mailbox> {
    let address = match path.strip_prefix(b"@") {
        Some(_) => {
            let colon = path.iter().position(|octet| *octet == b':')?;
            let mut hops = path[..colon].split(|octet| *octet == b',');
            if !hops.all(|hop| hop.strip_prefix(b"@").is_some_and(is_domain)) {
                return None;
            }
            &path[colon + 1..]
        }
        None => path,
    };
    let local_length = if address.first() == Some(&b'"') {
        quoted_length(address)?
    } else {
        let length = address.iter().position(|octet| *octet == b'@')?;
        is_dot_string(&address[..length]).then_some(length)?
    };
    let (local_part, rest) = address.split_at(local_length);
    let domain = rest.strip_prefix(b"@")?;
    let fits = (1..=LOCAL_PART_MAX).contains(&local_part.len());
    (fits && is_domain(domain)).then(|| Mailbox { local_part: ascii(local_part), domain: ascii(domain) })
}

/// Length of the quoted string at the start of `text`, quotes included.
fn quoted_length(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (at, octet) in text.iter().enumerate().skip(1) {
        match octet {
            b' '..=b'~' if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            b' '..=b'~' => {}
            _ => return None,
        }
    }
    None
}

fn is_dot_string(text: &[u8]) -> bool {
    text.split(|octet| *octet == b'.').all(|atom| !atom.is_empty() && atom.iter().all(is_atext))
}

/// `atext` of RFC 5322 3.2.3.
fn is_atext(octet: &u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(octet)
}

fn is_domain(text: &[u8]) -> bool {
    text.len() <= DOMAIN_MAX && (is_domain_name(text) || is_address_literal(text))
}

/// `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 4.1.3).
fn is_address_literal(text: &[u8]) -> bool {
    let inner = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]"));
    let Some(inner) = inner.and_then(|inner| str::from_utf8(inner).ok()) else {
        return false;
    };
    match inner.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => address.parse::<Ipv6Addr>().is_ok(),
        _ => inner.parse::<Ipv4Addr>().is_ok(),
    }
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|octet| *octet == b' ').filter(|word| !word.is_empty())
}

/// `KEYWORD=value`, the keyword in upper case.
fn split_parameter(parameter: &[u8]) -> (Vec<u8>, &[u8]) {
    let end = parameter.iter().position(|octet| *octet == b'=').unwrap_or(parameter.len());
    (parameter[..end].to_ascii_uppercase(), parameter.get(end + 1..).unwrap_or_default())
}

fn set_once<T>(slot: &mut Option<T>, value: Option<T>) -> Result<(), CommandError> {
    match (&slot, value) {
        (None, Some(value)) => {
            *slot = Some(value);
            Ok(())
        }
        _ => Err(CommandError::Syntax),
    }
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
mod tests {
    use super::*;

    fn recipient(line: &str) -> Result<String, CommandError> {
        match Command::parse(line.as_bytes()) {
            Ok(Command::Rcpt(rcpt)) => Ok(rcpt.to_string()),
            Ok(other) => panic!("{line}: {other:?}"),
            Err(error) => Err(error),
        }
    }

    #[test]
    fn recipients_are_read_as_rfc_5321_writes_them() {
        use CommandError::*;
        let long_local = format!("RCPT TO:<{}@a.example>", "x".repeat(65));
        let long_path = format!("RCPT TO:<a@{}.example>", vec!["x".repeat(60); 5].join("."));
        for (line, wanted) in [
            ("RCPT TO:<user@contoso.com>", Ok("user@contoso.com")),
            ("rcpt to: <User@Contoso.com> ", Ok("User@Contoso.com")),
            ("RCPT TO:<@a.example,@b.example:user@contoso.com>", Ok("user@contoso.com")),
            ("RCPT TO:<\"john doe\"@contoso.com>", Ok("\"john doe\"@contoso.com")),
            ("RCPT TO:<\"a\\\"b>\"@contoso.com>", Ok("\"a\\\"b>\"@contoso.com")),
            ("RCPT TO:<user@[IPv6:2001:db8::1]>", Ok("user@[IPv6:2001:db8::1]")),
            ("RCPT TO:<user@[192.0.2.1]>", Ok("user@[192.0.2.1]")),
            ("RCPT TO:<Postmaster>", Ok("Postmaster")),
            ("RCPT TO:<>", Err(BadRecipient)),
            ("RCPT TO:user@contoso.com", Err(BadRecipient)),
            ("RCPT TO:<user>", Err(BadRecipient)),
            ("RCPT TO:<user@>", Err(BadRecipient)),
            ("RCPT TO:<@contoso.com>", Err(BadRecipient)),
            ("RCPT TO:<a..b@contoso.com>", Err(BadRecipient)),
            ("RCPT TO:<.a@contoso.com>", Err(BadRecipient)),
            ("RCPT TO:<a b@contoso.com>", Err(BadRecipient)),
            ("RCPT TO:<a@b@contoso.com>", Err(BadRecipient)),
            ("RCPT TO:<user@conto_so.com>", Err(BadRecipient)),
            ("RCPT TO:<user@contoso.com.>", Err(BadRecipient)),
            ("RCPT TO:<user@[IPv6:nonsense]>", Err(BadRecipient)),
            ("RCPT TO:<user@contoso.com>junk", Err(BadRecipient)),
            ("RCPT TO:<user@contoso.com", Err(BadRecipient)),
            ("RCPT TO:<us\x1ber@contoso.com>", Err(BadRecipient)),
            ("RCPT TO:<usér@contoso.com>", Err(NotAscii)),
            ("RCPT TO:<user@contoso.com> NOTIFY=NEVER", Err(UnknownParameter)),
            ("RCPT <user@contoso.com>", Err(Syntax)),
            ("RCPT", Err(Syntax)),
            (&long_local, Err(BadRecipient)),
            (&long_path, Err(BadRecipient)),
        ] {
            assert_eq!(recipient(line), wanted.map(str::to_owned), "{line}");
        }
    }

    #[test]
    fn addresses_that_ask_for_routing_are_recognized() {
        for (line, wanted) in [
            ("RCPT TO:<user@contoso.com>", false),
            ("RCPT TO:<user%other.example@contoso.com>", true),
            ("RCPT TO:<other.example!user@contoso.com>", true),
            ("RCPT TO:<\"user@other.example\"@contoso.com>", true),
        ] {
            let Ok(Command::Rcpt(RcptTo::Mailbox(mailbox))) = Command::parse(line.as_bytes()) else {
                panic!("{line}");
            };
            assert_eq!(mailbox.asks_for_routing(), wanted, "{line}");
        }
    }

    #[test]
    fn mail_takes_the_offered_parameters_once() {
        use CommandError::*;
        let mail = |size, body| {
            let reverse_path = parse_mailbox(b"a@b.example");
            Ok(Command::Mail(MailFrom { reverse_path, size, body }))
        };
        for (line, wanted) in [
            ("MAIL FROM:<a@b.example>", mail(None, None)),
            ("MAIL FROM:<a@b.example> SIZE=1000 BODY=8BITMIME", mail(Some(1000), Some(Body::EightBitMime))),
            ("MAIL FROM:<a@b.example> body=7bit", mail(None, Some(Body::SevenBit))),
            ("MAIL FROM:<a@b.example> SIZE=99999999999999999999", mail(Some(u64::MAX), None)),
            ("MAIL FROM:<a@b.example> SIZE=1 SIZE=1", Err(Syntax)),
            ("MAIL FROM:<a@b.example> SIZE=", Err(Syntax)),
            ("MAIL FROM:<a@b.example> SIZE=-1", Err(Syntax)),
            ("MAIL FROM:<a@b.example> BODY=BINARYMIME", Err(Syntax)),
            ("MAIL FROM:<a@b.example> SMTPUTF8", Err(UnknownParameter)),
            ("MAIL FROM:<postmaster>", Err(BadSender)),
            ("MAIL FROM: a@b.example", Err(BadSender)),
            ("MAIL", Err(Syntax)),
        ] {
            assert_eq!(Command::parse(line.as_bytes()), wanted, "{line}");
        }
        let null = MailFrom { reverse_path: None, size: None, body: None };
        assert_eq!(Command::parse(b"MAIL FROM:<>"), Ok(Command::Mail(null)));
    }

    #[test]
    fn other_commands_are_read_with_their_arguments() {
        use CommandError::*;
        let hello = HelloName("mail.example".to_owned());
        let long_mail = format!("MAIL FROM:<a@b.example> {}", "x".repeat(MAIL_LINE_MAX));
        for (line, wanted) in [
            ("EHLO mail.example", Ok(Command::Ehlo(hello.clone()))),
            ("helo mail.example  ", Ok(Command::Helo(hello))),
            ("EHLO", Err(NoName)),
            ("EHLO a b", Err(NoName)),
            ("EHLO m\u{e9}l.example", Err(NoName)),
            ("DATA", Ok(Command::Data)),
            ("DATA now", Err(Syntax)),
            ("RSET now", Err(Syntax)),
            ("QUIT now", Err(Syntax)),
            ("NOOP whatever", Ok(Command::Noop)),
            ("HELP MAIL", Ok(Command::Help)),
            ("VRFY user", Ok(Command::Vrfy)),
            ("STARTTLS", Ok(Command::NotOffered)),
            ("XCLIENT ADDR=192.0.2.1", Ok(Command::NotOffered)),
            ("PROXY TCP6 ::1 ::1 1 2", Err(Unknown)),
            ("GET / HTTP/1.1", Err(Unknown)),
            ("", Err(Unknown)),
            (&long_mail, Err(TooLong)),
        ] {
            assert_eq!(Command::parse(line.as_bytes()), wanted, "{line}");
        }
    }
}
