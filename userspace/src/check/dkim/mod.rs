//! DKIM (RFC 6376, 8301, 8463): our own gate in front of mail-auth, which has no bounds and takes more than
//! a gate for mail should. None of its types leaves this module.
//!
//! What a result means for the message is decided in `policy`.

mod crypto;
mod gate;
mod key;
mod tags;

use std::{
    io::Read,
    net::Ipv6Addr,
    sync::Arc,
    thread::available_parallelism,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::join_all;
use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};
use tracing::error;

use crate::{
    check::dkim::{crypto::BodyHashes, gate::Candidate},
    content::Content,
    dns::Dns,
    policy::evidence::{DkimEvidence, DkimResult},
};

/// Signatures of a message that are looked at, from the top (RFC 6376 6.1 allows a limit).
pub const MAX_SIGNATURES: usize = 10;
/// Octets of a header within which signatures count; in a longer one none passes.
pub const MAX_HEADER: usize = 256 << 10;
/// Names in `h=`; each may cost a walk through the whole header.
pub const MAX_NAMES: usize = 100;
/// The shortest RSA key (RFC 8301 3.2).
pub const MIN_RSA_BITS: usize = 1024;
/// How long the signatures of a message may take in all, waiting for a processor included; what is not verified
/// by then is a temporary error. A sender waits ten minutes (RFC 5321 4.5.3.2.6).
pub const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Verifies messages, as many at a time as there are processors. A clone shares them.
#[derive(Clone)]
pub struct DkimVerifier {
    dns: Dns,
    processors: Arc<Semaphore>,
}

/// A result, and why in fixed words; no word for a pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Settled(DkimResult, &'static str);

/// One signature on its way to a result.
struct Slot {
    evidence: DkimEvidence,
    candidate: Option<Candidate>,
}

impl DkimVerifier {
    /// Keys come from `dns`.
    #[must_use]
    pub fn new(dns: Dns) -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self { dns, processors: Arc::new(Semaphore::new(processors)) }
    }

    /// The same verifier, its keys fetched on behalf of `source` (see [`Dns::on_behalf_of`]).
    #[must_use]
    pub fn on_behalf_of(&self, source: Ipv6Addr) -> Self {
        Self { dns: self.dns.on_behalf_of(source), processors: Arc::clone(&self.processors) }
    }

    /// Verifies the first [`MAX_SIGNATURES`] signatures of `message`, in their order. The message is the one that
    /// is passed on, to the octet, and its lines end with CRLF: bare CR and LF are refused before.
    /// Ends within [`TIME_LIMIT`], and at once for a message without signatures.
    pub async fn verify(&self, message: Content) -> Vec<DkimEvidence> {
        let deadline = Instant::now() + TIME_LIMIT;
        // A clock before 1970 makes no signature expire.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let examined = gate::examine(message.head(), now);
        let mut slots: Vec<Slot> = examined.into_iter().map(Slot::new).collect();
        if slots.iter().any(|slot| slot.candidate.is_some()) {
            // What was settled before the deadline stays; the rest is a temporary error as it stands.
            let _ = timeout_at(deadline, self.settle(message, &mut slots)).await;
        }
        slots.into_iter().map(|slot| slot.evidence).collect()
    }

    /// Body hashes, keys, signatures: in this order, so that most forgeries cost no lookup.
    async fn settle(&self, message: Content, slots: &mut [Slot]) {
        let candidates: Vec<Candidate> = slots.iter().filter_map(|slot| slot.candidate.clone()).collect();
        let mut reader = message.reader();
        let hash = move || {
            let mut octets = Vec::new();
            reader.read_to_end(&mut octets).map(|_| BodyHashes::of(&octets, &candidates))
        };
        let hashes = match self.compute(hash).await {
            Some(Ok(hashes)) => hashes,
            Some(Err(failure)) => return error!(%failure, "cannot read a message from its temporary file"),
            None => return,
        };
        for slot in &mut *slots {
            if slot.candidate.as_ref().is_some_and(|candidate| !hashes.agree(candidate)) {
                slot.settle(BODY_MISMATCH);
            }
        }
        join_all(slots.iter_mut().map(|slot| self.settle_one(&message, slot))).await;
    }

    async fn settle_one(&self, message: &Content, slot: &mut Slot) {
        let Some(candidate) = slot.candidate.clone() else {
            return;
        };
        let key = match key::fetch(&self.dns, &candidate).await {
            Ok(key) => key,
            Err(settled) => return slot.settle(settled),
        };
        let (message, dns) = (message.clone(), self.dns.clone());
        let verify = move || crypto::verify(dns.authenticator(), message.head(), &candidate, key);
        if let Some(settled) = self.compute(verify).await {
            slot.settle(settled);
        }
    }

    /// Runs `work` where it holds up nobody, once a processor is free. The processor is taken until the work is
    /// done, even if nobody waits for it any more.
    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let processor = Arc::clone(&self.processors).acquire_owned().await.ok()?;
        let done = spawn_blocking(move || {
            let result = work();
            drop(processor);
            result
        });
        done.await.inspect_err(|failure| error!(%failure, "a DKIM verification broke off")).ok()
    }
}

impl Slot {
    fn new((evidence, candidate): (DkimEvidence, Result<Candidate, Settled>)) -> Self {
        match candidate {
            Ok(candidate) => Self { evidence, candidate: Some(candidate) },
            Err(settled) => {
                let mut slot = Self { evidence, candidate: None };
                slot.settle(settled);
                slot
            }
        }
    }

    fn settle(&mut self, Settled(result, reason): Settled) {
        self.candidate = None;
        self.evidence.result = result;
        self.evidence.reason = (result != DkimResult::Pass).then_some(reason);
    }
}

const BODY_MISMATCH: Settled = Settled(DkimResult::Fail, "body hash mismatch");

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_not_verified_in_time_is_a_temporary_error() {
        let nobody = "[::1]:1".parse().expect("an address");
        let dns = Dns::new(&[nobody], Duration::from_secs(1), NonZeroU8::MIN).expect("a resolver");
        let verifier = DkimVerifier::new(dns);
        let busy = u32::try_from(verifier.processors.available_permits()).expect("a number of processors");
        let all = Arc::clone(&verifier.processors).acquire_many_owned(busy).await.expect("it is open");

        let unsettled = "DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=s; h=from; bh=AAAA; b=AAAA\r\n";
        let settled = "DKIM-Signature: v=1\r\n";
        let message = format!("{unsettled}{settled}From: joe@a.example\r\n\r\n");
        let found = verifier.verify(message.into_bytes().into()).await;
        let results: Vec<_> = found.iter().map(|signature| (signature.result, signature.reason)).collect();
        let late = (DkimResult::TempError, Some("not verified in time"));
        assert_eq!(results, [late, (DkimResult::PermError, Some("a required tag is missing"))]);
        drop(all);
    }
}
