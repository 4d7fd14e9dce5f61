//! The examination before anything is computed: of the header as a whole, and of each signature in
//! it (RFC 6376 6.1.1, RFC 8301). No DNS, no hashing.

use crate::{
    dkim::{
        bounds::{DkimLimit, MAX_FIELDS, MAX_SIGNATURES},
        message::MAX_HEADER,
        result::{DkimResult, DkimSignature, Settled},
        signature::{MALFORMED, Signature},
        tags::{Tags, compact},
    },
    dns::LONGEST_NAME,
    fields::{Field, fields},
};

/// The longest `i=` that is kept (RFC 5321 4.5.3.1: local part, `@`, domain).
const LONGEST_IDENTITY: usize = 64 + 1 + 255;
/// Characters of `b=` that tell signatures apart (RFC 6008 4).
const SIGNATURE_START: usize = 8;

/// A header that has been looked at.
pub(super) struct Examined {
    /// The first signatures, from the top.
    pub(super) signatures: Vec<ExaminedSignature>,
    /// Where the body begins, octets from the top.
    pub(super) body: usize,
    /// A bound that kept signatures from being looked at.
    pub(super) limit: Option<DkimLimit>,
}

/// A signature that has been looked at.
pub(super) struct ExaminedSignature {
    /// Which of the header fields it is, counted from the top.
    pub(super) index: usize,
    pub(super) evidence: DkimSignature,
    /// The signature as read, or why it cannot count.
    pub(super) candidate: Result<Signature, Settled>,
}

/// Looks at the header of a message of `octets` that begins with `head`, at `now`, in seconds since
/// 1970. A header that `head` does not hold as a whole is too large.
pub(super) fn examine(head: &[u8], octets: u64, now: u64) -> Examined {
    let bounded = head.get(..MAX_HEADER).unwrap_or(head);
    let mut rest = fields(bounded);
    let fields: Vec<Field<'_>> = rest.by_ref().collect();
    let whole = bounded.len() as u64 == octets || rest.body() > rest.offset();
    let flaw = if whole { flaw(&fields) } else { Some(HEADER_TOO_LARGE) };
    let found = || fields.iter().enumerate().filter(|(_, field)| field.is("DKIM-Signature"));
    let signatures = found().take(MAX_SIGNATURES).map(|(index, field)| {
        let tags = Tags::of_signature(field.value);
        let candidate = match (flaw, &tags) {
            (Some(flaw), _) => Err(flaw),
            (None, None) => Err(MALFORMED),
            (None, Some(tags)) => Signature::read(tags, now),
        };
        ExaminedSignature { index, evidence: evidence(tags.as_ref()), candidate }
    });
    Examined {
        signatures: signatures.collect(),
        body: rest.body(),
        limit: found().nth(MAX_SIGNATURES).map(|_| DkimLimit::Signatures),
    }
}

/// What keeps every signature of a message from counting.
fn flaw(fields: &[Field<'_>]) -> Option<Settled> {
    if fields.len() > MAX_FIELDS {
        return Some(TOO_MANY_FIELDS);
    }
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

/// The reported facts about a signature, without its result. Strings are bounded and hold no
/// control characters.
fn evidence(tags: Option<&Tags<'_>>) -> DkimSignature {
    let text = |name: &str| compact(tags.and_then(|tags| tags.get(name)).unwrap_or_default());
    let bounded = |text: String, longest: usize| if text.len() <= longest { text } else { String::new() };
    let algorithm = text("a");
    let start: String = text("b").chars().filter(is_base64).take(SIGNATURE_START).collect();
    DkimSignature {
        result: DkimResult::TempError,
        reason: Some("not verified in time"),
        domain: bounded(text("d"), LONGEST_NAME),
        selector: bounded(text("s"), LONGEST_NAME),
        identity: bounded(text("i"), LONGEST_IDENTITY),
        algorithm: ALGORITHMS.iter().find(|known| **known == algorithm).copied().unwrap_or_default(),
        signature_start: if start.len() == SIGNATURE_START { start } else { String::new() },
    }
}

fn is_base64(character: &char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '+' | '/' | '=')
}

const ALGORITHMS: [&str; 3] = ["rsa-sha256", "ed25519-sha256", "rsa-sha1"];

const HEADER_MALFORMED: Settled = Settled::new(DkimResult::Policy, "malformed header");
/// SMTP takes none (`header_size`) except in shadow mode; a message may also have come by another
/// way.
const HEADER_TOO_LARGE: Settled = Settled::new(DkimResult::Policy, "header too large");
const NO_FROM: Settled = Settled::new(DkimResult::Policy, "no From field");
const SEVERAL_FROM: Settled = Settled::new(DkimResult::Policy, "more than one From field");
const TOO_MANY_FIELDS: Settled = Settled::beyond(DkimLimit::Fields, "too many header fields");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn with_anything_in_a_signature_the_evidence_can_be_shown(
            tags in proptest::collection::vec(("[a-zA-Z]{1,2}", any::<String>()), 0..12),
            rest in "[a-z:;=\r\n\t ]{0,60}",
        ) {
            let list: String = tags.iter().map(|(name, value)| format!("{name}={value};")).collect();
            let message = format!("DKIM-Signature: v=1; a=rsa-sha256; {list}{rest}\r\nFrom: joe@a.example\r\n\r\n");
            for ExaminedSignature { evidence, .. } in examine(message.as_bytes(), message.len() as u64, 0).signatures {
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
            let examined = examine(&signed, signed.len() as u64, 0);
            prop_assert!(examined.signatures.len() <= MAX_SIGNATURES && examined.body <= signed.len());
        }
    }
}
