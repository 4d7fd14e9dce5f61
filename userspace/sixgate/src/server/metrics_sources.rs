//! Numbers and states that are known elsewhere: copied into the metrics before these are read.
//!
//! Their names and texts are in `metrics`.

use std::{io, sync::Arc};

use sixgate_auth::dns::Resolver;

use crate::{
    budget::Budgets,
    metrics::{DaemonState, StoreEntries, TextFormat},
    mirror::{kernel_maps::KernelMaps, reverse_dns::ReverseDns},
    server::{facts_reader::FactsReader, problems::Problems},
    services::{InForce, Services},
    store_view::StoreView,
};

/// The parts of the daemon that know them.
pub(super) struct MetricsSources {
    pub(super) in_force: InForce,
    pub(super) maps: Arc<KernelMaps>,
    pub(super) dns: Resolver,
    pub(super) reverse_dns: Arc<ReverseDns>,
    pub(super) budgets: Arc<Budgets>,
    pub(super) store: Arc<StoreView>,
    pub(super) problems: Arc<Problems>,
    pub(super) facts: Arc<FactsReader>,
}

impl MetricsSources {
    /// The metrics as they are now. Blocks.
    ///
    /// # Errors
    /// As `Metrics::text`.
    pub(super) fn text(&self, format: TextFormat) -> io::Result<String> {
        let services = self.in_force.get();
        self.refresh(&services);
        services.metrics.text(format)
    }

    /// Brings the metrics of `services` up to date. Blocks.
    pub(super) fn refresh(&self, services: &Services) {
        let metrics = &services.metrics;
        metrics.xdp(&self.maps.stats());
        metrics.limits(&self.dns.reached());
        metrics.limits(&self.budgets.reached());
        metrics.limits(&[("ptr_cache", self.reverse_dns.evicted()), ("facts", self.facts.refused())]);
        metrics.limits(&services.next_hop.reached());
        metrics.state(&self.state(services));
    }

    fn state(&self, services: &Services) -> DaemonState {
        DaemonState {
            mode: services.policy.mode,
            entries: self.store.look(|contents| StoreEntries {
                optin: contents.optin.entries().len(),
                domain: contents.domains.len(),
                trust: contents.trust.entries().len(),
                guard: contents.guard.entries().len(),
            }),
            problems: self.problems.present().len(),
            is_next_hop_usable: self.problems.of_next_hop(services).is_none(),
            does_dns_answer: self.problems.of_dns().is_none(),
            is_xdp_attached: self.maps.is_attached(),
            certificate_ends: services.tls.as_ref().and_then(|tls| tls.certificate_end()),
        }
    }
}
