//! Answers that are kept for as long as DNS allows.
//!
//! Failures are not kept, nor answers with a TTL of zero. It asks no server.

use std::sync::Arc;

use hickory_proto::{
    rr::{Name, RData, RecordType},
    serialize::binary::BinEncodable,
};
use moka::sync::Cache;

use super::{
    expiring::{Expiring, Lifetime},
    result::DnsAnswer,
};

/// Octets that the kept answers may take.
pub const KEPT_OCTETS: u64 = 32 << 20;
/// Octets that an answer takes before its records are counted.
const ENTRY_OCTETS: usize = 250;
/// Octets that a record takes beside its data, in memory.
const RECORD_OCTETS: usize = 100;

/// Answers by question, each for its TTL; the least used give way beyond [`KEPT_OCTETS`].
pub(super) struct Answers(Cache<(Name, RecordType), Expiring<Records>>);

#[derive(Clone)]
struct Records {
    records: Arc<[RData]>,
    octets: u32,
}

impl Answers {
    pub(super) fn new() -> Self {
        let answers = Cache::builder()
            .max_capacity(KEPT_OCTETS)
            .weigher(|_, kept: &Expiring<Records>| kept.value.octets)
            .expire_after(Lifetime)
            .build();
        Self(answers)
    }

    /// The kept answer, and for how long it still holds.
    pub(super) fn get(&self, name: &Name, kind: RecordType) -> Option<DnsAnswer<RData>> {
        let kept = self.0.get(&(name.clone(), kind))?;
        Some(DnsAnswer { records: kept.value.records.to_vec(), ttl: kept.remaining() })
    }

    /// Keeps `answer` in place of what was known.
    pub(super) fn put(&self, name: Name, kind: RecordType, answer: &DnsAnswer<RData>) {
        if answer.ttl.is_zero() {
            return self.0.invalidate(&(name, kind));
        }
        let size = |record: &RData| RECORD_OCTETS + record.to_bytes().map_or(0, |octets| octets.len());
        let octets = ENTRY_OCTETS + name.len() + answer.records.iter().map(size).sum::<usize>();
        let octets = u32::try_from(octets).unwrap_or(u32::MAX);
        let records = Records { records: answer.records.clone().into(), octets };
        self.0.insert((name, kind), Expiring::new(records, answer.ttl));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hickory_proto::rr::rdata::TXT;

    use super::*;

    fn text(octets: usize, ttl: u64) -> DnsAnswer<RData> {
        let strings = vec!["x".repeat(250); octets / 250];
        let records = vec![RData::TXT(TXT::new(strings))];
        DnsAnswer { records, ttl: Duration::from_secs(ttl) }
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
    fn an_answer_replaces_the_one_before_even_if_it_may_not_be_kept() {
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
