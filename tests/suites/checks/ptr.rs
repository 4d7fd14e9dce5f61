//! Reverse DNS: four results, their lifetimes, the names, the cache.

use std::{
    net::Ipv6Addr,
    num::NonZeroU8,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use sixgate_auth::{
    dns::Resolver,
    ptr::{self, PtrCache, PtrFinding, PtrResult, Unanswered},
};
use sixgate_tests::dns::Zone;

use crate::dns;

const SOURCE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x25);

async fn find(zone: &str) -> PtrFinding {
    let (_server, dns) = dns(zone);
    ptr::check(&dns, SOURCE).await
}

fn pass(name: &str) -> PtrResult {
    PtrResult::Pass { name: name.to_owned() }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn fail(names: &[&str]) -> PtrResult {
    PtrResult::Fail { names: owned(names) }
}

fn half(names: &[&str]) -> PtrResult {
    PtrResult::TempError(Unanswered::Names { names: owned(names) })
}

const SILENCE: PtrResult = PtrResult::TempError(Unanswered::Record);

#[tokio::test]
async fn a_record_its_absence_and_a_failure_are_distinguished() {
    let mail = || pass("mail.example");
    let absent = || PtrResult::NoRecord;
    let rows = [
        ("a record", "2001:db8::25 600 PTR Mail.Example", mail(), Some(600)),
        ("its lower bound", "2001:db8::25 0 PTR mail.example", mail(), Some(60)),
        ("its upper bound", "2001:db8::25 604800 PTR mail.example", mail(), Some(86_400)),
        ("NXDOMAIN", "", absent(), Some(300)),
        ("NODATA", "2001:db8::25 TXT none", absent(), Some(300)),
        ("the negative TTL", "ip6.arpa 500 SOA a b 1 1 1 1 120", absent(), Some(120)),
        ("of two the smaller", "ip6.arpa 110 SOA a b 1 1 1 1 500", absent(), Some(110)),
        ("negative, lower bound", "ip6.arpa 5 SOA a b 1 1 1 1 5", absent(), Some(60)),
        ("negative, upper bound", "ip6.arpa 86400 SOA a b 1 1 1 1 86400", absent(), Some(900)),
        ("SERVFAIL", "2001:db8::25 FAULT servfail", SILENCE, None),
        ("REFUSED", "2001:db8::25 FAULT refused", SILENCE, None),
        ("FORMERR", "2001:db8::25 FAULT formerr", SILENCE, None),
        ("NOTIMP", "2001:db8::25 FAULT notimp", SILENCE, None),
        ("silence", "2001:db8::25 FAULT timeout", SILENCE, None),
        ("truncated", "2001:db8::25 600 PTR mail.example\n2001:db8::25 FAULT truncate", mail(), Some(600)),
        (
            "a CNAME",
            "2001:db8::25 600 CNAME 25.rev.example\n25.rev.example 90 PTR mail.example",
            mail(),
            Some(90),
        ),
        (
            "a short CNAME",
            "2001:db8::25 80 CNAME 25.rev.example\n25.rev.example 900 PTR mail.example",
            mail(),
            Some(80),
        ),
        ("a CNAME to nothing", "2001:db8::25 CNAME 25.rev.example", absent(), Some(300)),
        (
            "a CNAME to a broken zone",
            "2001:db8::25 CNAME 25.rev.example\n25.rev.example FAULT servfail",
            SILENCE,
            None,
        ),
        (
            "a CNAME to a silent zone",
            "2001:db8::25 CNAME 25.rev.example\n25.rev.example FAULT timeout",
            SILENCE,
            None,
        ),
    ];
    for (row, zone, result, lifetime) in rows {
        let finding = find(&format!("mail.example 86400 AAAA 2001:db8::25\n{zone}")).await;
        assert_eq!(finding, PtrFinding { result, lifetime: lifetime.map(Duration::from_secs) }, "{row}");
    }
}

#[tokio::test]
async fn names_that_are_no_host_names_are_neither_followed_nor_shown() {
    let labels = |count: usize| vec!["a".repeat(63); count].join(".");
    // 3 times 64 octets, one label of 61 with its length, and the root: 255 octets, the longest
    // name there is
    let longest = format!("{}.{}", labels(3), "b".repeat(61));
    let rows = [
        (r"evil\013\010host.example", None),
        (r"a\000b.example", None),
        (r"esc\027[2J.example", None),
        (r"dot\046in.example", None),
        (r"back\092slash.example", None),
        (r"b\195\188cher.example", None),
        (r"spa\032ce.example", None),
        (r"quote\034.example", None),
        (r"<b>\058.example", None),
        (r"under\095score.example", Some("under_score.example")),
        ("2001-db8--25.example", Some("2001-db8--25.example")),
        ("localhost", Some("localhost")),
        (longest.as_str(), Some(longest.as_str())),
        (".", None),
    ];
    for (name, shown) in rows {
        let (server, dns) = dns(&format!("2001:db8::25 600 PTR {name}"));
        let finding = ptr::check(&dns, SOURCE).await;
        let names: Vec<&str> = shown.into_iter().collect();
        assert_eq!(finding.result, fail(&names), "{name}");
        let followed = usize::from(shown.is_some_and(|name| name != "localhost"));
        assert_eq!(server.queries(), 1 + followed, "{name}");
    }
}

#[tokio::test]
async fn this_host_itself_has_no_name_that_dns_vouches_for() {
    let (server, dns) = dns("::1 PTR localhost\nlocalhost AAAA ::1");
    let finding = ptr::check(&dns, Ipv6Addr::LOCALHOST).await;
    let lifetime = Some(Duration::from_secs(60));
    assert_eq!(finding, PtrFinding { result: PtrResult::NoRecord, lifetime });
    assert_eq!(server.queries(), 0);
}

#[tokio::test]
async fn a_cname_loop_is_never_a_name() {
    let zone = "2001:db8::25 CNAME a.example\na.example CNAME b.example\nb.example CNAME a.example";
    assert_eq!(find(zone).await.result, SILENCE);
}

#[tokio::test]
async fn where_the_names_lead_never_makes_a_record_absent() {
    let confirmed = || pass("mail.example");
    let (mail, both) = (["mail.example"], ["bad.example", "mail.example"]);
    let rows = [
        ("leads back", "mail.example 700 AAAA 2001:db8::25", confirmed(), Some(700)),
        ("its TTL is longer", "mail.example 9000 AAAA 2001:db8::25", confirmed(), Some(3600)),
        (
            "by a CNAME",
            "mail.example 700 CNAME real.example\nreal.example AAAA 2001:db8::25",
            confirmed(),
            Some(300),
        ),
        (
            "among others",
            "mail.example AAAA 2001:db8::24\nmail.example AAAA 2001:db8::25",
            confirmed(),
            Some(300),
        ),
        ("leads elsewhere", "mail.example 700 AAAA 2001:db8::26", fail(&mail), Some(700)),
        ("elsewhere for long", "mail.example 7000 AAAA 2001:db8::26", fail(&mail), Some(900)),
        ("no such name", "", fail(&mail), Some(300)),
        ("only IPv4", "mail.example A 192.0.2.1", fail(&mail), Some(300)),
        ("SERVFAIL", "mail.example FAULT servfail", half(&mail), None),
        ("silence", "mail.example FAULT timeout", half(&mail), None),
        (
            "one of two leads back",
            "2001:db8::25 PTR bad.example\nmail.example AAAA 2001:db8::25",
            confirmed(),
            Some(300),
        ),
        (
            "one fails, the other leads back",
            "2001:db8::25 PTR bad.example\nbad.example FAULT servfail\nmail.example AAAA 2001:db8::25",
            confirmed(),
            Some(300),
        ),
        (
            "one fails, the other leads elsewhere",
            "2001:db8::25 PTR bad.example\nbad.example FAULT servfail\nmail.example AAAA 2001:db8::26",
            half(&both),
            None,
        ),
    ];
    for (row, forward_zone, result, lifetime) in rows {
        // the PTR records of one name share a TTL
        let zone = format!("{forward_zone}\n2001:db8::25 3600 PTR mail.example");
        let mut finding = find(&zone).await;
        if let PtrResult::Fail { names } | PtrResult::TempError(Unanswered::Names { names }) =
            &mut finding.result
        {
            names.sort();
        }
        assert_eq!(finding, PtrFinding { result, lifetime: lifetime.map(Duration::from_secs) }, "{row}");
    }
}

#[tokio::test]
async fn a_silent_name_does_not_hold_up_one_that_leads_back() {
    let zone = "2001:db8::25 PTR silent.example\n2001:db8::25 PTR mail.example\n\
                silent.example FAULT timeout\nmail.example AAAA 2001:db8::25";
    let server = Zone::parse(zone).expect("a test's own zone").serve().expect("sockets on loopback");
    // the silent name would take all the time that the check has
    let dns = Resolver::new(&[server.address()], 2 * ptr::TIME_LIMIT, NonZeroU8::MIN);
    let begun = Instant::now();
    assert_eq!(ptr::check(&dns, SOURCE).await.result, pass("mail.example"));
    assert!(begun.elapsed() < ptr::TIME_LIMIT, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn at_most_ten_names_are_kept_and_followed() {
    let zone: String = (0..40).map(|n| format!("2001:db8::25 PTR host{n}.example\n")).collect();
    let (server, dns) = dns(&zone);
    let finding = ptr::check(&dns, SOURCE).await;
    let PtrResult::Fail { names } = finding.result else { panic!("{finding:?}") };
    assert_eq!(names.len(), ptr::MAX_NAMES);
    let followed: usize = (0..40).map(|n| server.queries_for(&format!("host{n}.example"), "AAAA")).sum();
    assert_eq!(followed, ptr::MAX_NAMES);
}

#[tokio::test]
async fn the_cache_asks_once_for_all_who_wait_and_keeps_no_failure() {
    let (server, dns) = dns("2001:db8::25 PTR mail.example\n2001:db8::26 FAULT servfail");
    let cache = PtrCache::new(dns);
    let broken = "2001:db8::26".parse().expect("an address");
    assert_eq!(cache.known(SOURCE).await, None);

    let all = all_at_once(&cache, 20).await;
    assert!(all.iter().all(|finding| finding.result == fail(&["mail.example"])));
    assert_eq!(server.queries_for("2001:db8::25", "PTR"), 1);
    let known = cache.known(SOURCE).await.and_then(|finding| finding.lifetime).expect("it is held");
    assert!(known <= Duration::from_secs(300) && known > Duration::from_secs(290), "{known:?}");

    for asked in 1..=2 {
        assert_eq!(cache.get(broken, |_| ()).await.result, SILENCE);
        assert_eq!(server.queries_for("2001:db8::26", "PTR"), asked);
    }
    assert_eq!(cache.known(broken).await, None);
}

#[tokio::test]
async fn a_change_in_dns_is_seen_once_an_entry_is_forgotten_and_reported_once() {
    let (server, dns) = dns("ip6.arpa 3600 SOA a b 1 1 1 1 3600");
    let cache = PtrCache::new(dns);
    let told = AtomicUsize::new(0);
    let tell = |_: &PtrFinding| {
        told.fetch_add(1, Ordering::Relaxed);
    };
    assert_eq!(cache.get(SOURCE, tell).await.result, PtrResult::NoRecord);
    server.replace(Zone::parse("2001:db8::25 PTR mail.example").expect("a test's own zone"));
    assert_eq!(cache.get(SOURCE, tell).await.result, PtrResult::NoRecord, "it still holds");
    cache.forget(SOURCE).await;
    assert_eq!(cache.get(SOURCE, tell).await.result, fail(&["mail.example"]));
    assert_eq!(told.into_inner(), 2);
}

async fn all_at_once(cache: &PtrCache, times: usize) -> Vec<PtrFinding> {
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..times {
        let cache = cache.clone();
        waiting.spawn(async move { cache.get(SOURCE, |_| ()).await });
    }
    waiting.join_all().await
}
