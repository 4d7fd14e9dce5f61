//! The most frequent keys of a stream in bounded space: the algorithm SpaceSaving (Metwally,
//! Agrawal, El Abbadi 2005). A key that is not counted replaces the rarest one, and inherits its
//! count: a frequent key is never missing, a count may be too high by that of the rarest.

use std::{collections::HashMap, hash::Hash};

/// Counts of at most so many keys.
#[derive(Debug)]
pub(super) struct SpaceSaving<K> {
    most: usize,
    counts: HashMap<K, Count>,
}

/// How often a key came.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Count {
    pub(super) total: u64,
    pub(super) refused: u64,
}

/// The counts of several, added up.
#[derive(Debug)]
pub(super) struct Recount<K>(HashMap<K, Count>);

impl<K> Default for Recount<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Clone + Eq + Hash> SpaceSaving<K> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, counts: HashMap::with_capacity(most) }
    }

    /// `key` came once.
    pub(super) fn note(&mut self, key: K, is_refused: bool) {
        let mut count = Count::default();
        if self.counts.len() >= self.most && !self.counts.contains_key(&key) {
            let rarest = self.counts.iter().min_by_key(|(_, count)| count.total);
            if let Some((rarest, inherited)) = rarest.map(|(rarest, count)| (rarest.clone(), *count)) {
                self.counts.remove(&rarest);
                // its refusals were those of another
                count.total = inherited.total;
            }
        }
        let count = self.counts.entry(key).or_insert(count);
        count.total += 1;
        count.refused += u64::from(is_refused);
    }
}

impl<K: Clone + Eq + Hash> Recount<K> {
    pub(super) fn add(&mut self, top: &SpaceSaving<K>) {
        for (key, count) in &top.counts {
            let sum = self.0.entry(key.clone()).or_default();
            sum.total += count.total;
            sum.refused += count.refused;
        }
    }

    /// The largest counts, in order.
    pub(super) fn largest(self, rows: usize) -> Vec<(K, Count)> {
        let mut all: Vec<(K, Count)> = self.0.into_iter().collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse((count.total, count.refused)));
        all.truncate(rows);
        all
    }
}
