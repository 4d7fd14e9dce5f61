//! What handshakes may cost: how many of them one network may begin, and threads of their own for
//! the work.
//!
//! It knows no certificate and no SMTP.

use std::{
    collections::HashMap,
    io,
    net::Ipv6Addr,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
};
use tokio_util::task::AbortOnDropHandle;

use super::{Handshake, Secured};

/// Counts handshakes, and does their work beside the sessions.
#[derive(Debug)]
pub(crate) struct HandshakeLoad {
    /// None only while it is dropped.
    threads: Option<Runtime>,
    begun: Mutex<Begun>,
}

impl HandshakeLoad {
    /// # Errors
    /// The system has no thread for it.
    pub(crate) fn new() -> io::Result<Self> {
        let threads = Builder::new_multi_thread()
            .worker_threads(thread::available_parallelism().map_or(1, usize::from))
            .thread_name("tls")
            .build()?;
        Ok(Self { threads: Some(threads), begun: Mutex::new(Begun::new(Instant::now())) })
    }

    /// Whether a client at `source` may begin a handshake; if so, it is counted.
    pub(crate) fn admits(&self, source: Ipv6Addr) -> bool {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.admits(source, Instant::now())
    }

    /// Performs a handshake on a thread that serves no session: signing with RSA-4096 takes
    /// milliseconds.
    ///
    /// # Errors
    /// The handshake failed, or the client is gone.
    pub(crate) async fn accept(&self, handshake: Handshake, stream: TcpStream) -> io::Result<Secured> {
        let threads = self.threads.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        let work = threads.spawn(handshake.accept(stream));
        AbortOnDropHandle::new(work).await.map_err(io::Error::other)?
    }
}

impl Drop for HandshakeLoad {
    /// A runtime must not wait for its threads within another one.
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

/// The handshakes of the present [`INTERVAL`].
#[derive(Debug)]
struct Begun {
    since: Instant,
    /// By the length of a prefix and its bits.
    of_networks: HashMap<(u32, u128), u32>,
}

impl Begun {
    fn new(now: Instant) -> Self {
        Self { since: now, of_networks: HashMap::new() }
    }

    fn admits(&mut self, source: Ipv6Addr, now: Instant) -> bool {
        if now.duration_since(self.since) >= INTERVAL {
            *self = Self::new(now);
        }
        let networks = BOUNDS.map(|(length, most)| ((length, source.to_bits() >> (128 - length)), most));
        let begun = |network| self.of_networks.get(network).copied().unwrap_or(0);
        if networks.iter().any(|(network, most)| begun(network) >= *most) {
            return false;
        }
        for (network, _) in networks {
            if self.of_networks.len() < NETWORKS_MAX || self.of_networks.contains_key(&network) {
                *self.of_networks.entry(network).or_default() += 1;
            }
        }
        true
    }
}

const INTERVAL: Duration = Duration::from_secs(10);
/// Handshakes that the sources of one network may begin within it, by the length of its prefix: 20
/// a second of a /64 take a tenth of a core where one takes 5 ms (RSA-4096).
const BOUNDS: [(u32, u32); 2] = [(64, 200), (48, 400)];
/// Networks that are counted. Those beyond are bound by their connections only.
const NETWORKS_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_begins_a_bounded_number_and_others_theirs() {
        let now = Instant::now();
        let mut begun = Begun::new(now);
        let mut admitted = |source: &str, now| {
            let source = source.parse().unwrap();
            (0..1000).filter(|_| begun.admits(source, now)).count()
        };
        let rows = [
            ("2001:db8:0:1::1", 200, "a /64"),
            ("2001:db8:0:1::2", 0, "the same /64"),
            ("2001:db8:0:2::1", 200, "another /64 of the /48"),
            ("2001:db8:0:3::1", 0, "the same /48"),
            ("2001:db8:1:1::1", 200, "another /48"),
        ];
        for (source, wanted, claim) in rows {
            assert_eq!(admitted(source, now), wanted, "{claim}");
        }
        assert_eq!(admitted("2001:db8:0:3::1", now + INTERVAL), 200, "a later interval");
    }

    #[test]
    fn no_more_networks_are_counted_than_there_is_room_for() {
        let now = Instant::now();
        let mut begun = Begun::new(now);
        for number in 0..20_000_u128 {
            assert!(begun.admits((number << 80).into(), now));
        }
        assert_eq!(begun.of_networks.len(), NETWORKS_MAX);
    }
}
