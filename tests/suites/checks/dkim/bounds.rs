//! The bounds on the cost of a message from an unverified client.

use std::{num::NonZeroU8, time::Duration};

use sixgate::message_store::{MessageBuffer, SpillDirectory, StoredMessage};
use sixgate_auth::{
    dkim::{
        DkimFindings, DkimLimit, DkimResult, DkimSettings, DkimVerifier, MAX_FIELDS, MAX_NAMES,
        MAX_SIGNATURES, PartialBody,
    },
    dns::Resolver,
};
use sixgate_smtp::HEADER_MAX;
use sixgate_tests::sign::{self, ED25519_RECORD, HEADERS, RSA2048_RECORD};
use tokio::time::Instant;

use super::{DOMAIN, MESSAGE, PASS, findings, forged, key, odd, rsa};
use crate::dns;

async fn with(settings: DkimSettings, dns: &Resolver, message: impl Into<StoredMessage>) -> DkimFindings {
    let deadline = Instant::now() + Duration::from_secs(60);
    DkimVerifier::new(settings).verify(dns, message.into(), deadline).await
}

#[tokio::test]
async fn only_the_first_ten_signatures_count() {
    let bad = forged(&[]).replace(MESSAGE, "");
    for (before, passes) in [(MAX_SIGNATURES - 1, true), (MAX_SIGNATURES, false)] {
        let message = bad.repeat(before) + &rsa();
        let (_server, dns) = dns(&key(RSA2048_RECORD));
        let found = findings(&dns, message).await;
        assert_eq!(found.signatures.len(), MAX_SIGNATURES);
        let limits: &[DkimLimit] = if passes { &[] } else { &[DkimLimit::Signatures] };
        assert_eq!(found.limits, limits);
        assert_eq!(found.signatures.iter().any(|signature| signature.result == DkimResult::Pass), passes);
    }
}

#[tokio::test]
async fn an_unsigned_message_costs_no_lookup() {
    let (server, dns) = dns("");
    assert_eq!(findings(&dns, MESSAGE).await, DkimFindings::default());
    assert_eq!(server.queries(), 0);
}

#[tokio::test]
async fn a_forged_body_costs_no_lookup() {
    let (server, dns) = dns("");
    let found = findings(&dns, forged(&[])).await;
    assert_eq!(found.signatures[0].reason, Some("body hash mismatch"));
    assert_eq!(server.queries(), 0);
}

/// The runtime has one thread here: work on it would let no other task run.
#[tokio::test]
async fn a_large_message_holds_up_no_other_message() {
    let body = "0123456789abcdef 0123456789abcdef\r\n".repeat(200_000);
    let message = MESSAGE.replace("Good morning,\r\n\r\nyours.\r\n", &body);
    let message = sign::signed(&sign::ed25519(DOMAIN, "s", &HEADERS), message.as_bytes());
    let (_server, dns) = dns(&key(ED25519_RECORD));
    let deadline = Instant::now() + Duration::from_secs(600);
    let verifier = DkimVerifier::new(DkimSettings::DEFAULT);
    let verified =
        tokio::spawn(async move { verifier.verify(&dns, StoredMessage::from(message), deadline).await });
    let mut turns = 0_usize;
    while !verified.is_finished() {
        tokio::task::yield_now().await;
        turns += 1;
    }
    assert_eq!(verified.await.expect("no panic").signatures[0].result, DkimResult::Pass);
    assert!(turns > 1000, "{turns}");
}

#[tokio::test]
async fn what_exceeds_a_bound_never_passes_and_is_counted() {
    let names = |count: usize| odd::edited("h=from", &format!("h=from{}", ":x".repeat(count - 1)));
    let fields = |count: usize| "X: y\r\n".repeat(count - 6) + &odd::edited("", "");
    let roomy = DkimSettings::DEFAULT;
    let message = odd::edited("", "");
    let hashing = message.len() as u64;
    let tight = |max_hashed| DkimSettings { max_hashed, ..roomy };
    let rows = [
        (DkimLimit::Names, roomy, names(MAX_NAMES), roomy, names(MAX_NAMES + 1), "too many names in h="),
        (
            DkimLimit::Fields,
            roomy,
            fields(MAX_FIELDS),
            roomy,
            fields(MAX_FIELDS + 1),
            "too many header fields",
        ),
        (
            DkimLimit::Hashing,
            tight(hashing),
            message.clone(),
            tight(hashing - 1),
            message,
            "too much to hash",
        ),
    ];
    let (_server, dns) = dns(&key(RSA2048_RECORD));
    for (limit, within, good, beyond, bad, reason) in rows {
        let found = with(within, &dns, StoredMessage::from(good.into_bytes())).await;
        assert_eq!((found.signatures[0].result, found.signatures[0].reason), PASS, "{limit:?}");
        assert_eq!(found.limits, [], "{limit:?}");
        let found = with(beyond, &dns, StoredMessage::from(bad.into_bytes())).await;
        assert_eq!(found.signatures[0].result, DkimResult::Policy, "{limit:?}");
        assert_eq!((found.signatures[0].reason, found.limits), (Some(reason), vec![limit]));
    }
}

#[tokio::test]
async fn the_longest_header_that_smtp_takes_is_read_whole() {
    let message = odd::edited("", "");
    let (header, _) = message.split_once("\r\n\r\n").expect("a header");
    let (_server, dns) = dns(&key(RSA2048_RECORD));
    let max = usize::try_from(HEADER_MAX).expect("it fits");
    for (octets, wanted) in [(max, PASS), (max + 1, (DkimResult::Policy, Some("header too large")))] {
        let filling = "y".repeat(octets - header.len() - "\r\n\r\n".len() - "X: \r\n".len());
        let found =
            with(DkimSettings::DEFAULT, &dns, format!("X: {filling}\r\n{message}").into_bytes()).await;
        assert_eq!((found.signatures[0].result, found.signatures[0].reason), wanted, "{octets}");
    }
}

#[tokio::test]
async fn a_part_of_the_body_passes_where_the_operator_says_so() {
    let settings = DkimSettings { partial_body: PartialBody::Accepted, ..DkimSettings::DEFAULT };
    let (mismatch, larger) = (Some("body hash mismatch"), Some("l= is larger than the body"));
    let rows = [
        (odd::over("v=1;", "v=1; l=0;", ""), PASS),
        (odd::over("v=1;", "v=1; l=4;", "Good"), PASS),
        (odd::over("v=1;", "v=1; l=4;", "Goo"), (DkimResult::Fail, mismatch)),
        (odd::edited("v=1;", "v=1; l=25;") + "appended\r\n", PASS),
        (odd::edited("v=1;", "v=1; l=25;").replace("yours", "mine!") + "\r\n", (DkimResult::Fail, mismatch)),
        (odd::edited("v=1;", "v=1; l=26;"), (DkimResult::PermError, larger)),
        (odd::edited("", "") + "appended\r\n", (DkimResult::Fail, mismatch)),
    ];
    let (_server, dns) = dns(&key(RSA2048_RECORD));
    for (row, (message, wanted)) in rows.into_iter().enumerate() {
        let found = with(settings, &dns, StoredMessage::from(message.into_bytes())).await.signatures;
        assert_eq!((found[0].result, found[0].reason), wanted, "row {row}");
    }
}

#[tokio::test]
async fn signatures_with_one_key_ask_for_it_once() {
    let (server, dns) = dns(&key(RSA2048_RECORD));
    let message = rsa();
    let signature = message.strip_suffix(MESSAGE).expect("a signature on top");
    let other = signature.replace("s=s;", "s=t;");
    let found = findings(&dns, format!("{signature}{other}{signature}{other}{MESSAGE}")).await;
    let results: Vec<DkimResult> = found.signatures.iter().map(|signature| signature.result).collect();
    assert_eq!(results, [DkimResult::Pass, DkimResult::PermError].repeat(2));
    assert_eq!(server.queries_for("s._domainkey.a.example", "TXT"), 1);
    assert_eq!(server.queries_for("t._domainkey.a.example", "TXT"), 1);
    assert_eq!(server.queries(), 2);
}

#[tokio::test]
async fn a_check_without_a_slot_ends_in_a_temporary_error() {
    let settings = DkimSettings {
        concurrency_large: NonZeroU8::MIN,
        large_message: 0,
        queue_timeout: Duration::ZERO,
        ..DkimSettings::DEFAULT
    };
    let (_server, dns) = dns(&key(RSA2048_RECORD));
    let verifier = DkimVerifier::new(settings);
    let body = "0123456789abcdef 0123456789abcdef\r\n".repeat(200_000);
    let large = MESSAGE.replace(odd::BODY, &body);
    let large = StoredMessage::from(sign::signed(&sign::ed25519(DOMAIN, "s", &HEADERS), large.as_bytes()));
    let deadline = Instant::now() + Duration::from_secs(60);
    let both = tokio::join!(
        verifier.verify(&dns, large, deadline),
        verifier.verify(&dns, StoredMessage::from(rsa().into_bytes()), deadline),
    );
    assert_eq!(both.1.signatures[0].result, DkimResult::TempError);
    assert_eq!(both.1.limits, [DkimLimit::Wait]);
}

#[tokio::test]
async fn a_message_in_a_file_is_verified_to_its_last_octet() {
    let body = "0123456789abcdef 0123456789abcdef\r\n".repeat(30_000);
    let message =
        sign::signed(&sign::ed25519(DOMAIN, "s", &HEADERS), MESSAGE.replace(odd::BODY, &body).as_bytes());
    let directory = tempfile::tempdir().expect("a directory");
    let (_server, dns) = dns(&key(ED25519_RECORD));
    let mut altered = message.clone();
    let last = altered.len() - 3;
    altered[last] = b'F';
    for (message, wanted) in [(message, DkimResult::Pass), (altered, DkimResult::Fail)] {
        let mut buffer = MessageBuffer::new(SpillDirectory::new(directory.path().to_owned()));
        for piece in message.chunks(100_000) {
            buffer.append(piece.to_vec()).await.expect("room");
        }
        let content = buffer.freeze();
        assert!(content.len() > content.head().len() as u64, "a part of it lies in a file");
        let found = with(DkimSettings::DEFAULT, &dns, content).await;
        assert_eq!(found.signatures[0].result, wanted);
    }
}
