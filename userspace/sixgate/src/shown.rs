//! The text that clients sent, as the log shows it: bounded, and without what is not text.
//!
//! Values are text values: tracing shows them in quotation marks and escapes what could pass for
//! other fields.

use sixgate_common::{
    domain::{Span, recipient_domain},
    flow::ARGUMENT_KEPT,
    refuse::Reason,
};
use sixgate_smtp::reply::Reply;

/// The commands and replies of both sides of a refused session, as far as they were kept: the
/// arguments of MAIL FROM and RCPT TO are cut at [`ARGUMENT_KEPT`].
pub(crate) struct RefusalFields {
    pub(crate) mail_from: Option<String>,
    pub(crate) recipient: Option<String>,
    pub(crate) domain: Option<String>,
    pub(crate) reply: Option<String>,
}

impl RefusalFields {
    pub(crate) fn of(sender: &[u8], recipient: &[u8], reply: Option<&Reply>) -> Self {
        let shown = |argument: &[u8]| (!argument.is_empty()).then(|| path(argument));
        Self {
            mail_from: shown(sender),
            recipient: shown(recipient),
            domain: domain(recipient).map(str::to_owned),
            reply: reply.map(reply_text),
        }
    }
}

/// A reply on one line.
pub(crate) fn reply_text(reply: &Reply) -> String {
    reply.to_string().trim_end().to_owned()
}

/// The path in the argument of MAIL FROM or RCPT TO, without its angle brackets; the end is marked
/// if octets are missing.
pub(crate) fn path(argument: &[u8]) -> String {
    let is_cut = argument.len() >= ARGUMENT_KEPT;
    let argument = argument.trim_ascii_start();
    let Some(inner) = argument.strip_prefix(b"<") else {
        let end = argument.iter().position(|octet| *octet == b' ');
        return text(argument, end, is_cut);
    };
    let (mut quoted, mut escaped) = (false, false);
    let end = inner.iter().position(|octet| {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return true,
            _ => {}
        }
        false
    });
    text(inner, end, is_cut)
}

fn text(octets: &[u8], end: Option<usize>, is_cut: bool) -> String {
    let shown = end.and_then(|end| octets.get(..end)).unwrap_or(octets);
    let mut text = String::from_utf8_lossy(shown).into_owned();
    if end.is_none() && is_cut {
        text.push_str(CUT);
    }
    text
}

/// The domain of a recipient in the argument of RCPT TO, if it is a domain name and all of it is
/// there.
pub(crate) fn domain(argument: &[u8]) -> Option<&str> {
    let Span { start, length } = recipient_domain(argument, 0, argument.len())?;
    str::from_utf8(argument.get(start..start + length)?).ok()
}

/// Which list of the store refuses, if one does.
pub(crate) const fn list_name(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::NoPtr => None,
        Reason::NotOptedIn => Some("optin"),
    }
}

/// The short name of the reason why a whole session is refused.
pub(crate) const fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::NoPtr => "no_ptr",
        Reason::NotOptedIn => "not_opted_in",
    }
}

/// Stands for what is left out.
const CUT: &str = "[...]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_without_brackets_and_parameters() {
        let long = [b"<", [b'x'; ARGUMENT_KEPT - 1].as_slice()].concat();
        let cut = format!("{}[...]", "x".repeat(ARGUMENT_KEPT - 1));
        for (argument, wanted) in [
            (&b"<a@b.example>"[..], "a@b.example"),
            (b" <a@b.example> SIZE=1000", "a@b.example"),
            (b"<>", ""),
            (b"<\"a> b\"@b.example> BODY=7BIT", "\"a> b\"@b.example"),
            (b"<\"a\\\"> b\"@b.example>", "\"a\\\"> b\"@b.example"),
            (b"a@b.example SIZE=1", "a@b.example"),
            (b"a@b.example", "a@b.example"),
            (&long, &cut),
            (b"<unclosed@b.example", "unclosed@b.example"),
            (b"<\xff@b.example>", "\u{fffd}@b.example"),
            (b"", ""),
        ] {
            assert_eq!(path(argument), wanted, "{}", argument.escape_ascii());
        }
    }

    #[test]
    fn only_a_domain_name_that_is_whole_is_shown() {
        for (argument, wanted) in [
            (&b"<a@b.example>"[..], Some("b.example")),
            (b"<a@b.exam", None),
            (b"<a@[::1]>", None),
            (b"<postmaster>", None),
        ] {
            assert_eq!(domain(argument), wanted);
        }
    }
}
