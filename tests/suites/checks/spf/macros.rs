//! Macros in the names that DNS is asked about (RFC 7208 7).

use sixgate_auth::spf::{self, SpfQuery, SpfResult};

use super::{CLIENT, CLIENT_4, JOE, of_joe, said};
use crate::dns;

#[tokio::test]
async fn macros_become_names() {
    const SIX: &str = "5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6";
    let rows = [
        ("%{l}.%{o}.x.example", "joe.a.example.x.example"),
        ("%{d2}.x.example", "a.example.x.example"),
        ("%{dr}.x.example", "example.a.x.example"),
        ("%{ir}.%{v}.x.example", &format!("{SIX}.x.example")),
        ("%{h}", "mail.c.example"),
        ("%{h1}.%{L}.x.example.", "example.joe.x.example"),
        ("%{p}.x.example", "unknown.x.example"),
    ];
    for (target, name) in rows {
        let zone = format!("a.example TXT \"v=spf1 exists:{target} -all\"\n{name} A 127.0.0.2");
        assert_eq!(of_joe(&zone, CLIENT).await.result, SpfResult::Pass, "{target}");
    }
    let zone =
        "a.example TXT \"v=spf1 exists:%{ir}.%{v}.x.example -all\"\n25.2.0.192.in-addr.x.example A 127.0.0.2";
    assert_eq!(of_joe(zone, CLIENT_4).await.result, SpfResult::Pass);
}

#[tokio::test]
async fn a_validated_name_is_the_domain_before_one_below_before_another() {
    let all = ["z.example", "mail.a.example", "a.example"];
    let rows: [(&[&str], &str); 4] =
        [(&all, "a.example"), (&all[..2], "mail.a.example"), (&all[..1], "z.example"), (&[], "unknown")];
    for (leading_back, wanted) in rows {
        let pointers = all.map(|name| format!("2001:db8::25 PTR {name}")).join("\n");
        let hosts: Vec<String> =
            leading_back.iter().map(|name| format!("{name} AAAA 2001:db8::25")).collect();
        let zone = format!(
            "a.example TXT \"v=spf1 exists:%{{p}}.x.example -all\"\n{wanted}.x.example A 127.0.0.2\n{pointers}\n{}",
            hosts.join("\n")
        );
        assert_eq!(of_joe(&zone, CLIENT).await.result, SpfResult::Pass, "{wanted}");
    }
}

#[tokio::test]
async fn quotes_and_letters_outside_ascii() {
    let zone = "a.example TXT \"v=spf1 exists:%{l}.x.example ?include:%{l}.x.example -all\"\njoe.x.example A 127.0.0.2";
    let rows = [
        ("joe@a.example", SpfResult::Pass),
        ("\"joe\"@a.example", SpfResult::Pass),
        ("\"j\\oe\"@a.example", SpfResult::Pass),
        // a term with such a local part matches nothing (RFC 8616 4)
        ("jürgen@a.example", SpfResult::Fail),
    ];
    for (sender, wanted) in rows {
        let (_server, dns) = dns(zone);
        let query = SpfQuery { mail_from: Some(sender), ..JOE };
        assert_eq!(spf::check(&dns, &query).await.mail_from.result, wanted, "{sender}");
    }
}

#[tokio::test]
async fn a_redirect_to_letters_outside_ascii_leads_nowhere() {
    let zone = "a.example TXT \"v=spf1 redirect=%{l}.x.example\"\njoe.x.example TXT \"v=spf1 -all\"";
    for (sender, wanted) in [
        ("joe@a.example", "fail (matched: redirect=%{l}.x.example > -all)"),
        ("jim@a.example", "permerror (redirect to a domain without SPF record: redirect=%{l}.x.example)"),
        ("jürgen@a.example", "neutral (no term matched)"),
    ] {
        let (_server, dns) = dns(zone);
        let query = SpfQuery { mail_from: Some(sender), ..JOE };
        assert_eq!(said(&spf::check(&dns, &query).await.mail_from), wanted, "{sender}");
    }
}

#[tokio::test]
async fn a_helo_that_is_no_name_is_no_error() {
    let zone = "a.example TXT \"v=spf1 a:%{h} -all\"";
    for helo in ["[IPv6:2001:db8::25]", "JUMPIN' JUPITER", "a..b", "-", "localhost", "mail\\.x"] {
        let (_server, dns) = dns(zone);
        assert_eq!(
            spf::check(&dns, &SpfQuery { helo, ..JOE }).await.mail_from.result,
            SpfResult::Fail,
            "{helo}"
        );
    }
}
