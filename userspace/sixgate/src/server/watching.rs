//! All that watches a running daemon, put together: problems, metrics, their file, and the listener
//! for HTTP.
//!
//! It watches nothing by itself.

use std::sync::Arc;

use sixgate_auth::dns::Resolver;

use crate::{
    budget::Budgets,
    mirror::{follow::Mirror, reverse_dns::ReverseDns},
    server::{
        administration::{Administration, Watches},
        control_socket::Handlers,
        dns_watch::DnsWatch,
        facts_reader::FactsReader,
        files_watch::FilesWatch,
        http::{HttpServer, Pages},
        listening::Listening,
        metrics_file::MetricsFile,
        metrics_sources::MetricsSources,
        next_hop_watch::NextHopWatch,
        overview::Overview,
        problems::Problems,
        traces::Traces,
    },
    services::InForce,
    store_view::StoreView,
};

/// The parts that are watched.
pub(super) struct Watched {
    pub(super) in_force: InForce,
    pub(super) mirror: Arc<Mirror>,
    pub(super) store: Arc<StoreView>,
    pub(super) listening: Arc<Listening>,
    pub(super) next_hop: Arc<NextHopWatch>,
    pub(super) dns: Resolver,
    pub(super) reverse_dns: Arc<ReverseDns>,
    pub(super) budgets: Arc<Budgets>,
}

/// The parts that watch them.
pub(super) struct Watching {
    pub(super) dns_watch: Arc<DnsWatch>,
    pub(super) metrics_file: Arc<MetricsFile>,
    pub(super) http: Arc<HttpServer>,
    pub(super) overview: Arc<Overview>,
    pub(super) facts: Arc<FactsReader>,
    pub(super) problems: Arc<Problems>,
    pub(super) next_hop: Arc<NextHopWatch>,
}

impl Watching {
    pub(super) fn new(watched: Watched) -> Self {
        let Watched { in_force, mirror, store, listening, next_hop, dns, reverse_dns, budgets } = watched;
        let metrics = Arc::clone(&in_force.get().metrics);
        dns.observe(move |is_answered, took| metrics.times().dns(is_answered, took));
        let (files, dns_watch) = (Arc::new(FilesWatch::default()), Arc::new(DnsWatch::default()));
        let problems = Arc::new(Problems {
            in_force: in_force.clone(),
            mirror: Arc::clone(&mirror),
            store: Arc::clone(&store),
            listening,
            next_hop: Arc::clone(&next_hop),
            dns: Arc::clone(&dns_watch),
            files: Arc::clone(&files),
        });
        let facts = Arc::new(FactsReader::new(Arc::clone(&mirror), in_force.clone()));
        let sources = Arc::new(MetricsSources {
            in_force: in_force.clone(),
            maps: Arc::clone(mirror.maps()),
            dns,
            reverse_dns,
            budgets,
            store,
            problems: Arc::clone(&problems),
            facts: Arc::clone(&facts),
        });
        let metrics_file = Arc::new(MetricsFile {
            in_force: in_force.clone(),
            sources: Arc::clone(&sources),
            files: Arc::clone(&files),
        });
        let overview = Arc::new(Overview::new(in_force, Arc::clone(&sources), Arc::clone(&problems)));
        let pages = Arc::new(Pages::new(sources, Arc::clone(&problems), Arc::clone(&overview)));
        let http = Arc::new(HttpServer::new(pages, files));
        Self { dns_watch, metrics_file, http, overview, facts, problems, next_hop }
    }

    /// All that answers commands.
    pub(super) fn handlers(&self, administration: &Arc<Administration>, traces: &Arc<Traces>) -> Handlers {
        Handlers {
            administration: Arc::clone(administration),
            traces: Arc::clone(traces),
            overview: Arc::clone(&self.overview),
            facts: Arc::clone(&self.facts),
        }
    }

    /// What an administrator's requests use of them.
    pub(super) fn watches(&self) -> Watches {
        Watches {
            next_hop: Arc::clone(&self.next_hop),
            files: Arc::clone(&self.metrics_file),
            problems: Arc::clone(&self.problems),
            http: Arc::clone(&self.http),
        }
    }
}
