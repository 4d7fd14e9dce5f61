//! What is looked at before any cryptography: bounds, and all that makes a signature unacceptable by itself
//! (RFC 6376 6.1.1, RFC 8301). No DNS, no hashing.

use mail_auth::{Error, common::crypto::Algorithm, dkim::DkimError};

use crate::{
    check::{
        dkim::{MAX_HEADER, MAX_NAMES, MAX_SIGNATURES, Settled, tags::Tags},
        fields::{Field, fields},
    },
    dns::{LONGEST_NAME, ascii_name},
    policy::evidence::{DkimEvidence, DkimResult},
};

/// The longest `i=` that is kept (RFC 5321 4.5.3.1: local part, `@`, domain).
const LONGEST_IDENTITY: usize = 64 + 1 + 255;
/// Characters of `b=` that tell signatures apart (RFC 6008 4).
const SIGNATURE_START: usize = 8;

/// A signature that may be good: what is needed to verify it.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// As mail-auth reads it.
    pub(super) signature: mail_auth::dkim::Signature,
    /// Which of the header fields it is, counted from the top.
    pub(super) index: usize,
    /// Where its key is.
    pub(super) key_name: String,
}

/// The first signatures of a message, and what is left to find out about each.
pub(super) fn examine(message: &[u8], now: u64) -> Vec<(DkimEvidence, Result<Candidate, Settled>)> {
    let head = message.get(..MAX_HEADER).unwrap_or(message);
    let mut rest = fields(head);
    let fields: Vec<Field<'_>> = rest.by_ref().collect();
    let whole = head.len() == message.len() || rest.body() > rest.offset();
    let flaw = if whole { flaw(&fields) } else { Some(HEADER_TOO_LARGE) };
    let signatures = fields.iter().enumerate().filter(|(_, field)| field.is("DKIM-Signature"));
    signatures
        .take(MAX_SIGNATURES)
        .map(|(index, field)| {
            let Some(tags) = Tags::parse(field.value) else {
                return (evidence(None), Err(flaw.unwrap_or(MALFORMED)));
            };
            let candidate = match flaw {
                Some(flaw) => Err(flaw),
                None => candidate(&tags, field, index, now),
            };
            (evidence(Some(&tags)), candidate)
        })
        .collect()
}

/// What keeps every signature of a message from counting.
fn flaw(fields: &[Field<'_>]) -> Option<Settled> {
    if !fields.iter().all(Field::is_well_formed) {
        return Some(HEADER_MALFORMED);
    }
    // RFC 6376 8.15: readers show a From that no signature covers
    match fields.iter().filter(|field| field.is("From")).count() {
        0 => Some(NO_FROM),
        1 => None,
        _ => Some(SEVERAL_FROM),
    }
}

fn candidate(tags: &Tags<'_>, field: &Field<'_>, index: usize, now: u64) -> Result<Candidate, Settled> {
    match tags.get("v") {
        Some("1") => {}
        Some(_) => return Err(UNKNOWN_VERSION),
        None => return Err(TAG_MISSING),
    }
    let required = ["a", "b", "bh", "d", "h", "s"];
    if required.iter().any(|name| tags.compact(name).is_empty()) {
        return Err(TAG_MISSING);
    }
    if tags.get("l").is_some() {
        return Err(PARTIAL_BODY);
    }
    if !tags.list("q").any(|method| method.is_empty() || method.eq_ignore_ascii_case("dns/txt")) {
        return Err(UNKNOWN_QUERY);
    }
    if tags.list("h").count() > MAX_NAMES {
        return Err(TOO_MANY_NAMES);
    }
    if !tags.list("h").any(|name| name.eq_ignore_ascii_case("From")) {
        return Err(FROM_UNSIGNED);
    }
    in_time(tags, now)?;
    let key_name = key_name(&tags.compact("s"), &tags.compact("d")).ok_or(BAD_NAME)?;
    let mut signature = mail_auth::dkim::Signature::parse(field.value).map_err(|error| unreadable(&error))?;
    if signature.a == Algorithm::RsaSha1 {
        return Err(SHA1);
    }
    // Authorized third parties (RFC 6541) and reports (RFC 6651) would cost lookups, and change nothing here.
    signature.atps = None;
    signature.r = false;
    Ok(Candidate { signature, index, key_name })
}

/// `x=` lies ahead, and behind `t=` (RFC 6376 3.5).
fn in_time(tags: &Tags<'_>, now: u64) -> Result<(), Settled> {
    let seconds = |name| match tags.get(name) {
        None => Ok(None),
        Some(digits) if digits.bytes().all(|octet| octet.is_ascii_digit()) && !digits.is_empty() => {
            // up to twelve digits are to be expected; more mean "never"
            Ok(Some(digits.parse().unwrap_or(u64::MAX)))
        }
        Some(_) => Err(MALFORMED),
    };
    match (seconds("t")?, seconds("x")?) {
        (Some(signed), Some(expires)) if expires <= signed => Err(EXPIRED),
        (_, Some(expires)) if expires <= now => Err(EXPIRED),
        _ => Ok(()),
    }
}

fn key_name(selector: &str, domain: &str) -> Option<String> {
    let name = format!("{}._domainkey.{}", ascii_name(selector)?, ascii_name(domain)?);
    (name.len() <= LONGEST_NAME).then_some(name)
}

fn unreadable(error: &Error) -> Settled {
    match error {
        Error::Dkim(DkimError::UnsupportedVersion) => UNKNOWN_VERSION,
        Error::Dkim(DkimError::UnsupportedAlgorithm) => UNKNOWN_ALGORITHM,
        Error::Dkim(DkimError::UnsupportedCanonicalization) => UNKNOWN_CANONICALIZATION,
        Error::Base64 => BAD_BASE64,
        _ => TAG_MISSING,
    }
}

/// What is reported about a signature, without its result. Strings are bounded and hold no control characters.
fn evidence(tags: Option<&Tags<'_>>) -> DkimEvidence {
    let text = |name: &str, longest: usize| {
        let value = tags.map(|tags| tags.compact(name)).unwrap_or_default();
        if value.len() <= longest { value } else { String::new() }
    };
    let algorithm = text("a", LONGEST_NAME).to_ascii_lowercase();
    let start: String = tags.map(|tags| tags.compact("b")).unwrap_or_default();
    let start: String = start.chars().filter(is_base64).take(SIGNATURE_START).collect();
    DkimEvidence {
        result: DkimResult::TempError,
        reason: Some("not verified in time"),
        domain: text("d", LONGEST_NAME),
        selector: text("s", LONGEST_NAME),
        identity: text("i", LONGEST_IDENTITY),
        algorithm: ALGORITHMS.iter().find(|known| **known == algorithm).copied().unwrap_or_default(),
        signature_start: if start.len() == SIGNATURE_START { start } else { String::new() },
    }
}

fn is_base64(character: &char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '+' | '/' | '=')
}

const ALGORITHMS: [&str; 3] = ["rsa-sha256", "ed25519-sha256", "rsa-sha1"];

const BAD_BASE64: Settled = Settled(DkimResult::PermError, "bad base64");
const BAD_NAME: Settled = Settled(DkimResult::PermError, "d= or s= is no name");
const EXPIRED: Settled = Settled(DkimResult::PermError, "signature expired");
const FROM_UNSIGNED: Settled = Settled(DkimResult::PermError, "From is not signed");
const HEADER_MALFORMED: Settled = Settled(DkimResult::Policy, "malformed header");
const HEADER_TOO_LARGE: Settled = Settled(DkimResult::Policy, "header too large");
const MALFORMED: Settled = Settled(DkimResult::PermError, "malformed signature");
const NO_FROM: Settled = Settled(DkimResult::Policy, "no From field");
const PARTIAL_BODY: Settled = Settled(DkimResult::Policy, "l= is not accepted");
const SEVERAL_FROM: Settled = Settled(DkimResult::Policy, "more than one From field");
const SHA1: Settled = Settled(DkimResult::Policy, "rsa-sha1 is not accepted");
const TAG_MISSING: Settled = Settled(DkimResult::PermError, "a required tag is missing");
const TOO_MANY_NAMES: Settled = Settled(DkimResult::Policy, "too many names in h=");
const UNKNOWN_ALGORITHM: Settled = Settled(DkimResult::Neutral, "unknown algorithm");
const UNKNOWN_CANONICALIZATION: Settled = Settled(DkimResult::Neutral, "unknown canonicalization");
const UNKNOWN_QUERY: Settled = Settled(DkimResult::Neutral, "unknown query method");
const UNKNOWN_VERSION: Settled = Settled(DkimResult::Neutral, "unknown version");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_stands_in_a_signature_the_evidence_can_be_shown(
            tags in proptest::collection::vec(("[a-zA-Z]{1,2}", any::<String>()), 0..12),
            rest in "[a-z:;=\r\n\t ]{0,60}",
        ) {
            let list: String = tags.iter().map(|(name, value)| format!("{name}={value};")).collect();
            let message = format!("DKIM-Signature: v=1; a=rsa-sha256; {list}{rest}\r\nFrom: joe@a.example\r\n\r\n");
            for (evidence, _) in examine(message.as_bytes(), 0) {
                let strings = [
                    evidence.domain, evidence.selector, evidence.identity, evidence.signature_start,
                ];
                for text in strings {
                    prop_assert!(text.len() <= LONGEST_IDENTITY && !text.contains(char::is_control), "{text:?}");
                }
            }
        }

        #[test]
        fn any_message_is_examined(message in any::<Vec<u8>>()) {
            let signed = [b"DKIM-Signature: ".as_slice(), &message].concat();
            prop_assert!(examine(&signed, 0).len() <= MAX_SIGNATURES);
        }
    }
}
