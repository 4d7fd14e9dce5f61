//! The work that a hostile record can cause: no more than the limits of RFC 7208 4.6.4, regardless
//! of its content.

use std::fmt::Write as _;

use sixgate_auth::spf::{
    self, LONGEST_TRAIL, MAX_DNS_TERMS, MAX_NAMES, MAX_QUERIES, MAX_SERVERS, SpfQuery, VoidTerms,
    record::{LONGEST_RECORD, LONGEST_TERM},
};

use super::{CLIENT, CLIENT_4, CLIENT_4_MAPPED, JOE, of_joe, said};
use crate::dns;

/// Ten terms of each kind and one more: the eleventh is one too many.
#[tokio::test]
async fn ten_terms_may_ask_dns_and_no_more() {
    const B: &str = "b.example TXT \"v=spf1\"\nb.example A 192.0.2.1\nb.example AAAA 2001:db8::1\nb.example MX 1 b.example\n\
                     2001:db8::25 PTR b.example";
    for term in ["a:b.example", "mx:b.example", "ptr:c.example", "-exists:c.b.example", "include:b.example"] {
        let zone = |count: usize| {
            format!(
                "a.example TXT {} \"-all\"\n{B}\nc.b.example AAAA ::1",
                strings(&format!("{term} "), count)
            )
        };
        let ten = said(&of_joe(&zone(MAX_DNS_TERMS), CLIENT).await);
        let eleven = said(&of_joe(&zone(MAX_DNS_TERMS + 1), CLIENT).await);
        let voids = format!("permerror (too many void DNS lookups: {term})");
        let nothing_there = term.contains("exists");
        assert_eq!(ten, if nothing_there { voids.as_str() } else { "fail (matched: -all)" }, "{term}");
        let terms = format!("permerror (too many DNS lookups: {term})");
        assert_eq!(eleven, if nothing_there { voids } else { terms }, "{term}");
    }
}

#[tokio::test]
async fn terms_count_across_records() {
    let rows = [
        ("v=spf1 include:a.example -all", "include:a.example > "),
        ("v=spf1 redirect=a.example", "redirect=a.example > "),
    ];
    for (record, step) in rows {
        let (server, dns) = dns(&format!("a.example 0 TXT \"{record}\""));
        let check = spf::check(&dns, &JOE).await.mail_from;
        let way = step.repeat(MAX_DNS_TERMS + 1);
        assert_eq!(
            said(&check),
            format!("permerror (too many DNS lookups: {})", way.trim_end_matches(" > "))
        );
        assert_eq!(server.queries(), 1 + MAX_DNS_TERMS, "{record}");
    }
    let split = "a.example TXT \"v=spf1 include:b.example a a a a a -all\"\nb.example TXT \"v=spf1 a:a.example a:a.example a:a.example \
                 a:a.example -all\"\na.example AAAA 2001:db8::1";
    assert_eq!(said(&of_joe(split, CLIENT).await), "fail (matched: -all)");
    let one_more = split.replace("a a a a a", "a a a a a a");
    assert_eq!(said(&of_joe(&one_more, CLIENT).await), "permerror (too many DNS lookups: a)");
}

#[tokio::test]
async fn a_term_with_a_validated_name_counts_twice() {
    let zone = |count: usize| {
        format!(
            "a.example TXT {} \"-all\"\nunknown.c.example AAAA 2001:db8::1",
            strings("a:%{p}.c.example ", count)
        )
    };
    assert_eq!(said(&of_joe(&zone(5), CLIENT).await), "fail (matched: -all)");
    let too_many = "permerror (too many DNS lookups: a:%{p}.c.example)";
    assert_eq!(said(&of_joe(&zone(6), CLIENT).await), too_many);
}

#[tokio::test]
async fn two_terms_may_be_without_an_answer_and_no_more() {
    const ZONE: &str = "b.example A 192.0.2.1\nb.example MX 1 b.example\nlost.example MX 1 gone.example\n\
                        lost.example MX 2 gone2.example";
    let rows = [
        ("a:x.example a:y.example", "fail (matched: -all)"),
        ("a:x.example a:y.example a:z.example", "permerror (too many void DNS lookups: a:z.example)"),
        ("mx:x.example exists:y.example ptr", "permerror (too many void DNS lookups: ptr)"),
        ("exists:lost.example exists:x.example", "fail (matched: -all)"),
        ("exists:lost.example exists:x.example a", "permerror (too many void DNS lookups: a)"),
        // servers that do not exist make their term void, once
        ("mx:lost.example a:x.example", "fail (matched: -all)"),
        ("mx:lost.example a:x.example a:y.example", "permerror (too many void DNS lookups: a:y.example)"),
        // no name that DNS could be asked about
        ("a:x..example a:x..example a:x..example", "fail (matched: -all)"),
    ];
    for (terms, wanted) in rows {
        let zone = format!("a.example TXT \"v=spf1 {terms} -all\"\n{ZONE}");
        assert_eq!(said(&of_joe(&zone, CLIENT).await), wanted, "{terms}");
    }
}

#[tokio::test]
async fn a_failure_about_the_clients_own_names_is_no_match_and_not_void() {
    for fault in ["servfail", "timeout"] {
        let zone = format!(
            "a.example TXT \"v=spf1 ptr:a.example ptr:b.example ptr:c.example ip6:2001:db8::/32 -all\"\n{CLIENT} FAULT {fault}"
        );
        assert_eq!(said(&of_joe(&zone, CLIENT).await), "pass (matched: ip6:2001:db8::/32)", "{fault}");
    }
}

/// Hosts that have addresses, but none of the client's family: a record that was written for IPv4
/// is evaluated as written.
#[tokio::test]
async fn a_host_of_the_other_family_is_no_void_term() {
    let v4 =
        "b.example A 192.0.2.1\nb.example MX 10 b.example\nb.example MX 20 c.example\nc.example A 192.0.2.1";
    let v6 = "b.example AAAA 2001:db8::1\nb.example MX 10 b.example";
    let usual = "a:b.example mx:b.example a:b.example a:b.example mx:b.example";
    let after = format!("{usual} ip6:2001:db8::/64 ip4:192.0.2.25");
    let rows = [
        (
            CLIENT,
            v4,
            after.as_str(),
            "pass (matched: ip6:2001:db8::/64)",
            "permerror (too many void DNS lookups: a:b.example)",
        ),
        (
            CLIENT_4,
            v6,
            &after,
            "pass (matched: ip4:192.0.2.25/32)",
            "permerror (too many void DNS lookups: a:b.example)",
        ),
        (
            CLIENT_4_MAPPED,
            v6,
            &after,
            "pass (matched: ip4:192.0.2.25/32)",
            "permerror (too many void DNS lookups: a:b.example)",
        ),
        // names that do not exist, and names without any address
        (
            CLIENT,
            "b.example TXT x",
            "a:b.example a:x.example a:y.example",
            "permerror (too many void DNS lookups: a:y.example)",
            "permerror (too many void DNS lookups: a:y.example)",
        ),
        // the term counts, not each of its servers
        (
            CLIENT,
            "b.example MX 10 v4.example\nb.example MX 20 dual.example\nv4.example A 192.0.2.1\ndual.example A 192.0.2.1\ndual.example AAAA 2001:db8::1",
            "mx:b.example mx:b.example mx:b.example",
            "fail (matched: -all)",
            "fail (matched: -all)",
        ),
        // DNS does not report that there is no record
        (
            CLIENT,
            "b.example MX 1 b.example\nb.example FAULT servfail A",
            "a:b.example mx:b.example a:b.example",
            "fail (matched: -all)",
            "permerror (too many void DNS lookups: a:b.example)",
        ),
    ];
    for (client, zone, terms, wanted, to_the_letter) in rows {
        let zone = format!("a.example TXT \"v=spf1 {terms} -all\"\n{zone}");
        let (_server, dns) = dns(&zone);
        for (count_missing_family, wanted) in [(false, wanted), (true, to_the_letter)] {
            let voids = VoidTerms { count_missing_family, ..VoidTerms::DEFAULT };
            let query = SpfQuery { client, voids, ..JOE };
            assert_eq!(said(&spf::check(&dns, &query).await.mail_from), wanted, "{client}: {terms}");
        }
    }
}

#[tokio::test]
async fn ten_mail_servers_are_asked_about_and_no_more() {
    let zone = |count: usize| {
        let mut zone = "a.example TXT \"v=spf1 mx -all\"".to_owned();
        (0..count).for_each(|number| {
            let address = if number + 1 == count { "2001:db8::25" } else { "2001:db8::1" };
            write!(zone, "\na.example MX {number} m{number}.example\nm{number}.example AAAA {address}")
                .unwrap();
        });
        zone
    };
    assert_eq!(said(&of_joe(&zone(MAX_SERVERS), CLIENT).await), "pass (matched: mx)");
    assert_eq!(said(&of_joe(&zone(MAX_SERVERS + 1), CLIENT).await), "permerror (too many mail servers: mx)");
}

#[tokio::test]
async fn ten_names_of_the_client_are_looked_at_and_no_more() {
    let mut zone = "a.example TXT \"v=spf1 ptr -all\"\n".to_owned();
    for number in 0..30 {
        write!(zone, "2001:db8::25 PTR n{number}.a.example\nn{number}.a.example AAAA 2001:db8::1\n").unwrap();
    }
    let (server, dns) = dns(&zone);
    assert_eq!(said(&spf::check(&dns, &JOE).await.mail_from), "fail (matched: -all)");
    assert_eq!(server.queries(), 1 + 1 + MAX_NAMES);
}

#[tokio::test]
async fn the_worst_record_costs_what_is_promised() {
    let mut zone = format!("a.example TXT {} \"-all exp=e.example\"\ne.example TXT \"%{{p}}\"", mx_strings());
    for domain in 0..MAX_DNS_TERMS {
        for server in 0..MAX_SERVERS {
            let name = format!("h{server}.m{domain}.example");
            write!(zone, "\nm{domain}.example MX 1 {name}\n{name} A 192.0.2.1").unwrap();
        }
    }
    for number in 0..MAX_NAMES {
        write!(zone, "\n2001:db8::25 PTR n{number}.example\nn{number}.example AAAA 2001:db8::1").unwrap();
    }
    let (server, dns) = dns(&zone);
    let check = spf::check(&dns, &JOE).await.mail_from;
    assert_eq!(
        (said(&check).as_str(), check.explanation.as_deref()),
        ("fail (matched: -all)", Some("unknown"))
    );
    assert_eq!(server.queries(), MAX_QUERIES);
}

#[tokio::test]
async fn a_record_that_is_too_long_is_an_error() {
    let zone = |octets: usize| {
        let text = format!("v=spf1 +all x={}", "y".repeat(octets - 14));
        let strings: Vec<String> =
            text.as_bytes().chunks(250).map(|part| String::from_utf8_lossy(part).into()).collect();
        format!("a.example TXT \"{}\"", strings.join("\" \""))
    };
    assert_eq!(said(&of_joe(&zone(LONGEST_RECORD), CLIENT).await), "pass (matched: all)");
    assert_eq!(said(&of_joe(&zone(LONGEST_RECORD + 1), CLIENT).await), "permerror (record too long)");
}

#[tokio::test]
async fn what_is_said_about_a_term_is_bounded() {
    let long = "y".repeat(250);
    let bad = of_joe(&format!("a.example TXT \"v=spf1 \" \"moo:{long}\" \"{long}\""), CLIENT).await;
    assert_eq!(bad.term.len(), LONGEST_TERM);
    let good =
        of_joe(&format!("a.example TXT \"v=spf1 \" \"-exists:{long}\" \"{long}.a ?all:\" "), CLIENT).await;
    assert!(good.term.len() <= LONGEST_TRAIL, "{}", good.term);
    let loops = "a.example TXT \"v=spf1 include:%{d65535.-+,/_=}\"";
    let looped = of_joe(loops, CLIENT).await;
    assert!(looped.term.len() <= LONGEST_TRAIL && looped.term.starts_with("..."), "{}", looped.term);
}

/// `v=spf1` and `text` so many times, as strings of a TXT record.
fn strings(text: &str, count: usize) -> String {
    format!("\"v=spf1 \" {}", format!("\"{text}\" ").repeat(count))
}

fn mx_strings() -> String {
    (0..MAX_DNS_TERMS)
        .fold("\"v=spf1 \"".to_owned(), |text, domain| format!("{text} \"mx:m{domain}.example \""))
}
