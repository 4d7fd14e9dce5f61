//! Several DNS servers, and none.

mod odd;

use std::{
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    num::{NonZeroU8, NonZeroU32},
    time::Duration,
};

use sixgate_auth::dns::{DnsBounds, DnsFailure, Resolver};
use sixgate_tests::{
    dns::{DnsServer, Liar, Lie},
    timeouts::patience,
};
use tokio::task::JoinSet;

use crate::{dns, short_timeout};

/// The counters: `over_budget` has this value, the others are 0.
const fn reached(over_budget: u64) -> [(&'static str, u64); 5] {
    [
        ("dns_budget", over_budget),
        ("dns_domain_budget", 0),
        ("dns_costly_budget", 0),
        ("dns_concurrency", 0),
        ("dns_share", 0),
    ]
}

const TWICE: NonZeroU8 = NonZeroU8::new(2).expect("two is not zero");

#[tokio::test]
async fn a_silent_server_beside_another_is_no_failure() {
    let silent = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("a socket on loopback");
    let (server, _) = dns("a.example AAAA 2001:db8::1");
    let servers = [silent.local_addr().expect("it is bound"), server.address()];
    let dns = Resolver::new(&servers, short_timeout(), TWICE);
    for _ in 0..3 {
        assert_eq!(dns.aaaa("a.example").await.expect("an answer").records.len(), 1);
    }
}

#[tokio::test]
async fn a_broken_server_beside_another_is_no_failure() {
    for fault in ["servfail", "refused"] {
        let (broken, _) = dns(&format!("a.example FAULT {fault}"));
        let (server, _) = dns("a.example 0 AAAA 2001:db8::1");
        for servers in [[broken.address(), server.address()], [server.address(), broken.address()]] {
            let dns = Resolver::new(&servers, patience(), TWICE);
            for _ in 0..5 {
                assert_eq!(dns.aaaa("a.example").await.expect("an answer").records.len(), 1, "{fault}");
            }
        }
    }
}

#[tokio::test]
async fn the_failure_says_what_it_was() {
    let (_server, dns) = dns("a.example FAULT servfail\nb.example FAULT timeout");
    let question = |name: &str| format!("{name}. AAAA");
    let code = dns.aaaa("a.example").await.expect_err("no answer");
    assert!(
        matches!(&code, DnsFailure::Code { question: asked, .. } if *asked == question("a.example")),
        "{code}"
    );
    let silence = dns.aaaa("b.example").await.expect_err("no answer");
    assert_eq!(silence, DnsFailure::TimedOut { question: question("b.example") });
    let closed = Resolver::new(&[closed_port()], short_timeout(), NonZeroU8::MIN);
    closed.aaaa("a.example").await.expect_err("no server is there");
}

#[tokio::test]
async fn a_name_is_asked_as_often_as_it_is_said_and_cached_by_its_ttl() {
    let (server, _) = dns("a.example FAULT servfail\nb.example AAAA 2001:db8::1");
    let dns = Resolver::new(&[server.address()], patience(), TWICE);
    for _ in 0..2 {
        assert!(dns.aaaa("a.example").await.is_err());
        assert!(dns.aaaa("b.example").await.is_ok());
        assert!(dns.aaaa("d.example").await.expect("an answer").records.is_empty());
    }
    let asked = |name| server.queries_for(name, "AAAA");
    assert_eq!([asked("a.example"), asked("b.example"), asked("d.example")], [4, 1, 1]);
}

#[tokio::test]
async fn names_are_absolute_and_the_hosts_file_is_not_read() {
    let (server, dns) = dns("");
    assert!(dns.aaaa("ip6-allnodes").await.expect("an answer").records.is_empty());
    assert!(dns.aaaa("not a name at all..").await.expect("an answer").records.is_empty());
    assert_eq!(server.queries_for("ip6-allnodes", "AAAA"), 1);
    assert_eq!(server.queries(), 1);
}

#[tokio::test]
async fn each_64_has_a_budget_and_what_is_known_costs_nothing() {
    let (server, _) = dns("a.example AAAA 2001:db8::1\nb.example 0 AAAA 2001:db8::1");
    let bounds =
        DnsBounds { questions_per_minute: const { NonZeroU32::new(3).unwrap() }, ..DnsBounds::default() };
    let dns = Resolver::within(bounds, &[server.address()], patience(), NonZeroU8::MIN);
    let source = |text: &str| dns.on_behalf_of(text.parse().expect("an address"));
    let (one, neighbour, other) =
        (source("2001:db8::1"), source("2001:db8::ffff:2"), source("2001:db8:0:1::1"));
    for _ in 0..10 {
        assert!(one.aaaa("a.example").await.is_ok(), "asked once, known then");
    }
    assert!(neighbour.aaaa("b.example").await.is_ok());
    assert!(one.aaaa("b.example").await.is_ok(), "a TTL of 0 is asked each time");
    let question = "b.example. AAAA".to_owned();
    assert_eq!(one.aaaa("b.example").await, Err(DnsFailure::OverBudget { question: question.clone() }));
    assert_eq!(neighbour.aaaa("b.example").await, Err(DnsFailure::OverBudget { question }));
    assert!(one.aaaa("a.example").await.is_ok(), "what is known is told all the same");
    assert!(other.aaaa("b.example").await.is_ok());
    assert!(dns.aaaa("b.example").await.is_ok(), "a failure without a cause belongs to no server");
    assert_eq!(server.queries(), 5);
    assert_eq!(dns.reached(), reached(2));
}

#[tokio::test]
async fn a_lie_is_never_an_answer_and_never_an_absence() {
    for lie in Lie::FATAL {
        let liar = Liar::serve(lie).expect("sockets on loopback");
        let dns = Resolver::new(&[liar.address()], short_timeout(), NonZeroU8::MIN);
        let failure = dns.aaaa("mail.example").await.expect_err(&format!("{lie:?}"));
        assert!(
            matches!(
                failure,
                DnsFailure::TimedOut { .. } | DnsFailure::Unusable { .. } | DnsFailure::Code { .. }
            ),
            "{lie:?}: {failure}"
        );
        let reverse = dns.ptr_anew(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)).await;
        assert!(reverse.is_err(), "{lie:?}: {reverse:?}");
    }
}

#[tokio::test]
async fn a_forged_answer_does_not_keep_the_right_one_away() {
    let liar = Liar::serve(Lie::ForgedBefore).expect("sockets on loopback");
    let dns = Resolver::new(&[liar.address()], patience(), NonZeroU8::MIN);
    assert_eq!(dns.aaaa("mail.example").await.expect("an answer").records.len(), 1);
}

#[tokio::test]
async fn names_that_are_not_in_dns_are_not_asked_for() {
    let (server, dns) = dns("localhost AAAA ::1\na.invalid AAAA ::1\na.onion AAAA ::1");
    for name in ["localhost", "a.localhost", "a.invalid", "a.onion"] {
        let answer = dns.aaaa(name).await.expect("an answer");
        assert!(answer.records.is_empty(), "{name}");
    }
    assert_eq!(server.queries(), 0);
}

#[tokio::test]
async fn questions_wait_for_their_turn() {
    let (server, _) = dns("a.example AAAA 2001:db8::1\nslow.example FAULT timeout");
    let bounds = DnsBounds { concurrency: NonZeroU32::MIN, ..DnsBounds::default() };
    let dns = Resolver::within(bounds, &[server.address()], short_timeout(), NonZeroU8::MIN);
    let dns = dns.on_behalf_of(Ipv6Addr::LOCALHOST);
    let (slow, other) = tokio::join!(dns.aaaa("slow.example"), dns.aaaa("a.example"));
    assert!(slow.is_err() && other.is_ok());
    assert_eq!(dns.reached(), reached(0));
}

#[tokio::test]
async fn networks_that_hold_all_the_turns_they_can_hold_up_no_other() {
    let rows = [
        (["2001:db8:a::1", "2001:db8:b::1", "2001:db8:c::1"], [21, 14, 9]),
        // of one /48
        (["2001:db8:a:1::1", "2001:db8:a:2::1", "2001:db8:a:3::1"], [21, 11, 0]),
    ];
    for (sources, turns) in rows {
        let (server, _) = dns("a.example AAAA 2001:db8::1");
        // no answer, and no end, until the second client has received its answer
        let _held = server.hold("TXT");
        let dns = with_turns(64, &server);
        let (mut questions, mut open) = (JoinSet::new(), 0);
        for (source, turns) in sources.into_iter().zip(turns) {
            let dns = dns.on_behalf_of(source.parse().expect("an address"));
            for number in 0..100 {
                let (dns, name) = (dns.clone(), format!("{number}.{}.example", source.replace(':', "-")));
                questions.spawn(async move { dns.txt(&name).await.map(drop) });
            }
            open += turns;
            server.wait_for_queries(open).await;
        }
        let newcomer = dns.on_behalf_of("2001:db8:ffff::1".parse().expect("an address"));
        assert!(newcomer.aaaa("a.example").await.is_ok(), "{sources:?}");
        assert_eq!(server.queries(), open + 1, "{sources:?}");
    }
}

#[tokio::test]
async fn a_busy_network_waits_for_its_share_and_loses_no_question() {
    let (server, _) = dns("");
    let dns = with_turns(8, &server);
    let questions = (0..500_u128).map(|number| {
        let dns = dns.on_behalf_of(Ipv6Addr::from(0x2001_0db8 << 96 | number));
        async move { dns.txt(&format!("{number}.example")).await }
    });
    let answers: Vec<_> = questions.collect::<JoinSet<_>>().join_all().await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!((server.queries(), dns.reached()), (500, reached(0)));
}

#[tokio::test]
async fn a_long_answer_comes_by_tcp() {
    let text = format!("a.example TXT {}", format!("\"{}\" ", "x".repeat(250)).repeat(12));
    let (_server, dns) = dns(&text);
    assert_eq!(dns.txt("a.example").await.expect("an answer").records, [vec![b'x'; 3000]]);
}

/// A resolver with so many slots, which waits longer for an answer than a test lasts.
fn with_turns(concurrency: u32, server: &DnsServer) -> Resolver {
    let concurrency = NonZeroU32::new(concurrency).expect("it is not zero");
    let bounds = DnsBounds { concurrency, ..DnsBounds::default() };
    Resolver::within(bounds, &[server.address()], Duration::from_secs(60), NonZeroU8::MIN)
}

fn closed_port() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("a socket on loopback");
    socket.local_addr().expect("it is bound")
}
