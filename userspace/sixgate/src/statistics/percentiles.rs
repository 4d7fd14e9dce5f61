//! Percentiles of times, estimated from the buckets of the histograms as Prometheus'
//! `histogram_quantile` does: within a bucket all times are taken as evenly spread.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::metrics::TIME_BOUNDS;

/// Counts of times by their upper bound, each including those below: the buckets of a histogram.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Distribution([u64; BUCKETS]);

/// The distributions of all that is timed.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct Distributions {
    pub(crate) ptr: Distribution,
    pub(crate) spf: Distribution,
    pub(crate) dkim: Distribution,
    pub(crate) dns: Distribution,
    pub(crate) next_hop: Distribution,
}

impl Distribution {
    /// Adds `count` times that are at most `bound` seconds, or of any length if it is infinite.
    pub(super) fn add(&mut self, bound: f64, count: u64) {
        let at = if bound.is_infinite() {
            Some(BUCKETS - 1)
        } else {
            TIME_BOUNDS.iter().position(|known| *known == bound)
        };
        if let Some(bucket) = at.and_then(|at| self.0.get_mut(at)) {
            *bucket += count;
        }
    }

    pub(super) fn since(&self, earlier: &Self) -> Self {
        let mut since = *self;
        since.0.iter_mut().zip(earlier.0).for_each(|(count, before)| *count = count.saturating_sub(before));
        since
    }

    /// How many times there are.
    pub(crate) fn count(&self) -> u64 {
        self.0[BUCKETS - 1]
    }

    /// The time, in milliseconds, that `share` of all do not exceed; infinite if that is more than
    /// the largest bound, none without times.
    pub(crate) fn percentile_ms(&self, share: f64) -> Option<f64> {
        let rank = self.count() as f64 * share;
        let at = self.0.iter().position(|count| *count > 0 && *count as f64 >= rank)?;
        let Some(upper) = TIME_BOUNDS.get(at) else {
            return Some(f64::INFINITY);
        };
        let (lower, below) = match at.checked_sub(1) {
            Some(before) => (TIME_BOUNDS[before], self.0[before]),
            None => (0.0, 0),
        };
        let within = (rank - below as f64) / (self.0[at] - below).max(1) as f64;
        Some((lower + (upper - lower) * within) * 1000.0)
    }
}

impl AddAssign for Distribution {
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
    }
}

impl Distributions {
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            ptr: self.ptr.since(&earlier.ptr),
            spf: self.spf.since(&earlier.spf),
            dkim: self.dkim.since(&earlier.dkim),
            dns: self.dns.since(&earlier.dns),
            next_hop: self.next_hop.since(&earlier.next_hop),
        }
    }
}

impl AddAssign for Distributions {
    fn add_assign(&mut self, other: Self) {
        self.ptr += other.ptr;
        self.spf += other.spf;
        self.dkim += other.dkim;
        self.dns += other.dns;
        self.next_hop += other.next_hop;
    }
}

/// Those of the bounds, and one for what is above.
const BUCKETS: usize = TIME_BOUNDS.len() + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_lies_within_its_bucket() {
        let mut times = Distribution::default();
        assert_eq!(times.percentile_ms(0.5), None);
        // 90 up to 1 ms, 8 between 0.1 and 0.25 s, 2 above 60 s
        for bound in TIME_BOUNDS {
            times.add(bound, if bound < 0.25 { 90 } else { 98 });
        }
        times.add(f64::INFINITY, 100);
        assert_eq!(times.count(), 100);
        let found = |share| times.percentile_ms(share).unwrap();
        assert!((found(0.5) - 50.0 / 90.0).abs() < 1e-9, "{}", found(0.5));
        assert!((found(0.95) - (100.0 + 150.0 * 5.0 / 8.0)).abs() < 1e-9, "{}", found(0.95));
        assert!(found(0.99).is_infinite());
    }
}
