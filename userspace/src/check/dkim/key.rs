//! Key records (RFC 6376 3.6.1): asked for, picked, and judged. What they are used for is not its business.

use mail_auth::{
    Error, Txt,
    common::{crypto::Algorithm, parse::TxtRecordParser, verify::DomainKey},
    dkim::DkimError,
};
use tracing::debug;

use crate::{
    check::dkim::{MIN_RSA_BITS, Settled, gate::Candidate, tags::Tags},
    dns::Dns,
    policy::evidence::DkimResult,
};

/// The key of a signature, as mail-auth takes it.
///
/// # Errors
/// What makes the signature fail without looking at it.
pub(super) async fn fetch(dns: &Dns, candidate: &Candidate) -> Result<Txt, Settled> {
    let answer = dns.txt(&candidate.key_name).await.map_err(|failure| {
        debug!(name = candidate.key_name, %failure, "key record not to be had");
        DNS_FAILURE
    })?;
    // RFC 6376 3.6.2.2 leaves it open what several records mean: the first that can be used counts.
    let mut verdict = Err(NO_KEY);
    for record in &answer.records {
        verdict = judge(record, candidate.signature.a);
        if verdict.is_ok() {
            break;
        }
    }
    verdict
}

/// Whether `record` may verify a signature by `algorithm`.
fn judge(record: &[u8], algorithm: Algorithm) -> Result<Txt, Settled> {
    let tags = Tags::parse(record).ok_or(NO_KEY)?;
    match tags.get("v") {
        Some("DKIM1") if tags.first() == Some("v") => {}
        None => {}
        Some(_) => return Err(NO_KEY),
    }
    let public_key = tags.get("p").ok_or(NO_KEY)?;
    if public_key.is_empty() {
        return Err(REVOKED);
    }
    let allows = |name, wanted: &[&str]| {
        tags.get(name).is_none() || tags.list(name).any(|element| wanted.contains(&element))
    };
    if !allows("h", &["sha256"]) {
        return Err(OTHER_HASH);
    }
    if !allows("s", &["*", "email"]) {
        return Err(OTHER_SERVICE);
    }
    let wanted = if algorithm == Algorithm::Ed25519Sha256 { "ed25519" } else { "rsa" };
    if tags.get("k").unwrap_or("rsa") != wanted {
        return Err(OTHER_KEY_TYPE);
    }
    if tags.list("t").any(|flag| flag == "y") {
        return Err(TESTING);
    }
    let key = DomainKey::parse(record).map_err(|error| match error {
        Error::Dkim(DkimError::RevokedPublicKey) => REVOKED,
        Error::Dkim(DkimError::UnsupportedKeyType) => OTHER_KEY_TYPE,
        _ => NO_KEY,
    })?;
    if wanted == "rsa" {
        match key.p.public_key_bits() {
            0 => return Err(NO_KEY),
            bits if bits < MIN_RSA_BITS => return Err(SHORT),
            _ => {}
        }
    }
    Ok(key.into())
}

const DNS_FAILURE: Settled = Settled(DkimResult::TempError, "no answer about the key");
const NO_KEY: Settled = Settled(DkimResult::PermError, "no usable key");
const OTHER_HASH: Settled = Settled(DkimResult::PermError, "the key is not for sha256");
const OTHER_KEY_TYPE: Settled = Settled(DkimResult::PermError, "the key is of another type");
const OTHER_SERVICE: Settled = Settled(DkimResult::PermError, "the key is not for mail");
const REVOKED: Settled = Settled(DkimResult::PermError, "the key is revoked");
const SHORT: Settled = Settled(DkimResult::Policy, "the key is too short");
const TESTING: Settled = Settled(DkimResult::Policy, "the key is for testing only");
