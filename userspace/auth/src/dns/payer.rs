//! Who pays for questions: a network, and of its budget the part that one sender's domain may use.
//!
//! It asks nothing. The budgets themselves are in `bounds`.

use std::{
    hash::{BuildHasher as _, RandomState},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use super::bounds::{Budgets, DnsBounds};
use sixgate_base::fair_share::Network;

/// Questions that one check may cause as usual ones. What most domains need is less.
pub const USUAL_QUESTIONS: u32 = 20;
/// The part of a network's budget that the questions of checks beyond [`USUAL_QUESTIONS`] may use,
/// and likewise the checks of all subdomains of one registered domain, such as `example.org` or
/// `example.co.uk`: one in so many. Subdomains cost nothing to make.
pub const PART: u32 = 2;

/// Whose budgets questions are paid from.
#[derive(Clone)]
pub(super) struct Payer {
    pub(super) network: Network,
    check: Option<Arc<CheckedDomain>>,
}

/// A check about a domain.
struct CheckedDomain {
    /// Of the domain's name.
    hash: u64,
    /// Of the registered domain that it is in.
    above: u64,
    paid: AtomicU32,
}

/// The budget that is used up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Lack {
    /// The network's budget.
    Network,
    /// The part of it for the domain.
    Domain,
    /// The part of it for checks that ask much.
    Costly,
}

/// All budgets. One domain, however its records are written, uses up a part of a network's budget
/// only: a provider's other mail is checked all the same. Many domains whose checks each ask much
/// use up a part together.
pub(super) struct Budget {
    networks: Budgets<Network>,
    domains: Budgets<(Network, u64)>,
    above: Budgets<(Network, u64)>,
    costly: Budgets<Network>,
    hasher: RandomState,
}

impl Payer {
    pub(super) fn new(network: Network) -> Self {
        Self { network, check: None }
    }
}

impl Budget {
    pub(super) fn new(bounds: &DnsBounds) -> Self {
        let part = NonZeroU32::new(bounds.questions_per_minute.get() / PART).unwrap_or(NonZeroU32::MIN);
        Self {
            networks: Budgets::new(bounds.questions_per_minute),
            domains: Budgets::new(bounds.questions_per_domain),
            above: Budgets::new(part),
            costly: Budgets::new(part),
            hasher: RandomState::new(),
        }
    }

    /// `payer` for the questions of one check about `domain`.
    pub(super) fn of_check(&self, payer: &Payer, domain: &str) -> Payer {
        let domain = domain.trim_end_matches('.').to_ascii_lowercase();
        let [hash, above] = [&domain, registered(&domain)].map(|name| self.hasher.hash_one(name));
        let check = CheckedDomain { hash, above, paid: AtomicU32::new(0) };
        Payer { network: payer.network, check: Some(Arc::new(check)) }
    }

    /// Whether [`Self::pay`] may succeed.
    pub(super) fn affords(&self, payer: &Payer, now: Instant) -> Result<(), Lack> {
        if let Some(check) = &payer.check {
            let affords = self.domains.affords((payer.network, check.hash), now)
                && self.above.affords((payer.network, check.above), now);
            if !affords {
                return Err(Lack::Domain);
            }
        }
        if self.networks.affords(payer.network, now) { Ok(()) } else { Err(Lack::Network) }
    }

    /// Pays for one question.
    pub(super) fn pay(&self, payer: &Payer, now: Instant) -> Result<(), Lack> {
        if let Some(check) = &payer.check {
            let pays = self.domains.spend((payer.network, check.hash), now)
                && self.above.spend((payer.network, check.above), now);
            if !pays {
                return Err(Lack::Domain);
            }
            let paid = check.paid.fetch_add(1, Ordering::Relaxed);
            if paid >= USUAL_QUESTIONS && !self.costly.spend(payer.network, now) {
                return Err(Lack::Costly);
            }
        }
        if self.networks.spend(payer.network, now) { Ok(()) } else { Err(Lack::Network) }
    }

    /// How often a network's budget, a domain's, and the part for checks that ask much were used
    /// up.
    pub(super) fn exceeded(&self) -> [u64; 3] {
        let domains = self.domains.exceeded() + self.above.exceeded();
        [self.networks.exceeded(), domains, self.costly.exceeded()]
    }
}

/// The registered domain that `domain` is in, by the public suffix list: one label more than the
/// suffix. The suffix itself, if the list calls it private: below it names cost nothing, as below a
/// provider of dynamic DNS.
fn registered(domain: &str) -> &str {
    let suffix = psl::suffix(domain.as_bytes());
    let name = match suffix {
        Some(suffix) if suffix.typ() == Some(psl::Type::Private) => str::from_utf8(suffix.as_bytes()).ok(),
        _ => psl::domain_str(domain),
    };
    name.unwrap_or(domain)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn budget() -> (Budget, Payer) {
        let number = |number| NonZeroU32::new(number).unwrap();
        let bounds = DnsBounds {
            questions_per_minute: number(400),
            questions_per_domain: number(100),
            ..DnsBounds::default()
        };
        let network = "2001:db8::1".parse::<Ipv6Addr>().unwrap().into();
        (Budget::new(&bounds), Payer::new(network))
    }

    #[test]
    fn one_domain_uses_up_its_part_of_a_network_and_no_more() {
        let (budget, network) = budget();
        let now = Instant::now();
        let paid = |domain| {
            let payer = budget.of_check(&network, domain);
            (0..20).filter(|_| budget.pay(&payer, now).is_ok()).count()
        };
        let hungry: usize = (0..30).map(|_| paid("hungry.example")).sum();
        assert_eq!(hungry, 100);
        assert_eq!(paid("a.example") + paid("b.example"), 40);
        assert_eq!(budget.exceeded(), [0, 500, 0]);
    }

    #[test]
    fn many_domains_whose_checks_ask_much_leave_a_part_for_the_others() {
        let (budget, network) = budget();
        let now = Instant::now();
        let paid = |domain: &str, questions| {
            let payer = budget.of_check(&network, domain);
            (0..questions).filter(|_| budget.pay(&payer, now).is_ok()).count()
        };
        // eighty costly ones each, of which there are two hundred in all
        let hungry: usize = (0..3).map(|number| paid(&format!("hungry{number}.example"), 100)).sum();
        assert_eq!(hungry, 3 * 20 + 200);
        assert_eq!(paid("a.example", 20), 20);
        assert_eq!(budget.affords(&network, now), Ok(()));
    }

    #[test]
    fn subdomains_have_a_part_in_common() {
        let (budget, network) = budget();
        let now = Instant::now();
        let paid = |domain: &str| {
            let payer = budget.of_check(&network, domain);
            (0..20).filter(|_| budget.pay(&payer, now).is_ok()).count()
        };
        let hungry: usize = (0..100).map(|number| paid(&format!("{number}.hungry.example"))).sum();
        assert_eq!((hungry, paid("hungry.example")), (200, 0));
        assert_eq!((paid("a.example"), paid("b.c.example")), (20, 20));
    }

    #[test]
    fn domains_of_one_public_suffix_have_nothing_in_common() {
        for (domain, wanted) in [
            ("a.b.example.co.uk", "example.co.uk"),
            ("example.co.uk", "example.co.uk"),
            ("co.uk", "co.uk"),
            ("a.example.com.br", "example.com.br"),
            ("a.example.org", "example.org"),
            ("a.b.unknown", "b.unknown"),
            ("localhost", "localhost"),
            ("a.b.duckdns.org", "duckdns.org"),
            ("", ""),
        ] {
            assert_eq!(registered(domain), wanted, "{domain}");
        }
        let (budget, network) = budget();
        let now = Instant::now();
        let paid = |domain: &str| {
            let payer = budget.of_check(&network, domain);
            (0..20).filter(|_| budget.pay(&payer, now).is_ok()).count()
        };
        let many: usize = (0..15).map(|number| paid(&format!("example{number}.co.uk"))).sum();
        assert_eq!(many, 15 * 20);
        let hungry: usize = (0..6).map(|_| paid("Hungry.Co.Uk.") + paid("hungry.co.uk")).sum();
        assert_eq!(hungry, 100, "one domain, however it is written");
    }
}
