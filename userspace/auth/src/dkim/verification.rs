//! The signatures of one message on their way to their results.
//!
//! It computes nothing: other modules give the reason why a signature is settled.

use std::collections::BTreeMap;

use data_encoding::BASE64;

use crate::dkim::{
    body::{BodyHashes, WantedHashes},
    bounds::DkimLimit,
    gate::{Examined, ExaminedSignature},
    message::Message,
    result::{DkimFindings, DkimResult, DkimSignature, Settled},
    signature::Signature,
};
use crate::trace::{Recorder, Step};

/// One signature on its way to a result.
pub(super) struct Slot {
    pub(super) evidence: DkimSignature,
    /// Which of the findings it is.
    pub(super) at: usize,
    /// Which of the header fields it is.
    pub(super) index: usize,
    /// None once it is settled.
    pub(super) candidate: Option<Signature>,
}

/// A message that is being verified.
pub(super) struct Verification<M> {
    pub(super) message: M,
    /// Where its body begins.
    pub(super) body: usize,
    slots: Vec<Slot>,
    limits: Vec<DkimLimit>,
}

impl Slot {
    pub(super) fn settle(&mut self, settled: Settled) {
        self.candidate = None;
        self.evidence.result = settled.result;
        self.evidence.reason = (settled.result != DkimResult::Pass).then_some(settled.reason);
    }
}

impl<M: Message> Verification<M> {
    /// What reading alone settled is settled.
    pub(super) fn new(message: M, examined: Examined) -> Self {
        let limits = examined.limit.into_iter().collect();
        let mut verification = Self { message, body: examined.body, slots: Vec::new(), limits };
        for signature in examined.signatures {
            verification.add(signature);
        }
        verification
    }

    fn add(&mut self, ExaminedSignature { index, evidence, candidate }: ExaminedSignature) {
        let (candidate, flaw) = match candidate {
            Ok(signature) => (Some(signature), None),
            Err(flaw) => (None, Some(flaw)),
        };
        let mut slot = Slot { evidence, at: self.slots.len(), index, candidate };
        if let Some(flaw) = flaw {
            slot.settle(flaw);
            self.reached(flaw.limit);
        }
        self.slots.push(slot);
    }

    pub(super) fn reached(&mut self, limit: Option<DkimLimit>) {
        self.limits.extend(limit.filter(|limit| !self.limits.contains(limit)));
    }

    /// The signatures that may still be good.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Signature> {
        self.slots.iter().filter_map(|slot| slot.candidate.as_ref())
    }

    /// Records the contents of the signatures that may still be good.
    pub(super) fn record_tags(&self, recorder: &Recorder) {
        for (at, signature) in self.pending_at() {
            recorder.step(|| Step::Signature(signature.shown(at)));
        }
    }

    /// Records the hashes that those signatures are compared with.
    pub(super) fn record_hashes(&self, hashes: &BodyHashes, recorder: &Recorder) {
        for (at, signature) in self.pending_at() {
            recorder.step(|| Step::BodyHash {
                signature: at,
                computed: hashes.of_signature(signature).map(|hash| BASE64.encode(hash)),
                length: hashes.form(signature.body_form).map_or(0, |hashes| hashes.length),
            });
        }
    }

    /// The same, each with its index in the findings.
    fn pending_at(&self) -> impl Iterator<Item = (usize, &Signature)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(at, slot)| Some((at, slot.candidate.as_ref()?)))
    }

    pub(super) fn settle_pending(&mut self, flaw: impl Fn(&Signature) -> Option<Settled>) {
        let settle = |slot: &mut Slot| {
            let settled = slot.candidate.as_ref().and_then(&flaw)?;
            slot.settle(settled);
            settled.limit
        };
        let limits: Vec<DkimLimit> = self.slots.iter_mut().filter_map(settle).collect();
        limits.into_iter().for_each(|limit| self.reached(Some(limit)));
    }

    /// The signatures that may still be good, by the names of their keys.
    pub(super) fn by_key(&mut self) -> BTreeMap<String, Vec<&mut Slot>> {
        let mut groups: BTreeMap<String, Vec<&mut Slot>> = BTreeMap::new();
        for slot in &mut self.slots {
            if let Some(name) = slot.candidate.as_ref().map(|signature| signature.key_name.clone()) {
                groups.entry(name).or_default().push(slot);
            }
        }
        groups
    }

    /// Octets that have to be hashed, at most.
    pub(super) fn hashing(&self) -> u64 {
        let header = self.body as u64;
        let body = self.message.size().saturating_sub(header);
        let headers = self.pending().count() as u64 * header;
        WantedHashes::by(self.pending()).passes() * body + headers
    }

    pub(super) fn into_findings(self) -> DkimFindings {
        let signatures = self.slots.into_iter().map(|slot| slot.evidence).collect();
        DkimFindings { signatures, limits: self.limits }
    }
}
