//! Answers that are kept for as long as DNS allows.
//!
//! Failures are not kept, nor what may not be kept (a TTL of zero). It asks nobody.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_resolver::proto::{
    rr::{Name, RData, RecordType},
    serialize::binary::BinEncodable,
};
use moka::{Expiry, sync::Cache};

use super::Answer;

/// Octets that the kept answers may take.
pub const KEPT_OCTETS: u64 = 32 << 20;
/// Octets that an answer takes before its records are counted.
const ENTRY_OCTETS: usize = 250;
/// Octets that a record takes beside its data, in memory.
const RECORD_OCTETS: usize = 100;

/// Answers by question, each for its TTL; the least used give way beyond [`KEPT_OCTETS`].
pub(super) struct Answers(Cache<(Name, RecordType), Kept>);

#[derive(Clone)]
struct Kept {
    records: Arc<[RData]>,
    until: Instant,
    octets: u32,
}

impl Answers {
    pub(super) fn new() -> Self {
        let answers = Cache::builder()
            .max_capacity(KEPT_OCTETS)
            .weigher(|_, kept: &Kept| kept.octets)
            .expire_after(Lifetime)
            .build();
        Self(answers)
    }

    /// What is known, and for how long that still holds.
    pub(super) fn get(&self, name: &Name, kind: RecordType) -> Option<Answer<RData>> {
        let kept = self.0.get(&(name.clone(), kind))?;
        let ttl = kept.until.saturating_duration_since(Instant::now());
        Some(Answer { records: kept.records.to_vec(), ttl })
    }

    /// Keeps `answer` in place of what was known.
    pub(super) fn put(&self, name: Name, kind: RecordType, answer: &Answer<RData>) {
        if answer.ttl.is_zero() {
            return self.0.invalidate(&(name, kind));
        }
        let size = |record: &RData| RECORD_OCTETS + record.to_bytes().map_or(0, |octets| octets.len());
        let octets = ENTRY_OCTETS + name.len() + answer.records.iter().map(size).sum::<usize>();
        let kept = Kept {
            records: answer.records.clone().into(),
            until: Instant::now() + answer.ttl,
            octets: u32::try_from(octets).unwrap_or(u32::MAX),
        };
        self.0.insert((name, kind), kept);
    }
}

struct Lifetime;

impl Expiry<(Name, RecordType), Kept> for Lifetime {
    fn expire_after_create(&self, _: &(Name, RecordType), kept: &Kept, now: Instant) -> Option<Duration> {
        Some(kept.until.saturating_duration_since(now))
    }

    fn expire_after_update(
        &self,
        _: &(Name, RecordType),
        kept: &Kept,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(kept.until.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::rdata::TXT;

    use super::*;

    fn text(octets: usize, ttl: u64) -> Answer<RData> {
        let strings = vec!["x".repeat(250); octets / 250];
        let records = vec![RData::TXT(TXT::new(strings))];
        Answer { records, ttl: Duration::from_secs(ttl) }
    }

    #[test]
    fn the_octets_kept_are_bounded_however_large_the_answers_are() {
        let answers = Answers::new();
        for number in 0..2000_u32 {
            let name = Name::from_labels([number.to_string().as_bytes()]).unwrap();
            answers.put(name, RecordType::TXT, &text(60_000, 60));
        }
        answers.0.run_pending_tasks();
        assert!(answers.0.weighted_size() <= KEPT_OCTETS, "{}", answers.0.weighted_size());
        assert!(answers.0.entry_count() > 400, "{}", answers.0.entry_count());
    }

    #[test]
    fn an_answer_takes_the_place_of_the_one_before_even_if_it_may_not_be_kept() {
        let answers = Answers::new();
        let name = Name::from_labels(["a"]).unwrap();
        answers.put(name.clone(), RecordType::TXT, &text(250, 60));
        answers.put(name.clone(), RecordType::TXT, &text(500, 60));
        let kept = answers.get(&name, RecordType::TXT).unwrap();
        assert_eq!(kept.records, text(500, 60).records);
        answers.put(name.clone(), RecordType::TXT, &text(250, 0));
        assert_eq!(answers.get(&name, RecordType::TXT), None);
    }
}
