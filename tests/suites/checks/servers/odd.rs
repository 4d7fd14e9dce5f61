//! Servers that cannot do what others can, alone and beside better ones.

use std::{
    collections::BTreeSet,
    net::{Ipv6Addr, TcpListener, UdpSocket},
    num::NonZeroU8,
};

use sixgate_auth::dns::Resolver;
use sixgate_tests::{
    dns::{Liar, Lie, Zone},
    timeouts::patience,
};
use tokio::task::JoinSet;

use super::TWICE;
use crate::{dns, short_timeout};

#[tokio::test]
async fn a_server_without_edns_is_asked_without_it_and_that_is_remembered() {
    for lie in Lie::WITHOUT_EDNS {
        let liar = Liar::serve(lie).expect("sockets on loopback");
        let dns = Resolver::new(&[liar.address()], short_timeout(), NonZeroU8::MIN);
        for (number, asked) in [(0, 2), (1, 3), (2, 4)] {
            let answer = dns.aaaa(&format!("{number}.example")).await;
            assert_eq!(
                answer.unwrap_or_else(|failure| panic!("{lie:?}: {failure}")).records.len(),
                1,
                "{lie:?}"
            );
            assert_eq!(liar.queries(), asked, "{lie:?}: twice at first, once then");
        }
    }
}

#[tokio::test]
async fn a_response_that_is_cut_within_the_question_is_asked_for_by_tcp() {
    for lie in [Lie::TruncatedHeader, Lie::TruncatedQuestion] {
        let liar = Liar::serve(lie).expect("sockets on loopback");
        let dns = Resolver::new(&[liar.address()], patience(), NonZeroU8::MIN);
        let answer = dns.aaaa("a.example").await;
        assert_eq!(answer.unwrap_or_else(|failure| panic!("{lie:?}: {failure}")).records.len(), 1);
    }
}

#[tokio::test]
async fn a_server_that_takes_edns_is_asked_once_for_what_fails() {
    let (server, dns) = dns("a.example AAAA 2001:db8::1\nb.example FAULT servfail\nc.example FAULT refused");
    for name in ["a.example", "b.example", "c.example"] {
        let _ = dns.aaaa(name).await;
        assert_eq!(server.queries_for(name, "AAAA"), 1, "{name}");
    }
}

#[tokio::test]
async fn a_server_that_never_sent_opt_is_asked_without_it_after_an_error() {
    for lie in [Lie::EdnsServFail, Lie::EdnsRefused] {
        let liar = Liar::serve(Lie::Truth).expect("sockets on loopback");
        let dns = Resolver::new(&[liar.address()], patience(), NonZeroU8::MIN);
        assert!(dns.aaaa("before.example").await.is_ok());
        assert_eq!(liar.queries(), 1);
        liar.tell(lie);
        for (name, asked) in [("a.example", 3), ("b.example", 4)] {
            assert!(dns.aaaa(name).await.is_ok(), "{lie:?}");
            assert_eq!(liar.queries(), asked, "{lie:?}: {name}");
        }
    }
}

#[tokio::test]
async fn an_error_that_is_not_about_edns_is_a_failure() {
    for fault in ["formerr", "notimp"] {
        let (server, dns) = dns(&format!("a.example FAULT {fault}\nb.example AAAA 2001:db8::1"));
        dns.aaaa("a.example").await.expect_err(fault);
        assert_eq!(server.queries_for("a.example", "AAAA"), 2, "{fault}: with EDNS and without");
        assert!(dns.aaaa("b.example").await.is_ok());
        dns.aaaa("a.example").await.expect_err(fault);
        assert_eq!(server.queries_for("a.example", "AAAA"), 4, "{fault}: nothing was learned from that");
    }
}

#[tokio::test]
async fn a_server_that_does_not_keep_the_case_of_names_is_asked_by_tcp_once() {
    let rows = [
        (Lie::LowerCase, patience(), [1, 2, 3]),
        (Lie::LowerCaseHangupByTcp, patience(), [2, 3, 4]),
        // a quarter of the time passes without an answer by TCP, once
        (Lie::LowerCaseSilenceByTcp, 4 * short_timeout(), [2, 3, 4]),
    ];
    for (lie, time, asked) in rows {
        let liar = Liar::serve(lie).expect("sockets on loopback");
        let dns = Resolver::new(&[liar.address()], time, NonZeroU8::MIN);
        for (number, asked) in asked.into_iter().enumerate() {
            let name = format!("a-name-of-many-letters-{number}.example");
            assert_eq!(dns.aaaa(&name).await.expect("an answer").records.len(), 1, "{lie:?}");
            assert_eq!(liar.queries(), asked, "{lie:?}");
        }
    }
}

#[tokio::test]
async fn a_silent_server_is_asked_after_one_that_answered_in_its_place() {
    let silent = Liar::serve(Lie::Silence).expect("sockets on loopback");
    let (server, _) = dns("a.example AAAA 2001:db8::1\nb.example AAAA 2001:db8::1");
    let dns = Resolver::new(&[silent.address(), server.address()], patience(), NonZeroU8::MIN);
    for name in ["a.example", "b.example", "c.example"] {
        dns.aaaa(name).await.expect("an answer of the second server");
        assert_eq!(silent.queries(), 1, "{name}: only the first question went to the silent server first");
    }
}

#[tokio::test]
async fn each_repetition_has_an_id_and_a_case_of_its_own() {
    let silent = Liar::serve(Lie::Silence).expect("sockets on loopback");
    let dns = Resolver::new(&[silent.address()], short_timeout(), TWICE);
    let name = "a-name-with-so-many-letters-that-none-of-its-forms-comes-twice.example";
    dns.aaaa(name).await.expect_err("nothing was said");
    let questions = silent.questions();
    assert!(
        questions.len() > 2 && questions.iter().all(|(_, asked)| asked.to_lowercase() == format!("{name}."))
    );
    let ids: BTreeSet<u16> = questions.iter().map(|(id, _)| *id).collect();
    let names: BTreeSet<&String> = questions.iter().map(|(_, name)| name).collect();
    // two ids may be equal by chance
    assert!(ids.len() > 1 && names.len() == questions.len(), "{questions:?}");
}

#[tokio::test]
async fn with_any_fault_of_one_server_the_next_one_is_asked() {
    for lie in Lie::FATAL {
        let liar = Liar::serve(lie).expect("sockets on loopback");
        let (server, _) = dns("a.example 0 AAAA 2001:db8::1");
        for servers in [[liar.address(), server.address()], [server.address(), liar.address()]] {
            let dns = Resolver::new(&servers, short_timeout(), NonZeroU8::MIN);
            for _ in 0..3 {
                let answer =
                    dns.aaaa("a.example").await.unwrap_or_else(|failure| panic!("{lie:?}: {failure}"));
                assert_eq!(answer.records, [Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)], "{lie:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_server_whose_errors_are_its_own_is_no_failure_beside_another() {
    for fault in ["servfail", "refused", "formerr", "notimp"] {
        let (broken, _) = dns(&format!("a.example FAULT {fault}"));
        let (server, _) = dns("a.example 0 AAAA 2001:db8::1");
        for servers in [[broken.address(), server.address()], [server.address(), broken.address()]] {
            let dns = Resolver::new(&servers, patience(), NonZeroU8::MIN);
            for _ in 0..3 {
                assert_eq!(dns.aaaa("a.example").await.expect(fault).records.len(), 1, "{fault}");
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_truncates_without_tcp_does_not_fail_beside_another() {
    let udp = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("a socket on loopback");
    let tcp = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).expect("a socket on loopback");
    let cut = Liar::serve_on(Lie::Truncated, udp, tcp).expect("sockets on loopback");
    let (server, _) = dns("a.example 0 AAAA 2001:db8::1");
    let alone = Resolver::new(&[cut.address()], short_timeout(), TWICE);
    alone.aaaa("a.example").await.expect_err("half an answer is none");
    let dns = Resolver::new(&[cut.address(), server.address()], short_timeout(), NonZeroU8::MIN);
    assert_eq!(dns.aaaa("a.example").await.expect("an answer").records.len(), 1);
}

#[tokio::test]
async fn many_questions_are_answered_by_tcp_at_a_time() {
    const MANY: usize = 200;
    let zone: Vec<String> = (0..MANY)
        .map(|number| format!("{number}.example AAAA 2001:db8::1\n{number}.example FAULT truncate"))
        .collect();
    let server = Zone::parse(&zone.join("\n")).expect("a zone").serve().expect("sockets on loopback");
    let dns = Resolver::new(&[server.address()], patience(), NonZeroU8::MIN);
    let held = server.hold("AAAA");
    let mut questions = JoinSet::new();
    for number in 0..MANY {
        let dns = dns.clone();
        questions.spawn(async move { dns.aaaa(&format!("{number}.example")).await });
    }
    server.wait_for_queries(MANY).await;
    drop(held);
    let answers = questions.join_all().await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(dns.reached().iter().all(|(_, count)| *count == 0));
}
