//! DKIM (RFC 6376, 8301, 8463, 8616): our own reading, rules and canonicalization, mail-auth's
//! cryptography.
//!
//! The meaning of a result for the message is not its business.

mod body;
mod canonical;
mod crypto;
mod der;
mod gate;
mod key;
mod message;
mod pool;
mod result;
mod signature;
mod tags;
mod verification;

use std::{
    collections::BTreeMap,
    io::{self, Read},
    num::NonZeroU8,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};
use tracing::error;

use crate::{
    dkim::{
        body::{BodyHashes, Wanted},
        canonical::Header,
        crypto::PublicKey,
        pool::{Pool, Unfinished},
        signature::Signature,
        verification::{Slot, Verification},
    },
    dns::Resolver,
    fields::fields,
};

pub use message::{MAX_HEADER, Message};
pub use result::{DkimResult, DkimSignature, TESTING_KEY};

/// Signatures of a message that are looked at, from the top (RFC 6376 6.1 allows a limit). Each
/// costs at most one DNS question, and signatures with the same key cost one.
pub const MAX_SIGNATURES: usize = 10;
/// Fields of a header within which signatures count.
pub const MAX_FIELDS: usize = 1000;
/// Names in `h=`.
pub const MAX_NAMES: usize = 250;
/// The shortest RSA key (RFC 8301 3.2).
pub const MIN_RSA_BITS: usize = 1024;
/// The longest RSA key that the cryptography takes.
pub const MAX_RSA_BITS: usize = 8192;
/// How far a signer's clock may be ahead of ours (`t=`).
pub const CLOCK_SKEW: Duration = Duration::from_mins(5);

/// The operator's settings for DKIM.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DkimSettings {
    /// What becomes of a signature whose `l=` leaves octets at the end of the body unsigned.
    pub partial_body: PartialBody,
    /// Small messages whose signatures are computed at a time.
    pub concurrency_small: NonZeroU8,
    /// Large messages whose signatures are computed at a time.
    pub concurrency_large: NonZeroU8,
    /// A message of so many octets is a large one.
    pub large_message: u64,
    /// How long a message may wait in the queue for a computation.
    pub queue_timeout: Duration,
    /// Octets that may be hashed for one message: its body once or twice, its header once for each
    /// signature.
    pub max_hashed: u64,
}

/// What becomes of a signature over the beginning of a body (RFC 6376 8.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PartialBody {
    /// It may pass.
    Accepted,
    /// It never passes.
    Refused,
}

/// The results of a message's signatures.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DkimFindings {
    /// One element for each signature looked at, from the top.
    pub signatures: Vec<DkimSignature>,
    /// The bounds that were reached, each once.
    pub limits: Vec<DkimLimit>,
}

/// A bound of this check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DkimLimit {
    /// [`MAX_FIELDS`], the header fields of a message.
    Fields,
    /// [`DkimSettings::max_hashed`], the octets hashed for a message.
    Hashing,
    /// [`MAX_NAMES`], the names in a signature's `h=`.
    Names,
    /// [`MAX_SIGNATURES`], the signatures of a message.
    Signatures,
    /// The deadline of the verification.
    Time,
    /// [`DkimSettings::queue_timeout`], the time in the queue.
    Wait,
}

/// Verifies messages, a bounded number at a time. A clone shares the bound.
#[derive(Clone, Debug)]
pub struct DkimVerifier {
    settings: DkimSettings,
    pool: Arc<Pool>,
}

/// A result and its reason, as a fixed text; the reason of a pass is empty.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Settled {
    result: DkimResult,
    reason: &'static str,
    limit: Option<DkimLimit>,
}

impl DkimSettings {
    /// The settings if the operator sets none.
    pub const DEFAULT: Self = Self {
        partial_body: PartialBody::Refused,
        concurrency_small: const { NonZeroU8::new(8).unwrap() },
        concurrency_large: const { NonZeroU8::new(2).unwrap() },
        large_message: 1 << 20,
        queue_timeout: Duration::from_secs(30),
        max_hashed: 256 << 20,
    };
}

impl DkimLimit {
    /// The name for counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fields => "dkim_fields",
            Self::Hashing => "dkim_hashing",
            Self::Names => "dkim_names",
            Self::Signatures => "dkim_signatures",
            Self::Time => "dkim_time",
            Self::Wait => "dkim_wait",
        }
    }
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
        let wanted = Wanted::by(verification.pending());
        let (octets, mut body) = (verification.message.size(), verification.message.reader());
        let header = verification.body as u64;
        let hash = move |over: &pool::Over| {
            io::copy(&mut body.by_ref().take(header), &mut io::sink())?;
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
                Some(true) => slot.settle(PASS),
                Some(false) => slot.settle(MISMATCH),
                None => {}
            }
        }
        Ok(())
    }
}

/// Whether each signature, the field of that index, is one by its key.
fn verified(head: &[u8], signatures: Vec<(usize, Signature, PublicKey)>) -> BTreeMap<usize, bool> {
    let header = Header::new(fields(head).collect());
    let verifies = |(index, signature, key): (usize, Signature, PublicKey)| {
        let signed = header.signed(&signature.names, index, signature.header_form);
        (index, key.verifies(&signed, &signature.octets))
    };
    signatures.into_iter().map(verifies).collect()
}

impl Settled {
    const fn new(result: DkimResult, reason: &'static str) -> Self {
        Self { result, reason, limit: None }
    }

    /// Our own bounds keep it from passing.
    const fn beyond(limit: DkimLimit, reason: &'static str) -> Self {
        Self { result: DkimResult::Policy, reason, limit: Some(limit) }
    }
}

/// The fault of a signature that the body shows.
fn body_flaw(signature: &Signature, hashes: &BodyHashes, partial_body: PartialBody) -> Option<Settled> {
    // each form and each length that a signature names was wanted; what is not there agrees with
    // nothing
    let Some(hashes) = hashes.form(signature.body_form) else {
        return Some(BODY_MISMATCH);
    };
    let hash = match signature.body_length {
        Some(length) if length > hashes.length => return Some(LONGER_THAN_BODY),
        Some(length) if length < hashes.length => match partial_body {
            PartialBody::Refused => return Some(PARTIAL_BODY),
            PartialBody::Accepted => hashes.beginnings.get(&length),
        },
        // all of it is signed, with or without an explicit length
        Some(_) | None => Some(&hashes.whole),
    };
    match hash {
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
