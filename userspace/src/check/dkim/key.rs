//! Key records (RFC 6376 3.6.1): asked for, picked, and judged. What they are used for is not its business.

use tracing::debug;

use crate::{
    check::dkim::{
        MAX_RSA_BITS, MIN_RSA_BITS, Settled,
        crypto::{Algorithm, PublicKey},
        signature::{Identity, Signature},
        tags::{Tags, resembles_key},
    },
    dns::Dns,
    policy::evidence::{DkimResult, TESTING_KEY},
};

/// The one key record at `name`.
///
/// # Errors
/// There is none, or more than one: RFC 6376 3.6.2.2 leaves open what several mean, so that others might take
/// another one than we would. TXT records of other kinds do not matter.
pub(super) async fn fetch(dns: &Dns, name: &str) -> Result<Vec<u8>, Settled> {
    let answer = dns.txt(name).await.map_err(|failure| {
        debug!(name, failure = failure.to_string(), "key record not to be had");
        Settled::new(DkimResult::TempError, failure.reason())
    })?;
    let mut keys = answer.records.into_iter().filter(|record| resembles_key(record));
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(key),
        (Some(_), Some(_)) => Err(SEVERAL_KEYS),
        (None, _) => Err(NO_KEY),
    }
}

/// The key in `record`, if it may verify `signature`.
///
/// # Errors
/// What makes the signature fail without looking at it.
pub(super) fn judge(record: &[u8], signature: &Signature) -> Result<PublicKey, Settled> {
    let tags = Tags::of_key(record).ok_or(NO_KEY)?;
    match tags.get("v") {
        Some("DKIM1") if tags.first() == Some("v") => {}
        None => {}
        Some(_) => return Err(NO_KEY),
    }
    let octets = tags.get("p").and_then(|_| tags.base64("p")).ok_or(NO_KEY)?;
    if octets.is_empty() {
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
    let kind = match signature.algorithm {
        Algorithm::RsaSha256 => "rsa",
        Algorithm::Ed25519Sha256 => "ed25519",
    };
    if tags.get("k").unwrap_or("rsa") != kind {
        return Err(OTHER_KEY_TYPE);
    }
    let flag = |wanted| tags.list("t").any(|flag| flag == wanted);
    if flag("y") {
        return Err(TESTING);
    }
    if flag("s") && signature.identity == Identity::Subdomain {
        return Err(SUBDOMAIN);
    }
    let key = PublicKey::read(signature.algorithm, &octets).ok_or(NO_KEY)?;
    match key.rsa_bits() {
        Some(bits) if bits < MIN_RSA_BITS => Err(SHORT),
        Some(bits) if bits > MAX_RSA_BITS => Err(LONG),
        _ => Ok(key),
    }
}

const LONG: Settled = Settled::new(DkimResult::Policy, "the key is too long");
const NO_KEY: Settled = Settled::new(DkimResult::PermError, "no usable key");
const OTHER_HASH: Settled = Settled::new(DkimResult::PermError, "the key is not for sha256");
const OTHER_KEY_TYPE: Settled = Settled::new(DkimResult::PermError, "the key is of another type");
const OTHER_SERVICE: Settled = Settled::new(DkimResult::PermError, "the key is not for mail");
const REVOKED: Settled = Settled::new(DkimResult::PermError, "the key is revoked");
const SEVERAL_KEYS: Settled = Settled::new(DkimResult::PermError, "more than one key record");
const SHORT: Settled = Settled::new(DkimResult::Policy, "the key is too short");
const SUBDOMAIN: Settled = Settled::new(DkimResult::PermError, "the key is not for subdomains");
const TESTING: Settled = Settled::new(DkimResult::Policy, TESTING_KEY);
