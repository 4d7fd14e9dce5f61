//! How the daemon is now, as gauges: set whenever the metrics are read.
//!
//! It finds out nothing by itself.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use sixgate_smtp::policy::Mode;

type Number = Gauge<u64, AtomicU64>;

/// The daemon at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DaemonState {
    pub(crate) mode: Mode,
    /// Entries of the store, by list.
    pub(crate) entries: StoreEntries,
    /// Problems that `sixgate status` has a line about.
    pub(crate) problems: usize,
    pub(crate) is_next_hop_usable: bool,
    pub(crate) does_dns_answer: bool,
    /// Whether the maps of an attached XDP program are in use.
    pub(crate) is_xdp_attached: bool,
    /// When the certificate for STARTTLS ends, seconds since 1970; none: there is none.
    pub(crate) certificate_ends: Option<u64>,
}

/// Entries of the store, by list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreEntries {
    pub(crate) optin: usize,
    pub(crate) domain: usize,
    pub(crate) trust: usize,
    pub(crate) guard: usize,
}

/// The gauges of a daemon, whose values are replaced as a whole.
#[derive(Debug)]
pub(crate) struct StateGauges {
    modes: Family<ModeLabel, Number>,
    entries: Family<ListLabel, Number>,
    problems: Number,
    next_hop: Number,
    dns: Number,
    xdp: Number,
    certificate: Family<CertificateLabel, Number>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ModeLabel {
    mode: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ListLabel {
    list: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CertificateLabel {
    setting: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct VersionLabel {
    version: &'static str,
}

impl StateGauges {
    /// The gauges, as a part of `registry`. `started`: seconds since 1970.
    pub(crate) fn register(registry: &mut Registry, started: u64) -> Self {
        let gauges = Self {
            modes: Family::default(),
            entries: Family::default(),
            problems: Gauge::default(),
            next_hop: Gauge::default(),
            dns: Gauge::default(),
            xdp: Gauge::default(),
            certificate: Family::default(),
        };
        let build: Family<VersionLabel, Number> = Family::default();
        build.get_or_create(&VersionLabel { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "The version of the daemon; always 1", build);
        let start: Number = Gauge::default();
        start.set(started);
        registry.register("start_time_seconds", "When the daemon started, seconds since 1970", start);
        registry.register("mode", "1 for the mode in force, 0 for the other", gauges.modes.clone());
        registry.register("store_entries", "Entries of the opt-in store, by list", gauges.entries.clone());
        let help = "Problems that `sixgate status` reports";
        registry.register("problems", help, gauges.problems.clone());
        let help = "Whether the next hop can be used (1) or not (0)";
        registry.register("next_hop_usable", help, gauges.next_hop.clone());
        registry.register("dns_answers", "Whether DNS answers (1) or not (0)", gauges.dns.clone());
        let help = "Whether an XDP program is attached (1) or not (0)";
        registry.register("xdp_attached", help, gauges.xdp.clone());
        let help = "When the certificate for STARTTLS ends, seconds since 1970";
        registry.register("certificate_end_time_seconds", help, gauges.certificate.clone());
        gauges
    }

    /// Takes over how the daemon is.
    pub(crate) fn set(&self, state: &DaemonState) {
        for mode in [Mode::Shadow, Mode::Enforce] {
            let is_in_force = u64::from(mode == state.mode);
            self.modes.get_or_create(&ModeLabel { mode: mode.name() }).set(is_in_force);
        }
        let StoreEntries { optin, domain, trust, guard } = state.entries;
        for (list, entries) in [("optin", optin), ("domain", domain), ("trust", trust), ("guard", guard)] {
            self.entries.get_or_create(&ListLabel { list }).set(entries as u64);
        }
        self.problems.set(state.problems as u64);
        self.next_hop.set(state.is_next_hop_usable.into());
        self.dns.set(state.does_dns_answer.into());
        self.xdp.set(state.is_xdp_attached.into());
        let setting = CertificateLabel { setting: "tls.certificate" };
        match state.certificate_ends {
            Some(end) => drop(self.certificate.get_or_create(&setting).set(end)),
            None => drop(self.certificate.remove(&setting)),
        }
    }
}
