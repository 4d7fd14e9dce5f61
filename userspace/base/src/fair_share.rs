//! Supplies that all senders have in common, such as slots for DNS queries or memory for messages,
//! and how much of one the sources of a single network may hold at a time.
//!
//! It counts and admits. The user of the supply decides what is counted, and which reply a sender
//! gets when there is a shortage.

use std::{collections::HashMap, net::Ipv6Addr};

/// A /64: the first 64 bits of an address (RFC 4291 2.5.4), which is what one customer of a network
/// has at least.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Network(u64);

impl From<Ipv6Addr> for Network {
    fn from(address: Ipv6Addr) -> Self {
        Self((address.to_bits() >> 64) as u64)
    }
}

impl Network {
    /// The /48 around it, which is what one customer of a network has at most (RFC 6177 2).
    const fn site(self) -> u64 {
        self.0 >> 16
    }
}

/// The amount of a supply, and how much of it each network holds.
///
/// A /48 may hold as much as it leaves free, a /64 half of that (a dynamic threshold: Choudhury and
/// Hahne, IEEE/ACM Transactions on Networking 6(2), 1998). So a larger free amount lets each
/// network have more, but one /64 never holds more than a third, one /48 never more than a half,
/// and a network that comes anew finds something left even when many others hold all they can. The
/// rule is about several things of one network: a network that holds nothing may take all that is
/// free.
#[derive(Debug)]
pub struct FairShare {
    supply: u64,
    held: u64,
    /// By /64, and by /48; only what holds something.
    of_64: HashMap<u64, u64>,
    of_48: HashMap<u64, u64>,
}

/// The limit that keeps a network from more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shortage {
    /// There is no more.
    All,
    /// The rest is for other networks.
    Network,
}

impl FairShare {
    /// All of `supply` is free.
    pub fn new(supply: u64) -> Self {
        Self { supply, held: 0, of_64: HashMap::new(), of_48: HashMap::new() }
    }

    /// Makes the supply larger or smaller. Amounts that are held stay held, even if they exceed the
    /// new supply.
    pub fn resize(&mut self, supply: u64) {
        self.supply = supply;
    }

    fn free(&self) -> u64 {
        self.supply.saturating_sub(self.held)
    }

    /// Gives `more` to something of `network` that holds `own` already. A `network` of `None` is
    /// bound only by the amount that is free. On a shortage nothing is taken.
    ///
    /// # Errors
    /// [`Shortage`]: the limit that is reached.
    pub fn take(&mut self, network: Option<Network>, own: u64, more: u64) -> Result<(), Shortage> {
        self.check(network, own, more)?;
        self.record(network, more);
        Ok(())
    }

    /// The same, bound by what is free alone; `network` holds it all the same.
    ///
    /// # Errors
    /// [`Shortage::All`]: there is not as much.
    pub fn take_free(&mut self, network: Network, more: u64) -> Result<(), Shortage> {
        self.check(None, 0, more)?;
        self.record(Some(network), more);
        Ok(())
    }

    /// Whether three quarters are taken.
    pub fn is_scarce(&self) -> bool {
        self.held.saturating_mul(4) >= self.supply.saturating_mul(3)
    }

    fn record(&mut self, network: Option<Network>, more: u64) {
        self.held += more;
        if let Some(network) = network {
            *self.of_64.entry(network.0).or_default() += more;
            *self.of_48.entry(network.site()).or_default() += more;
        }
    }

    /// Whether [`Self::take`] would succeed.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn check(&self, network: Option<Network>, own: u64, more: u64) -> Result<(), Shortage> {
        let left = self.free().checked_sub(more).ok_or(Shortage::All)?;
        let Some(network) = network else {
            return Ok(());
        };
        let [of_48, of_64] = self.held(network);
        let may = |held: u64, left: u64| held == own || held.saturating_add(more) <= left;
        if may(of_48, left) && may(of_64, left / 2) { Ok(()) } else { Err(Shortage::Network) }
    }

    /// The amounts that the /48 and the /64 hold.
    fn held(&self, network: Network) -> [u64; 2] {
        let held = |all: &HashMap<u64, u64>, key| all.get(&key).copied().unwrap_or(0);
        [held(&self.of_48, network.site()), held(&self.of_64, network.0)]
    }

    /// Takes back what `network` has held.
    pub fn give_back(&mut self, network: Option<Network>, amount: u64) {
        self.held = self.held.saturating_sub(amount);
        let Some(network) = network else {
            return;
        };
        for (all, key) in [(&mut self.of_64, network.0), (&mut self.of_48, network.site())] {
            match all.get_mut(&key) {
                Some(held) if *held > amount => *held -= amount,
                _ => drop(all.remove(&key)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Option<Network> {
        Some(text.parse::<Ipv6Addr>().unwrap().into())
    }

    /// How many of `amount` each a network gets, at most.
    fn all_it_can(shares: &mut FairShare, text: &str, amount: u64) -> usize {
        (0..10_000).take_while(|_| shares.take(network(text), 0, amount).is_ok()).count()
    }

    #[test]
    fn a_network_that_comes_anew_finds_something_left() {
        let mut shares = FairShare::new(256);
        let rows = [
            ("2001:db8:0:1::1", 85, "a third"),
            ("2001:db8:0:1:ffff::1", 0, "the same /64"),
            ("2001:db8:0:2::1", 43, "the rest of a half"),
            ("2001:db8:0:3::1", 0, "the same /48"),
            ("2001:db8:1::1", 42, "a third of the rest"),
            ("2001:db8:2::1", 28, "and so on"),
            ("2001:db8:3::1", 19, "and so on"),
        ];
        for (source, wanted, claim) in rows {
            assert_eq!(all_it_can(&mut shares, source, 1), wanted, "{claim}");
        }
        let refused = shares.take(network("2001:db8:0:1::1"), 0, 1);
        assert_eq!((refused, shares.free()), (Err(Shortage::Network), 39));
    }

    #[test]
    fn those_who_hold_all_they_can_settle_at_equal_parts() {
        let mut shares = FairShare::new(256);
        let sources = ["2001:db8:0::1", "2001:db8:1::1", "2001:db8:2::1"];
        for _ in 0..1000 {
            for source in sources {
                all_it_can(&mut shares, source, 1);
            }
            for source in sources {
                shares.give_back(network(source), 1);
            }
        }
        let held = sources.map(|source| shares.held(network(source).unwrap())[1]);
        assert!(held.iter().all(|held| (48..=54).contains(held)), "a fifth each: {held:?}");
    }

    #[test]
    fn the_only_one_of_a_network_may_take_all_that_is_free_and_no_more() {
        let mut shares = FairShare::new(100);
        let (one, other) = (network("2001:db8::1"), network("2001:db8:1::1"));
        assert_eq!(shares.take(one, 0, 60), Ok(()));
        assert_eq!(shares.take(one, 60, 30), Ok(()), "the same one grows");
        assert_eq!(shares.take(one, 0, 1), Err(Shortage::Network), "another one of its network");
        assert_eq!(shares.take(other, 0, 11), Err(Shortage::All));
        assert_eq!(shares.take(other, 0, 5), Ok(()));
        assert_eq!(shares.take(None, 0, 5), Ok(()), "of no network");
        assert_eq!(shares.take(None, 0, 1), Err(Shortage::All));
    }

    #[test]
    fn a_supply_that_shrinks_takes_nothing_away() {
        let mut shares = FairShare::new(100);
        assert_eq!(shares.take(None, 0, 60), Ok(()));
        shares.resize(50);
        assert_eq!(shares.take(None, 0, 1), Err(Shortage::All));
        shares.give_back(None, 20);
        assert_eq!([10, 1].map(|more| shares.take(None, 0, more)), [Ok(()), Err(Shortage::All)]);
        shares.resize(60);
        assert_eq!(shares.take(None, 0, 10), Ok(()));
    }

    #[test]
    fn what_is_given_back_leaves_nothing_behind() {
        let mut shares = FairShare::new(100);
        let sources = (0..50_u128).map(|number| Some(Network::from(Ipv6Addr::from(number << 72))));
        for source in sources.clone() {
            assert_eq!(
                (shares.take(source, 0, 1), shares.take(source, 0, 100)),
                (Ok(()), Err(Shortage::All))
            );
        }
        assert!(!shares.of_64.is_empty() && !shares.of_48.is_empty());
        sources.for_each(|source| shares.give_back(source, 1));
        assert!(shares.held == 0 && shares.of_64.is_empty() && shares.of_48.is_empty());
    }
}
