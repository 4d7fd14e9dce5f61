//! What macros expand to, which are none, and what no macro string can do.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;

const LONG_LABEL: &str = "a23456789012345678901234567890123456789012345678901234567890123";

fn domain() -> DomainName {
    DomainName::new("email.example.com").expect("a test's own name")
}

fn values(domain: &DomainName) -> Values<'_> {
    Values {
        local_part: "strong-bad",
        sender_domain: "email.example.com",
        domain,
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 3)),
        helo: "mail.example.net",
        validated: "mx.example.org",
        receiver: "gate.example",
        timestamp: 1_767_225_600,
    }
}

fn explained(text: &str, values: &Values<'_>) -> Result<String, BadMacro> {
    MacroString::parse(text.as_bytes(), MacroContext::Explanation).map(|string| string.expand(values))
}

fn named(text: &str, values: &Values<'_>) -> Option<String> {
    let spec = DomainSpec::parse(text.as_bytes()).unwrap_or_else(|bad| panic!("{text}: {bad:?}"));
    spec.expand(values).ok().map(|name| name.to_string())
}

#[test]
fn each_letter_stands_for_its_value() {
    let rows = [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{l}", "strong-bad"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{i}", "192.0.2.3"),
        ("%{p}", "mx.example.org"),
        ("%{v}", "in-addr"),
        ("%{h}", "mail.example.net"),
        ("%{c}", "192.0.2.3"),
        ("%{r}", "gate.example"),
        ("%{t}", "1767225600"),
        ("%%%_%-", "% %20"),
        ("a %{l} b", "a strong-bad b"),
        ("", ""),
    ];
    for (text, wanted) in rows {
        assert_eq!(explained(text, &values(&domain())).as_deref(), Ok(wanted), "{text}");
    }
}

#[test]
fn an_ipv6_address_has_two_forms() {
    let domain = domain();
    let client = "2001:db8::cb01".parse().expect("an address");
    let values = Values { client, ..values(&domain) };
    let reversed = "1.0.B.C.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2";
    let forward: String = reversed.chars().rev().collect();
    let rows = [
        ("%{i}", forward.as_str()),
        ("%{ir}.%{v}", &format!("{reversed}.ip6")),
        ("%{c}", "2001:db8::cb01"),
        ("%{C}", "2001%3Adb8%3A%3Acb01"),
        ("%{i1}", "1"),
    ];
    for (text, wanted) in rows {
        assert_eq!(explained(text, &values).as_deref(), Ok(wanted), "{text}");
    }
}

#[test]
fn transformers_split_reverse_and_keep_the_right_end() {
    let rows = [
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{d01}", "com"),
        ("%{d99999999999999999999}", "email.example.com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{D2R}", "example.email"),
        ("%{l-}", "strong.bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{l2}", "strong-bad"),
        ("%{s-.}", "strong.bad@email.example.com"),
        ("%{d.-+,/_=}", "email.example.com"),
    ];
    for (text, wanted) in rows {
        assert_eq!(explained(text, &values(&domain())).as_deref(), Ok(wanted), "{text}");
    }
    let domain = domain();
    let values = Values { local_part: "a+b,c/d_e=f--g", ..values(&domain) };
    assert_eq!(explained("%{l+,/_=-}", &values).as_deref(), Ok("a.b.c.d.e.f..g"));
    assert_eq!(explained("%{l1,}", &values).as_deref(), Ok("c/d_e=f--g"));
}

#[test]
fn a_capital_letter_escapes_what_is_not_unreserved() {
    let domain = domain();
    let values = Values { local_part: "~jack&jill=up-a_b3.c é%", ..values(&domain) };
    assert_eq!(explained("%{L}", &values).as_deref(), Ok("~jack%26jill%3Dup-a_b3.c%20%C3%A9%25"));
    assert_eq!(explained("%{L1r}", &values).as_deref(), Ok("~jack%26jill%3Dup-a_b3"));
}

#[test]
fn what_is_no_macro_is_refused() {
    let everywhere = [
        "%",
        "a%",
        "%a",
        "%(d)",
        "%{",
        "%{}",
        "%{d",
        "%{x}",
        "%{d0}",
        "%{d00}",
        "%{dr2}",
        "%{d r}",
        "%{d.2}",
        "%{drr}",
        "%{d:}",
        "%{%{d}}",
        "% {d}",
        "%\u{7b}\u{7d}",
        "100%.",
    ];
    for text in everywhere {
        for context in [MacroContext::Record, MacroContext::Explanation] {
            assert_eq!(MacroString::parse(text.as_bytes(), context), Err(BadMacro::Syntax), "{text}");
        }
    }
    for text in ["%{c}", "%{r}", "%{t}", "%{C2}"] {
        assert_eq!(
            MacroString::parse(text.as_bytes(), MacroContext::Record),
            Err(BadMacro::Letter),
            "{text}"
        );
        assert!(MacroString::parse(text.as_bytes(), MacroContext::Explanation).is_ok(), "{text}");
    }
    for text in ["a\tb", "a\u{7f}", "a\0", "é"] {
        assert_eq!(
            MacroString::parse(text.as_bytes(), MacroContext::Explanation),
            Err(BadMacro::Octet),
            "{text}"
        );
    }
    assert_eq!(MacroString::parse(b"a b", MacroContext::Record), Err(BadMacro::Octet));
}

#[test]
fn a_domain_ends_with_a_macro_or_a_top_label() {
    let good = [
        "a.example",
        "a.example.",
        ".example",
        "a..b.example",
        "foo:bar/baz.example",
        "_spf.%{d}",
        "%{d}",
        "x%%",
        "x%_",
        "x%-",
        "%{d}.example",
        "a.xn--zckzah",
        "a.1-2",
        "a.1b",
        "a.b-",
        "a!.c",
        "%{i}._spf.a.example",
    ];
    for text in good.iter().filter(|text| **text != "a.b-") {
        assert!(DomainSpec::parse(text.as_bytes()).is_ok(), "{text}");
    }
    let bad = [
        "",
        ".",
        "example",
        "example.",
        "%{d}example",
        "%{d}.",
        "a.123",
        "111.222.33.44",
        "a.-b",
        "a.b-",
        "a.b..",
        "a.b_c",
        "a.example:8080",
        "a.example/24",
        "a.b%{d}c",
    ];
    for text in bad {
        assert_eq!(DomainSpec::parse(text.as_bytes()), Err(BadMacro::DomainEnd), "{text}");
    }
}

#[test]
fn a_name_that_is_too_long_loses_labels_on_its_left() {
    let domain = domain();
    let values = values(&domain);
    let four = [LONG_LABEL; 4].join(".");
    let three = [LONG_LABEL; 3].join(".");
    let last = &LONG_LABEL[..57];
    let rows = [
        (format!("{three}.example.com"), Some(format!("{three}.example.com"))),
        (format!("a.{four}.%{{d1}}"), Some(format!("{three}.com"))),
        (format!("%{{l}}.{three}.{last}.com"), Some(format!("{three}.{last}.com"))),
        (format!(".{three}.{last}.com"), Some(format!("{three}.{last}.com"))),
        (
            format!("{}%{{d}}.com", "%{d}.".repeat(500)),
            Some(format!("example.com.{}com", "email.example.com.".repeat(13))),
        ),
        (format!("a.%{{d}}{}.com", "x".repeat(300)), Some("com".to_owned())),
        (format!("{}%%", "x".repeat(300)), None),
        (format!("{LONG_LABEL}4.com"), None),
        ("a..com".to_owned(), None),
        (".com".to_owned(), None),
    ];
    for (text, wanted) in rows {
        assert_eq!(named(&text, &values), wanted, "{text}");
    }
}

#[test]
fn a_name_has_no_final_dot_an_explanation_keeps_it() {
    let domain = domain();
    assert_eq!(named("a.%{d}.example.", &values(&domain)).as_deref(), Some("a.email.example.com.example"));
    assert_eq!(explained("The end.", &values(&domain)).as_deref(), Ok("The end."));
}

#[test]
fn a_local_part_outside_ascii_makes_no_name() {
    let domain = domain();
    let values = Values { local_part: "jürgen", ..values(&domain) };
    let expand = |text: &str| DomainSpec::parse(text.as_bytes()).expect("well formed").expand(&values);
    assert_eq!(expand("%{l}.example.com"), Err(NoName::NotAscii));
    assert_eq!(expand("%{s}"), Err(NoName::NotAscii));
    assert_eq!(expand("a..%{d}"), Err(NoName::Unfit));
    assert_eq!(
        expand("%{L}.example.com").map(|name| name.to_string()),
        Ok("j%c3%bcrgen.example.com".to_owned())
    );
}

#[test]
fn an_explanation_ends_at_its_longest_length() {
    let domain = domain();
    let long = explained(&"%{s}".repeat(100_000), &values(&domain)).expect("well formed");
    assert_eq!(long.len(), LONGEST_EXPLANATION);
    let values = Values { local_part: "é", ..values(&domain) };
    let cut = explained(&format!("a{}", "%{l}".repeat(300)), &values).expect("well formed");
    assert_eq!(cut.len(), LONGEST_EXPLANATION - 1);
}

#[test]
fn only_p_needs_a_validated_name() {
    let needs = |text: &str| DomainSpec::parse(text.as_bytes()).expect("well formed").needs_validated_name();
    assert!(needs("%{p}.example.com") && needs("a.%{P2r-}"));
    assert!(!needs("p.%{d}") && !needs("%{l}.example.com"));
}

/// Text that is a macro string more often than not.
pub(in crate::spf) fn macro_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[!-$&-~]{1,8}",
        "%\\{[slodiphvSLODIPHV]([1-9][0-9]?)?[rR]?[-.+,/_=]{0,3}\\}",
        Just("%%".to_owned()),
        Just("%_".to_owned()),
        Just("%-".to_owned()),
        Just(".example".to_owned()),
        Just(".".to_owned()),
    ];
    proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn no_octets_make_it_panic(text: Vec<u8>) {
        let domain = domain();
        for context in [MacroContext::Record, MacroContext::Explanation] {
            if let Ok(string) = MacroString::parse(&text, context) {
                let _ = string.expand(&values(&domain));
            }
        }
        if let Ok(spec) = DomainSpec::parse(&text) {
            let _ = spec.expand(&values(&domain));
        }
    }

    #[test]
    fn an_expansion_is_bounded_and_a_name(text in macro_text(), local_part: String, helo: String) {
        let domain = domain();
        let values = Values { local_part: &local_part, helo: &helo, ..values(&domain) };
        let string = MacroString::parse(text.as_bytes(), MacroContext::Record).expect("made to be one");
        prop_assert!(string.expand(&values).len() <= LONGEST_EXPLANATION);
        if let Ok(name) = DomainSpec::parse(text.as_bytes()).map_err(|_| NoName::Unfit).and_then(|spec| spec.expand(&values)) {
            prop_assert!(name.as_str().len() <= LONGEST_NAME);
            prop_assert_eq!(DomainName::new(name.as_str()), Some(name));
        }
    }

    #[test]
    fn a_printed_macro_string_reads_the_same(text in macro_text()) {
        let string = MacroString::parse(text.as_bytes(), MacroContext::Record).expect("made to be one");
        prop_assert_eq!(MacroString::parse(string.to_string().as_bytes(), MacroContext::Record), Ok(string));
    }
}
