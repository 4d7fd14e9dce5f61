//! Key records (RFC 6376 3.6.1): asked for, picked, and judged. What they are used for is not its
//! business.

use tracing::debug;

use crate::{
    dkim::{
        bounds::{MAX_RSA_BITS, MIN_RSA_BITS},
        crypto::{Algorithm, PublicKey},
        result::{DkimResult, Settled, TESTING_KEY},
        signature::{IdentityScope, Signature},
        tags::{Tags, resembles_key},
    },
    dns::Resolver,
};

/// The one key record at `name`.
///
/// # Errors
/// There is none, of any kind or with a key, or more than one: RFC 6376 3.6.2.2 leaves open what
/// several mean, so that others might take another one than we would. TXT records of other kinds do
/// not matter.
pub(super) async fn fetch(dns: &Resolver, name: &str) -> Result<Vec<u8>, Settled> {
    let answer = dns.txt(name).await.map_err(|failure| {
        debug!(name, failure = failure.to_string(), "key record not to be had");
        Settled::new(DkimResult::TempError, failure.reason())
    })?;
    if answer.records.is_empty() {
        return Err(NO_RECORD);
    }
    let mut keys = answer.records.into_iter().filter(|record| resembles_key(record));
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(key),
        (Some(_), Some(_)) => Err(SEVERAL_KEYS),
        (None, _) => Err(NO_KEY_AMONG_RECORDS),
    }
}

/// The key in `record`, if it may verify `signature`.
///
/// # Errors
/// What makes the signature fail without looking at it.
pub(super) fn judge(record: &[u8], signature: &Signature) -> Result<PublicKey, Settled> {
    let tags = Tags::of_key(record).ok_or(BAD_TAGS)?;
    match tags.get("v") {
        Some("DKIM1") if tags.first() == Some("v") => {}
        None => {}
        Some(_) => return Err(BAD_VERSION),
    }
    tags.get("p").ok_or(NO_P)?;
    let octets = tags.base64("p").ok_or(BAD_BASE64)?;
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
    if flag("s") && signature.identity == IdentityScope::Subdomain {
        return Err(SUBDOMAIN);
    }
    let key = PublicKey::read(signature.algorithm, &octets).ok_or(match signature.algorithm {
        Algorithm::RsaSha256 => NO_RSA_KEY,
        Algorithm::Ed25519Sha256 => NO_ED25519_KEY,
    })?;
    match key.rsa_bits() {
        Some(bits) if bits < MIN_RSA_BITS => Err(SHORT),
        Some(bits) if bits > MAX_RSA_BITS => Err(LONG),
        _ => Ok(key),
    }
}

const BAD_BASE64: Settled = unusable("key record without usable key: p= is not base64");
const BAD_TAGS: Settled = unusable("key record without usable key: malformed or repeated tag");
const BAD_VERSION: Settled = unusable("key record without usable key: v= is not DKIM1 or not first");
const LONG: Settled = Settled::new(DkimResult::Policy, "the key is too long");
const NO_ED25519_KEY: Settled = unusable("key record without usable key: p= is not an Ed25519 key");
const NO_KEY_AMONG_RECORDS: Settled = unusable("TXT records, but no key record");
const NO_P: Settled = unusable("key record without usable key: no p=");
const NO_RECORD: Settled = unusable("no key record");
const NO_RSA_KEY: Settled = unusable("key record without usable key: p= is not an RSA key");
const OTHER_HASH: Settled = Settled::new(DkimResult::PermError, "the key is not for sha256");
const OTHER_KEY_TYPE: Settled = Settled::new(DkimResult::PermError, "the key is of another type");
const OTHER_SERVICE: Settled = Settled::new(DkimResult::PermError, "the key is not for mail");
const REVOKED: Settled = Settled::new(DkimResult::PermError, "the key is revoked");
const SEVERAL_KEYS: Settled = Settled::new(DkimResult::PermError, "more than one key record");
const SHORT: Settled = Settled::new(DkimResult::Policy, "the key is too short");
const SUBDOMAIN: Settled = Settled::new(DkimResult::PermError, "the key is not for subdomains");
const TESTING: Settled = Settled::new(DkimResult::Policy, TESTING_KEY);

const fn unusable(reason: &'static str) -> Settled {
    Settled::new(DkimResult::PermError, reason)
}
