//! Golden strings, and the forgeries that a client cannot make.

use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::*;
use crate::{
    dkim::DkimResult,
    ptr::Unanswered,
    spf::{SpfReason, SpfResult, SpfResults},
};

const CLIENT: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x25));

/// A message without signatures of which nothing else is known.
const UNSIGNED: Results<'_> = Results { client: CLIENT, ptr: None, spf: None, dkim: Some(&[]) };

fn spf(mail_from: (&str, SpfResult), helo: (&str, SpfResult)) -> SpfResults {
    let check = |(domain, result): (&str, SpfResult)| {
        let term =
            if result == SpfResult::None { String::new() } else { "include:b.example > -all".to_owned() };
        let reason = if result == SpfResult::None { SpfReason::NoRecord } else { SpfReason::Matched };
        SpfCheck { term, ..SpfCheck::new(domain.to_owned(), result, reason) }
    };
    SpfResults { helo: check(helo), mail_from: check(mail_from) }
}

fn signature(result: DkimResult, reason: Option<&'static str>) -> DkimSignature {
    DkimSignature {
        result,
        reason,
        domain: "a.example".to_owned(),
        selector: "2026".to_owned(),
        identity: "@mail.a.example".to_owned(),
        algorithm: "rsa-sha256",
        signature_start: "dzdVyOfA".to_owned(),
    }
}

#[test]
fn a_message_that_was_checked_in_full() {
    let spf = spf(("a.example", SpfResult::Pass), ("mail.a.example", SpfResult::None));
    let signatures = [
        signature(DkimResult::Pass, None),
        DkimSignature {
            identity: String::new(),
            signature_start: "ab/d+==f".to_owned(),
            ..signature(DkimResult::Policy, Some("rsa-sha1 is not accepted"))
        },
    ];
    let full = Results {
        client: CLIENT,
        ptr: Some(&PtrResult::Pass { name: "mail.a.example".to_owned() }),
        spf: Some(&spf),
        dkim: Some(&signatures),
    };
    let wanted = "Authentication-Results: gate.example;\r\n\
        \tiprev=pass policy.iprev=\"2001:db8::25\";\r\n\
        \tspf=pass reason=\"matched: include:b.example > -all\" smtp.mailfrom=a.example;\r\n\
        \tspf=none reason=\"no SPF record\" smtp.helo=mail.a.example;\r\n\
        \tdkim=pass header.d=a.example header.i=@mail.a.example header.s=2026\r\n\
        \theader.a=rsa-sha256 header.b=dzdVyOfA;\r\n\
        \tdkim=policy reason=\"rsa-sha1 is not accepted\" header.d=a.example\r\n\
        \theader.s=2026 header.a=rsa-sha256 header.b=\"ab/d+==f\"\r\n";
    assert_eq!(header("gate.example", &full), wanted);
}

#[test]
fn a_message_that_was_not_checked_has_no_results() {
    let unchecked = Results { dkim: None, ..UNSIGNED };
    assert_eq!(header("gate.example", &unchecked), "Authentication-Results: gate.example; none\r\n");
}

#[test]
fn reverse_dns_is_reported_as_rfc_8601_says() {
    let rows = [
        (PtrResult::NoRecord, "permerror reason=\"no PTR record\""),
        (PtrResult::TempError(Unanswered::Record), "temperror reason=\"no answer from DNS\""),
        (
            PtrResult::TempError(Unanswered::Names { names: vec!["a.example".to_owned()] }),
            "temperror reason=\"no answer from DNS\"",
        ),
        (PtrResult::Pass { name: "a.example".to_owned() }, "pass"),
        (
            PtrResult::Fail { names: vec!["a.example".to_owned()] },
            "fail reason=\"no PTR name resolves to the address\"",
        ),
        (PtrResult::Fail { names: Vec::new() }, "fail reason=\"no PTR name resolves to the address\""),
    ];
    for (ptr, result) in rows {
        let known = Results { ptr: Some(&ptr), ..UNSIGNED };
        let unfolded = header("gate.example", &known).replace("\r\n\t", " ");
        let iprev = format!("iprev={result} policy.iprev=\"2001:db8::25\";");
        assert_eq!(
            unfolded,
            format!("Authentication-Results: gate.example; {iprev} dkim=none\r\n"),
            "{ptr:?}"
        );
    }
}

#[test]
fn a_value_is_quoted_where_needed_and_omitted_where_it_cannot_be_written() {
    let long = "a".repeat(LONGEST_VALUE + 1);
    let rows = [
        ("a.example", Some("a.example")),
        ("@a.example", Some("@a.example")),
        ("joe.doe@a.example", Some("joe.doe@a.example")),
        ("a b@a.example", Some(r#""a b@a.example""#)),
        ("[IPv6:::1]", Some(r#""[IPv6:::1]""#)),
        (r#"x" y\"#, Some(r#""x\" y\\""#)),
        ("a;spf=pass", Some(r#""a;spf=pass""#)),
        ("a\r\nX: y", None),
        ("a\tb", None),
        ("a\0", None),
        ("bücher.example", None),
        (long.as_str(), None),
    ];
    for (text, wanted) in rows {
        assert_eq!(value(text).as_deref(), wanted, "{text:?}");
    }
}

#[test]
fn names_are_given_with_a_labels() {
    let spf = spf(("b\u{fc}cher.example", SpfResult::None), ("b\u{fc}cher", SpfResult::None));
    let signed = DkimSignature {
        domain: "B\u{dc}CHER.example".to_owned(),
        identity: "joe@neu.b\u{fc}cher.example".to_owned(),
        selector: "schl\u{fc}ssel".to_owned(),
        ..signature(DkimResult::Pass, None)
    };
    let known = Results { spf: Some(&spf), dkim: Some(&[signed]), ..UNSIGNED };
    let field = header("gate.example", &known);
    for part in [
        "smtp.mailfrom=xn--bcher-kva.example;",
        "smtp.helo=xn--bcher-kva;",
        "header.d=xn--bcher-kva.example ",
        "header.i=joe@neu.xn--bcher-kva.example",
        "header.s=xn--schlssel-95a ",
    ] {
        assert!(field.replace("\r\n\t", " ").contains(part), "{part} in {field}");
    }
    let unwritable =
        DkimSignature { identity: "jos\u{e9}@a.example".to_owned(), ..signature(DkimResult::Pass, None) };
    let field = header("gate.example", &Results { dkim: Some(&[unwritable]), ..UNSIGNED });
    assert!(field.contains("header.d=a.example") && !field.contains("header.i"), "{field}");
}

prop_compose! {
    /// Anything at all, with what matters to a header made likely.
    fn strange()(text in prop_oneof![any::<String>(), "[\r\n\t ;:\"\\\\()=@a-c.\u{0}\u{7f}é]{0,400}"]) -> String {
        text
    }
}

proptest! {
    #[test]
    fn no_string_of_a_sender_gets_out_of_the_field(
        id in strange(), helo in strange(), mail_from in strange(),
        domain in strange(), identity in strange(), selector in strange(), start in strange(),
    ) {
        let spf = spf((&mail_from, SpfResult::Fail), (&helo, SpfResult::Fail));
        let signed = DkimSignature {
            domain, selector, identity, signature_start: start, ..signature(DkimResult::Fail, None)
        };
        let field = header(&id, &Results { spf: Some(&spf), dkim: Some(&[signed]), ..UNSIGNED });
        prop_assert!(field.ends_with("\r\n"));
        for (number, line) in field.trim_end_matches("\r\n").split("\r\n").enumerate() {
            prop_assert_eq!(line.starts_with('\t'), number > 0, "{}", line);
            prop_assert!(line.len() <= 998);
            let parts = outside_of_quotes(line).trim().split(' ').count();
            prop_assert!(line.len() <= 78 || parts == 1, "{}", line);
            prop_assert!(line.trim_start_matches('\t').bytes().all(|octet| matches!(octet, b' '..=b'~')));
        }
        // outside of quoted strings there is nothing but our own results
        let bare = outside_of_quotes(&field);
        prop_assert_eq!(bare.matches(';').count(), 3, "{}", bare);
        prop_assert_eq!(bare.matches("spf=fail").count(), 2);
        prop_assert_eq!(bare.matches("dkim=fail").count(), 1);
        prop_assert!(!bare.contains("=pass") && !bare.contains('('));
    }

    #[test]
    fn our_own_field_is_known_as_ours(name in "[a-z0-9-]{1,20}(\\.[a-z0-9-]{1,20}){0,4}") {
        let field = header(&name, &UNSIGNED);
        prop_assert_eq!(forged(field.as_bytes(), &name), vec![0..field.len()]);
    }
}

fn outside_of_quotes(text: &str) -> String {
    let mut bare = String::new();
    let mut characters = text.chars();
    let mut quoted = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' if quoted => drop(characters.next()),
            '"' => quoted = !quoted,
            _ if quoted => {}
            _ => bare.push(character),
        }
    }
    bare
}
