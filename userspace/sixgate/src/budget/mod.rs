//! What all sessions share and may use up: connections, memory and disk for messages, handshakes,
//! lines of the log.
//!
//! It counts octets and admits; the reply to a client when a bound is reached is chosen elsewhere.

pub(crate) mod connections;

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use sixgate_base::fair_share::{FairShare, Network, Shortage};

use crate::{
    budget::connections::{ConnectionBounds, ConnectionLimits},
    config::Limits,
    log_limit::LogLimiter,
    tls::HandshakeLoad,
};

/// The budgets of the process.
pub(crate) struct Budgets {
    pub(crate) connections: Arc<ConnectionLimits>,
    pub(crate) memory: Arc<OctetBudget>,
    pub(crate) disk: Arc<OctetBudget>,
    pub(crate) handshakes: HandshakeLoad,
    pub(crate) log: Arc<LogLimiter>,
}

impl Budgets {
    /// # Errors
    ///
    /// The system has no threads for handshakes.
    pub(crate) fn new(limits: &Limits, log: Arc<LogLimiter>) -> io::Result<Self> {
        Ok(Self {
            connections: ConnectionLimits::new(ConnectionBounds::from(limits)),
            memory: OctetBudget::new(limits.message_memory.get()),
            disk: OctetBudget::new(limits.message_disk.get()),
            handshakes: HandshakeLoad::new()?,
            log,
        })
    }

    /// Bounds them by other limits from now on; what is held stays held.
    pub(crate) fn resize(&self, limits: &Limits) {
        self.connections.rebound(ConnectionBounds::from(limits));
        self.memory.resize(limits.message_memory.get());
        self.disk.resize(limits.message_disk.get());
    }

    /// How often bounds were reached that count for themselves, for the metrics.
    pub(crate) fn reached(&self) -> [(&'static str, u64); 4] {
        let [of_sessions, of_others] = self.log.reached();
        let memory = ("message_memory_share", self.memory.missed_share());
        [of_sessions, of_others, memory, ("message_disk_share", self.disk.missed_share())]
    }
}

/// The space for all messages together, in memory or on the disk, octets; how much of it is whose
/// is the rule of [`FairShare`].
#[derive(Debug)]
pub(crate) struct OctetBudget {
    shares: Mutex<FairShare>,
    missed_share: AtomicU64,
}

/// One message's part of the budget; dropping it gives the part back.
#[derive(Debug)]
pub(crate) struct OctetShare {
    budget: Arc<OctetBudget>,
    /// Whose it is; none: bound by what is free alone.
    network: Option<Network>,
    held: u64,
}

impl OctetBudget {
    pub(crate) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { shares: Mutex::new(FairShare::new(max)), missed_share: AtomicU64::new(0) })
    }

    /// Makes the space larger or smaller; what is held stays held.
    pub(crate) fn resize(&self, max: u64) {
        self.lock().resize(max);
    }

    pub(crate) fn share(self: &Arc<Self>, network: Option<Network>) -> OctetShare {
        OctetShare { budget: Arc::clone(self), network, held: 0 }
    }

    /// How often there was no more space for one network, since the start.
    fn missed_share(&self) -> u64 {
        self.missed_share.load(Ordering::Relaxed)
    }

    /// Numbers stay whole at every instant, so that a panic elsewhere does not matter to them.
    fn lock(&self) -> MutexGuard<'_, FairShare> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OctetShare {
    /// Makes the share cover `octets`; false, and no change, if the budget does not allow it.
    pub(crate) fn cover(&mut self, octets: u64) -> bool {
        let more = octets.saturating_sub(self.held);
        if more == 0 {
            return true;
        }
        let taken = self.budget.lock().take(self.network, self.held, more);
        match taken {
            Ok(()) => self.held += more,
            Err(Shortage::Network) => drop(self.budget.missed_share.fetch_add(1, Ordering::Relaxed)),
            Err(Shortage::All) => {}
        }
        taken.is_ok()
    }

    /// Gives everything back.
    pub(crate) fn release(&mut self) {
        if self.held > 0 {
            self.budget.lock().give_back(self.network, self.held);
            self.held = 0;
        }
    }
}

impl Drop for OctetShare {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn network(text: &str) -> Option<Network> {
        Some(text.parse::<Ipv6Addr>().unwrap().into())
    }

    #[test]
    fn room_is_covered_whole_or_not_at_all() {
        let budget = OctetBudget::new(100);
        let (mut one, mut other) = (budget.share(network("2001:db8::1")), budget.share(None));
        assert!(one.cover(60));
        assert!(one.cover(50));
        assert!(!other.cover(41));
        assert!(other.cover(40));
        one.release();
        assert!(other.cover(100));
        drop(other);
        assert!(one.cover(100));
        assert_eq!(budget.missed_share(), 0);
    }

    #[test]
    fn the_messages_of_one_network_leave_room_for_those_of_others() {
        let budget = OctetBudget::new(80 * 50);
        let all_it_can = |source: &str| -> Vec<OctetShare> {
            std::iter::repeat_with(|| budget.share(network(source)))
                .map_while(|mut message| message.cover(50).then_some(message))
                .collect()
        };
        let held = ["2001:db8:a::1", "2001:db8:a:1::1", "2001:db8:b::1", "2001:db8:c::1"].map(all_it_can);
        assert_eq!(held.each_ref().map(Vec::len), [26, 14, 13, 9]);
        assert_eq!(budget.missed_share(), 4);
        assert_eq!(all_it_can("2001:db8:d::1").len(), 6, "a newcomer");
        drop(held);
        assert_eq!(all_it_can("2001:db8:d::1").len(), 26);
    }
}
