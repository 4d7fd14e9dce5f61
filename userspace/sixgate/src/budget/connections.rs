//! Connections that are open: in all, and of each source's address and networks.
//!
//! It counts and admits; the reply to a sender when a bound is reached is made elsewhere. How fast
//! connections come is not its business.

use std::{
    collections::HashMap,
    net::Ipv6Addr,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sixgate_base::fair_share::{FairShare, Network, Shortage};
use tokio::sync::watch;

use crate::config::Limits;

/// How many connections may be open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionBounds {
    total: NonZeroU32,
    /// In the order of [`Scope::ALL`].
    of_source: [NonZeroU32; Scope::ALL.len()],
}

impl ConnectionBounds {
    /// How many of them are for sources that are not trusted; the rest is a reserve for those that
    /// are.
    fn shared(&self) -> u64 {
        let total = self.total.get();
        u64::from(total - total / RESERVE)
    }
}

/// One connection of so many is kept for trusted sources.
const RESERVE: u32 = 10;

impl From<&Limits> for ConnectionBounds {
    fn from(limits: &Limits) -> Self {
        Self {
            total: limits.connections,
            of_source: [
                limits.connections_per_source,
                limits.connections_per_64,
                limits.connections_per_56,
                limits.connections_per_48,
            ],
        }
    }
}

/// What connections are counted by: the address, and the sizes in which networks are given to
/// customers (RFC 6177 2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scope {
    Address,
    Net64,
    Net56,
    Net48,
}

impl Scope {
    const ALL: [Self; 4] = [Self::Address, Self::Net64, Self::Net56, Self::Net48];

    /// The bits of `source` that are looked at.
    const fn prefix(self, source: Ipv6Addr) -> u128 {
        let length = match self {
            Self::Address => 128,
            Self::Net64 => 64,
            Self::Net56 => 56,
            Self::Net48 => 48,
        };
        source.to_bits() >> (128 - length)
    }
}

/// A bound that was reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Excess {
    Total,
    /// The connections that are left are for other networks.
    Share,
    OfSource(Scope),
}

impl Excess {
    /// The setting, and the counter's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Total => "connections",
            Self::Share => "connections_share",
            Self::OfSource(Scope::Address) => "connections_per_source",
            Self::OfSource(Scope::Net64) => "connections_per_64",
            Self::OfSource(Scope::Net56) => "connections_per_56",
            Self::OfSource(Scope::Net48) => "connections_per_48",
        }
    }
}

/// The kind of client that connects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Origin {
    /// A source that is not trusted.
    Anonymous,
    /// A source in a `trust` prefix: counted in all only, as mail servers exempt their own networks
    /// (Postfix: `smtpd_client_event_limit_exceptions`).
    Trusted,
}

/// Counts open connections and admits new ones within the bounds.
#[derive(Debug)]
pub(crate) struct ConnectionLimits {
    /// Whether so many are open that clients have to hurry.
    stress: watch::Sender<bool>,
    open: Mutex<OpenConnections>,
}

#[derive(Debug)]
struct OpenConnections {
    bounds: ConnectionBounds,
    /// What sources share that are not trusted: all but the reserve.
    shares: FairShare,
    total: u32,
    /// In the order of [`Scope::ALL`]; only what has an open connection: never more than `total`
    /// entries each.
    of_source: [HashMap<u128, u32>; Scope::ALL.len()],
}

/// A counted connection; dropping this ends its count.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    limits: Arc<ConnectionLimits>,
    /// None: counted in all only.
    source: Option<Ipv6Addr>,
}

impl ConnectionLimits {
    pub(crate) fn new(bounds: ConnectionBounds) -> Arc<Self> {
        let open = OpenConnections {
            shares: FairShare::new(bounds.shared()),
            bounds,
            total: 0,
            of_source: [(); Scope::ALL.len()].map(|()| HashMap::new()),
        };
        Arc::new(Self { stress: watch::Sender::new(false), open: Mutex::new(open) })
    }

    /// Admits by other bounds from now on; who is connected stays so.
    pub(crate) fn rebound(&self, bounds: ConnectionBounds) {
        let mut open = self.lock();
        open.shares.resize(bounds.shared());
        open.bounds = bounds;
        self.judge_stress(&open);
    }

    /// Whether clients have to hurry, now and whenever that changes.
    pub(crate) fn stress(&self) -> watch::Receiver<bool> {
        self.stress.subscribe()
    }

    /// Stress begins when three quarters of the connections are open, and ends when less than half
    /// of them are.
    fn judge_stress(&self, open: &OpenConnections) {
        let (count, total) = (u64::from(open.total), u64::from(open.bounds.total.get()));
        self.stress.send_if_modified(|stress| {
            let next = if *stress { count * 2 >= total } else { count * 4 >= total * 3 };
            std::mem::replace(stress, next) != next
        });
    }

    /// Admits a connection from `source`, or gives the first bound that is reached: in all, then
    /// from the address to ever larger networks.
    pub(crate) fn admit(
        self: &Arc<Self>,
        source: Ipv6Addr,
        origin: Origin,
    ) -> Result<ConnectionPermit, Excess> {
        let mut open = self.lock();
        if open.total >= open.bounds.total.get() {
            return Err(Excess::Total);
        }
        let source = (origin == Origin::Anonymous).then_some(source);
        if let Some(source) = source {
            open.add(source)?;
        }
        open.total += 1;
        self.judge_stress(&open);
        Ok(ConnectionPermit { limits: Arc::clone(self), source })
    }

    pub(crate) fn open(&self) -> u32 {
        self.lock().total
    }

    /// Counters stay whole at every instant, so that a panic elsewhere does not matter to them.
    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenConnections {
    /// Counts one more of `source`; nothing is counted if a bound is reached.
    fn add(&mut self, source: Ipv6Addr) -> Result<(), Excess> {
        for ((scope, counts), bound) in Scope::ALL.into_iter().zip(&self.of_source).zip(self.bounds.of_source)
        {
            let count = counts.get(&scope.prefix(source)).copied().unwrap_or(0);
            if count >= bound.get() {
                return Err(Excess::OfSource(scope));
            }
        }
        self.take_share(source.into())?;
        for (scope, counts) in Scope::ALL.into_iter().zip(&mut self.of_source) {
            *counts.entry(scope.prefix(source)).or_default() += 1;
        }
        Ok(())
    }

    /// While there are many left, a network has as many as its own bounds allow; the last quarter
    /// is limited per network.
    fn take_share(&mut self, network: Network) -> Result<(), Excess> {
        let taken = match self.shares.is_scarce() {
            true => self.shares.take(Some(network), 0, 1),
            false => self.shares.take_free(network, 1),
        };
        taken.map_err(|shortage| match shortage {
            Shortage::All => Excess::Total,
            Shortage::Network => Excess::Share,
        })
    }

    fn remove(&mut self, source: Ipv6Addr) {
        self.shares.give_back(Some(source.into()), 1);
        for (scope, counts) in Scope::ALL.into_iter().zip(&mut self.of_source) {
            let prefix = scope.prefix(source);
            match counts.get_mut(&prefix) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(counts.remove(&prefix)),
            }
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.limits.lock();
        open.total = open.total.saturating_sub(1);
        if let Some(source) = self.source {
            open.remove(source);
        }
        self.limits.judge_stress(&open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(total: u32, of_source: [u32; 4]) -> Arc<ConnectionLimits> {
        let bound = |number| NonZeroU32::new(number).unwrap();
        ConnectionLimits::new(ConnectionBounds { total: bound(total), of_source: of_source.map(bound) })
    }

    fn admit(limits: &Arc<ConnectionLimits>, source: &str) -> Result<ConnectionPermit, &'static str> {
        limits.admit(source.parse().unwrap(), Origin::Anonymous).map_err(Excess::name)
    }

    #[test]
    fn the_first_bound_that_is_reached_is_named() {
        let limits = limits(8, [2, 3, 4, 5]);
        let mut open = Vec::new();
        for (source, wanted) in [
            ("2001:db8:0:1::1", None),
            ("2001:db8:0:1::1", None),
            ("2001:db8:0:1::1", Some("connections_per_source")),
            ("2001:db8:0:1::2", None),
            ("2001:db8:0:1::3", Some("connections_per_64")),
            ("2001:db8:0:2::1", None),
            ("2001:db8:0:3::1", Some("connections_per_56")),
            ("2001:db8:0:100::1", None),
            ("2001:db8:0:200::1", Some("connections_per_48")),
            ("2001:db8:1::1", None),
            ("2001:db8:2::1", None),
            ("2001:db8:3::1", None),
            ("2001:db8:4::1", Some("connections")),
            ("2001:db8:0:1::1", Some("connections")),
        ] {
            let admitted = admit(&limits, source);
            assert_eq!(admitted.as_ref().err().copied(), wanted, "{source}");
            open.extend(admitted);
        }
    }

    #[test]
    fn a_dropped_permit_frees_its_slot_and_leaves_no_entry_behind() {
        let limits = limits(3, [2; 4]);
        let first = admit(&limits, "2001:db8::1").unwrap();
        let second = admit(&limits, "2001:db8::2").unwrap();
        assert_eq!(admit(&limits, "2001:db8::3").unwrap_err(), "connections_per_64");
        drop(first);
        let third = admit(&limits, "2001:db8::3").unwrap();
        assert_eq!(limits.open(), 2);
        drop((second, third));
        assert_eq!(limits.open(), 0);
        assert!(limits.lock().of_source.iter().all(HashMap::is_empty));
    }

    #[test]
    fn large_networks_lock_out_neither_others_nor_trusted_sources() {
        let limits = limits(1000, [50, 100, 150, 250]);
        let mut open = Vec::new();
        for site in 1..=8 {
            let sources = (0..1000).map(|number| format!("2001:db8:{site}:{:x}::{number:x}", number * 64));
            open.extend(sources.filter_map(|source| admit(&limits, &source).ok()));
        }
        assert!(limits.open() < 900 && *limits.stress().borrow(), "{}", limits.open());
        assert_eq!(admit(&limits, "2001:db8:1::1").unwrap_err(), "connections_per_48");
        assert_eq!(admit(&limits, "2001:db8:5::1").unwrap_err(), "connections_share");
        open.push(admit(&limits, "2001:db8:99::1").expect("a newcomer"));
        let trusted = || limits.admit("2001:db8:1::1".parse().unwrap(), Origin::Trusted);
        let reserved: Vec<_> = (0..100).map(|_| trusted().unwrap()).collect();
        drop(open);
        assert!(!*limits.stress().borrow());
        drop(reserved);
        assert_eq!(limits.open(), 0);
    }

    #[test]
    fn a_trusted_source_is_counted_in_all_only() {
        let limits = limits(3, [1; 4]);
        let source = "2001:db8::1".parse().unwrap();
        let trusted = || limits.admit(source, Origin::Trusted);
        let open = [trusted().unwrap(), trusted().unwrap()];
        let anonymous = admit(&limits, "2001:db8::1").unwrap();
        assert_eq!(trusted().unwrap_err(), Excess::Total);
        drop(anonymous);
        drop(open);
        assert!(trusted().is_ok() && limits.open() == 0);
    }
}
