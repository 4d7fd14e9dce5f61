//! What each mechanism and `redirect` match, for clients of both families (RFC 7208 5, 6.1).

use super::{CLIENT, CLIENT_4, CLIENT_4_MAPPED, all_come_out, of_joe, said};

#[tokio::test]
async fn addresses_match_within_their_family() {
    let rows = [
        ("ip6:2001:db8::25", "pass (matched: ip6:2001:db8::25/128)", "neutral (no term matched)"),
        ("ip6:2001:db8::/32", "pass (matched: ip6:2001:db8::/32)", "neutral (no term matched)"),
        ("ip6:2001:db8::26/127", "neutral (no term matched)", "neutral (no term matched)"),
        ("ip6:::/0", "pass (matched: ip6:::/0)", "neutral (no term matched)"),
        ("ip6:::ffff:192.0.2.25", "neutral (no term matched)", "neutral (no term matched)"),
        ("ip4:192.0.2.25", "neutral (no term matched)", "pass (matched: ip4:192.0.2.25/32)"),
        ("-ip4:192.0.2.0/24", "neutral (no term matched)", "fail (matched: -ip4:192.0.2.0/24)"),
        ("ip4:0.0.0.0/0", "neutral (no term matched)", "pass (matched: ip4:0.0.0.0/0)"),
    ];
    for (terms, six, four) in rows {
        let zone = format!("a.example TXT \"v=spf1 {terms}\"");
        assert_eq!(said(&of_joe(&zone, CLIENT).await), six, "{terms}");
        assert_eq!(said(&of_joe(&zone, CLIENT_4).await), four, "{terms}");
        assert_eq!(said(&of_joe(&zone, CLIENT_4_MAPPED).await), four, "{terms}");
    }
}

#[tokio::test]
async fn a_matches_the_addresses_of_a_name() {
    const HOSTS: &str = "\na.example AAAA 2001:db8::25\na.example A 192.0.2.25\n\
                         b.example AAAA 2001:db8::1\nb.example A 192.0.2.1\n\
                         six.example AAAA 2001:db8::25\nfour.example A 192.0.2.25";
    let rows = [
        ("a", true, true),
        ("a:b.example", false, false),
        ("a:b.example/24", false, true),
        ("a:b.example//64", true, false),
        ("a:b.example/24//64", true, true),
        ("a:b.example/25//120", true, true),
        ("a:b.example/28//124", false, false),
        ("a:six.example/0", true, false),
        ("a:four.example//0", false, true),
        ("a:nobody.example/0//0", false, false),
        ("a:a..example/0//0", false, false),
    ];
    for (term, six, four) in rows {
        let zone = format!("a.example TXT \"v=spf1 {term} -all\"{HOSTS}");
        let wanted = |matches: bool| {
            if matches { format!("pass (matched: {term})") } else { "fail (matched: -all)".into() }
        };
        assert_eq!(said(&of_joe(&zone, CLIENT).await), wanted(six), "{term}");
        assert_eq!(said(&of_joe(&zone, CLIENT_4).await), wanted(four), "{term}");
    }
}

#[tokio::test]
async fn mx_matches_the_addresses_of_mail_servers() {
    let rows = [
        ("one", "a.example MX 1 mx.b.example\nmx.b.example AAAA 2001:db8::25", "pass (matched: mx)"),
        ("another", "a.example MX 1 mx.b.example\nmx.b.example AAAA 2001:db8::26", "fail (matched: -all)"),
        (
            "the last",
            "a.example MX 1 x.example\na.example MX 2 y.example\na.example MX 3 z.example\nx.example AAAA 2001:db8::1\n\
             y.example AAAA 2001:db8::2\nz.example AAAA 2001:db8::25",
            "pass (matched: mx)",
        ),
        ("no implicit MX", "a.example AAAA 2001:db8::25", "fail (matched: -all)"),
        ("null MX", "a.example MX 0 .", "fail (matched: -all)"),
        ("no such server", "a.example MX 1 mx.b.example", "fail (matched: -all)"),
        ("SERVFAIL", "a.example FAULT servfail MX", "temperror (DNS server replied SERVFAIL: mx)"),
        (
            "silence",
            "a.example MX 1 mx.b.example\nmx.b.example FAULT timeout",
            "temperror (no answer from DNS: mx)",
        ),
    ];
    all_come_out(CLIENT, "a.example TXT \"v=spf1 mx -all\"", &rows).await;
    let prefixed = "a.example TXT \"v=spf1 mx:b.example/24//48 -all\"\nb.example MX 1 c.example\nc.example A 192.0.2.1\n\
                    c.example AAAA 2001:db8::1";
    assert_eq!(said(&of_joe(prefixed, CLIENT).await), "pass (matched: mx:b.example/24//48)");
    assert_eq!(said(&of_joe(prefixed, CLIENT_4).await), "pass (matched: mx:b.example/24//48)");
}

#[tokio::test]
async fn ptr_matches_names_that_lead_back() {
    const BACK: &str = "mail.a.example AAAA 2001:db8::25";
    let rows = [
        ("below", "2001:db8::25 PTR mail.a.example", BACK, "pass (matched: ptr)"),
        ("itself", "2001:db8::25 PTR a.example", "a.example AAAA 2001:db8::25", "pass (matched: ptr)"),
        ("in other case", "2001:db8::25 PTR MAIL.A.Example", BACK, "pass (matched: ptr)"),
        (
            "it does not lead back",
            "2001:db8::25 PTR mail.a.example",
            "mail.a.example AAAA 2001:db8::1",
            "fail (matched: -all)",
        ),
        (
            "elsewhere",
            "2001:db8::25 PTR mail.ba.example",
            "mail.ba.example AAAA 2001:db8::25",
            "fail (matched: -all)",
        ),
        ("no such name", "2001:db8::25 PTR mail.a.example", "", "fail (matched: -all)"),
        ("none", "", "", "fail (matched: -all)"),
        ("SERVFAIL", "2001:db8::25 FAULT servfail", "", "fail (matched: -all)"),
        (
            "a silent name beside",
            "2001:db8::25 PTR slow.a.example\n2001:db8::25 PTR mail.a.example\nslow.a.example FAULT servfail",
            BACK,
            "pass (matched: ptr)",
        ),
    ];
    for (row, pointers, hosts, wanted) in rows {
        let zone = format!("a.example TXT \"v=spf1 ptr -all\"\n{pointers}\n{hosts}");
        assert_eq!(said(&of_joe(&zone, CLIENT).await), wanted, "{row}");
    }
    let four = "a.example TXT \"v=spf1 ptr:b.example -all\"\n25.2.0.192.in-addr.arpa PTR x.b.example\nx.b.example A 192.0.2.25";
    assert_eq!(said(&of_joe(four, CLIENT_4).await), "pass (matched: ptr:b.example)");
    assert_eq!(said(&of_joe(four, CLIENT_4_MAPPED).await), "pass (matched: ptr:b.example)");
}

#[tokio::test]
async fn exists_wants_an_ipv4_address_for_any_client() {
    let rows = [
        ("A", "b.example A 127.0.0.2", "pass (matched: exists:b.example)"),
        ("AAAA only", "b.example AAAA ::1", "fail (matched: -all)"),
        ("nothing", "", "fail (matched: -all)"),
        (
            "through a CNAME",
            "b.example CNAME c.example\nc.example A 127.0.0.2",
            "pass (matched: exists:b.example)",
        ),
        ("SERVFAIL", "b.example FAULT servfail", "temperror (DNS server replied SERVFAIL: exists:b.example)"),
    ];
    for client in [CLIENT, CLIENT_4] {
        all_come_out(client, "a.example TXT \"v=spf1 exists:b.example -all\"", &rows).await;
    }
}

#[tokio::test]
async fn include_matches_what_passes_there() {
    let rows = [
        (
            "pass",
            "b.example TXT \"v=spf1 a:c.example\"\nc.example AAAA 2001:db8::25",
            "pass (matched: include:b.example > a:c.example)",
        ),
        ("fail", "b.example TXT \"v=spf1 -all\"", "softfail (matched: ~all)"),
        ("softfail", "b.example TXT \"v=spf1 ~all\"", "softfail (matched: ~all)"),
        ("neutral", "b.example TXT \"v=spf1\"", "softfail (matched: ~all)"),
        (
            "temperror",
            "b.example FAULT servfail",
            "temperror (DNS server replied SERVFAIL: include:b.example)",
        ),
        (
            "permerror",
            "b.example TXT \"v=spf1 moo\"",
            "permerror (unknown mechanism: include:b.example > moo)",
        ),
        ("none", "b.example TXT hello", "permerror (included domain without SPF record: include:b.example)"),
        ("no such name", "", "permerror (included domain without SPF record: include:b.example)"),
        (
            "two levels",
            "b.example TXT \"v=spf1 include:c.example\"\nc.example TXT \"v=spf1 +all\"",
            "pass (matched: include:b.example > include:c.example > all)",
        ),
        (
            "a redirect there",
            "b.example TXT \"v=spf1 redirect=c.example\"\nc.example TXT \"v=spf1 ip6:2001:db8::/32\"",
            "pass (matched: include:b.example > redirect=c.example > ip6:2001:db8::/32)",
        ),
    ];
    all_come_out(CLIENT, "a.example TXT \"v=spf1 include:b.example ~all\"", &rows).await;
    let qualified = "a.example TXT \"v=spf1 -include:b.example +all\"\nb.example TXT \"v=spf1 +all\"";
    assert_eq!(said(&of_joe(qualified, CLIENT).await), "fail (matched: -include:b.example > all)");
}

#[tokio::test]
async fn redirect_takes_over_when_nothing_matched() {
    let rows = [
        (
            "it decides",
            "redirect=b.example",
            "b.example TXT \"v=spf1 -all\"",
            "fail (matched: redirect=b.example > -all)",
        ),
        (
            "wherever it stands",
            "redirect=b.example ip6:2001:db8::25",
            "",
            "pass (matched: ip6:2001:db8::25/128)",
        ),
        ("all comes before", "redirect=b.example ?all", "", "neutral (matched: ?all)"),
        (
            "nothing matches there",
            "redirect=b.example",
            "b.example TXT \"v=spf1\"",
            "neutral (no term matched)",
        ),
        (
            "none",
            "redirect=b.example",
            "",
            "permerror (redirect to a domain without SPF record: redirect=b.example)",
        ),
        (
            "temperror",
            "redirect=b.example",
            "b.example FAULT servfail",
            "temperror (DNS server replied SERVFAIL: redirect=b.example)",
        ),
        (
            "the domain changes",
            "redirect=b.example",
            "b.example TXT \"v=spf1 a exists:%{d}.%{o}.c.example -all\"\nb.example.a.example.c.example A 127.0.0.2",
            "pass (matched: redirect=b.example > exists:%{d}.%{o}.c.example)",
        ),
        (
            "again",
            "redirect=b.example",
            "b.example TXT \"v=spf1 redirect=c.example\"\nc.example TXT \"v=spf1 +all\"",
            "pass (matched: redirect=b.example > redirect=c.example > all)",
        ),
    ];
    for (row, terms, zone, wanted) in rows {
        let zone = format!("a.example TXT \"v=spf1 {terms}\"\n{zone}");
        assert_eq!(said(&of_joe(&zone, CLIENT).await), wanted, "{row}");
    }
}
