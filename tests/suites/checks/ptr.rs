//! Reverse DNS: three states, their lifetimes, forward confirmation, the cache.

use std::{net::Ipv6Addr, time::Duration};

use sixgate::{
    check::ptr::{self, Confirmation, PtrCache, PtrFinding},
    policy::evidence::{Forward, PtrEvidence},
};

use crate::dns;

const SOURCE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x25);

async fn find(zone: &str, confirmation: Confirmation) -> PtrFinding {
    let (_server, dns) = dns(zone);
    ptr::check(&dns, SOURCE, confirmation).await
}

fn exists(names: &[&str], forward: Forward) -> PtrEvidence {
    PtrEvidence::Exists { names: names.iter().map(|name| (*name).to_owned()).collect(), forward }
}

#[tokio::test]
async fn a_record_its_absence_and_a_failure_are_told_apart() {
    let mail = || exists(&["mail.example"], Forward::NotAsked);
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let rows = [
        ("a record", "2001:db8::25 600 PTR Mail.Example", mail(), seconds(600)),
        ("its lower bound", "2001:db8::25 0 PTR mail.example", mail(), seconds(60)),
        ("its upper bound", "2001:db8::25 604800 PTR mail.example", mail(), seconds(86_400)),
        ("NXDOMAIN", "", PtrEvidence::Absent, seconds(300)),
        ("NODATA", "2001:db8::25 TXT none", PtrEvidence::Absent, seconds(300)),
        ("the negative TTL", "ip6.arpa 500 SOA a b 1 1 1 1 120", PtrEvidence::Absent, seconds(120)),
        ("of two the smaller", "ip6.arpa 110 SOA a b 1 1 1 1 500", PtrEvidence::Absent, seconds(110)),
        ("negative, lower bound", "ip6.arpa 5 SOA a b 1 1 1 1 5", PtrEvidence::Absent, seconds(60)),
        ("negative, upper bound", "ip6.arpa 86400 SOA a b 1 1 1 1 86400", PtrEvidence::Absent, seconds(900)),
        ("SERVFAIL", "2001:db8::25 FAULT servfail", PtrEvidence::Failure, None),
        ("REFUSED", "2001:db8::25 FAULT refused", PtrEvidence::Failure, None),
        ("FORMERR", "2001:db8::25 FAULT formerr", PtrEvidence::Failure, None),
        ("NOTIMP", "2001:db8::25 FAULT notimp", PtrEvidence::Failure, None),
        ("silence", "2001:db8::25 FAULT timeout", PtrEvidence::Failure, None),
        (
            "a truncated answer",
            "2001:db8::25 600 PTR mail.example\n2001:db8::25 FAULT truncate",
            mail(),
            seconds(600),
        ),
        (
            "a CNAME",
            "2001:db8::25 600 CNAME 25.rev.example\n25.rev.example 90 PTR mail.example",
            mail(),
            seconds(90),
        ),
        ("a CNAME to nothing", "2001:db8::25 CNAME 25.rev.example", PtrEvidence::Absent, seconds(300)),
        (
            "a CNAME to a broken zone",
            "2001:db8::25 CNAME 25.rev.example\n25.rev.example FAULT servfail",
            PtrEvidence::Failure,
            None,
        ),
        (
            "a CNAME to a silent zone",
            "2001:db8::25 CNAME 25.rev.example\n25.rev.example FAULT timeout",
            PtrEvidence::Failure,
            None,
        ),
        (
            "a name that cannot be shown",
            r"2001:db8::25 600 PTR evil\013\010host.example",
            exists(&[], Forward::NotAsked),
            seconds(600),
        ),
    ];
    for (row, zone, evidence, lifetime) in rows {
        let finding = find(zone, Confirmation::NotDemanded).await;
        assert_eq!(finding, PtrFinding { evidence, lifetime }, "{row}");
    }
}

#[tokio::test]
async fn a_cname_loop_is_never_a_name() {
    let zone = "2001:db8::25 CNAME a.example\na.example CNAME b.example\nb.example CNAME a.example";
    assert_eq!(find(zone, Confirmation::NotDemanded).await.evidence, PtrEvidence::Failure);
}

#[tokio::test]
async fn forward_confirmation_never_makes_a_record_absent() {
    let confirmed = Forward::Confirmed("mail.example".to_owned());
    let mail = |forward| exists(&["mail.example"], forward);
    let both = |forward| exists(&["bad.example", "mail.example"], forward);
    let rows = [
        ("leads back", "mail.example 700 AAAA 2001:db8::25", mail(confirmed.clone()), Some(700)),
        ("its TTL is longer", "mail.example 9000 AAAA 2001:db8::25", mail(confirmed.clone()), Some(3600)),
        ("leads elsewhere", "mail.example 700 AAAA 2001:db8::26", mail(Forward::Unconfirmed), Some(700)),
        ("elsewhere for long", "mail.example 7000 AAAA 2001:db8::26", mail(Forward::Unconfirmed), Some(900)),
        ("no such name", "", mail(Forward::Unconfirmed), Some(300)),
        ("only IPv4", "mail.example A 192.0.2.1", mail(Forward::Unconfirmed), Some(300)),
        ("SERVFAIL", "mail.example FAULT servfail", mail(Forward::Failure), None),
        ("silence", "mail.example FAULT timeout", mail(Forward::Failure), None),
        (
            "one of two leads back",
            "2001:db8::25 PTR bad.example\nmail.example AAAA 2001:db8::25",
            both(confirmed.clone()),
            Some(300),
        ),
        (
            "one fails, the other leads back",
            "2001:db8::25 PTR bad.example\nbad.example FAULT servfail\nmail.example AAAA 2001:db8::25",
            both(confirmed),
            Some(300),
        ),
        (
            "one fails, the other leads elsewhere",
            "2001:db8::25 PTR bad.example\nbad.example FAULT servfail\nmail.example AAAA 2001:db8::26",
            both(Forward::Failure),
            None,
        ),
    ];
    for (row, forward_zone, evidence, lifetime) in rows {
        // the PTR records of one name share a TTL
        let zone = format!("{forward_zone}\n2001:db8::25 3600 PTR mail.example");
        let mut finding = find(&zone, Confirmation::Demanded).await;
        if let PtrEvidence::Exists { names, .. } = &mut finding.evidence {
            names.sort();
        }
        assert_eq!(finding, PtrFinding { evidence, lifetime: lifetime.map(Duration::from_secs) }, "{row}");
    }
}

#[tokio::test]
async fn a_silent_name_does_not_hold_up_one_that_leads_back() {
    let zone = "2001:db8::25 PTR silent.example\n2001:db8::25 PTR mail.example\n\
                silent.example FAULT timeout\nmail.example AAAA 2001:db8::25";
    let begun = std::time::Instant::now();
    let finding = find(zone, Confirmation::Demanded).await;
    let confirmed = Forward::Confirmed("mail.example".to_owned());
    assert!(matches!(finding.evidence, PtrEvidence::Exists { forward, .. } if forward == confirmed));
    assert!(begun.elapsed() < crate::TIMEOUT, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn at_most_ten_names_are_kept_and_followed() {
    let zone: String = (0..40).map(|n| format!("2001:db8::25 PTR host{n}.example\n")).collect();
    let (server, dns) = dns(&zone);
    let finding = ptr::check(&dns, SOURCE, Confirmation::Demanded).await;
    let PtrEvidence::Exists { names, forward: Forward::Unconfirmed } = finding.evidence else {
        panic!("{finding:?}")
    };
    assert_eq!(names.len(), ptr::MAX_NAMES);
    let followed: usize = (0..40).map(|n| server.queries_for(&format!("host{n}.example"), "AAAA")).sum();
    assert_eq!(followed, ptr::MAX_NAMES);
}

#[tokio::test]
async fn the_cache_asks_once_for_all_who_wait_and_keeps_no_failure() {
    let (server, dns) = dns("2001:db8::25 PTR mail.example\n2001:db8::26 FAULT servfail");
    let cache = PtrCache::new(dns, Confirmation::NotDemanded);
    let broken = "2001:db8::26".parse().expect("an address");
    assert_eq!(cache.known(SOURCE).await, None);

    let all = all_at_once(&cache, 20).await;
    assert!(all.iter().all(|finding| finding.evidence == exists(&["mail.example"], Forward::NotAsked)));
    assert_eq!(server.queries_for("2001:db8::25", "PTR"), 1);
    let known = cache.known(SOURCE).await.and_then(|finding| finding.lifetime).expect("it is held");
    assert!(known <= Duration::from_secs(300) && known > Duration::from_secs(290), "{known:?}");

    for asked in 1..=2 {
        assert_eq!(cache.get(broken).await.evidence, PtrEvidence::Failure);
        assert_eq!(server.queries_for("2001:db8::26", "PTR"), asked);
    }
    assert_eq!(cache.known(broken).await, None);
}

#[tokio::test]
async fn what_is_put_into_the_cache_is_believed_until_it_is_forgotten() {
    let (server, dns) = dns("2001:db8::25 PTR mail.example");
    let cache = PtrCache::new(dns, Confirmation::NotDemanded);
    let absent = |lifetime| PtrFinding { evidence: PtrEvidence::Absent, lifetime };

    cache.insert(SOURCE, &absent(Some(Duration::from_secs(60)))).await;
    assert_eq!(cache.get(SOURCE).await.evidence, PtrEvidence::Absent);
    assert_eq!(server.queries(), 0);

    cache.forget(SOURCE).await;
    assert_eq!(cache.get(SOURCE).await.evidence, exists(&["mail.example"], Forward::NotAsked));
    cache.clear();
    cache.insert(SOURCE, &absent(None)).await;
    assert_eq!(cache.known(SOURCE).await, None);
}

async fn all_at_once(cache: &PtrCache, times: usize) -> Vec<PtrFinding> {
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..times {
        let cache = cache.clone();
        waiting.spawn(async move { cache.get(SOURCE).await });
    }
    waiting.join_all().await
}
