//! The canonical forms of RFC 6376 3.4 once more, in the plainest way, over whole messages.
//!
//! It is here to sign with, and to tell whether two messages are the same to a signature.

/// `simple` or `relaxed`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// RFC 6376 3.4.1 and 3.4.3.
    Simple,
    /// RFC 6376 3.4.2 and 3.4.4.
    Relaxed,
}

impl Form {
    /// As `c=` names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Relaxed => "relaxed",
        }
    }
}

/// A message divided: its fields with their folded lines and CRLFs, and its body.
pub struct Parts<'a> {
    /// From the top.
    pub fields: Vec<&'a [u8]>,
    /// Behind the empty line; empty if there is none.
    pub body: &'a [u8],
}

/// Divides `message`, whose lines all end with CRLF.
#[must_use]
pub fn divide(message: &[u8]) -> Parts<'_> {
    let (mut fields, mut start, mut at) = (Vec::new(), 0, 0);
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        let is_folded = line.starts_with(b" ") || line.starts_with(b"\t");
        if !is_folded && at > start {
            fields.push(&message[start..at]);
            start = at;
        }
        if line == b"\r\n" {
            return Parts { fields, body: &message[at + 2..] };
        }
        at += line.len();
    }
    if at > start {
        fields.push(&message[start..at]);
    }
    Parts { fields, body: &[] }
}

/// The name of a field, in lower case and without the blanks before its colon; none if it has no
/// colon.
#[must_use]
pub fn name(field: &[u8]) -> Option<Vec<u8>> {
    let colon = field.iter().position(|octet| *octet == b':')?;
    let mut name = field[..colon].to_ascii_lowercase();
    while name.last().is_some_and(|octet| is_blank(*octet)) {
        name.pop();
    }
    Some(name)
}

/// A field with its CRLF, in its canonical form.
#[must_use]
pub fn field(field: &[u8], form: Form) -> Vec<u8> {
    if form == Form::Simple {
        return field.to_vec();
    }
    let colon = field.iter().position(|octet| *octet == b':').unwrap_or(0);
    let unfolded: Vec<u8> =
        field[colon + 1..].iter().copied().filter(|octet| !matches!(octet, b'\r' | b'\n')).collect();
    [&name(field).unwrap_or_default()[..], b":", trimmed(&squeezed(&unfolded)), b"\r\n"].concat()
}

/// A body in its canonical form.
#[must_use]
pub fn body(body: &[u8], form: Form) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for line in body.split_inclusive(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        lines.push(match form {
            Form::Simple => line.to_vec(),
            Form::Relaxed => {
                let mut line = squeezed(line);
                if line.ends_with(b" ") {
                    line.pop();
                }
                line
            }
        });
    }
    while lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    if lines.is_empty() && form == Form::Simple {
        return b"\r\n".to_vec();
    }
    lines.into_iter().flat_map(|line| [line, b"\r\n".to_vec()].concat()).collect()
}

/// Each run of blanks as one space.
fn squeezed(text: &[u8]) -> Vec<u8> {
    let mut squeezed: Vec<u8> = Vec::new();
    for octet in text {
        match octet {
            b' ' | b'\t' if squeezed.ends_with(b" ") => {}
            b' ' | b'\t' => squeezed.push(b' '),
            other => squeezed.push(*other),
        }
    }
    squeezed
}

fn trimmed(text: &[u8]) -> &[u8] {
    let start = text.iter().take_while(|octet| is_blank(**octet)).count();
    let end = text[start..].iter().rev().take_while(|octet| is_blank(**octet)).count();
    &text[start..text.len() - end]
}

fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}
