//! SPF of both identities: each result of RFC 7208 2.6, and which names are asked about at all.

use std::net::{IpAddr, Ipv6Addr};

use sixgate::{
    check::spf::{self, SpfQuery},
    policy::evidence::{SpfCheck, SpfEvidence, SpfResult},
};

use crate::dns;

const CLIENT: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x25));

async fn check(zone: &str, helo: &str, mail_from: Option<&str>) -> SpfEvidence {
    let (_server, dns) = dns(zone);
    let query = SpfQuery { client: CLIENT, helo, mail_from, host_name: "gate.example" };
    spf::check(&dns, &query).await
}

fn found(domain: &str, result: SpfResult) -> (String, SpfResult) {
    (domain.to_owned(), result)
}

fn short(check: &SpfCheck) -> (String, SpfResult) {
    (check.domain.clone(), check.result)
}

#[tokio::test]
async fn every_result_comes_from_the_record() {
    use SpfResult::{Fail, Neutral, None, Pass, PermError, SoftFail, TempError};
    let rows = [
        ("no such name", "", None),
        ("no record", r#"a.example TXT "hello""#, None),
        ("no record, but nearly", r#"a.example TXT "v=spf10 -all""#, None),
        ("ip6", r#"a.example TXT "v=spf1 ip6:2001:db8::/64 -all""#, Pass),
        ("ip6, another", r#"a.example TXT "v=spf1 ip6:2001:db8:1::/64 -all""#, Fail),
        ("upper case", r#"a.example TXT "V=SPF1 IP6:2001:DB8::/64 -ALL""#, Pass),
        ("in two strings", r#"a.example TXT "v=spf1 ip6:2001:" "db8::/64 -all""#, Pass),
        ("beside others", "a.example TXT hello\na.example TXT \"v=spf1 +all\"\na.example TXT x", Pass),
        ("softfail", r#"a.example TXT "v=spf1 ~all""#, SoftFail),
        ("neutral", r#"a.example TXT "v=spf1 ?all""#, Neutral),
        ("the end reached", r#"a.example TXT "v=spf1""#, Neutral),
        ("a", "a.example TXT \"v=spf1 a -all\"\na.example AAAA 2001:db8::25", Pass),
        ("a, another", "a.example TXT \"v=spf1 a -all\"\na.example AAAA 2001:db8::26", Fail),
        (
            "mx",
            "a.example TXT \"v=spf1 mx -all\"\na.example MX 1 mx.example\nmx.example AAAA 2001:db8::25",
            Pass,
        ),
        (
            "include",
            "a.example TXT \"v=spf1 include:b.example -all\"\nb.example TXT \"v=spf1 ip6:2001:db8::25\"",
            Pass,
        ),
        (
            "include, fail",
            "a.example TXT \"v=spf1 include:b.example ?all\"\nb.example TXT \"v=spf1 -all\"",
            Neutral,
        ),
        ("include, none", r#"a.example TXT "v=spf1 include:b.example ?all""#, PermError),
        (
            "redirect",
            "a.example TXT \"v=spf1 redirect=b.example\"\nb.example TXT \"v=spf1 ip6:2001:db8::25 -all\"",
            Pass,
        ),
        ("redirect, none", r#"a.example TXT "v=spf1 redirect=b.example""#, PermError),
        (
            "a macro",
            "a.example TXT \"v=spf1 exists:%{l}.%{o}.by.example -all\"\njoe.a.example.by.example A 127.0.0.2",
            Pass,
        ),
        ("a loop", r#"a.example TXT "v=spf1 include:a.example -all""#, PermError),
        ("two records", "a.example TXT \"v=spf1 +all\"\na.example TXT \"v=spf1 -all\"", PermError),
        ("an octet that no record has", r#"a.example TXT "v=spf1 +all é""#, PermError),
        ("SERVFAIL", "a.example FAULT servfail", TempError),
        ("REFUSED", "a.example FAULT refused", TempError),
        ("silence", "a.example FAULT timeout", TempError),
        (
            "SERVFAIL below",
            "a.example TXT \"v=spf1 include:b.example -all\"\nb.example FAULT servfail",
            TempError,
        ),
        ("silence below", "a.example TXT \"v=spf1 a:b.example -all\"\nb.example FAULT timeout", TempError),
        ("by TCP", "a.example TXT \"v=spf1 ip6:2001:db8::25 -all\"\na.example FAULT truncate", Pass),
    ];
    for (row, zone, wanted) in rows {
        let evidence = check(zone, "mail.c.example", Some("joe@a.example")).await;
        assert_eq!(short(&evidence.mail_from), found("a.example", wanted), "{row}");
        assert_eq!(short(&evidence.helo), found("mail.c.example", None), "{row}");
    }
}

#[tokio::test]
async fn the_two_identities_are_checked_apart() {
    let zone = "a.example TXT \"v=spf1 -all\"\nmail.a.example TXT \"v=spf1 ip6:2001:db8::25 -all\"";
    let evidence = check(zone, "MAIL.A.Example", Some("joe@A.Example")).await;
    assert_eq!(short(&evidence.helo), found("mail.a.example", SpfResult::Pass));
    assert_eq!(short(&evidence.mail_from), found("a.example", SpfResult::Fail));
}

#[tokio::test]
async fn the_null_sender_is_postmaster_at_helo() {
    let zone = "mail.a.example TXT \"v=spf1 exists:%{l}.%{d}.by.example -all\"\n\
                postmaster.mail.a.example.by.example A 127.0.0.2";
    let evidence = check(zone, "mail.a.example", None).await;
    assert_eq!(short(&evidence.mail_from), found("mail.a.example", SpfResult::Pass));
    assert_eq!(evidence.helo, evidence.mail_from);
}

#[tokio::test]
async fn what_is_no_name_of_several_labels_is_not_asked_about() {
    let rows = [
        ("[IPv6:2001:db8::25]", Some("joe@[IPv6:2001:db8::25]"), "[IPv6:2001:db8::25]"),
        ("localhost", Some("joe@localhost"), "localhost"),
        ("192.0.2.1", Some("joe@192.0.2.1"), "192.0.2.1"),
        ("a..example", Some("joe@a..example"), "a..example"),
        ("mail", None, "mail"),
    ];
    for (helo, mail_from, domain) in rows {
        let (server, dns) =
            dns(". TXT \"v=spf1 +all\"\nlocalhost TXT \"v=spf1 +all\"\nmail TXT \"v=spf1 +all\"");
        let query = SpfQuery { client: CLIENT, helo, mail_from, host_name: "gate.example" };
        let evidence = spf::check(&dns, &query).await;
        let none = found(domain, SpfResult::None);
        assert_eq!([short(&evidence.helo), short(&evidence.mail_from)], [none.clone(), none], "{helo}");
        assert_eq!(server.queries(), 0, "{helo}");
    }
}

#[tokio::test]
async fn senders_are_taken_as_they_come() {
    let zone = "xn--bcher-kva.example TXT \"v=spf1 +all\"";
    let rows = [
        ("joe@bücher.example", found("xn--bcher-kva.example", SpfResult::Pass)),
        ("\"a@b\"@xn--bcher-kva.example", found("xn--bcher-kva.example", SpfResult::Pass)),
        ("@xn--bcher-kva.example", found("xn--bcher-kva.example", SpfResult::Pass)),
        ("postmaster", found("", SpfResult::None)),
        ("", found("", SpfResult::None)),
    ];
    for (mail_from, wanted) in rows {
        assert_eq!(
            short(&check(zone, "mail.c.example", Some(mail_from)).await.mail_from),
            wanted,
            "{mail_from}"
        );
    }
}

#[tokio::test]
async fn a_check_can_be_spawned() {
    let evidence = tokio::spawn(check("", "mail.c.example", Some("joe@a.example"))).await.expect("no panic");
    assert_eq!(evidence.mail_from.result, SpfResult::None);
}
