//! The header field Authentication-Results (RFC 8601): that of this host, and those of others that
//! use this host's name.
//!
//! It reports results. Their use by a receiver is not its business.

mod forged;

use std::{borrow::Cow, net::IpAddr};

use crate::{
    dkim::DkimSignature,
    dns::ascii_name,
    ptr::PtrResult,
    spf::{SpfCheck, SpfResults},
};

pub use forged::forged;

/// The longest value that is reported; a longer one is left out, as half of it would mislead.
pub const LONGEST_VALUE: usize = 320;
/// Where a line is folded if it can be (RFC 5322 2.1.1).
const FOLD_AT: usize = 78;

/// The results of a message's checks. A check that was not made is none; a message of which no
/// check was made has the result "none" (RFC 8601 2.2).
#[derive(Clone, Copy, Debug)]
pub struct Results<'a> {
    /// The address that the message came from.
    pub client: IpAddr,
    /// Its reverse DNS (RFC 8601 2.7.3).
    pub ptr: Option<&'a PtrResult>,
    /// SPF of both identities (RFC 8601 2.7.2).
    pub spf: Option<&'a SpfResults>,
    /// DKIM, one element for each signature (RFC 8601 2.7.1); empty for a message without
    /// signatures.
    pub dkim: Option<&'a [DkimSignature]>,
}

/// The header field, the last CRLF included. `authserv_id` is the name of the host that made the
/// checks (RFC 8601 2.5). Only printable ASCII gets in: a name is given with A-labels, and any
/// other such value is left out.
#[must_use]
pub fn header(authserv_id: &str, results: &Results<'_>) -> String {
    let mut parts = Vec::new();
    parts.extend(results.ptr.map(|ptr| iprev(results.client, ptr)));
    if let Some(spf) = results.spf {
        parts.push(spf_result("smtp.mailfrom", &spf.mail_from));
        parts.push(spf_result("smtp.helo", &spf.helo));
    }
    match results.dkim {
        Some([]) => parts.push(vec!["dkim=none".to_owned()]),
        Some(signatures) => parts.extend(signatures.iter().map(dkim_result)),
        None => {}
    }
    let mut lines = Lines::new(NAME);
    lines.push(&value(authserv_id).unwrap_or_else(|| "\"\"".to_owned()));
    if parts.is_empty() {
        lines.attach("; none");
    }
    for result in &parts {
        lines.attach(";");
        lines.fold();
        for part in result {
            lines.push(part);
        }
    }
    lines.finish()
}

fn iprev(client: IpAddr, ptr: &PtrResult) -> Vec<String> {
    let mut parts = vec![format!("iprev={}", ptr.text())];
    parts.extend(ptr.reason().and_then(|reason| property_of("reason", reason)));
    parts.push(format!("policy.iprev=\"{client}\""));
    parts
}

fn spf_result(property: &str, check: &SpfCheck) -> Vec<String> {
    let mut parts = vec![format!("spf={}", check.result.text())];
    parts.extend(property_of("reason", &check.why()));
    parts.extend(property_of(property, &in_ascii(&check.domain)));
    parts
}

fn dkim_result(signature: &DkimSignature) -> Vec<String> {
    let mut parts = vec![format!("dkim={}", signature.result.text())];
    parts.extend(signature.reason.and_then(|reason| property_of("reason", reason)));
    parts.extend(property_of("header.d", &in_ascii(&signature.domain)));
    parts.extend(property_of("header.i", &in_ascii(&signature.identity)));
    parts.extend(property_of("header.s", &in_ascii(&signature.selector)));
    parts.extend(property_of("header.a", signature.algorithm));
    parts.extend(property_of("header.b", &signature.signature_start));
    parts
}

/// A domain name, or an address with one, without U-labels where that is possible: 8-bit octets may
/// stand only in a message that came with SMTPUTF8 (RFC 8601 2.2, RFC 6532).
fn in_ascii(text: &str) -> Cow<'_, str> {
    let (local_part, domain) = match text.rsplit_once('@') {
        Some((local_part, domain)) => (Some(local_part), domain),
        None => (None, text),
    };
    match ascii_name(domain) {
        Some(name) if !domain.is_ascii() => match local_part {
            Some(local_part) => Cow::Owned(format!("{local_part}@{name}")),
            None => Cow::Owned(name),
        },
        _ => Cow::Borrowed(text),
    }
}

fn property_of(name: &str, text: &str) -> Option<String> {
    (!text.is_empty()).then(|| value(text)).flatten().map(|value| format!("{name}={value}"))
}

/// `text` as a value (RFC 8601 2.2: a token, a quoted string or an address); none if it cannot be
/// one.
fn value(text: &str) -> Option<String> {
    if text.len() > LONGEST_VALUE || !text.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
        return None;
    }
    if is_token(text) || is_address(text) {
        return Some(text.to_owned());
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    Some(quoted)
}

/// `[local-part]@domain` without anything that would have to be quoted.
fn is_address(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(local_part, domain)| {
        (local_part.is_empty() || is_token(local_part)) && ascii_name(domain).is_some()
    })
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_octet)
}

/// A character of a token (RFC 2045 5.1).
fn is_token_octet(octet: u8) -> bool {
    octet.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&octet)
}

/// A header field in the making, folded where it can be.
struct Lines {
    text: String,
    /// Octets of the last line.
    length: usize,
}

impl Lines {
    fn new(name: &str) -> Self {
        Self { text: format!("{name}:"), length: name.len() + 1 }
    }

    /// Adds `word` behind a space, or on a line of its own if this one would become too long.
    fn push(&mut self, part: &str) {
        // The terms between two folds are separated, and so is the term after `;`.
        let fits = self.length + 1 + part.len() + RESERVE <= FOLD_AT;
        if !self.text.ends_with('\t') {
            if fits {
                self.attach(" ");
            } else {
                self.fold();
            }
        }
        self.attach(part);
    }

    fn attach(&mut self, text: &str) {
        self.text.push_str(text);
        self.length += text.len();
    }

    fn fold(&mut self) {
        self.text.push_str("\r\n\t");
        self.length = 1;
    }

    fn finish(mut self) -> String {
        self.text.push_str("\r\n");
        self.text
    }
}

/// The name of the field.
const NAME: &str = "Authentication-Results";
/// Octets for the `;` that may follow a term.
const RESERVE: usize = 1;

#[cfg(test)]
mod tests;
