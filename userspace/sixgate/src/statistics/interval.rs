//! Totals by interval of time, of the last intervals only.

use std::{collections::VecDeque, time::Duration};

use super::{snapshot::Period, totals::Totals};

/// The totals of the last intervals in which there were any.
#[derive(Debug)]
pub(super) struct Ring {
    length: Duration,
    most: usize,
    /// By the number of the interval since the start.
    intervals: VecDeque<(u64, Totals)>,
}

impl Ring {
    /// A ring of `most` intervals that are `length` long.
    pub(super) fn new(length: Duration, most: usize) -> Self {
        Self { length, most, intervals: VecDeque::with_capacity(most) }
    }

    /// Adds what has happened at `age`.
    pub(super) fn add(&mut self, age: Duration, totals: &Totals) {
        let number = self.number(age);
        match self.intervals.back_mut() {
            Some((last, sum)) if *last == number => *sum += totals,
            _ => self.intervals.push_back((number, totals.clone())),
        }
        while self.intervals.front().is_some_and(|(first, _)| first + self.most as u64 <= number) {
            self.intervals.pop_front();
        }
    }

    /// The last intervals until `age`, the oldest first; those before the start are empty.
    pub(super) fn period(&self, age: Duration) -> Period {
        let number = self.number(age);
        let mut period = Period {
            bar_seconds: self.length.as_secs(),
            delivered: vec![0; self.most],
            refused: vec![Default::default(); self.most],
            shadow: vec![0; self.most],
            ..Period::default()
        };
        for (at, totals) in &self.intervals {
            let ago = usize::try_from(number.saturating_sub(*at)).unwrap_or(usize::MAX);
            let Some(bar) = self.most.checked_sub(ago + 1) else { continue };
            period.delivered[bar] = totals.delivered;
            period.refused[bar].clone_from(&totals.refused);
            period.shadow[bar] = totals.shadow;
            period.dns += totals.dns;
            period.next_hop += totals.next_hop;
            period.times += totals.times;
        }
        period
    }

    fn number(&self, age: Duration) -> u64 {
        age.as_secs() / self.length.as_secs()
    }
}
