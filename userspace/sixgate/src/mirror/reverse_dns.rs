//! Reverse DNS of clients: the PTR map's record comes before the cached one, and that before a
//! question to DNS.
//!
//! It owns how map and cache agree. How DNS is asked is `sixgate_auth::ptr`'s business.

use std::{net::Ipv6Addr, sync::Arc};

use sixgate_auth::{
    dns::Resolver,
    ptr::{PtrCache, PtrFinding, PtrResult, Unanswered},
};
use sixgate_dataplane::{PtrOrigin, PtrRecord, PtrState};

use crate::{mirror::kernel_maps::KernelMaps, services::InForce};

/// Reverse DNS, as kernel and daemon share it.
pub(crate) struct ReverseDns {
    maps: Arc<KernelMaps>,
    cache: PtrCache,
    in_force: InForce,
}

impl ReverseDns {
    pub(crate) fn new(maps: Arc<KernelMaps>, dns: Resolver, in_force: InForce) -> Self {
        Self { maps, cache: PtrCache::new(dns), in_force }
    }

    /// Whether a source is known to have no PTR record, without asking DNS.
    pub(crate) async fn is_known_absent(&self, source: Ipv6Addr) -> bool {
        match self.maps.ptr(source) {
            Some(record) => record.state == PtrState::Absent,
            None if self.maps.is_attached() => false,
            None => self.is_cached_absent(source).await,
        }
    }

    /// Reverse DNS of a source. The PTR map is looked at first, so that a command's change of it
    /// holds at once; an answer of DNS goes there before it is used here. A failure is never kept.
    pub(crate) async fn look_up(&self, source: Ipv6Addr) -> PtrResult {
        let known = self.maps.ptr(source);
        match known {
            Some(PtrRecord { state: PtrState::Absent, .. }) => return PtrResult::NoRecord,
            // the entry has expired or was removed, by a command or for want of space: ask again
            None if self.maps.is_attached() => self.forget(source).await,
            Some(_) | None => {}
        }
        let is_commanded = known.is_some_and(|record| record.origin == PtrOrigin::Command);
        let tell_kernel = |finding: &PtrFinding| {
            if !is_commanded {
                self.tell_kernel(source, finding);
            }
        };
        let evidence = self.cache.get(source, tell_kernel).await.result;
        with_record(known, evidence)
    }

    /// Findings about addresses that were removed in favour of others.
    pub(crate) fn evicted(&self) -> u64 {
        self.cache.evicted()
    }

    /// Forgets what is not in the PTR map any more; what never gets there stays, for as long as it
    /// holds.
    async fn forget(&self, source: Ipv6Addr) {
        if !(self.is_cached_absent(source).await && self.in_force.get().policy.client_trust) {
            self.cache.forget(source).await;
        }
    }

    async fn is_cached_absent(&self, source: Ipv6Addr) -> bool {
        let known = self.cache.known(source).await;
        known.is_some_and(|finding| finding.result == PtrResult::NoRecord)
    }

    /// Takes a new finding over into the PTR map; but not that there is no record, for which the
    /// program would refuse a sender that may prove itself by a certificate.
    fn tell_kernel(&self, source: Ipv6Addr, finding: &PtrFinding) {
        let Some(lifetime) = finding.lifetime else {
            return;
        };
        let state = match finding.result {
            PtrResult::NoRecord => PtrState::Absent,
            PtrResult::Pass { .. } | PtrResult::Fail { .. } | PtrResult::TempError(_) => PtrState::Exists,
        };
        if state == PtrState::Exists || !self.in_force.get().policy.client_trust {
            self.maps.remember_ptr(source, state, lifetime);
        }
    }
}

/// The PTR map's record of an address and the answer of DNS together.
pub(crate) fn with_record(known: Option<PtrRecord>, answer: PtrResult) -> PtrResult {
    match (known, answer) {
        (Some(PtrRecord { state: PtrState::Absent, .. }), _) => PtrResult::NoRecord,
        // a command set that there is one, or DNS answered so lately
        (Some(record), PtrResult::NoRecord) if record.origin == PtrOrigin::Command => ONLY_EXISTENCE,
        (Some(_), PtrResult::TempError(Unanswered::Record)) => ONLY_EXISTENCE,
        (_, answer) => answer,
    }
}

/// There is a PTR record, and nothing else is known.
const ONLY_EXISTENCE: PtrResult = PtrResult::TempError(Unanswered::Names { names: Vec::new() });
