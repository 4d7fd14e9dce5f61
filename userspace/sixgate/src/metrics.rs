//! The daemon's counters, in the Prometheus text format 0.0.4, which node_exporter's textfile
//! collector reads.
//!
//! It owns what is counted in user space; the kernel's counters are copied from STATS. Labels are
//! terms of ours from short fixed lists, never a text that a client sent.

mod state;
mod times;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use jiff::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode_registry},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use sixgate_base::bounded;
use sixgate_common::stat::Stat;
use tempfile::NamedTempFile;

pub(crate) use state::{DaemonState, StoreEntries};
pub(crate) use times::{Check, NextHopStep, TIME_BOUNDS, Times};

use state::StateGauges;

/// All counters of the daemon.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    sessions: Family<OutcomeLabel, Counter>,
    recipients: Family<OutcomeLabel, Counter>,
    messages: Family<OutcomeLabel, Counter>,
    shadow: Family<ReasonLabel, Counter>,
    not_shadowed: Family<ReasonLabel, Counter>,
    ptr: Family<ResultLabel, Counter>,
    limits: Family<LimitLabel, Counter>,
    handshakes: Family<OutcomeLabel, Counter>,
    tags: Counter,
    kernel_sessions: Family<EndLabel, Counter>,
    xdp: Family<CounterLabel, Counter>,
    open: Gauge<u64, AtomicU64>,
    state: StateGauges,
    times: Times,
}

/// The text formats in which the metrics can be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TextFormat {
    /// The Prometheus text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0, which ends with `# EOF`.
    OpenMetrics,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct EndLabel {
    reason: &'static str,
    ending: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CounterLabel {
    counter: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct LimitLabel {
    limit: &'static str,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("sixgate");
        let started = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
        let state = StateGauges::register(&mut registry, started);
        let times = Times::register(&mut registry);
        let mut metrics = Self {
            state,
            times,
            registry,
            sessions: Family::default(),
            recipients: Family::default(),
            messages: Family::default(),
            shadow: Family::default(),
            not_shadowed: Family::default(),
            ptr: Family::default(),
            limits: Family::default(),
            handshakes: Family::default(),
            tags: Counter::default(),
            kernel_sessions: Family::default(),
            xdp: Family::default(),
            open: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("sessions", "Sessions, by how they were admitted", metrics.sessions.clone());
        registry.register("recipients", "Recipients, by verdict", metrics.recipients.clone());
        registry.register("messages", "Messages, by what became of them", metrics.messages.clone());
        registry.register("shadow", "What enforce would have refused, by reason", metrics.shadow.clone());
        registry.register(
            "not_shadowed",
            "Refusals that shadow mode makes, too, by reason",
            metrics.not_shadowed.clone(),
        );
        registry.register("ptr", "Reverse DNS of sessions, by result", metrics.ptr.clone());
        registry.register("limits_reached", "Bounds that were reached", metrics.limits.clone());
        registry.register("tls_handshakes", "TLS handshakes, by outcome", metrics.handshakes.clone());
        registry.register("tags", "Sessions that the XDP program had tagged", metrics.tags.clone());
        registry.register(
            "kernel_sessions",
            "Sessions that the XDP program refused by itself, by reason and ending",
            metrics.kernel_sessions.clone(),
        );
        registry.register("xdp", "The XDP program's counters", metrics.xdp.clone());
        registry.register("sessions_open", "Sessions open now", metrics.open.clone());
        metrics
    }

    /// A session was admitted, refused or rejected.
    pub(crate) fn session(&self, outcome: &'static str) {
        self.sessions.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// A recipient was judged.
    pub(crate) fn recipient(&self, outcome: &'static str) {
        self.recipients.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// A message came to its end.
    pub(crate) fn message(&self, outcome: &'static str) {
        self.messages.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Something was passed on that `enforce` refuses.
    pub(crate) fn shadow(&self, reason: &'static str) {
        self.shadow.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Something was refused although the mode is shadow.
    pub(crate) fn not_shadowed(&self, reason: &'static str) {
        self.not_shadowed.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// A session learned about its source's reverse DNS.
    pub(crate) fn ptr(&self, result: &'static str) {
        self.ptr.get_or_create(&ResultLabel { result }).inc();
    }

    /// A bound was reached.
    pub(crate) fn limit(&self, limit: &'static str) {
        self.limits.get_or_create(&LimitLabel { limit }).inc();
    }

    /// A bound was reached several times.
    pub(crate) fn add_limit(&self, limit: &'static str, times: u64) {
        self.limits.get_or_create(&LimitLabel { limit }).inc_by(times);
    }

    /// How often bounds were reached that count for themselves.
    pub(crate) fn limits(&self, reached: &[(&'static str, u64)]) {
        for (limit, times) in reached {
            self.limits.get_or_create(&LimitLabel { limit }).inner().store(*times, Ordering::Relaxed);
        }
    }

    /// A TLS handshake came to its end.
    pub(crate) fn handshake(&self, outcome: &'static str) {
        self.handshakes.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// The XDP program had tagged a session.
    pub(crate) fn tag(&self) {
        self.tags.inc();
    }

    /// The XDP program refused a session by itself.
    pub(crate) fn kernel_session(&self, reason: &'static str, ending: &'static str) {
        self.kernel_sessions.get_or_create(&EndLabel { reason, ending }).inc();
    }

    /// The XDP program's counters. They begin anew when the program's maps are made anew, as
    /// counters may.
    pub(crate) fn xdp(&self, counters: &[(Stat, u64)]) {
        for (stat, value) in counters {
            let counter = self.xdp.get_or_create(&CounterLabel { counter: stat.name() });
            counter.inner().store(*value, Ordering::Relaxed);
        }
    }

    /// Sessions open now.
    pub(crate) fn open(&self, sessions: u32) {
        self.open.set(sessions.into());
    }

    /// How the daemon is now.
    pub(crate) fn state(&self, state: &DaemonState) {
        self.state.set(state);
    }

    /// Where times are noted.
    pub(crate) const fn times(&self) -> &Times {
        &self.times
    }

    /// Everything as text.
    ///
    /// # Errors
    /// None that is known: a sample's encoder could fail.
    pub(crate) fn text(&self, format: TextFormat) -> io::Result<String> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry).map_err(io::Error::other)?;
        Ok(match format {
            TextFormat::Prometheus => prometheus_text(&text),
            TextFormat::OpenMetrics => {
                text.push_str(END);
                text
            }
        })
    }

    /// Writes everything to `path`, whole or not at all; every user may read the file, regardless
    /// of the umask. Another file than one that was written so stays as it is.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        check_file(path)?;
        let text = self.text(TextFormat::Prometheus)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut file = NamedTempFile::new_in(directory.unwrap_or_else(|| Path::new(".")))?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        file.as_file().set_permissions(PermissionsExt::from_mode(FILE_MODE))?;
        file.persist(path)?;
        Ok(())
    }
}

/// Looks whether `path` may be replaced: nothing is there, an empty file, or metrics of ours.
///
/// # Errors
///
/// Another file is there, or it cannot be read.
pub(crate) fn check_file(path: &Path) -> io::Result<()> {
    let file = match bounded::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let mut start = Vec::new();
    file.take(OURS.len() as u64).read_to_end(&mut start)?;
    if start.is_empty() || start == OURS.as_bytes() {
        return Ok(());
    }
    Err(io::Error::other(
        "a file that does not hold sixgate's metrics is there already: it stays as it is; name another path in metrics.file",
    ))
}

/// OpenMetrics text in the Prometheus text format 0.0.4. In OpenMetrics the HELP and TYPE lines of
/// a counter have its name without `_total`, so that a reader of the older format finds no line for
/// `name_total`: its type is lost.
fn prometheus_text(open_metrics: &str) -> String {
    let types = open_metrics.lines().filter_map(|line| line.strip_prefix(TYPE));
    let counters: BTreeSet<&str> = types.filter_map(|line| line.strip_suffix(COUNTER)).collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let described = [HELP, TYPE].into_iter().find_map(|start| Some((start, line.strip_prefix(start)?)));
        let named = described.and_then(|(start, rest)| Some((start, rest.split_once(' ')?)));
        // writing to a String cannot fail
        let _ = match named {
            Some((start, (name, rest))) if counters.contains(name) => {
                writeln!(text, "{start}{name}_total {rest}")
            }
            _ => writeln!(text, "{line}"),
        };
    }
    text
}

/// How a metrics file of ours begins, of each version.
const OURS: &str = "# HELP sixgate_";
const HELP: &str = "# HELP ";
const TYPE: &str = "# TYPE ";
const COUNTER: &str = " counter";
/// The last line of OpenMetrics.
const END: &str = "# EOF\n";
/// The collector is another user.
const FILE_MODE: u32 = 0o644;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sixgate.prom");
        let metrics = Metrics::new();
        metrics.message("delivered");
        metrics.write(&path).unwrap();
        metrics.message("delivered");
        metrics.write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("sixgate_messages_total{outcome=\"delivered\"} 2\n"), "{text}");
        assert!(text.contains("# TYPE sixgate_messages_total counter\n"), "{text}");
        assert!(text.contains("# TYPE sixgate_sessions_open gauge\n"), "{text}");
        assert!(!text.contains("EOF"), "{text}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
