//! Reverse DNS of a source (RFC 8601 3, "iprev"), and the cache of its results.
//!
//! The treatment of a source without a PTR record is not its business.

mod result;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use moka::{future::Cache, notification::RemovalCause};
use tokio::time::timeout_at;
use tracing::{debug, info};

use crate::dns::{DnsAnswer, Expiring, Lifetime, Resolver, ascii_name};

pub use result::{PtrResult, Unanswered};

/// Names of one address that are kept and followed (RFC 8601 3 asks for a limit).
pub const MAX_NAMES: usize = 10;
/// How long a check may take in all. A source waits for it at its first RCPT, five minutes if it
/// follows RFC 5321 4.5.3.2.3.
pub const TIME_LIMIT: Duration = Duration::from_secs(20);
/// How long "there is a PTR record" is kept: the TTL within these limits.
pub const POSITIVE_LIFETIME: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(24);
/// How long "there is none" and "none leads back" are believed: short, so that a mended zone is
/// noticed.
pub const NEGATIVE_LIFETIME: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_mins(15);
/// Octets that a [`PtrCache`] may hold: some hundred thousand addresses with a name of usual
/// length.
pub const CACHE_OCTETS: u64 = 32 << 20;
/// Octets that an entry takes before its names are counted.
const ENTRY_OCTETS: usize = 200;

/// The result of reverse DNS, and its lifetime.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PtrFinding {
    /// The result of reverse DNS.
    pub result: PtrResult,
    /// How long it may be kept from now on; `None` when a question had no answer.
    pub lifetime: Option<Duration>,
}

/// Looks up the PTR records of `address`, and the addresses of the first [`MAX_NAMES`] names. Ends
/// within [`TIME_LIMIT`].
///
/// A loopback address has no PTR record: no DNS server vouches for a name of every host (RFC 6303
/// 4.4), and the answer of a library or a hosts file is not DNS.
pub async fn check(dns: &Resolver, address: impl Into<IpAddr>) -> PtrFinding {
    let address = address.into();
    if address.is_loopback() {
        return PtrFinding::known(PtrResult::NoRecord, Duration::ZERO, NEGATIVE_LIFETIME);
    }
    let deadline = tokio::time::Instant::now() + TIME_LIMIT;
    let answer = match timeout_at(deadline, dns.ptr_anew(address)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(failure)) => {
            info!(%address, failure = failure.to_string(), "reverse DNS failed");
            return PtrFinding::unknown(Unanswered::Record);
        }
        Err(_) => {
            info!(%address, "reverse DNS took too long");
            return PtrFinding::unknown(Unanswered::Record);
        }
    };
    if answer.records.is_empty() {
        return PtrFinding::known(PtrResult::NoRecord, answer.ttl, NEGATIVE_LIFETIME);
    }
    let names = usable(&answer.records);
    match timeout_at(deadline, follow(dns, address, &names)).await {
        Ok(Forward::Here { name, ttl }) => {
            PtrFinding::known(PtrResult::Pass { name }, ttl.min(answer.ttl), POSITIVE_LIFETIME)
        }
        Ok(Forward::Elsewhere { ttl }) => {
            PtrFinding::known(PtrResult::Fail { names }, ttl.min(answer.ttl), NEGATIVE_LIFETIME)
        }
        Ok(Forward::Unknown) | Err(_) => PtrFinding::unknown(Unanswered::Names { names }),
    }
}

/// Where names lead.
enum Forward {
    /// One of them to the address.
    Here { name: String, ttl: Duration },
    /// All of them elsewhere, or nowhere.
    Elsewhere { ttl: Duration },
    /// DNS had no answer for some of them, and none of the others leads to the address.
    Unknown,
}

impl PtrFinding {
    fn known(result: PtrResult, ttl: Duration, bounds: RangeInclusive<Duration>) -> Self {
        Self { result, lifetime: Some(ttl.clamp(*bounds.start(), *bounds.end())) }
    }

    fn unknown(unanswered: Unanswered) -> Self {
        Self { result: PtrResult::TempError(unanswered), lifetime: None }
    }

    fn recalled(held: &Expiring<Arc<PtrResult>>) -> Self {
        Self { result: (*held.value).clone(), lifetime: Some(held.remaining()) }
    }

    /// As the cache keeps it; none if it may not be kept.
    fn kept(&self) -> Option<Expiring<Arc<PtrResult>>> {
        Some(Expiring::new(Arc::new(self.result.clone()), self.lifetime?))
    }
}

/// Results by address, each for its lifetime. Looks up what it does not hold, once for all who ask
/// at a time. Bounded by [`CACHE_OCTETS`]; failures are not kept.
#[derive(Clone)]
pub struct PtrCache {
    dns: Resolver,
    held: Cache<Ipv6Addr, Expiring<Arc<PtrResult>>>,
    evicted: Arc<AtomicU64>,
}

impl PtrCache {
    /// An empty cache in front of [`check`].
    #[must_use]
    pub fn new(dns: Resolver) -> Self {
        let evicted = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&evicted);
        let held = Cache::builder()
            .max_capacity(CACHE_OCTETS)
            .weigher(|_, held: &Expiring<Arc<PtrResult>>| octets(&held.value))
            .expire_after(Lifetime)
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build();
        Self { dns, held, evicted }
    }

    /// The result for `address`, looked up if need be, on behalf of its network. `learned` gets a
    /// new finding before any other caller.
    pub async fn get(&self, address: Ipv6Addr, learned: impl FnOnce(&PtrFinding) + Send) -> PtrFinding {
        let look_up = async {
            let finding = check(&self.dns.on_behalf_of(address), address).await;
            learned(&finding);
            finding.kept().ok_or(finding)
        };
        match self.held.try_get_with(address, look_up).await {
            Ok(held) => PtrFinding::recalled(&held),
            Err(unknown) => (*unknown).clone(),
        }
    }

    /// The result for `address`, without asking DNS.
    pub async fn known(&self, address: Ipv6Addr) -> Option<PtrFinding> {
        self.held.get(&address).await.map(|held| PtrFinding::recalled(&held))
    }

    /// Forgets `address`, so that the next question goes to DNS.
    pub async fn forget(&self, address: Ipv6Addr) {
        self.held.invalidate(&address).await;
    }

    /// Entries that were evicted since the start.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

/// What an entry takes.
fn octets(result: &PtrResult) -> u32 {
    let names = match result {
        PtrResult::Pass { name } => name.len(),
        PtrResult::Fail { names } => names.iter().map(String::len).sum(),
        PtrResult::NoRecord | PtrResult::TempError(_) => 0,
    };
    u32::try_from(ENTRY_OCTETS + names).unwrap_or(u32::MAX)
}

/// The names that can be shown and followed: the strange ones are dropped, and what is too much.
fn usable(records: &[String]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut names: Vec<String> = records.iter().filter_map(|name| ascii_name(name)).collect();
    names.retain(|name| seen.insert(name.clone()));
    names.truncate(MAX_NAMES);
    names
}

/// Whether one of `names` leads back to `address`. The first that does decides, so that a name
/// whose servers are silent does not hold up the others.
async fn follow(dns: &Resolver, address: IpAddr, names: &[String]) -> Forward {
    let mut lookups: FuturesUnordered<_> =
        names.iter().map(|name| async move { (name, dns.addresses(name, address).await) }).collect();
    let mut is_unknown = false;
    let mut shortest = Duration::MAX;
    while let Some((name, looked_up)) = lookups.next().await {
        match looked_up {
            Ok(DnsAnswer { records, ttl, .. }) if records.contains(&address) => {
                return Forward::Here { name: name.clone(), ttl };
            }
            Ok(DnsAnswer { ttl, .. }) => shortest = shortest.min(ttl),
            Err(failure) => {
                debug!(name, failure = failure.to_string(), "forward DNS failed");
                is_unknown = true;
            }
        }
    }
    if is_unknown { Forward::Unknown } else { Forward::Elsewhere { ttl: shortest } }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;

    use super::*;

    #[tokio::test]
    async fn a_full_cache_evicts_an_entry_and_counts_it() {
        let unreachable: std::net::SocketAddr = "[::1]:1".parse().expect("an address");
        let dns = Resolver::new(&[unreachable], Duration::from_secs(1), NonZeroU8::MIN);
        let cache = PtrCache::new(dns);
        let names = vec!["n".repeat(253); MAX_NAMES];
        let finding =
            PtrFinding { result: PtrResult::Fail { names }, lifetime: Some(Duration::from_secs(60)) };
        let held = finding.kept().expect("it has a lifetime");
        for number in 0..20_000_u128 {
            cache.held.insert(Ipv6Addr::from(number), held.clone()).await;
        }
        cache.held.run_pending_tasks().await;
        assert!(cache.held.weighted_size() <= CACHE_OCTETS, "{}", cache.held.weighted_size());
        assert_eq!(cache.evicted() + cache.held.entry_count(), 20_000);
        assert!(cache.evicted() > 0);
    }
}
