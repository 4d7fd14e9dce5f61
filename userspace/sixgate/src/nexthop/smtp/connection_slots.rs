//! How many connections to the mail server behind there are, and which client's network holds how
//! many of them.
//!
//! It owns the bound and its counters; it opens no connection.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sixgate_base::{
    fair_semaphore::{FairSemaphore, Permit},
    fair_share::Network,
};

/// How long a recipient waits for a connection to the mail server behind. Connections that are idle
/// become free meanwhile.
pub const SLOT_WAIT: Duration = Duration::from_secs(30);
/// One of so many connections is for trusted sources only.
const RESERVE: u32 = 10;
/// How often a transaction is repeated on another connection because its own was given back while
/// the client was silent.
pub const RESUMPTIONS_MAX: u32 = 10;

/// How often of these because another client waited for the connection, at most: after that its
/// client has the idle time-out.
pub const PROMPT_RESUMPTIONS_MAX: u32 = 3;
/// How long the client of a transaction may send nothing that the mail server has to know before
/// its connection is given back to a client that waits: longer than the way of a reply and the next
/// command, as a rule.
pub const SILENCE: Duration = Duration::from_millis(500);

/// Bounds of the connections to a mail server behind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ConnectionBounds {
    /// Connections at a time; a probe has one more.
    pub connections: NonZeroU32,
    /// How long one stays open while its client sends nothing that the mail server has to know.
    pub idle: Duration,
}

/// The permits for connections to one next hop.
#[derive(Debug)]
pub(super) struct ConnectionSlots {
    bounds: Mutex<ConnectionBounds>,
    semaphore: Arc<FairSemaphore>,
    too_many_resumptions: AtomicU64,
}

impl ConnectionSlots {
    pub(super) fn new(bounds: ConnectionBounds) -> Self {
        let ConnectionBounds { connections, .. } = bounds;
        Self {
            bounds: Mutex::new(bounds),
            semaphore: FairSemaphore::with_reserve(connections, reserve(connections), SLOT_WAIT),
            too_many_resumptions: AtomicU64::new(0),
        }
    }

    /// Sets other bounds. Connections that are open stay so.
    pub(super) fn set_bounds(&self, bounds: ConnectionBounds) {
        let ConnectionBounds { connections, .. } = bounds;
        *self.bounds.lock().unwrap_or_else(PoisonError::into_inner) = bounds;
        self.semaphore.resize(connections, reserve(connections));
    }

    pub(super) fn idle(&self) -> Duration {
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner).idle
    }

    /// A permit for a connection that a client in `network` needs, a trusted one if there is none;
    /// none after [`SLOT_WAIT`].
    pub(super) async fn acquire(&self, network: Option<Network>) -> Option<Permit> {
        self.semaphore.acquire(network).await
    }

    /// Resolves once a client waits for a permit.
    pub(super) async fn is_waited_for(&self) {
        self.semaphore.is_waited_for().await;
    }

    pub(super) fn count_too_many_resumptions(&self) {
        self.too_many_resumptions.fetch_add(1, Ordering::Relaxed);
    }

    /// How often each bound was reached, by the names of the counters.
    pub(super) fn reached(&self) -> [(&'static str, u64); 3] {
        let [all, share] = self.semaphore.missed();
        let resumptions = self.too_many_resumptions.load(Ordering::Relaxed);
        [("next_hop_connections", all), ("next_hop_share", share), ("next_hop_resumptions", resumptions)]
    }
}

/// Of so many connections, those for trusted sources only.
fn reserve(connections: NonZeroU32) -> u32 {
    connections.get().div_ceil(RESERVE)
}
