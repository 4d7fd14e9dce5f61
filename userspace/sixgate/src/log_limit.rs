//! How many lines clients may leave in the log: a limit for every line of INFO and above,
//! regardless of the code that logs it.
//!
//! It sits between tracing and the log's form, so that no line goes around it. It writes none
//! itself.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt::Debug,
    net::Ipv6Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sixgate_base::fair_share::Network;
use tokio::time::Instant;
use tracing::{
    Event, Level, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
    span::{Attributes, Id},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// The span of a session; its field `source` is the client's address.
pub(crate) const SESSION: &str = "session";
/// The name of events in a session that are not what became of a command, a message or the session:
/// they have a limit of their own, so that they keep no refusal out of the log.
pub(crate) const DETAIL: &str = "detail";
/// The name of the closing lines of sessions: they, too, have a limit of their own.
pub(crate) const CLOSED: &str = "closed";
/// The name of lines at which sessions begin or break off: they have a limit of their own, too.
pub(crate) const OPENED: &str = "opened";
/// The crate that looks things up: all its events are such details.
const LOOKUPS: &str = "sixgate_auth";

/// Counts lines, and decides which may be logged.
#[derive(Debug, Default)]
pub struct LogLimiter(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    /// No more than there are call sites in the program that log.
    kinds: HashMap<LineKind, KindLines>,
    suppressed_of_sessions: u64,
    suppressed_of_others: u64,
}

/// The lines that have a limit of their own.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum LineKind {
    /// What became of commands, messages and sessions.
    Session,
    /// What else happened in them.
    SessionDetail,
    /// Lines at which they begin or break off, where the form of the log has them.
    SessionOpened,
    /// Their closing lines.
    SessionClosed,
    /// What went wrong in them.
    SessionWarning,
    /// A line outside of sessions, by its call site in the program.
    CallSite(Identifier),
}

impl LineKind {
    fn of_session(event: &Event<'_>) -> Self {
        match event.metadata() {
            metadata if *metadata.level() < Level::INFO => Self::SessionWarning,
            metadata if metadata.name() == DETAIL || metadata.target().starts_with(LOOKUPS) => {
                Self::SessionDetail
            }
            metadata if metadata.name() == OPENED => Self::SessionOpened,
            metadata if metadata.name() == CLOSED => Self::SessionClosed,
            _ => Self::Session,
        }
    }
}

/// The lines of one kind in the present second.
#[derive(Debug)]
struct KindLines {
    name: Cow<'static, str>,
    /// When the second began.
    since: Instant,
    logged: u32,
    /// Only those that had a line, so that there are no more than lines.
    of_64: HashMap<Network, u32>,
    suppressed: u64,
}

impl KindLines {
    fn new(name: Cow<'static, str>, now: Instant) -> Self {
        Self { name, since: now, logged: 0, of_64: HashMap::new(), suppressed: 0 }
    }

    /// Whether one more line may be logged now, about `network` if it is about one.
    fn admits(&mut self, network: Option<Network>, now: Instant) -> bool {
        if self.is_over(now) {
            self.since = now;
            self.logged = 0;
            self.of_64.clear();
        }
        let own = network.and_then(|network| self.of_64.get(&network)).copied().unwrap_or(0);
        if self.logged >= LINES_MAX || own >= NETWORK_LINES_MAX {
            return false;
        }
        self.logged += 1;
        if let Some(network) = network {
            self.of_64.insert(network, own + 1);
        }
        true
    }

    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= SECOND
    }
}

impl LogLimiter {
    /// The layer that asks before each line. It goes around everything that writes.
    pub fn layer(self: &Arc<Self>) -> LimitLayer {
        LimitLayer(Arc::clone(self))
    }

    /// How many lines of each kind were suppressed, told once, after the second is over or
    /// `at_once`.
    pub(crate) fn take_suppressed(&self, at_once: bool) -> Vec<(Cow<'static, str>, u64)> {
        let now = Instant::now();
        let mut lines = self.lock();
        let due = lines.kinds.values_mut().filter(|kind| at_once || kind.is_over(now));
        due.filter(|kind| kind.suppressed > 0)
            .map(|kind| (kind.name.clone(), std::mem::take(&mut kind.suppressed)))
            .collect()
    }

    /// How many lines were suppressed since the start, by the counter's name.
    pub(crate) fn reached(&self) -> [(&'static str, u64); 2] {
        let lines = self.lock();
        [("session_lines", lines.suppressed_of_sessions), ("log_lines", lines.suppressed_of_others)]
    }

    /// Whether one more line may be logged now; if not, the `weight` lines that it stands for are
    /// counted.
    fn admits(
        &self,
        kind: LineKind,
        name: impl FnOnce() -> Cow<'static, str>,
        network: Option<Network>,
        weight: u64,
    ) -> bool {
        let now = Instant::now();
        let mut lines = self.lock();
        let is_session = !matches!(kind, LineKind::CallSite(_));
        let kind = lines.kinds.entry(kind).or_insert_with(|| KindLines::new(name(), now));
        if kind.admits(network, now) {
            return true;
        }
        kind.suppressed += weight;
        if is_session {
            lines.suppressed_of_sessions += weight;
        } else {
            lines.suppressed_of_others += weight;
        }
        false
    }

    /// Counts stay whole at every instant, so that a panic elsewhere does not matter to them.
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks [`LogLimiter`] before each line.
#[derive(Debug)]
pub struct LimitLayer(Arc<LogLimiter>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LimitLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != SESSION {
            return;
        }
        let mut facts = LineFacts::default();
        attributes.record(&mut facts);
        if let (Some(network), Some(span)) = (facts.network, context.span(id)) {
            span.extensions_mut().insert(network);
        }
    }

    fn event_enabled(&self, event: &Event<'_>, context: Context<'_, S>) -> bool {
        // who asks for more sees all of it
        if *event.metadata().level() > Level::INFO {
            return true;
        }
        let session = context.event_scope(event).into_iter().flatten();
        let network = session.filter_map(|span| span.extensions().get::<Network>().copied()).next();
        let mut facts = LineFacts::default();
        event.record(&mut facts);
        let weight = facts.stands_for.unwrap_or(1);
        match network {
            // the next hop has taken the message: its line is the only trace of it
            Some(_) if facts.is_delivered => true,
            Some(_) => {
                let kind = LineKind::of_session(event);
                let name = match kind {
                    LineKind::SessionDetail => "session detail",
                    LineKind::SessionOpened => "session opened",
                    LineKind::SessionClosed => "session closed",
                    LineKind::SessionWarning => "session warning",
                    LineKind::Session | LineKind::CallSite(_) => SESSION,
                };
                self.0.admits(kind, || name.into(), network, weight)
            }
            None => {
                let call_site = LineKind::CallSite(event.metadata().callsite());
                self.0.admits(call_site, || message(event).into(), facts.network, weight)
            }
        }
    }
}

/// The facts in the fields of a span or an event that the limits depend on.
#[derive(Default)]
struct LineFacts {
    /// That of the field `source`.
    network: Option<Network>,
    is_delivered: bool,
    /// Lines that a line stands for, by its field `suppressed`.
    stands_for: Option<u64>,
}

impl Visit for LineFacts {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "source" {
            self.network = format!("{value:?}").parse::<Ipv6Addr>().ok().map(Into::into);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.is_delivered |= field.name() == OUTCOME && value == DELIVERED;
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "suppressed" {
            self.stands_for = Some(value);
        }
    }
}

/// The field that tells what became of a message.
const OUTCOME: &str = "outcome";
/// Its value when the next hop has taken it.
pub(crate) const DELIVERED: &str = "delivered";

/// The text of a line, which names its kind.
fn message(event: &Event<'_>) -> String {
    struct Message(String);
    impl Visit for Message {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            if field.name() == "message" {
                self.0 = format!("{value:?}").chars().take(NAME_MAX).collect();
            }
        }
    }
    let mut message = Message(String::new());
    event.record(&mut message);
    message.0
}

/// Characters of a line by which its kind is named.
const NAME_MAX: usize = 80;
/// Lines of one kind in one second.
const LINES_MAX: u32 = 100;
/// Of these, lines about one /64.
const NETWORK_LINES_MAX: u32 = 25;
const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Option<Network> {
        Some(Network::from(text.parse::<Ipv6Addr>().unwrap()))
    }

    #[test]
    fn a_flood_leaves_a_bounded_number_of_lines() {
        let start = Instant::now();
        let mut lines = KindLines::new("a".into(), start);
        let mut logged = |at| (0..1000).filter(|_| lines.admits(None, at)).count();
        assert_eq!(logged(start), 100);
        assert_eq!(logged(start + SECOND / 2), 0);
        assert_eq!(logged(start + SECOND), 100);
    }

    #[test]
    fn one_network_leaves_lines_for_others() {
        let start = Instant::now();
        let mut lines = KindLines::new("a".into(), start);
        let mut logged = |source, at| (0..1000).filter(|_| lines.admits(network(source), at)).count();
        assert_eq!(logged("2001:db8::1", start), 25);
        assert_eq!(logged("2001:db8::2", start), 0, "the same /64");
        let others = ["2001:db8:1::1", "2001:db8:2::1", "2001:db8:3::1", "2001:db8:4::1"];
        assert_eq!(others.map(|source| logged(source, start)), [25, 25, 25, 0]);
        assert_eq!(logged("2001:db8::1", start + SECOND), 25);
        assert_eq!(lines.of_64.len(), 1);
    }

    #[test]
    fn what_is_suppressed_is_reported_once_by_its_kind() {
        let limiter = LogLimiter::default();
        let admits = |weight| limiter.admits(LineKind::Session, || "session".into(), network("::1"), weight);
        assert_eq!((0..35).filter(|_| admits(1)).count(), 25);
        assert!(!admits(7), "a line that stands for seven");
        assert_eq!(limiter.reached(), [("session_lines", 17), ("log_lines", 0)]);
        assert_eq!(limiter.take_suppressed(true), [("session".into(), 17)]);
        assert_eq!(limiter.take_suppressed(true), []);
    }
}
