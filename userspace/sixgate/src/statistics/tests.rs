//! Tests of totals, rings and top lists. The page has tests of its own.

use std::collections::BTreeMap;

use super::*;

fn totals(text: &str) -> Totals {
    Totals::of(text)
}

#[test]
fn totals_are_read_off_the_metrics() {
    let found = totals(
        "# TYPE sixgate_messages_total counter\n\
         sixgate_messages_total{outcome=\"delivered\"} 3\nsixgate_messages_total{outcome=\"not_authenticated\"} 2\n\
         sixgate_recipients_total{outcome=\"accepted\"} 9\nsixgate_recipients_total{outcome=\"no_ptr\"} 4\n\
         sixgate_sessions_total{outcome=\"served\"} 9\n\
         sixgate_kernel_sessions_total{reason=\"no_ptr\",ending=\"quit\"} 5\n\
         sixgate_dns_question_seconds_count{result=\"failed\"} 1\n\
         sixgate_dns_question_seconds_count{result=\"answered\"} 3\n\
         sixgate_dns_question_seconds_sum{result=\"answered\"} 0.5\n\
         sixgate_dns_question_seconds_bucket{result=\"failed\",le=\"10.0\"} 1\n\
         sixgate_dns_question_seconds_bucket{result=\"failed\",le=\"+Inf\"} 1\n\
         sixgate_dns_question_seconds_bucket{result=\"answered\",le=\"+Inf\"} 3\n\
         sixgate_check_seconds_bucket{le=\"+Inf\",check=\"spf\"} 7\n",
    );
    assert_eq!((found.times.dns.count(), found.times.spf.count(), found.times.ptr.count()), (4, 7, 0));
    let refused = [("no_ptr".to_owned(), 9), ("not_authenticated".to_owned(), 2)];
    assert_eq!(found.refused, BTreeMap::from(refused));
    assert_eq!((found.delivered, found.dns.count, found.dns.failed), (3, 4, 1));
    assert_eq!(found.dns.mean_ms(), Some(125.0));
}

#[test]
fn a_ring_has_the_last_intervals_only() {
    let mut ring = Ring::new(MINUTE, 3);
    for minute in [0, 1, 1, 4, 5] {
        ring.add(MINUTE * minute, &totals("sixgate_messages_total{outcome=\"delivered\"} 1\n"));
    }
    assert_eq!(ring.period(MINUTE * 5).delivered, [0, 1, 1]);
    assert_eq!(ring.period(MINUTE * 6).delivered, [1, 1, 0]);
    assert_eq!(ring.period(MINUTE * 60).delivered, [0, 0, 0]);
}

#[test]
fn a_frequent_key_is_never_missing() {
    let mut top = SpaceSaving::new(8);
    for round in 0..1000_u32 {
        top.note(0, true);
        // others that come once each
        for other in 0..3 {
            top.note(1 + round * 3 + other, false);
        }
    }
    let mut recount = Recount::default();
    recount.add(&top);
    let largest = recount.largest(3);
    assert_eq!(largest.len(), 3);
    let (key, count) = largest[0];
    assert!(key == 0 && count.total >= 1000 && count.refused == 1000, "{largest:?}");
}
