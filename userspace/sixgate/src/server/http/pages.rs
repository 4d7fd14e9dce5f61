//! What each path answers.
//!
//! It collects what the parts of the daemon know; connections and refused requests are elsewhere.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hyper::StatusCode;

use super::request::{Answer, Request, answer, text};
use crate::{
    metrics::TextFormat,
    server::{metrics_sources::MetricsSources, overview::Overview, problems::Problems},
    statistics::is_plain,
    status_page,
};

/// The pages of a running daemon.
pub(crate) struct Pages {
    metrics: Arc<MetricsSources>,
    problems: Arc<Problems>,
    overview: Arc<Overview>,
    is_stopping: AtomicBool,
}

impl Pages {
    pub(crate) fn new(
        metrics: Arc<MetricsSources>,
        problems: Arc<Problems>,
        overview: Arc<Overview>,
    ) -> Self {
        Self { metrics, problems, overview, is_stopping: AtomicBool::new(false) }
    }

    /// Reports from now on that the daemon takes no new mail.
    pub(crate) fn begin_stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// The answer to `request`.
    pub(super) async fn respond(self: &Arc<Self>, request: Request) -> Answer {
        let pages = Arc::clone(self);
        // the store, the maps and the registry are waited for
        let respond = move || match request.path.as_str() {
            "/" => pages.status_page(&request.query),
            "/style.css" => answer(StatusCode::OK, "text/css; charset=utf-8", status_page::STYLE),
            "/icon.svg" => answer(StatusCode::OK, "image/svg+xml", status_page::ICON),
            "/metrics" => pages.metrics(request.takes_open_metrics),
            "/ready" => pages.ready(),
            // an answer is the proof: tasks run, as systemd's watchdog is told
            "/healthz" => text(StatusCode::OK, "ok\n"),
            _ => text(StatusCode::NOT_FOUND, NOT_FOUND),
        };
        let answered = tokio::task::spawn_blocking(respond).await;
        answered.unwrap_or_else(|_| text(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"))
    }

    fn status_page(&self, query: &str) -> Answer {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let search = pairs.find(|(name, _)| name == "q").map(|(_, value)| value).unwrap_or_default();
        let search: String = search.chars().filter(|letter| is_plain(*letter)).take(SEARCH_MAX).collect();
        let snapshot = self.overview.snapshot(&search, status_page::ROWS);
        answer(StatusCode::OK, "text/html; charset=utf-8", status_page::render(&snapshot, &search))
    }

    fn metrics(&self, takes_open_metrics: bool) -> Answer {
        let (format, content_type) = match takes_open_metrics {
            false => (TextFormat::Prometheus, PROMETHEUS),
            true => (TextFormat::OpenMetrics, OPEN_METRICS),
        };
        match self.metrics.text(format) {
            Ok(metrics) => answer(StatusCode::OK, content_type, metrics),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "cannot encode the metrics\n"),
        }
    }

    /// Whether mail is taken, and a line for each reason why not.
    fn ready(&self) -> Answer {
        let mut reasons = self.problems.not_ready();
        if self.is_stopping.load(Ordering::Relaxed) {
            reasons.insert(0, "the daemon is stopping".to_owned());
        }
        if reasons.is_empty() {
            return text(StatusCode::OK, "ready\n");
        }
        let lines: String = reasons.iter().map(|reason| format!("not ready: {reason}\n")).collect();
        text(StatusCode::SERVICE_UNAVAILABLE, lines)
    }
}

/// Characters of a search that count.
const SEARCH_MAX: usize = 200;
const NOT_FOUND: &str = "not found: there are /, /metrics, /healthz and /ready\n";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
