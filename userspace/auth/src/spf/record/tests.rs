//! Texts that are records and texts that are not, term by term, and limits of every record.

use proptest::prelude::*;

use super::*;
use crate::spf::macros;

/// The record `v=spf1 TERMS`, printed again in its usual form.
fn read(terms: &str) -> Result<String, SpfReason> {
    let record = Record::parse(format!("v=spf1 {terms}").as_bytes()).map_err(|error| error.reason)?;
    Ok(record.to_string().strip_prefix("v=spf1").unwrap_or_default().trim_start().to_owned())
}

#[test]
fn one_of_the_texts_is_the_record() {
    let rows: [(&[&str], Selection<'_>); 9] = [
        (&[], Selection::None),
        (&["hello", ""], Selection::None),
        (&["v=spf1"], Selection::One(b"v=spf1")),
        (&["x", "V=sPf1 -all"], Selection::One(b"V=sPf1 -all")),
        (&["v=spf10 -all"], Selection::None),
        (&["v=spf1-all"], Selection::None),
        (&["v=spf1\t-all"], Selection::None),
        (&[" v=spf1 -all", "v=spf2.0/pra -all"], Selection::None),
        (&["v=spf1 -all", "v=spf1"], Selection::Several),
    ];
    for (texts, wanted) in rows {
        let texts: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        assert_eq!(select(&texts), wanted);
    }
}

#[test]
fn every_term_that_the_grammar_allows_is_read() {
    let same = [
        "all",
        "-all",
        "~all",
        "?all",
        "include:a.example",
        "?include:%{d2}.a.example",
        "a",
        "a:a.example",
        "a/24",
        "a//64",
        "a/24//64",
        "a:a.example/24//64",
        "a:a.example/0",
        "a//0",
        "a:%{i}/8",
        "a:x.a/b.example/8",
        "mx",
        "mx:a.example",
        "mx/24",
        "mx//64",
        "mx:a.example/1//2",
        "ptr",
        "ptr:a.example",
        "ip4:192.0.2.0/24",
        "-ip4:192.0.2.1/32",
        "ip4:0.0.0.0/0",
        "ip6:2001:db8::/32",
        "ip6:::/0",
        "ip6:::1/128",
        "exists:%{ir}.%{v}.a.example",
        "redirect=a.example",
        "exp=%{d}",
        "foo=",
        "foo=%{l}!",
        "f.o-o_1=a=b/c:d",
        "-all redirect=a.example exp=b.example x=1 y=2",
        "all all",
        "a.b=c a.b=c",
    ];
    for terms in same {
        assert_eq!(read(terms).as_deref(), Ok(terms), "{terms}");
    }
    let rows = [
        ("", ""),
        ("  -all  ", "-all"),
        ("+all", "all"),
        ("ALL MX/8 Include:A.Example", "all mx/8 include:A.Example"),
        ("a/32//128", "a"),
        ("ip4:192.0.2.1", "ip4:192.0.2.1/32"),
        ("ip6:2001:DB8:0:0:0:0:0:1", "ip6:2001:db8::1/128"),
        ("ip6:::ffff:192.0.2.1", "ip6:::ffff:192.0.2.1/128"),
        ("ip4:192.0.2.99/24", "ip4:192.0.2.99/24"),
        ("REDIRECT=a.example", "redirect=a.example"),
        ("exp=a.example -all", "-all exp=a.example"),
        ("a:%{D.}", "a:%{D}"),
    ];
    for (terms, wanted) in rows {
        assert_eq!(read(terms).as_deref(), Ok(wanted), "{terms}");
    }
}

#[test]
fn every_other_term_is_refused_for_a_reason() {
    use SpfReason::*;
    let rows = [
        ("moo", UnknownMechanism),
        ("-", UnknownMechanism),
        ("+-all", UnknownMechanism),
        ("--all", UnknownMechanism),
        ("=all", UnknownMechanism),
        ("1up=foo", UnknownMechanism),
        ("-foo=bar", UnknownMechanism),
        ("redirect:a.example", UnknownMechanism),
        ("ip5:192.0.2.1", UnknownMechanism),
        ("a24", UnknownMechanism),
        ("moo.cow/far_out=man", UnknownMechanism),
        ("all.", BadArgument),
        ("all:a.example", BadArgument),
        ("all/8", BadArgument),
        ("include", BadArgument),
        ("include.a.example", BadArgument),
        ("exists", BadArgument),
        ("exists/8", BadArgument),
        ("ptr/8", BadArgument),
        ("ip4", BadArgument),
        ("ip4/8", BadArgument),
        ("ip6", BadArgument),
        ("a/", BadArgument),
        ("a//", BadArgument),
        ("a/24/", BadArgument),
        ("a/x", BadArgument),
        ("a///64", BadArgument),
        ("a:", BadDomain),
        ("a:museum", BadDomain),
        ("a:museum.", BadDomain),
        ("a:192.0.2.1", BadDomain),
        ("a:a.example:8080", BadDomain),
        ("a:a.example/24/", BadDomain),
        ("mx:a.-b", BadDomain),
        ("include:", BadDomain),
        ("include:a.example/24", BadDomain),
        ("ptr:", BadDomain),
        ("exists:a.example//8", BadDomain),
        ("redirect=", BadDomain),
        ("redirect=-all", BadDomain),
        ("exp=", BadDomain),
        ("a/33", BadPrefixLength),
        ("a/024", BadPrefixLength),
        ("a/00", BadPrefixLength),
        ("a//129", BadPrefixLength),
        ("a//064", BadPrefixLength),
        ("a/24/64", BadPrefixLength),
        ("a/4294967297", BadPrefixLength),
        ("mx:a.example/33", BadPrefixLength),
        ("ip4:192.0.2.0/33", BadPrefixLength),
        ("ip4:192.0.2.0/", BadPrefixLength),
        ("ip4:192.0.2.0/-1", BadPrefixLength),
        ("ip4:192.0.2.0/+8", BadPrefixLength),
        ("ip4:192.0.2.0/08", BadPrefixLength),
        ("ip4:192.0.2.0//24", BadPrefixLength),
        ("ip4:192.0.2.0/24/64", BadPrefixLength),
        ("ip6:2001:db8::/129", BadPrefixLength),
        ("ip6:2001:db8::/064", BadPrefixLength),
        ("ip6:2001:db8::/0064", BadPrefixLength),
        ("ip6:2001:db8:://64", BadPrefixLength),
        ("ip4:", BadAddress),
        ("ip4:192.0.2", BadAddress),
        ("ip4:192.0.2.256", BadAddress),
        ("ip4:192.0.2.01", BadAddress),
        ("ip4:192.0.2.1:25", BadAddress),
        ("ip4:a.example", BadAddress),
        ("ip4:2001:db8::1", BadAddress),
        ("ip4:%{i}", BadAddress),
        ("ip6:", BadAddress),
        ("ip6:192.0.2.1", BadAddress),
        ("ip6:2001:db8:1", BadAddress),
        ("ip6::2001::db8", BadAddress),
        ("ip6:[2001:db8::1]", BadAddress),
        ("ip6:fe80::1%eth0", BadAddress),
        ("ip6:2001:db8::12345", BadAddress),
        ("ip6:1:2:3:4:5:6:7:8::", BadAddress),
        ("exists:%(ir).a.example", BadMacro),
        ("exists:%{c}.a.example", BadMacro),
        ("exp=%{r}.a.example", BadMacro),
        ("foo=%abc", BadMacro),
        ("foo=%{t}", BadMacro),
        ("a:%{d0}", BadMacro),
        ("a:a.exämple", BadOctet),
        ("-all\r", BadOctet),
        ("a:a.example\u{0}", BadOctet),
        ("ip4:192.0.2.1\nall", BadOctet),
        ("a\tall", BadOctet),
        ("exp=a.example exp=a.example", RepeatedModifier),
        ("redirect=a.example -all Redirect=b.example", RepeatedModifier),
    ];
    for (terms, wanted) in rows {
        assert_eq!(read(terms), Err(wanted), "{terms}");
        assert_eq!(read(&format!("all {terms}")), Err(wanted), "after another: {terms}");
    }
}

#[test]
fn the_error_names_the_first_bad_term_bounded_and_escaped() {
    let term = |record: &[u8]| Record::parse(record).expect_err("an error").term;
    assert_eq!(term(b"v=spf1 a MOO:x -all bad"), "MOO:x");
    assert_eq!(term(b"v=spf1 a:\xffx\r\n\"b\" -all"), "a:\\xffx\\r\\n\\\"b\\\"");
    let long = term(&[b"v=spf1 ".as_slice(), &[0xff; 500]].concat());
    assert_eq!(long.len(), LONGEST_TERM);
    assert_eq!(term(b"no record"), "");
}

#[test]
fn a_record_has_so_many_octets_and_terms_and_no_more() {
    let octets = |length: usize| Record::parse(format!("v=spf1 x={}", "y".repeat(length - 9)).as_bytes());
    assert!(octets(LONGEST_RECORD).is_ok());
    assert_eq!(octets(LONGEST_RECORD + 1).map_err(|error| error.reason), Err(SpfReason::RecordTooLong));
    assert!(read(&"a ".repeat(MAX_TERMS)).is_ok());
    assert_eq!(read(&"a ".repeat(MAX_TERMS + 1)), Err(SpfReason::RecordTooLong));
}

#[test]
fn addresses_agree_in_the_bits_that_count() {
    let rows = [
        ("a/24", "192.0.2.1", "192.0.2.255", true),
        ("a/24", "192.0.2.1", "192.0.3.1", false),
        ("a", "192.0.2.1", "192.0.2.2", false),
        ("a/0", "192.0.2.1", "203.0.113.1", true),
        ("a/0", "192.0.2.1", "2001:db8::1", false),
        ("a//0", "192.0.2.1", "2001:db8::1", false),
        ("a//64", "2001:db8::1", "2001:db8::ffff", true),
        ("a//64", "2001:db8::1", "2001:db8:0:1::1", false),
        ("a/8", "2001:db8::1", "2001:db8::2", false),
        ("a//0", "2001:db8::1", "::", true),
    ];
    for (term, client, address, wanted) in rows {
        let record = Record::parse(format!("v=spf1 {term}").as_bytes()).expect("a record");
        let Mechanism::A(_, prefixes) = record.directives[0].mechanism else { panic!("{term}") };
        let [client, address] = [client, address].map(|text| text.parse().expect("an address"));
        assert_eq!(prefixes.agree(client, address), wanted, "{term} {client} {address}");
    }
}

/// Terms that are well formed more often than not.
fn terms() -> impl Strategy<Value = String> {
    let length = "(/[0-9]{1,2})?(//[0-9]{1,3})?";
    let mechanism = prop_oneof![
        Just("all".to_owned()),
        (prop_oneof!["include", "exists", "ptr", "a", "mx"], macros::tests::macro_text(), length)
            .prop_map(|(name, domain, length)| format!("{name}:{domain}{length}")),
        ("(a|mx|ptr)", length).prop_map(|(name, length)| format!("{name}{length}")),
        (any::<Ipv4Addr>(), 0..40_u8).prop_map(|(address, length)| format!("ip4:{address}/{length}")),
        (any::<Ipv6Addr>(), 0..140_u8).prop_map(|(address, length)| format!("ip6:{address}/{length}")),
    ];
    let term = prop_oneof![
        ("[-+~?]?", mechanism).prop_map(|(qualifier, mechanism)| qualifier + &mechanism),
        ("(redirect|exp|[a-z][a-z0-9._-]{0,5})", macros::tests::macro_text())
            .prop_map(|(name, value)| format!("{name}={value}")),
    ];
    proptest::collection::vec(term, 0..6).prop_map(|terms| terms.join(" "))
}

proptest! {
    #[test]
    fn no_octets_make_it_panic(octets: Vec<u8>, text in "[ -~]{0,60}") {
        for rest in [octets.as_slice(), text.as_bytes()] {
            let _ = Record::parse(rest);
            let _ = Record::parse(&[b"v=spf1 ".as_slice(), rest].concat());
        }
    }

    #[test]
    fn a_printed_record_reads_the_same(terms in terms()) {
        if let Ok(record) = Record::parse(format!("v=spf1 {terms}").as_bytes()) {
            let printed = record.to_string();
            prop_assert_eq!(Record::parse(printed.as_bytes()), Ok(record), "{}", printed);
        }
    }

    #[test]
    fn case_and_spaces_do_not_matter(terms in terms(), spaces in 1..4_usize) {
        let parse = |text: String| Record::parse(text.as_bytes()).map_err(|error| error.reason);
        let spread = format!("V=SPF1 {} ", terms.replace(' ', &" ".repeat(spaces)));
        prop_assert_eq!(parse(format!("v=spf1 {terms}")), parse(spread));
    }
}
