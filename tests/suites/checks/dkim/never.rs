//! What never passes although the signature verifies.

use sixgate_auth::dkim::DkimResult::{self, Neutral, PermError, Policy};
use sixgate_tests::sign::RSA2048_RECORD;

use super::{PASS, key, odd, result};

/// The text that is replaced in a signature that would pass, its replacement, and the result.
type Row<'a> = (&'a str, &'a str, DkimResult, &'a str);

async fn check(rows: &[Row<'_>]) {
    let zone = key(RSA2048_RECORD);
    assert_eq!(result(&zone, odd::edited("", "")).await, PASS, "unless something is replaced");
    for (what, with, wanted, reason) in rows {
        let found = result(&zone, odd::edited(what, with)).await;
        assert_eq!(found, (*wanted, Some(*reason)), "{with:?} for {what:?}");
    }
}

#[tokio::test]
async fn a_signature_without_a_required_tag() {
    const MISSING: &str = "a required tag is missing";
    check(&[
        (" v=1;", "", PermError, MISSING),
        (" a=rsa-sha256;", "", PermError, MISSING),
        (" b={b}", "", PermError, MISSING),
        (" bh={bh};", "", PermError, MISSING),
        (" d=a.example;", "", PermError, MISSING),
        (" h=from;", "", PermError, MISSING),
        (" s=s;", "", PermError, MISSING),
        ("v=1", "v=", PermError, MISSING),
        ("a=rsa-sha256", "a=", PermError, MISSING),
        ("{b}", " \r\n ", PermError, MISSING),
        ("{bh}", "", PermError, MISSING),
        ("a.example", " ", PermError, MISSING),
        ("h=from", "h=", PermError, MISSING),
        ("s=s", "s=", PermError, MISSING),
        ("v=1", "V=1", PermError, MISSING),
        ("bh={bh}", "BH={bh}", PermError, MISSING),
    ])
    .await;
}

#[tokio::test]
async fn a_list_that_breaks_the_syntax() {
    const MALFORMED: &str = "malformed signature";
    let mut rows = vec![
        (" v=1;", " v=1;;", PermError, MALFORMED),
        (" v=1;", "; v=1;", PermError, MALFORMED),
        ("b={b}", "b={b};;", PermError, MALFORMED),
        ("b={b}", "b={b}; ;", PermError, MALFORMED),
        ("v=1;", "v=1; nothing;", PermError, MALFORMED),
        ("v=1;", "v=1; =nothing;", PermError, MALFORMED),
        ("v=1;", "v=1; 1x=y;", PermError, MALFORMED),
        ("v=1;", "v=1; x y=z;", PermError, MALFORMED),
        ("v=1;", "v=1; x=\u{1};", PermError, MALFORMED),
        ("v=1;", "v=1; x=\u{7f};", PermError, MALFORMED),
        ("v=1;", "v=1, x=y;", Neutral, "unknown version"),
    ];
    let twice = [
        "v=1",
        "a=rsa-sha256",
        "c=relaxed/relaxed",
        "d=a.example",
        "s=s",
        "h=from",
        "bh={bh}",
        "b=AAAA",
        "x=9999999999",
        "t=1",
        "l=26",
        "i=@a.example",
        "q=dns/txt",
        "z=From:x",
        "unknown=1",
    ]
    .map(|tag| (tag, format!("v=1; {tag}; {tag};")));
    rows.extend(twice.iter().map(|(tag, with)| match *tag {
        "v=1" => ("v=1;", "v=1; v=1;", PermError, MALFORMED),
        _ => ("v=1;", with.as_str(), PermError, MALFORMED),
    }));
    check(&rows).await;
    let zone = key(RSA2048_RECORD);
    let eight_bit = odd::edited("v=1;", "v=1; x=E;").into_bytes();
    let eight_bit: Vec<u8> =
        eight_bit.into_iter().map(|octet| if octet == b'E' { 0xe9 } else { octet }).collect();
    assert_eq!(result(&zone, eight_bit).await, (PermError, Some(MALFORMED)), "neither ASCII nor UTF-8");
}

#[tokio::test]
async fn an_unknown_value() {
    check(&[
        ("v=1", "v=2", Neutral, "unknown version"),
        ("v=1", "v=01", Neutral, "unknown version"),
        ("v=1", "v=1.0", Neutral, "unknown version"),
        ("rsa-sha256", "rsa-sha1", Policy, "rsa-sha1 is not accepted"),
        ("rsa-sha256", "RSA-SHA256", Neutral, "unknown algorithm"),
        ("rsa-sha256", "rsa-sha512", Neutral, "unknown algorithm"),
        ("rsa-sha256", "rsa", Neutral, "unknown algorithm"),
        ("rsa-sha256", "rsa-sha256:rsa-sha256", Neutral, "unknown algorithm"),
        ("c=relaxed/relaxed", "c=relaxed/nofws", Neutral, "unknown canonicalization"),
        ("c=relaxed/relaxed", "c=nofws/relaxed", Neutral, "unknown canonicalization"),
        ("c=relaxed/relaxed", "c=", Neutral, "unknown canonicalization"),
        ("c=relaxed/relaxed", "c=relaxed/relaxed/relaxed", Neutral, "unknown canonicalization"),
        ("v=1;", "v=1; q=http;", Neutral, "unknown query method"),
        ("v=1;", "v=1; q=dns;", Neutral, "unknown query method"),
        ("v=1;", "v=1; q=dns/txt2:x;", Neutral, "unknown query method"),
        ("v=1;", "v=1; q=;", PermError, "malformed signature"),
        ("v=1;", "v=1; q=dns/txt:;", PermError, "malformed signature"),
        ("v=1;", "v=1; q=:dns/txt;", PermError, "malformed signature"),
    ])
    .await;
}

#[tokio::test]
async fn names_and_numbers_that_are_none() {
    let label = format!("d={}.example", "a".repeat(64));
    let long = format!("s={}", ["abcdefg"; 32].join("."));
    check(&[
        ("h=from", "h=to", PermError, "From is not signed"),
        ("h=from", "h=xfrom:from-", PermError, "From is not signed"),
        ("h=from", "h=from:", PermError, "malformed signature"),
        ("h=from", "h=:from", PermError, "malformed signature"),
        ("h=from", "h=from::to", PermError, "malformed signature"),
        ("h=from", "h=from to", PermError, "malformed signature"),
        ("h=from", "h=from:b\u{fc}cher", PermError, "malformed signature"),
        ("{b}", "{b}!", PermError, "bad base64"),
        ("{b}", "====", PermError, "bad base64"),
        ("{bh}", "{bh}AAA", PermError, "bad base64"),
        ("d=a.example", "d=a example", PermError, "d= or s= is not a name"),
        ("d=a.example", "d=a..example", PermError, "d= or s= is not a name"),
        ("d=a.example", "d=.a.example", PermError, "d= or s= is not a name"),
        ("d=a.example", "d=a.\r\n example", PermError, "d= or s= is not a name"),
        ("d=a.example", "d=a.example/", PermError, "d= or s= is not a name"),
        ("d=a.example", &label, PermError, "d= or s= is not a name"),
        ("d=a.example", "d=a.example.", PermError, "d= or s= is not a name"),
        ("s=s", "s=s.", PermError, "d= or s= is not a name"),
        ("s=s", "s=*", PermError, "d= or s= is not a name"),
        ("s=s", &long, PermError, "d= or s= is not a name"),
        ("v=1;", "v=1; i=@b.example;", PermError, "i= is not within d="),
        ("v=1;", "v=1; i=@xa.example;", PermError, "i= is not within d="),
        ("v=1;", "v=1; i=@example;", PermError, "i= is not within d="),
        ("v=1;", "v=1; i=;", PermError, "i= is not within d="),
        ("v=1;", "v=1; i=joe;", PermError, "i= is not within d="),
    ])
    .await;
}

#[tokio::test]
async fn what_is_not_of_this_time() {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let far = "9".repeat(76);
    let tags = [
        (format!("v=1; x={};", now - 1), "signature expired"),
        (format!("v=1; t={}; x={};", now - 9, now - 3), "signature expired"),
        (format!("v=1; t={}; x={};", now - 3, now - 3), "x= is not after t="),
        (format!("v=1; t={0}; x={0};", now + 99), "x= is not after t="),
        (format!("v=1; t={};", now + 3600), "t= is in the future"),
        (format!("v=1; t={far};"), "t= is in the future"),
        (format!("v=1; t={far}9;"), "malformed signature"),
        (format!("v=1; x={far}9;"), "malformed signature"),
        ("v=1; t=;".to_owned(), "malformed signature"),
        ("v=1; x=-1;".to_owned(), "malformed signature"),
        ("v=1; x=0x7fffffff;".to_owned(), "malformed signature"),
    ];
    let rows: Vec<Row<'_>> =
        tags.iter().map(|(with, reason)| ("v=1;", with.as_str(), PermError, *reason)).collect();
    check(&rows).await;
}

#[tokio::test]
async fn a_part_of_the_body() {
    let zone = key(RSA2048_RECORD);
    let partial = (Policy, Some("l= leaves a part of the body unsigned"));
    let larger = (PermError, Some("l= is larger than the body"));
    let far = "9".repeat(76);
    let rows = [
        (odd::over("v=1;", "v=1; l=0;", ""), partial),
        (odd::over("v=1;", "v=1; l=4;", "Good"), partial),
        (odd::over("v=1;", "v=1; l=24;", &odd::BODY[..24]), partial),
        (odd::edited("v=1;", "v=1; l=25;"), PASS),
        (odd::edited("v=1;", "v=1; l=00025;"), PASS),
        (odd::edited("v=1;", "v=1; l=25;") + " \r\n\r\n", PASS),
        (odd::edited("v=1;", "v=1; l=25;") + "appended\r\n", partial),
        (odd::edited("v=1;", "v=1; l=26;"), larger),
        (odd::edited("v=1;", &format!("v=1; l={far};")), larger),
        (odd::edited("v=1;", &format!("v=1; l={far}9;")), (PermError, Some("malformed signature"))),
        (odd::edited("v=1;", "v=1; l=;"), (PermError, Some("malformed signature"))),
    ];
    for (row, (message, wanted)) in rows.into_iter().enumerate() {
        assert_eq!(result(&zone, message).await, wanted, "row {row}");
    }
}
