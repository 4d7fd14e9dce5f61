//! The form of a reply, and the form in which a next hop's reply is passed on.
//!
//! It owns no text.

use std::{borrow::Cow, fmt};

/// Longest text of one reply line without code and CRLF (RFC 5321 4.5.3.1.5: 512 octets in all).
const LINE_TEXT_MAX: usize = 480;
/// Lines kept of a next hop's reply.
const NEXT_HOP_LINES_MAX: usize = 10;

/// An enhanced status code (RFC 3463).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Enhanced {
    /// 2, 4 or 5.
    pub class: u8,
    /// 0 to 999.
    pub subject: u16,
    /// 0 to 999.
    pub detail: u16,
}

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// A complete SMTP reply.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    pub(super) code: u16,
    pub(super) enhanced: Option<Enhanced>,
    pub(super) lines: Vec<Cow<'static, str>>,
    pub(super) origin: Origin,
    /// Whether the name of the session may follow the text.
    pub(super) takes_id: bool,
}

/// The author of a reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// The next hop's, passed on.
    NextHop,
    /// sixgate, from its table.
    Table,
}

impl Reply {
    /// The reply of a next hop, fit to be passed on: printable ASCII only, bounded, with an
    /// enhanced code (RFC 2034), and 451 instead of 421, because it is the next hop's connection
    /// that ends and not the client's. A code that RFC 5321 4.2.1 does not define counts by its
    /// first digit (RFC 5321 4.3.2), and becomes the plain one of its class: 571 becomes 554.
    /// `None` if `code` is not a final reply to a command.
    #[must_use]
    pub fn from_next_hop<'a>(code: u16, lines: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let (class, code) = match code {
            421 => (4, 451),
            200..=259 => (2, code),
            260..=299 => (2, 250),
            400..=459 => (4, code),
            460..=499 => (4, 451),
            500..=559 => (5, code),
            560..=599 => (5, 554),
            _ => return None,
        };
        let (mut first, mut last) = (None, None);
        let mut texts = Vec::new();
        for (at, line) in lines.into_iter().enumerate() {
            let text = printable(line);
            let (found, rest) = split_enhanced(&text);
            let found = found.filter(|found| found.class == class);
            // all lines have the same one (RFC 2034 4); servers that put a line of their own before
            // the reply of a filter or of another server have it in the last one
            if at == 0 {
                first = found;
            }
            last = found.or(last);
            if texts.len() < NEXT_HOP_LINES_MAX {
                texts.push(Cow::Owned(if found.is_some() { rest.to_owned() } else { text }));
            }
        }
        if texts.is_empty() {
            texts.push(Cow::Borrowed(""));
        }
        let enhanced = first.or(last).unwrap_or(Enhanced { class, subject: 0, detail: 0 });
        Some(Self { code, enhanced: Some(enhanced), lines: texts, origin: Origin::NextHop, takes_id: false })
    }

    /// The three-digit code.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced status code, if it has one.
    #[must_use]
    pub fn enhanced(&self) -> Option<Enhanced> {
        self.enhanced
    }

    /// The author of this reply.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Whether the code is 2xx.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.code < 300
    }

    /// Whether the code is 4xx.
    fn is_temporary(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// 5xx for 4xx, in both codes.
    pub(super) fn into_permanent(self) -> Self {
        let enhanced = self.enhanced.map(|enhanced| Enhanced { class: 5, ..enhanced });
        Self { code: self.code % 100 + 500, enhanced, ..self }
    }

    /// Too many recipients for one transaction (RFC 3463 3.6): the sender is to come back with this
    /// one.
    #[must_use]
    pub fn is_too_many_recipients(&self) -> bool {
        self.is_temporary()
            && self.enhanced.is_some_and(|enhanced| (enhanced.subject, enhanced.detail) == (5, 3))
    }

    /// The same with the session's name at its end, unless the text is prescribed: a reply that is
    /// reported leads to the lines of the log.
    #[must_use]
    pub fn with_id(&self, id: &str) -> Cow<'_, Self> {
        if !self.takes_id || id.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut reply = self.clone();
        if let Some(last) = reply.lines.last_mut() {
            let last = last.to_mut();
            last.push(' ');
            last.push_str(id);
        }
        Cow::Owned(reply)
    }

    /// Appends the reply as it goes over the wire, CRLF included.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.to_string().as_bytes());
    }
}

/// The reply as it goes over the wire, CRLF included.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, line) in self.lines.iter().enumerate() {
            let mark = if at + 1 < self.lines.len() { '-' } else { ' ' };
            match self.enhanced {
                Some(enhanced) => write!(f, "{}{mark}{enhanced} {line}\r\n", self.code)?,
                None => write!(f, "{}{mark}{line}\r\n", self.code)?,
            }
        }
        Ok(())
    }
}

/// `line` within the bound; a question mark replaces each character that is not printable ASCII.
fn printable(line: &[u8]) -> String {
    line.iter()
        .take(LINE_TEXT_MAX)
        .map(|octet| if matches!(octet, b' '..=b'~') { char::from(*octet) } else { '?' })
        .collect()
}

/// Splits a leading enhanced code from a reply's text.
pub(super) fn split_enhanced(text: &str) -> (Option<Enhanced>, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut parts = word.split('.');
    let mut number = |digits: usize| {
        let part = parts.next()?;
        let plain = (1..=digits).contains(&part.len()) && part.bytes().all(|octet| octet.is_ascii_digit());
        if plain { part.parse::<u16>().ok() } else { None }
    };
    let code = match (number(1), number(3), number(3)) {
        (Some(class @ (2 | 4 | 5)), Some(subject), Some(detail)) => {
            // one digit: fits
            Some(Enhanced { class: class as u8, subject, detail })
        }
        _ => None,
    };
    match (code, parts.next()) {
        (Some(code), None) => (Some(code), rest),
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_hop_reply_is_passed_on_bounded_and_clean() {
        let long = vec![b'x'; 2000];
        let long_wanted = format!("550 5.1.1 {}\r\n", "x".repeat(LINE_TEXT_MAX));
        type Row<'a> = (u16, &'a [&'a [u8]], Option<&'a str>);
        let eleven = [b"a".as_slice(); 11];
        let many = [&eleven[..], &[b"5.1.1 b"]].concat();
        let many_wanted = "550-5.1.1 a\r\n".repeat(9) + "550 5.1.1 a\r\n";
        let rows: [Row<'_>; 19] = [
            (250, &[b"2.0.0 Ok: queued as 1"], Some("250 2.0.0 Ok: queued as 1\r\n")),
            (250, &[b"Ok"], Some("250 2.0.0 Ok\r\n")),
            (250, &[], Some("250 2.0.0 \r\n")),
            (550, &[b"5.1.1 a", b"5.1.1 b"], Some("550-5.1.1 a\r\n550 5.1.1 b\r\n")),
            (550, &[b"a", b"5.1.1 b"], Some("550-5.1.1 a\r\n550 5.1.1 b\r\n")),
            (550, &[b"a", b"5.7.1 b", b"5.1.1 c"], Some("550-5.1.1 a\r\n550-5.1.1 b\r\n550 5.1.1 c\r\n")),
            (550, &[b"5.7.1 a", b"5.1.1 b", b"c"], Some("550-5.7.1 a\r\n550-5.7.1 b\r\n550 5.7.1 c\r\n")),
            (550, &many, Some(&many_wanted)),
            (571, &[b"5.7.1 no"], Some("554 5.7.1 no\r\n")),
            (599, &[b"no"], Some("554 5.0.0 no\r\n")),
            (559, &[b"no"], Some("559 5.0.0 no\r\n")),
            (471, &[b"4.7.1 later"], Some("451 4.7.1 later\r\n")),
            (299, &[b"Ok"], Some("250 2.0.0 Ok\r\n")),
            (550, &[b"4.1.1 wrong class"], Some("550 5.0.0 4.1.1 wrong class\r\n")),
            (421, &[b"4.3.2 going down"], Some("451 4.3.2 going down\r\n")),
            (450, &[b"a\r\n250 b\x1b[2J\xff"], Some("450 4.0.0 a??250 b?[2J?\r\n")),
            (550, &[b"5.1.1.1 not a code"], Some("550 5.0.0 5.1.1.1 not a code\r\n")),
            (354, &[b"go"], None),
            (999, &[b"what"], None),
        ];
        for (code, lines, wanted) in rows {
            let reply = Reply::from_next_hop(code, lines.iter().copied());
            assert_eq!(reply.map(|reply| reply.to_string()).as_deref(), wanted, "{code} {lines:?}");
        }
        let reply = Reply::from_next_hop(550, [[b"5.1.1 ".as_slice(), &long].concat().as_slice()]);
        assert_eq!(reply.map(|reply| reply.to_string().len()), Some(long_wanted.len() - 6));
    }
}
