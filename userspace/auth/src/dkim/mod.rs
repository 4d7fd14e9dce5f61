//! DKIM (RFC 6376, 8301, 8463, 8616): our own reading, rules and canonicalization, mail-auth's
//! cryptography.
//!
//! The meaning of a result for the message is not its business.

mod body;
mod bounds;
mod canonical;
mod crypto;
mod der;
mod gate;
mod key;
mod message;
mod pool;
mod result;
mod settings;
mod signature;
mod tags;
mod verification;

use std::{
    collections::BTreeMap,
    io::{self, BufRead},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use data_encoding::BASE64;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};
use tracing::error;

use crate::{
    dkim::{
        body::{BodyHashes, WantedHashes},
        canonical::Header,
        crypto::{DIGEST, PublicKey, Sha256},
        pool::{Pool, Unfinished},
        result::Settled,
        signature::Signature,
        verification::{Slot, Verification},
    },
    dns::Resolver,
    fields::fields,
    trace::Step,
};

pub use bounds::{CLOCK_SKEW, DkimLimit, MAX_FIELDS, MAX_NAMES, MAX_RSA_BITS, MAX_SIGNATURES, MIN_RSA_BITS};
pub use message::{MAX_HEADER, Message};
pub use result::{DkimFindings, DkimResult, DkimSignature, TESTING_KEY};
pub use settings::{DkimSettings, PartialBody};

/// Verifies messages, a bounded number at a time. A clone shares the bound.
#[derive(Clone, Debug)]
pub struct DkimVerifier {
    settings: DkimSettings,
    pool: Arc<Pool>,
}

impl DkimVerifier {
    /// Nothing is being verified yet.
    #[must_use]
    pub fn new(settings: DkimSettings) -> Self {
        Self { settings, pool: Arc::new(Pool::new(&settings)) }
    }

    /// Verifies the first [`MAX_SIGNATURES`] signatures of `message`, with keys from `dns`. The
    /// message is the one that is passed on, to the octet, and its lines end with CRLF: bare CR and
    /// LF are refused before. A signature that is not verified at `deadline` is a temporary error.
    /// A message without signatures costs neither DNS nor a slot of the pool.
    pub async fn verify<M: Message>(&self, dns: &Resolver, message: M, deadline: Instant) -> DkimFindings {
        // A clock before 1970 makes no signature expire.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let examined = gate::examine(message.head(), message.size(), now);
        let mut verification = Verification::new(message, examined);
        verification.record_tags(dns.recorder());
        if verification.pending().next().is_some() {
            // Signatures that were settled before the deadline stay so; the rest are temporary
            // errors.
            match timeout_at(deadline, self.settle(&mut verification, dns)).await {
                Ok(Ok(())) => {}
                Ok(Err(Unfinished::QueueTimeout)) => verification.reached(Some(DkimLimit::Wait)),
                Ok(Err(Unfinished::BrokenOff { source })) => {
                    error!(failure = %source, "internal error while verifying DKIM");
                }
                Err(_) => verification.reached(Some(DkimLimit::Time)),
            }
        }
        verification.into_findings()
    }

    /// Body hashes, keys, signatures: in this order, so that most forgeries cost no lookup.
    async fn settle<M: Message>(
        &self,
        verification: &mut Verification<M>,
        dns: &Resolver,
    ) -> Result<(), Unfinished> {
        if verification.hashing() > self.settings.max_hashed {
            verification.settle_pending(|_| Some(TOO_MUCH_HASHING));
            return Ok(());
        }
        let Some(hashes) = self.hash_body(verification).await? else {
            return Ok(());
        };
        verification.record_hashes(&hashes, dns.recorder());
        let partial_body = self.settings.partial_body;
        verification.settle_pending(|signature| body_flaw(signature, &hashes, partial_body));
        let message = verification.message.clone();
        let groups = verification.by_key().into_iter();
        let settle = |(name, slots)| self.settle_by_key(dns, message.clone(), name, slots);
        // each on its own, so that a key that is long in coming delays nothing else
        join_all(groups.map(settle)).await.into_iter().collect()
    }

    /// None if the message cannot be read any more.
    async fn hash_body<M: Message>(
        &self,
        verification: &Verification<M>,
    ) -> Result<Option<BodyHashes>, Unfinished> {
        let wanted = WantedHashes::by(verification.pending());
        let (octets, mut body) = (verification.message.size(), verification.message.reader());
        let header = verification.body;
        let hash = move |over: &pool::Over| {
            skip(&mut body, header)?;
            BodyHashes::of(body, wanted, || over.is_over())
        };
        let hashes = self.pool.run(octets, hash).await?;
        Ok(hashes.inspect_err(|failure: &io::Error| error!(%failure, "cannot read a message for DKIM")).ok())
    }

    /// Settles the signatures whose key is at `name`.
    async fn settle_by_key<M: Message>(
        &self,
        dns: &Resolver,
        message: M,
        name: String,
        slots: Vec<&mut Slot>,
    ) -> Result<(), Unfinished> {
        let record = key::fetch(dns, &name).await;
        let (mut slots, mut work) = (slots, Vec::new());
        for slot in &mut slots {
            let Some(signature) = slot.candidate.take() else { continue };
            match record
                .as_ref()
                .map_err(|settled| *settled)
                .and_then(|record| key::judge(record, &signature))
            {
                Ok(key) => work.push((slot.index, signature, key)),
                Err(settled) => slot.settle(settled),
            }
        }
        if work.is_empty() {
            return Ok(());
        }
        let head = message.head().len() as u64;
        let verified = self.pool.run(head, move |_| verified(message.head(), work)).await?;
        for slot in slots {
            match verified.get(&slot.index) {
                Some(Verified::Good) => slot.settle(PASS),
                Some(Verified::Mismatch { header_hash, length }) => {
                    dns.recorder().step(|| Step::HeaderHash {
                        signature: slot.at,
                        computed: BASE64.encode(header_hash),
                        length: *length,
                    });
                    slot.settle(MISMATCH);
                }
                None => {}
            }
        }
        Ok(())
    }
}

/// Reads past the first `count` octets, or all there are.
fn skip(message: &mut impl BufRead, count: usize) -> io::Result<()> {
    let mut left = count;
    while left > 0 {
        let skipped = match message.fill_buf() {
            Ok([]) => return Ok(()),
            Ok(octets) => left.min(octets.len()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        message.consume(skipped);
        left -= skipped;
    }
    Ok(())
}

/// Whether a signature is one of the header.
enum Verified {
    Good,
    /// It is one of another header, or by another key.
    Mismatch {
        /// The SHA-256 of the octets that it had to sign.
        header_hash: [u8; DIGEST],
        /// The number of these octets.
        length: usize,
    },
}

/// Whether each signature, the field of that index, is one by its key.
fn verified(head: &[u8], signatures: Vec<(usize, Signature, PublicKey)>) -> BTreeMap<usize, Verified> {
    let header = Header::new(fields(head).collect());
    let verifies = |(index, signature, key): (usize, Signature, PublicKey)| {
        let signed = header.signed(&signature.names, index, signature.header_form);
        if key.verifies(&signed, &signature.octets) {
            return (index, Verified::Good);
        }
        let mut hash = Sha256::new();
        hash.update(&signed);
        (index, Verified::Mismatch { header_hash: hash.finish(), length: signed.len() })
    };
    signatures.into_iter().map(verifies).collect()
}

/// The fault of a signature that the body shows.
fn body_flaw(signature: &Signature, hashes: &BodyHashes, partial_body: PartialBody) -> Option<Settled> {
    // each form and each length that a signature names was wanted; what is not there agrees with
    // nothing
    let Some(form) = hashes.form(signature.body_form) else {
        return Some(BODY_MISMATCH);
    };
    match signature.body_length {
        Some(length) if length > form.length => return Some(LONGER_THAN_BODY),
        Some(length) if length < form.length && partial_body == PartialBody::Refused => {
            return Some(PARTIAL_BODY);
        }
        Some(_) | None => {}
    }
    match hashes.of_signature(signature) {
        Some(hash) if hash.as_slice() == signature.body_hash => None,
        _ => Some(BODY_MISMATCH),
    }
}

const BODY_MISMATCH: Settled = Settled::new(DkimResult::Fail, "body hash mismatch");
const LONGER_THAN_BODY: Settled = Settled::new(DkimResult::PermError, "l= is larger than the body");
const MISMATCH: Settled = Settled::new(DkimResult::Fail, "signature mismatch");
const PARTIAL_BODY: Settled = Settled::new(DkimResult::Policy, "l= leaves a part of the body unsigned");
const PASS: Settled = Settled::new(DkimResult::Pass, "");
const TOO_MUCH_HASHING: Settled = Settled::beyond(DkimLimit::Hashing, "too much to hash");
