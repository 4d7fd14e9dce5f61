//! DKIM: what passes, and all that must not. Signatures of the fixtures were made by dkimpy, which
//! takes them for good, those with weak algorithms included; the others are made here, by
//! mail-auth's signer.

mod bounds;
mod keys;
mod never;
mod odd;
mod owed;

use std::time::Duration;

use mail_auth::dkim::Canonicalization;
use sixgate::message_store::{HEAD_MAX, StoredMessage};
use sixgate_auth::{
    dkim::{DkimFindings, DkimResult, DkimSettings, DkimSignature, DkimVerifier, MAX_NAMES},
    dns::Resolver,
};
use sixgate_tests::sign::{self, ED25519_RECORD, HEADERS, RSA2048_RECORD};
use tokio::time::Instant;

use crate::dns;

const DOMAIN: &str = "a.example";
const MESSAGE: &str = "From: Joe <joe@a.example>\r\nTo: jane@b.example\r\nSubject: tests\r\n\
    Date: Sat, 21 Nov 2026 09:00:00 +0000\r\nMessage-ID: <2@a.example>\r\n\r\nGood morning,\r\n\r\nyours.\r\n";

async fn verify(zone: &str, message: impl Into<Vec<u8>>) -> Vec<DkimSignature> {
    let (_server, dns) = dns(zone);
    findings(&dns, message).await.signatures
}

async fn findings(dns: &Resolver, message: impl Into<Vec<u8>>) -> DkimFindings {
    let deadline = Instant::now() + Duration::from_secs(60);
    DkimVerifier::new(DkimSettings::DEFAULT).verify(dns, StoredMessage::from(message.into()), deadline).await
}

/// What came out of the only signature.
async fn result(zone: &str, message: impl Into<Vec<u8>>) -> (DkimResult, Option<&'static str>) {
    let found = verify(zone, message).await;
    let [only] = &found[..] else { panic!("{found:?}") };
    (only.result, only.reason)
}

/// The record of the key that the signatures made here name.
fn key(record: &str) -> String {
    format!("s._domainkey.a.example TXT {record}")
}

fn rsa() -> String {
    text(sign::signed(&sign::rsa2048(DOMAIN, "s", &HEADERS), MESSAGE.as_bytes()))
}

fn ed25519() -> String {
    text(sign::signed(&sign::ed25519(DOMAIN, "s", &HEADERS), MESSAGE.as_bytes()))
}

fn text(message: Vec<u8>) -> String {
    String::from_utf8(message).expect("a message in ASCII")
}

/// Tags and their values; an empty value stands for no such tag.
type Replaced<'a> = &'a [(&'a str, &'a str)];

/// A signature that is not good, with this in place of what it usually holds.
fn forged(replaced: Replaced<'_>) -> String {
    let mut tags = vec![
        ("v", "1"),
        ("a", "rsa-sha256"),
        ("c", "relaxed/relaxed"),
        ("d", DOMAIN),
        ("s", "s"),
        ("h", "from:to"),
        ("bh", "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="),
        ("b", "aGVsbG8gd29ybGQ="),
    ];
    tags.retain(|(name, _)| !replaced.iter().any(|(other, _)| other == name));
    tags.extend(replaced.iter().filter(|(_, value)| !value.is_empty()));
    let tags: Vec<String> = tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("DKIM-Signature: {}\r\n{MESSAGE}", tags.join(";\r\n\t"))
}

const PASS: (DkimResult, Option<&str>) = (DkimResult::Pass, None);

#[tokio::test]
async fn good_signatures_pass() {
    let simple = sign::ed25519(DOMAIN, "s", &HEADERS)
        .header_canonicalization(Canonicalization::Simple)
        .body_canonicalization(Canonicalization::Simple);
    let expiring = sign::rsa2048(DOMAIN, "s", &HEADERS).expiration(3600);
    let below = sign::rsa2048(DOMAIN, "s", &HEADERS).agent_user_identifier("joe@news.a.example");
    let rows = [
        ("rsa-sha256", RSA2048_RECORD, rsa()),
        ("ed25519-sha256", ED25519_RECORD, ed25519()),
        ("simple", ED25519_RECORD, text(sign::signed(&simple, MESSAGE.as_bytes()))),
        ("not expired yet", RSA2048_RECORD, text(sign::signed(&expiring, MESSAGE.as_bytes()))),
        ("i= below d=", RSA2048_RECORD, text(sign::signed(&below, MESSAGE.as_bytes()))),
        ("a field put in front", RSA2048_RECORD, format!("X-Spam: no\r\n{}", rsa())),
        ("folded anew", RSA2048_RECORD, rsa().replace("Subject: tests", "subject:\r\n\ttests ")),
        ("blanks at the ends of lines", RSA2048_RECORD, rsa().replace("yours.\r\n", "yours. \t\r\n\r\n")),
        ("a blank before a colon", RSA2048_RECORD, rsa().replace("From: ", "From : ")),
        ("a second Subject in front", RSA2048_RECORD, format!("Subject: added\r\n{}", rsa())),
    ];
    for (row, record, message) in rows {
        assert_eq!(result(&key(record), message).await, PASS, "{row}");
    }
}

#[tokio::test]
async fn signatures_of_another_program_pass() {
    let zone = include_str!("fixtures/keys.zone");
    let simple = include_str!("fixtures/simple.eml");
    let relaxed = include_str!("fixtures/relaxed.eml");
    let rows = [
        ("1024 bits", include_str!("fixtures/rsa1024.eml").to_owned()),
        ("simple", simple.to_owned()),
        ("simple, empty lines at the end", format!("{simple}\n\n")),
        ("relaxed", relaxed.to_owned()),
        ("l= of all of the body", include_str!("fixtures/length.eml").to_owned()),
        ("relaxed, blank lines at the end", relaxed.replace("morning.\n", "morning.  \n \t\n\n  \n")),
    ];
    for (row, message) in rows {
        assert_eq!(result(zone, message.replace('\n', "\r\n")).await, PASS, "{row}");
    }
}

#[tokio::test]
async fn good_signatures_that_our_rules_refuse_never_pass() {
    let zone = include_str!("fixtures/keys.zone");
    let rows = [
        (include_str!("fixtures/rsa-sha1.eml"), "rsa-sha1 is not accepted"),
        (include_str!("fixtures/rsa512.eml"), "the key is too short"),
        (concat!(include_str!("fixtures/length.eml"), "appended\n"), "l= leaves a part of the body unsigned"),
    ];
    for (message, reason) in rows {
        let found = result(zone, message.replace('\n', "\r\n")).await;
        assert_eq!(found, (DkimResult::Policy, Some(reason)));
    }
}

#[tokio::test]
async fn a_header_that_readers_may_take_differently_earns_no_pass() {
    let many = "X: y\r\n".repeat(HEAD_MAX / 6);
    let rows = [
        (format!("From: evil@c.example\r\n{}", rsa()), "more than one From field"),
        (rsa().replace("To: ", "From : evil@c.example\r\nTo: "), "more than one From field"),
        (rsa().replace("From: Joe <joe@a.example>\r\n", ""), "no From field"),
        (format!("no field\r\n{}", rsa()), "malformed header"),
        (format!("From sender Mon\r\n{}", rsa()), "malformed header"),
        (rsa().replace("\r\n\r\n", &format!("\r\n{many}\r\n")), "header too large"),
    ];
    for (message, reason) in rows {
        let found = result(&key(RSA2048_RECORD), message).await;
        assert_eq!(found, (DkimResult::Policy, Some(reason)));
    }
}

#[tokio::test]
async fn what_was_altered_fails() {
    let rows = [
        (rsa().replace("yours.", "mine."), "body hash mismatch"),
        (rsa() + "appended\r\n", "body hash mismatch"),
        (rsa().replace("tests", "spam"), "signature mismatch"),
        (rsa().replace("Subject: tests\r\n", ""), "signature mismatch"),
        (rsa().replace("joe@a.example", "eve@a.example"), "signature mismatch"),
        (ed25519().replace("tests", "spam"), "signature mismatch"),
    ];
    for (message, reason) in rows {
        let record = if message.contains("ed25519") { ED25519_RECORD } else { RSA2048_RECORD };
        let found = result(&key(record), message).await;
        assert_eq!(found, (DkimResult::Fail, Some(reason)));
    }
}

#[tokio::test]
async fn a_signature_that_cannot_be_used_is_reported_all_the_same() {
    use DkimResult::{Neutral, PermError, Policy};
    let many = format!("from{}", ":x".repeat(MAX_NAMES));
    let rows: [(Replaced<'_>, DkimResult, &str); 22] = [
        (&[("h", "to:subject")], PermError, "From is not signed"),
        (&[("h", many.as_str())], Policy, "too many names in h="),
        (&[("l", "0")], Policy, "l= leaves a part of the body unsigned"),
        (&[("x", "1")], PermError, "signature expired"),
        (&[("t", "2000000000"), ("x", "1999999999")], PermError, "x= is not after t="),
        (&[("x", "soon")], PermError, "malformed signature"),
        (&[("v", "")], PermError, "a required tag is missing"),
        (&[("a", "")], PermError, "a required tag is missing"),
        (&[("b", "")], PermError, "a required tag is missing"),
        (&[("bh", "")], PermError, "a required tag is missing"),
        (&[("d", "")], PermError, "a required tag is missing"),
        (&[("h", "")], PermError, "a required tag is missing"),
        (&[("s", "")], PermError, "a required tag is missing"),
        (&[("b", "!!!!")], PermError, "bad base64"),
        (&[("B", "aGVsbG8=")], DkimResult::Fail, "body hash mismatch"),
        (&[("d", "a b.example/")], PermError, "d= or s= is not a name"),
        (&[("s", "s;no tag")], PermError, "malformed signature"),
        (&[("v", "2")], Neutral, "unknown version"),
        (&[("a", "rsa-md5")], Neutral, "unknown algorithm"),
        (&[("c", "nofws")], Neutral, "unknown canonicalization"),
        (&[("q", "http")], Neutral, "unknown query method"),
        (&[("a", "rsa-sha1")], Policy, "rsa-sha1 is not accepted"),
    ];
    for (replaced, wanted, reason) in rows {
        // `B` does not replace `b`, it comes on top
        let found = result(&key(RSA2048_RECORD), forged(replaced)).await;
        assert_eq!(found, (wanted, Some(reason)), "{replaced:?}");
    }
}

#[tokio::test]
async fn the_evidence_says_whose_signature_it_was() {
    let signer = sign::rsa2048(DOMAIN, "s", &HEADERS).agent_user_identifier("joe@a.example");
    let message = text(sign::signed(&signer, MESSAGE.as_bytes()));
    let (_, start) = message.split_once(" b=").expect("a signature");
    let found = verify(&key(RSA2048_RECORD), message.clone()).await;
    let wanted = DkimSignature {
        result: DkimResult::Pass,
        reason: None,
        domain: DOMAIN.to_owned(),
        selector: "s".to_owned(),
        identity: "joe@a.example".to_owned(),
        algorithm: "rsa-sha256",
        signature_start: start[..8].to_owned(),
    };
    assert_eq!(found, [wanted]);
}

#[tokio::test]
async fn no_message_breaks_the_verifier() {
    let rows: [&[u8]; 8] = [
        b"",
        b"\r\n",
        b"DKIM-Signature:",
        b"DKIM-Signature: \xff\xfe\r\n",
        b"DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=s; h=from; bh=; b=\r\nFrom: a\r\n",
        b"From: a\r\nDKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=s; h=from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA",
        b"From: a\nDKIM-Signature: v=1\n\nbare line feeds",
        b"DKIM-Signature: =;=;=\r\n\r\n",
    ];
    for message in rows {
        let found = verify(&key(RSA2048_RECORD), message).await;
        assert!(found.iter().all(|signature| signature.result != DkimResult::Pass));
    }
}
