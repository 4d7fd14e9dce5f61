//! Key records: which may verify a signature, and which never.

use data_encoding::BASE64;
use sixgate_auth::dkim::DkimResult;
use sixgate_tests::sign::{self, ED25519_RECORD, HEADERS, RSA2048_RECORD};

use super::{DOMAIN, MESSAGE, PASS, ed25519, key, result, rsa};

/// The RSA record with other tags in place of `k=rsa;`.
fn with(tags: &str) -> String {
    key(&RSA2048_RECORD.replace("k=rsa;", tags))
}

#[tokio::test]
async fn the_key_record_has_its_say() {
    use DkimResult::{Fail, PermError, Policy, TempError};
    let twice = format!("{}\n{}", with("k=rsa;"), with("k=rsa; n=another;"));
    let rows = [
        ("no record", String::new(), PermError, "no key record"),
        ("no TXT record", "s._domainkey.a.example A 192.0.2.1".to_owned(), PermError, "no key record"),
        ("not a key", key(r#""hello""#), PermError, "TXT records, but no key record"),
        ("an SPF record", key(r#""v=spf1 -all""#), PermError, "TXT records, but no key record"),
        ("no p=", key(r#""v=DKIM1; k=rsa""#), PermError, "key record without usable key: no p="),
        ("P= is not p=", with("").replace("p=", "P="), PermError, "key record without usable key: no p="),
        (
            "garbage in p=",
            key(r#""v=DKIM1; p=AAAA""#),
            PermError,
            "key record without usable key: p= is not an RSA key",
        ),
        (
            "no base64 in p=",
            key(r#""v=DKIM1; p=!!!!""#),
            PermError,
            "key record without usable key: p= is not base64",
        ),
        ("revoked", key(r#""v=DKIM1; p=""#), PermError, "the key is revoked"),
        ("revoked, with blanks", key(r#""v=DKIM1; p= ; k=rsa""#), PermError, "the key is revoked"),
        (
            "another version",
            with("").replace("DKIM1", "DKIM2"),
            PermError,
            "key record without usable key: v= is not DKIM1 or not first",
        ),
        (
            "version in lower case",
            with("").replace("DKIM1", "dkim1"),
            PermError,
            "key record without usable key: v= is not DKIM1 or not first",
        ),
        (
            "an empty version",
            with("").replace("DKIM1", ""),
            PermError,
            "key record without usable key: v= is not DKIM1 or not first",
        ),
        (
            "version not first",
            with("").replace("v=DKIM1; ", "n=; v=DKIM1;"),
            PermError,
            "key record without usable key: v= is not DKIM1 or not first",
        ),
        (
            "version last",
            with("").replace("v=DKIM1; ", "").replace("QAB\"", "QAB; v=DKIM1\""),
            PermError,
            "key record without usable key: v= is not DKIM1 or not first",
        ),
        ("p= twice", with("p=AAAA;"), PermError, "key record without usable key: malformed or repeated tag"),
        (
            "k= twice",
            with("k=rsa; k=rsa;"),
            PermError,
            "key record without usable key: malformed or repeated tag",
        ),
        (
            "an unknown tag twice",
            with("x=1; x=1;"),
            PermError,
            "key record without usable key: malformed or repeated tag",
        ),
        (
            "no tag at all in between",
            with("nonsense;"),
            PermError,
            "key record without usable key: malformed or repeated tag",
        ),
        ("two keys", twice, PermError, "more than one key record"),
        (
            "a key and a revoked one",
            format!("{}\n{}", with("k=rsa;"), key(r#""p=""#)),
            PermError,
            "more than one key record",
        ),
        (
            "a key and a broken one",
            format!("{}\n{}", with("k=rsa;"), key(r#""v=DKIM1; p=A; p=B""#)),
            PermError,
            "more than one key record",
        ),
        ("another hash", with("h=sha1;"), PermError, "the key is not for sha256"),
        ("no hash", with("h=;"), PermError, "the key is not for sha256"),
        ("a hash in capitals", with("h=SHA256;"), PermError, "the key is not for sha256"),
        ("another service", with("s=chat;"), PermError, "the key is not for mail"),
        ("no service", with("s=;"), PermError, "the key is not for mail"),
        ("another key", key(ED25519_RECORD), PermError, "the key is of another type"),
        ("an unknown key type", with("k=dsa;"), PermError, "the key is of another type"),
        ("a key type in capitals", with("k=RSA;"), PermError, "the key is of another type"),
        ("an empty key type", with("k=;"), PermError, "the key is of another type"),
        ("testing", with("t=y;"), Policy, "the key is for testing only"),
        ("testing among others", with("t=x : s\t:\ty;"), Policy, "the key is for testing only"),
        ("a larger key than anybody needs", rsa_record(8200), Policy, "the key is too long"),
        ("a key of 1023 bits", rsa_record(1023), Policy, "the key is too short"),
        ("a key of 1017 bits", rsa_record(1017), Policy, "the key is too short"),
        ("a key that is another", rsa_record(1024), Fail, "signature mismatch"),
        (
            "SERVFAIL",
            "s._domainkey.a.example FAULT servfail".to_owned(),
            TempError,
            "DNS server replied SERVFAIL",
        ),
        (
            "REFUSED",
            "a.example TXT x\ns._domainkey.a.example FAULT refused".to_owned(),
            TempError,
            "DNS server replied REFUSED",
        ),
        ("silence", "s._domainkey.a.example FAULT timeout".to_owned(), TempError, "no answer from DNS"),
    ];
    for (row, zone, wanted, reason) in rows {
        assert_eq!(result(&zone, rsa()).await, (wanted, Some(reason)), "{row}");
    }
    let altered = rsa().replace("yours.", "mine.");
    let found = result("s._domainkey.a.example FAULT servfail", altered).await;
    assert_eq!(found, (Fail, Some("body hash mismatch")), "what fails for sure is no temporary error");
}

/// The record of a key of `bits` bits with which no message is signed.
fn rsa_record(bits: usize) -> String {
    let mut modulus = vec![0xff; bits.div_ceil(8)];
    modulus[0] = 0xff >> (8 * modulus.len() - bits);
    if modulus[0] & 0x80 != 0 {
        modulus.insert(0, 0);
    }
    let element = |tag: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).expect("a short element").to_be_bytes();
        // the shortest form of the length
        let length: Vec<u8> = match length {
            [0, low @ 0..=0x7f] => vec![low],
            [0, low] => vec![0x81, low],
            [high, low] => vec![0x82, high, low],
        };
        [&[tag], length.as_slice(), content].concat()
    };
    let key = element(0x30, &[element(2, &modulus), element(2, &[1, 0, 1])].concat());
    let text = BASE64.encode(&key);
    let strings: Vec<String> =
        text.as_bytes().chunks(200).map(|part| format!("\"{}\"", String::from_utf8_lossy(part))).collect();
    key_of(&strings.join(" "))
}

fn key_of(strings: &str) -> String {
    key(&format!(r#""v=DKIM1; k=rsa; p=" {strings}"#))
}

#[tokio::test]
async fn key_records_as_they_are_found_in_the_wild_are_taken() {
    let bare = RSA2048_RECORD.replace("v=DKIM1; ", "");
    let rows = [
        ("no k=", with("")),
        ("no v=", key(&bare)),
        ("nothing but p=", key(&bare.replace("k=rsa; ", ""))),
        ("services and hashes", with("k=rsa; s=*:email; h=sha1:sha256; t=;;")),
        (
            "blanks around everything",
            with(" k\t= rsa ; s = x : email ; h = sha256 ; t = x : s ; g = * ;\" \""),
        ),
        ("unknown tags, in capitals too", with("x=1; K=dsa; P=; H=sha1;")),
        ("a semicolon at the end", with("").replace("QAB\"", "QAB;\"")),
        ("p= in the middle", key(&bare.replace("QAB\"", "QAB; k=rsa\"").replace("k=rsa; ", ""))),
        ("blanks in p=", with("").replace("MIIBIjAN", "MII\tBI jAN")),
        ("many short strings", key(&RSA2048_RECORD.replace("MIIBIjAN", r#"M" "I" "I" "" "BI" "jAN"#))),
        ("behind another TXT record", format!("{}\n{}", key(r#""v=spf1 -all""#), with("k=rsa;"))),
        ("beside a site's proof", format!("{}\n{}", key(r#""google-site-verification=x""#), with("k=rsa;"))),
        ("by TCP", format!("{}\ns._domainkey.a.example FAULT truncate", with("k=rsa;"))),
        (
            "behind a CNAME",
            format!("s._domainkey.a.example CNAME s.keys.example\ns.keys.example TXT {RSA2048_RECORD}"),
        ),
        (
            "behind two CNAMEs",
            format!(
                "s._domainkey.a.example CNAME b.example\nb.example CNAME c.example\nc.example TXT {RSA2048_RECORD}"
            ),
        ),
    ];
    for (row, zone) in rows {
        assert_eq!(result(&zone, rsa()).await, PASS, "{row}");
    }
}

#[tokio::test]
async fn ed25519_keys_have_32_octets() {
    const P: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let info = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let no_key = (DkimResult::PermError, Some("key record without usable key: p= is not an Ed25519 key"));
    let rows = [
        (P, PASS),
        ("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo", PASS),
        ("11qYAYKxCrfVS/7T yWQHOg7hcvPapiMlrwIaaPcHURo =", PASS),
        (info, no_key),
        ("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHUQ==", no_key),
        ("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURoA", no_key),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", (DkimResult::Fail, Some("signature mismatch"))),
    ];
    for (octets, wanted) in rows {
        let zone = key(&ED25519_RECORD.replace(P, octets));
        assert_eq!(result(&zone, ed25519()).await, wanted, "{octets}");
    }
    let of_rsa = result(&key(ED25519_RECORD), rsa()).await;
    assert_eq!(of_rsa, (DkimResult::PermError, Some("the key is of another type")));
    let without = key(&ED25519_RECORD.replace("k=ed25519; ", ""));
    let of_ed25519 = result(&without, ed25519()).await;
    assert_eq!(
        of_ed25519,
        (DkimResult::PermError, Some("the key is of another type")),
        "k= is rsa unless said"
    );
}

#[tokio::test]
async fn the_identity_lies_within_the_domain() {
    let by = |identity: &str| {
        let signer = sign::rsa2048(DOMAIN, "s", &HEADERS).agent_user_identifier(identity);
        sign::signed(&signer, MESSAGE.as_bytes())
    };
    let refused = (DkimResult::PermError, Some("i= is not within d="));
    let not_below = (DkimResult::PermError, Some("the key is not for subdomains"));
    let strict = RSA2048_RECORD.replace("k=rsa;", "t=s;");
    let rows = [
        (RSA2048_RECORD, "@a.example", PASS),
        (RSA2048_RECORD, "@news.a.example", PASS),
        (RSA2048_RECORD, "@b.example", refused),
        (RSA2048_RECORD, "@anota.example", refused),
        (strict.as_str(), "@a.example", PASS),
        (strict.as_str(), "joe@A.example", PASS),
        (strict.as_str(), "@news.a.example", not_below),
    ];
    for (record, identity, wanted) in rows {
        assert_eq!(result(&key(record), by(identity)).await, wanted, "{identity} {record}");
    }
    assert_eq!(result(&key(&strict), rsa()).await, PASS, "without i=");
}
