//! The space that the header fields of sixgate may take, for any content that clients send.

use std::{sync::Arc, time::Duration};

use sixgate::{message_store::StoredMessage, nexthop::HEADER_RESERVE};
use sixgate_auth::{
    auth_results::{self, Results},
    dkim::{DkimSettings, DkimSignature, DkimVerifier, MAX_SIGNATURES},
    dns::LONGEST_NAME,
    ptr::{PtrResult, Unanswered},
    spf::{LONGEST_TRAIL, SpfCheck, SpfReason, SpfResult, SpfResults},
};
use sixgate_smtp::{
    command::Command,
    policy::evidence::Endpoints,
    received::Received,
    session::{Hello, Tls, Transaction},
};
use tokio::time::Instant;

use crate::dns;

/// What becomes longest in a header: each octet of it is escaped there.
const WORST: &str = "\"";
/// The longest domain of RFC 5321 4.5.3.1.2, octets.
const LONGEST_DOMAIN: usize = 255;

#[tokio::test]
async fn the_longest_fields_have_the_room_that_is_left_for_them() {
    let endpoints = Endpoints {
        source: "2001:db8:1111:2222:3333:4444:5555:6666".parse().expect("an address"),
        source_port: 65535,
        destination: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().expect("an address"),
        destination_port: 65535,
    };
    let hostname = name(LONGEST_NAME);
    let source_name = name(LONGEST_NAME);
    let results = Results {
        client: endpoints.source.into(),
        ptr: Some(&PtrResult::TempError(Unanswered::Record)),
        spf: Some(&SpfResults { helo: spf(), mail_from: spf() }),
        dkim: Some(&signatures().await),
    };
    let results = auth_results::header(&hostname, &results);
    let received = Received {
        hostname: &hostname,
        endpoints,
        tls: Some(&Tls {
            version: "unknown",
            cipher: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256".to_owned(),
        }),
        source_name: Some(&source_name),
        transaction: &transaction(),
        id: "ffffffffffffffff-ffffffff",
        date: "Sat, 21 Nov 2026 04:08:04 +0000",
    };
    let octets = u64::try_from(format!("{results}{received}").len()).expect("it lies in memory");
    assert!(octets <= HEADER_RESERVE, "{octets} octets of our own fields");
    assert!(
        octets > HEADER_RESERVE / 2,
        "{octets} octets: no message needs so many, or this is not the worst"
    );
}

/// As many as are looked at, each as long as it may be: they need not verify to be reported.
async fn signatures() -> Vec<DkimSignature> {
    let (domain, local_part) = (WORST.repeat(LONGEST_NAME), WORST.repeat(64));
    let signature = format!(
        "DKIM-Signature: v=1; a=ed25519-sha256; b=AAAAAAAA; bh=AAAA; d={domain};\r\n s={domain};\r\n \
         i={local_part}@{}\r\n",
        WORST.repeat(LONGEST_DOMAIN)
    );
    let message = format!("{}From: a@b.example\r\n\r\n", signature.repeat(MAX_SIGNATURES));
    let (_server, dns) = dns("");
    let deadline = Instant::now() + Duration::from_secs(60);
    let verifier = DkimVerifier::new(DkimSettings::DEFAULT);
    let found = verifier.verify(&dns, StoredMessage::from(message.into_bytes()), deadline).await.signatures;
    assert!(found.len() == MAX_SIGNATURES && found.iter().all(|signature| signature.domain == domain));
    found
}

fn spf() -> SpfCheck {
    let reason = SpfReason::RedirectWithoutRecord;
    let term = WORST.repeat(LONGEST_TRAIL);
    SpfCheck { term, ..SpfCheck::new(WORST.repeat(LONGEST_DOMAIN), SpfResult::PermError, reason) }
}

fn hello() -> Hello {
    match Command::parse(format!("EHLO {}", name(LONGEST_DOMAIN)).as_bytes()) {
        Ok(Command::Ehlo(name)) => Hello { name, extended: true },
        other => panic!("{other:?}"),
    }
}

fn transaction() -> Transaction {
    let Ok(Command::Mail(mail)) = Command::parse(b"MAIL FROM:<a@b.example> SMTPUTF8") else {
        panic!("it is a MAIL");
    };
    // a path of 256 octets (RFC 5321 4.5.3.1.3)
    let recipient = format!("RCPT TO:<{}@{}>", "a".repeat(64), name(256 - 2 - 64 - 1));
    match Command::parse(recipient.as_bytes()) {
        Ok(Command::Rcpt(recipient)) => {
            Transaction { hello: Arc::new(hello()), mail: Arc::new(mail), recipients: vec![recipient] }
        }
        other => panic!("{other:?}"),
    }
}

/// A name of so many octets.
fn name(length: usize) -> String {
    let mut name = "a.".repeat(length / 2);
    if length % 2 == 1 {
        name.push('a');
    } else {
        name.replace_range(length - 2.., "aa");
    }
    name
}
