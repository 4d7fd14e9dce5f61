//! Signatures that must pass: odd, but valid by RFC 6376. The signed text stands in each row as the
//! RFC would write it.

use std::time::{SystemTime, UNIX_EPOCH};

use mail_auth::dkim::Canonicalization;
use sixgate_tests::sign::{self, ByHand, ED25519_RECORD, HEADERS, RSA2048_RECORD};

use super::{DOMAIN, MESSAGE, PASS, forged, key, odd, odd::Said, result, text, verify};

async fn passes(row: &str, message: String) {
    assert_eq!(result(&key(RSA2048_RECORD), message).await, PASS, "{row}");
}

#[tokio::test]
async fn tags_in_every_form_that_the_grammar_allows() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let far = format!("v=1; x={};", "9".repeat(76));
    let (just, soon) = (format!("v=1; t={now};"), format!("v=1; t={}; x={};", now - 60, now + 60));
    let ahead = format!("v=1; t={};", now + 120);
    let rows = [
        ("v=1;", "\r\n\tv\t=\r\n 1\r\n ;"),
        ("a=rsa-sha256;", " a\t=\trsa-sha256 ;"),
        ("h=from;", "h = \r\n\tFROM\r\n\t;"),
        ("h=from;", "h=\tx\r\n : From\t:y;"),
        ("b={b}", "b={b};"),
        ("b={b}", "b={b} ; \t"),
        ("b={b}", "b=\r\n\t {b}\r\n \t;\r\n n=x"),
        ("v=1;", "v=1; q=dns/txt;"),
        ("v=1;", "v=1; q=http : dns/txt;"),
        ("v=1;", "v=1; q=dns/txt:x-new/y;"),
        ("v=1;", "v=1; i=@a.example;"),
        ("v=1;", "v=1; i=joe@news.A.Example;"),
        ("v=1;", "v=1; i=joe=20doe@a.example;"),
        ("v=1;", "v=1; i=joe=40a.example;"),
        ("v=1;", "v=1; i=joe@a=2Eexample;"),
        ("v=1;", "v=1; x_1=; unknown=a=b c;"),
        ("v=1;", "v=1; z=From:joe@a.example|\r\n\tTo:x;"),
        ("v=1;", "v=1; V=2; B=x; C=y;"),
        ("v=1;", "v=1; n=b\u{fc}cher;"),
        ("d=a.example", "d=A.EXAMPLE"),
        ("s=s", "s=S"),
        ("v=1;", &just),
        ("v=1;", &soon),
        ("v=1;", &ahead),
        ("v=1;", &far),
    ];
    for (what, with) in rows {
        passes(with, odd::edited(what, with)).await;
    }
    let message = odd::edited("", "");
    let (head, signature) = message.split_once("; b=").expect("a signature");
    let (signature, rest) = signature.split_once("\r\n").expect("a line");
    let pieces: Vec<String> = signature.as_bytes().chunks(7).map(|piece| text(piece.to_vec())).collect();
    passes("b= in pieces", format!("{head}; b={}\r\n{rest}", pieces.join("\r\n\t "))).await;
    passes("folded anew", odd::edited("", "").replacen("; b=", ";\r\n \tb=\r\n\t", 1)).await;
    passes("b= without its padding", format!("{head}; b={}\r\n{rest}", signature.trim_end_matches('=')))
        .await;
}

#[tokio::test]
async fn headers_in_both_forms() {
    let from = "From: joe@a.example\r\n";
    let rows = [
        (
            "a name's case and a blank before the colon",
            "c=relaxed; ",
            "from",
            "fRoM \t:\t joe@a.example \t\r\n\r\n",
            "from:joe@a.example\r\n",
        ),
        (
            "folding",
            "c=relaxed; ",
            "from",
            "From:\r\n\tJoe\r\n  <joe@a.example>\r\n \r\n\r\n",
            "from:Joe <joe@a.example>\r\n",
        ),
        ("an empty value", "c=relaxed; ", "from:x", "X:\r\nFrom:a\r\n\r\n", "from:a\r\nx:\r\n"),
        ("a blank value", "c=relaxed; ", "from:x", "X: \t\r\n \r\nFrom:a\r\n\r\n", "from:a\r\nx:\r\n"),
        ("colons in a value", "c=relaxed; ", "from:x", "X: a : b\r\nFrom:a\r\n\r\n", "from:a\r\nx:a : b\r\n"),
        (
            "UTF-8 in a value",
            "c=relaxed; ",
            "from:x",
            "X: b\u{fc}cher\r\nFrom:a\r\n\r\n",
            "from:a\r\nx:b\u{fc}cher\r\n",
        ),
        (
            "from the bottom up",
            "c=relaxed; ",
            "x:from:x",
            "X: 1\r\nFrom:a\r\nX: 2\r\n\r\n",
            "x:2\r\nfrom:a\r\nx:1\r\n",
        ),
        ("oversigned", "c=relaxed; ", "from:from:x:x", "X: 1\r\nFrom:a\r\n\r\n", "from:a\r\nx:1\r\n"),
        ("a field that is not there", "c=relaxed; ", "from:absent", "From:a\r\n\r\n", "from:a\r\n"),
        (
            "a signature that is signed",
            "c=relaxed; ",
            "from:dkim-signature",
            "DKIM-Signature: x\r\nFrom:a\r\n\r\n",
            "from:a\r\ndkim-signature:x\r\n",
        ),
        (
            "its own field, which was not there yet",
            "c=relaxed; ",
            "from:dkim-signature",
            "From:a\r\n\r\n",
            "from:a\r\n",
        ),
        ("simple", "", "from", "From: joe@a.example\r\n\r\n", from),
        ("simple, said", "c=simple/simple; ", "FROM", "From: joe@a.example\r\n\r\n", from),
        (
            "simple and folded",
            "c=simple; ",
            "x:from",
            "X:\r\n\t a  b \r\nFrom: joe@a.example\r\n\r\n",
            "X:\r\n\t a  b \r\nFrom: joe@a.example\r\n",
        ),
        (
            "simple with a blank before the colon",
            "",
            "x:from",
            "X : a\r\nFrom: joe@a.example\r\n\r\n",
            "X : a\r\nFrom: joe@a.example\r\n",
        ),
    ];
    for (row, c, h, message, header) in rows {
        let signed = Said { c, h, message, header, body: "\r\n" }.signed();
        let found = verify(&key(RSA2048_RECORD), signed).await;
        assert_eq!((found[0].result, found[0].reason), PASS, "{row}");
    }
}

#[tokio::test]
async fn bodies_in_both_forms() {
    let rows = [
        ("c=relaxed/relaxed; ", "", ""),
        ("c=relaxed/relaxed; ", "\r\n", ""),
        ("c=relaxed/relaxed; ", "\r\n\r\n\r\n", ""),
        ("c=relaxed/relaxed; ", " \t\r\n \r\n", ""),
        ("c=relaxed/relaxed; ", "a", "a\r\n"),
        ("c=relaxed/relaxed; ", " a\t \tb \r\n", " a b\r\n"),
        ("c=relaxed/relaxed; ", "a\r\n \t\r\n\r\n \r\n", "a\r\n"),
        ("c=relaxed/relaxed; ", "\r\n \r\na\r\n", "\r\n\r\na\r\n"),
        ("c=simple/relaxed; ", "a  \r\n\r\n", "a\r\n"),
        ("c=simple/simple; ", "", "\r\n"),
        ("c=simple/simple; ", "\r\n\r\n", "\r\n"),
        ("c=simple/simple; ", " \r\n\r\n", " \r\n"),
        ("c=simple/simple; ", "a", "a\r\n"),
        ("c=simple/simple; ", "a  b \r\n\t\r\n\r\n", "a  b \r\n\t\r\n"),
        ("c=relaxed; ", "a  b \r\n\r\n", "a  b \r\n"),
        ("c=simple; ", "a  b \r\n\r\n", "a  b \r\n"),
        ("", "a  b \r\n\r\n", "a  b \r\n"),
    ];
    for (c, body, canonical) in rows {
        let header = if c.starts_with("c=relaxed") { "from:a\r\n" } else { "From: a\r\n" };
        let message = format!("From: a\r\n\r\n{body}");
        let said = Said { c, h: "from", message: &message, header, body: canonical };
        passes(&format!("{c} {body:?}"), said.signed()).await;
    }
    let said = Said { c: "", h: "from", message: "From: a\r\n", header: "From: a\r\n", body: "\r\n" };
    passes("a header and nothing else", said.signed()).await;
    let empty = odd::over("v=1;", "v=1; l=0;", "").replace(odd::BODY, "\r\n\r\n");
    passes("l= of an empty body", empty).await;
}

#[tokio::test]
async fn ed25519_signatures_made_by_hand() {
    for (c, header, form) in [
        ("relaxed/relaxed", "from:Joe <joe@a.example>\r\n", Canonicalization::Relaxed),
        ("simple/simple", "From: Joe <joe@a.example>\r\n", Canonicalization::Simple),
    ] {
        let field = format!(
            "DKIM-Signature: a=ed25519-sha256; v=1; c={c}; d=a.example; s=s; h=from; bh={{bh}}; b={{b}}\r\n"
        );
        let by_hand = ByHand { field: &field, header, body: odd::BODY, canonicalization: form };
        let message = by_hand.sign(&sign::ed25519_key()) + MESSAGE;
        assert_eq!(result(&key(ED25519_RECORD), message).await, PASS, "{c}");
    }
}

#[tokio::test]
async fn one_good_signature_among_others() {
    let good = |selector: &str| {
        let message = text(sign::signed(&sign::rsa2048(DOMAIN, selector, &HEADERS), MESSAGE.as_bytes()));
        message.strip_suffix(MESSAGE).expect("a signature on top").to_owned()
    };
    let bad = forged(&[]).replace(MESSAGE, "");
    let malformed = "DKIM-Signature: v=1; v=1\r\n";
    let zone = format!("{}\nsilent._domainkey.a.example FAULT timeout", key(RSA2048_RECORD));
    let (silent, here) = (good("silent"), good("s"));
    let rows = [
        ("first", format!("{here}{bad}{malformed}{MESSAGE}"), 0),
        ("last", format!("{malformed}{bad}{here}{MESSAGE}"), 2),
        ("twice the same", format!("{here}{here}{MESSAGE}"), 1),
        ("beside a key that is not to be had", format!("{silent}{here}{MESSAGE}"), 1),
        ("below other fields", MESSAGE.replace("Message-ID", &format!("{here}Message-ID")), 0),
    ];
    for (row, message, which) in rows {
        let found = verify(&zone, message).await;
        assert_eq!((found[which].result, found[which].reason), PASS, "{row}: {found:?}");
    }
}

#[tokio::test]
async fn names_in_the_other_alphabet() {
    let field = |d: &str, s: &str, i: &str| {
        format!(
            "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={d}; s={s}; i={i}; h=from; bh={{bh}}; b={{b}}\r\n"
        )
    };
    let zone = format!("xn--schlssel-95a._domainkey.xn--bcher-kva.example TXT {RSA2048_RECORD}");
    let rows = [
        field("b\u{fc}cher.example", "schl\u{fc}ssel", "joe@neu.b\u{fc}cher.example"),
        field("xn--bcher-kva.example", "schl\u{fc}ssel", "jos\u{e9}@B\u{dc}CHER.example"),
        field("B\u{dc}CHER.example", "xn--schlssel-95a", "@xn--bcher-kva.example"),
    ];
    for field in rows {
        let by_hand = ByHand {
            field: &field,
            header: odd::FROM,
            body: odd::BODY,
            canonicalization: Canonicalization::Relaxed,
        };
        let message = by_hand.sign(&sign::rsa2048_key()) + MESSAGE;
        assert_eq!(result(&zone, message).await, PASS, "{field}");
    }
}
