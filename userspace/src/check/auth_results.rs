//! The header field Authentication-Results (RFC 8601): ours, and those of others that use our name.
//!
//! It reports what is known. Which evidence decides is not its business.

use std::{net::Ipv6Addr, ops::Range};

use crate::{
    check::fields::fields,
    dns::ascii_name,
    policy::evidence::{DkimEvidence, DkimResult, Evidence, PtrEvidence, SpfCheck},
};

/// The longest value that is reported; a longer one is left out, as half of it would mislead.
pub const LONGEST_VALUE: usize = 320;
/// Where a line is folded if it can be (RFC 5322 2.1.1).
const FOLD_AT: usize = 78;

/// Our own field, the last CRLF included, for a message of which `evidence` is known and that came from `source`.
/// `authserv_id` is our host name. What is not printable ASCII never gets in: such a value is left out.
#[must_use]
pub fn header(authserv_id: &str, source: Ipv6Addr, evidence: &Evidence) -> String {
    let mut results = Vec::new();
    if !evidence.sender_is_known() {
        results.extend(evidence.ptr.as_ref().map(|ptr| iprev(source, ptr)));
        if let Some(spf) = &evidence.spf {
            results.push(spf_result("smtp.mailfrom", &spf.mail_from));
            results.push(spf_result("smtp.helo", &spf.helo));
        }
        results.extend(evidence.dkim.iter().map(dkim_result));
        if evidence.dkim.is_empty() {
            results.push(vec!["dkim=none".to_owned()]);
        }
    }
    let mut lines = Lines::new(NAME);
    lines.push(&value(authserv_id).unwrap_or_else(|| "\"\"".to_owned()));
    if results.is_empty() {
        lines.attach("; none");
    }
    for result in &results {
        lines.attach(";");
        lines.fold();
        for word in result {
            lines.push(word);
        }
    }
    lines.finish()
}

/// The fields Authentication-Results of `message` that claim `authserv_id`, ours (RFC 8601 5): where they lie,
/// so that they can be left out. Only after verification, as a signature may cover them. One whose identifier cannot
/// be read counts as ours if our name stands anywhere in it, because another reader may be more lenient.
#[must_use]
pub fn forged(message: &[u8], authserv_id: &str) -> Vec<Range<usize>> {
    let named = |field: &[u8]| {
        field.windows(authserv_id.len().max(1)).any(|part| part.eq_ignore_ascii_case(authserv_id.as_bytes()))
    };
    let ours = |field: &[u8]| claimed_id(field).map_or_else(|| named(field), |id| same_id(&id, authserv_id));
    fields(message).filter(|field| field.is(NAME) && ours(field.value)).map(|field| field.range).collect()
}

fn iprev(source: Ipv6Addr, ptr: &PtrEvidence) -> Vec<String> {
    vec![format!("iprev={}", ptr.result()), format!("policy.iprev=\"{source}\"")]
}

fn spf_result(property: &str, check: &SpfCheck) -> Vec<String> {
    let mut words = vec![format!("spf={}", check.result.text())];
    words.extend(property_of("reason", &check.why()));
    words.extend(property_of(property, &check.domain));
    words
}

fn dkim_result(signature: &DkimEvidence) -> Vec<String> {
    let result = match signature.result {
        DkimResult::Pass => "pass",
        DkimResult::Fail => "fail",
        DkimResult::Neutral => "neutral",
        DkimResult::Policy => "policy",
        DkimResult::TempError => "temperror",
        DkimResult::PermError => "permerror",
    };
    let mut words = vec![format!("dkim={result}")];
    words.extend(signature.reason.and_then(|reason| property_of("reason", reason)));
    words.extend(property_of("header.d", &signature.domain));
    words.extend(property_of("header.i", &signature.identity));
    words.extend(property_of("header.s", &signature.selector));
    words.extend(property_of("header.a", signature.algorithm));
    words.extend(property_of("header.b", &signature.signature_start));
    words
}

fn property_of(name: &str, text: &str) -> Option<String> {
    (!text.is_empty()).then(|| value(text)).flatten().map(|value| format!("{name}={value}"))
}

/// `text` as a value (RFC 8601 2.2: a token, a quoted string or an address); none if it cannot be one.
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
    fn push(&mut self, word: &str) {
        // The words between two folds are separated, and so is what follows `;`.
        let fits = self.length + 1 + word.len() + RESERVE <= FOLD_AT;
        if !self.text.ends_with('\t') {
            if fits {
                self.attach(" ");
            } else {
                self.fold();
            }
        }
        self.attach(word);
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

/// The authserv-id that a field's value starts with, comments and folding left out (RFC 8601 2.2).
fn claimed_id(value: &[u8]) -> Option<String> {
    let rest = skip_cfws(value);
    let id = match rest.split_first()? {
        (b'"', rest) => quoted_string(rest)?,
        _ => rest.iter().copied().take_while(|octet| is_token_octet(*octet) || !octet.is_ascii()).collect(),
    };
    String::from_utf8(id).ok()
}

/// The content of a quoted string behind its opening quote; folding inside stands for nothing. None without a
/// closing quote.
fn quoted_string(text: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    let mut octets = text.iter().copied();
    while let Some(octet) = octets.next() {
        match octet {
            b'"' => return Some(content.trim_ascii().to_vec()),
            b'\\' => content.extend(octets.next()),
            b'\r' | b'\n' => {}
            _ => content.push(octet),
        }
    }
    None
}

/// What follows blanks, folding and comments, which may be nested (RFC 5322 3.2.2).
fn skip_cfws(text: &[u8]) -> &[u8] {
    let mut depth = 0_usize;
    let mut octets = text.iter().enumerate();
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            b'\\' if depth > 0 => drop(octets.next()),
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ if depth > 0 => {}
            _ => return text.get(at..).unwrap_or_default(),
        }
    }
    &[]
}

/// Whether two names mean the same host: A-labels and U-labels, upper and lower case, the final dot (RFC 8601 5).
fn same_id(claimed: &str, ours: &str) -> bool {
    match (ascii_name(claimed), ascii_name(ours)) {
        (Some(claimed), Some(ours)) => claimed == ours,
        _ => claimed.eq_ignore_ascii_case(ours),
    }
}

const NAME: &str = "Authentication-Results";
/// Room for the `;` that may follow a word.
const RESERVE: usize = 1;

#[cfg(test)]
mod tests;
