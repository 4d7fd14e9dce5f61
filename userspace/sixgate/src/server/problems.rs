//! The present problems of the daemon, as `status`, the metrics, `/ready` and the status page have
//! them.
//!
//! It collects them: each is found and worded by the part that has it.

use std::sync::Arc;

use crate::{
    mirror::follow::Mirror,
    server::{
        dns_watch::DnsWatch, files_watch::FilesWatch, listening::Listening, next_hop_watch::NextHopWatch,
    },
    services::{InForce, Services},
    store_view::StoreView,
};

/// The parts that may have problems.
pub(crate) struct Problems {
    pub(crate) in_force: InForce,
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) store: Arc<StoreView>,
    pub(crate) listening: Arc<Listening>,
    pub(crate) next_hop: Arc<NextHopWatch>,
    pub(crate) dns: Arc<DnsWatch>,
    pub(crate) files: Arc<FilesWatch>,
}

impl Problems {
    /// All of them, as sentences. Blocks: the store is looked at.
    pub(crate) fn present(&self) -> Vec<String> {
        let services = self.in_force.get();
        let tls = services.tls.as_ref().and_then(|tls| tls.problem());
        let found = [self.of_next_hop(&services), self.of_dns(), tls, self.store.trouble()];
        let more = self.mirror.problems().into_iter().chain(self.files.problems());
        found.into_iter().flatten().chain(more).chain(self.listening.problems()).collect()
    }

    /// What keeps mail from being taken, as sentences. Blocks.
    pub(crate) fn not_ready(&self) -> Vec<String> {
        let store = self.store.unreadable();
        let listening = self.listening.addresses().is_empty().then(|| NOT_LISTENING.to_owned());
        let services = self.in_force.get();
        let is_known = services.next_hop.capabilities().is_some();
        let unknown = || self.of_next_hop(&services).unwrap_or_else(|| NEXT_HOP_UNKNOWN.to_owned());
        let next_hop = (!is_known).then(unknown);
        [store, listening, next_hop].into_iter().flatten().collect()
    }

    /// The next hop's.
    pub(crate) fn of_next_hop(&self, services: &Services) -> Option<String> {
        self.next_hop.problem(&services.next_hop)
    }

    /// That of DNS.
    pub(crate) fn of_dns(&self) -> Option<String> {
        self.dns.problem()
    }
}

const NOT_LISTENING: &str = "the daemon listens at no address of listen.addresses";
const NEXT_HOP_UNKNOWN: &str = "the next hop has not replied yet: clients are greeted with 421 until it does";
