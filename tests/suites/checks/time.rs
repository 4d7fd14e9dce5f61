//! Every check ends in time, however long the resolver would wait. The clock is paused: no test
//! waits.

use std::{
    net::{Ipv6Addr, UdpSocket},
    num::NonZeroU8,
    time::Duration,
};

use sixgate::message_store::StoredMessage;
use sixgate_auth::{
    dkim::{DkimLimit, DkimResult, DkimSettings, DkimVerifier},
    dns::Resolver,
    ptr::{self, PtrResult, Unanswered},
    spf::{self, SpfQuery, SpfReason, SpfResult},
};
use sixgate_tests::sign;
use tokio::time::Instant;

const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x25);

/// A resolver that would wait for an hour, for a server that sends no answer.
fn silence() -> (UdpSocket, Resolver) {
    let server = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("a socket on loopback");
    let address = server.local_addr().expect("it is bound");
    let dns = Resolver::new(&[address], Duration::from_hours(1), NonZeroU8::MIN);
    (server, dns)
}

#[tokio::test(start_paused = true)]
async fn reverse_dns_ends_in_time() {
    let (_server, dns) = silence();
    let begun = Instant::now();
    let finding = ptr::check(&dns, CLIENT).await;
    assert_eq!((finding.result, finding.lifetime), (PtrResult::TempError(Unanswered::Record), None));
    assert!(begun.elapsed() <= ptr::TIME_LIMIT + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn spf_ends_in_time() {
    let (_server, dns) = silence();
    let begun = Instant::now();
    let query = SpfQuery {
        client: CLIENT.into(),
        helo: "a.example",
        mail_from: Some("joe@b.example"),
        host_name: "gate",
        voids: spf::VoidTerms::DEFAULT,
    };
    let evidence = spf::check(&dns, &query).await;
    for check in [evidence.helo, evidence.mail_from] {
        assert_eq!((check.result, check.reason), (SpfResult::TempError, SpfReason::TimeLimit));
    }
    assert!(begun.elapsed() <= spf::TIME_LIMIT + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn dkim_ends_in_time() {
    let (_server, dns) = silence();
    let begun = Instant::now();
    let message = b"From: joe@a.example\r\n\r\nHello.\r\n";
    let mut message = sign::signed(&sign::ed25519("a.example", "s", &["From"]), message);
    message.splice(..0, *b"DKIM-Signature: v=1\r\n");
    let limit = Duration::from_secs(60);
    let verifier = DkimVerifier::new(DkimSettings::DEFAULT);
    let found = verifier.verify(&dns, StoredMessage::from(message), begun + limit).await;
    let results: Vec<_> = found.signatures.iter().map(|found| (found.result, found.reason)).collect();
    let late = (DkimResult::TempError, Some("not verified in time"));
    assert_eq!(results, [(DkimResult::PermError, Some("a required tag is missing")), late]);
    assert_eq!(found.limits, [DkimLimit::Time]);
    assert!(begun.elapsed() <= limit + Duration::from_secs(1));
}
