//! The work for a processor: hashing bodies and verifying signatures, by mail-auth. No DNS, no waiting.

use std::{borrow::Borrow, hash::Hash, time::Instant};

use futures_util::FutureExt;
use mail_auth::{
    AuthenticatedMessage, DkimResult as LibraryResult, Error, MessageAuthenticator, Parameters,
    ResolverCache, Txt,
    common::{
        crypto::{CryptoError, HashAlgorithm},
        headers::Header,
    },
    dkim::{Canonicalization, DkimError},
};

use crate::{
    check::{
        dkim::{Settled, gate::Candidate},
        fields::{Field, fields},
    },
    policy::evidence::DkimResult,
};

/// The SHA-256 of the canonical body of `message` (RFC 6376 3.7), in the two ways to write it.
#[derive(Debug, Default)]
pub(super) struct BodyHashes {
    relaxed: Option<Vec<u8>>,
    simple: Option<Vec<u8>>,
}

impl BodyHashes {
    /// Hashes as often as `candidates` demand, twice at most.
    pub(super) fn of(message: &[u8], candidates: &[Candidate]) -> Self {
        let mut header = fields(message);
        header.by_ref().for_each(drop);
        let body = message.get(header.body()..).unwrap_or_default();
        let hash = |wanted: Canonicalization, body: &[u8]| {
            let demanded = candidates.iter().any(|candidate| candidate.signature.cb == wanted);
            demanded.then(|| HashAlgorithm::Sha256.hash(wanted.canonical_body(body, 0)).as_ref().to_vec())
        };
        Self {
            relaxed: hash(Canonicalization::Relaxed, without_blank_end(body)),
            simple: hash(Canonicalization::Simple, body),
        }
    }

    /// Whether the body is the one that was signed.
    pub(super) fn agree(&self, candidate: &Candidate) -> bool {
        let hash = match candidate.signature.cb {
            Canonicalization::Relaxed => &self.relaxed,
            Canonicalization::Simple => &self.simple,
        };
        hash.as_ref() == Some(&candidate.signature.bh)
    }
}

/// `body` without the lines at its end that hold nothing but blanks: to "relaxed" they are empty and do not
/// count (RFC 6376 3.4.4), but the library keeps them.
fn without_blank_end(body: &[u8]) -> &[u8] {
    let blank = |octet: &u8| matches!(octet, b' ' | b'\t' | b'\r' | b'\n');
    let Some(last) = body.iter().rposition(|octet| !blank(octet)) else {
        return &[];
    };
    let (text, end) = body.split_at(last + 1);
    let line_end = end.iter().position(|octet| *octet == b'\n').map_or(end.len(), |at| at + 1);
    body.get(..text.len() + line_end).unwrap_or(body)
}

/// Verifies a signature whose body hash agrees.
pub(super) fn verify(
    authenticator: &MessageAuthenticator,
    message: &[u8],
    candidate: &Candidate,
    key: Txt,
) -> Settled {
    let fields: Vec<Field<'_>> = fields(message).collect();
    let Some(own) = fields.get(candidate.index) else {
        return MISMATCH;
    };
    let signature = &candidate.signature;
    let message = AuthenticatedMessage {
        headers: fields.iter().map(|field| (name(field, signature.ch), field.value)).collect(),
        body_hashes: vec![(signature.cb, HashAlgorithm::Sha256, 0, signature.bh.clone())],
        dkim_headers: vec![Header::new(name(own, signature.ch), own.value, signature.clone())],
        ..AuthenticatedMessage::default()
    };
    let key = TheKey(key);
    let parameters = Parameters::new(&message).with_txt_cache(&key);
    // The key is at hand, so that nothing is waited for.
    let Some(outputs) = authenticator.verify_dkim(parameters).now_or_never() else {
        return UNFINISHED;
    };
    outputs.first().map_or(UNFINISHED, |output| settled(output.result()))
}

/// The name of a field as a canonicalization sees it: "relaxed" drops blanks before the colon (RFC 6376 3.4.2).
fn name<'a>(field: &Field<'a>, canonicalization: Canonicalization) -> &'a [u8] {
    match canonicalization {
        Canonicalization::Relaxed => field.name.trim_ascii_end(),
        Canonicalization::Simple => field.name,
    }
}

fn settled(result: &LibraryResult) -> Settled {
    match result {
        LibraryResult::Pass => PASS,
        LibraryResult::Fail(Error::Dkim(DkimError::FailedAuidMatch)) => FOREIGN_IDENTITY,
        LibraryResult::Fail(Error::Crypto(CryptoError::IncompatibleAlgorithms)) => OTHER_KEY_TYPE,
        LibraryResult::Neutral(Error::Dkim(DkimError::SignatureExpired)) => EXPIRED,
        LibraryResult::TempError(_) => UNFINISHED,
        _ => MISMATCH,
    }
}

/// A cache that knows one record, under every name.
struct TheKey(Txt);

impl ResolverCache<Box<str>, Txt> for TheKey {
    fn get<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        Some(self.0.clone())
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
}

const EXPIRED: Settled = Settled(DkimResult::PermError, "signature expired");
const FOREIGN_IDENTITY: Settled = Settled(DkimResult::PermError, "i= is not within d=");
const MISMATCH: Settled = Settled(DkimResult::Fail, "signature mismatch");
const OTHER_KEY_TYPE: Settled = Settled(DkimResult::PermError, "the key is of another type");
const PASS: Settled = Settled(DkimResult::Pass, "");
const UNFINISHED: Settled = Settled(DkimResult::TempError, "not verified");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_at_the_end_do_not_count() {
        let rows: [(&[u8], &[u8]); 7] = [
            (b"a\r\n", b"a\r\n"),
            (b"a \r\n", b"a \r\n"),
            (b"a\r\n \t\r\n\r\n", b"a\r\n"),
            (b"a\r\n \r\nb\r\n  \r\n", b"a\r\n \r\nb\r\n"),
            (b" \r\n\t\r\n", b""),
            (b"a", b"a"),
            (b"", b""),
        ];
        for (body, wanted) in rows {
            assert_eq!(without_blank_end(body), wanted, "{:?}", body.escape_ascii().to_string());
        }
    }
}
