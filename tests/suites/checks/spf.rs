//! SPF of both identities: each result of RFC 7208 2.6, and which names are asked about at all.

mod explanations;
mod limits;
mod macros;
mod mechanisms;
mod shapes;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU8,
};

use sixgate_auth::{
    dns::Resolver,
    spf::{self, SpfCheck, SpfQuery, SpfReason, SpfResult, SpfResults},
};

use crate::{dns, short_timeout};

const CLIENT: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x25));
const CLIENT_4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 25));
/// The same client, over a socket that takes both families.
const CLIENT_4_MAPPED: IpAddr = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0xc000, 0x219));

/// A message of `joe@a.example`, from a client whose name DNS is not asked about.
const JOE: SpfQuery<'_> = SpfQuery {
    client: CLIENT,
    helo: "mail",
    mail_from: Some("joe@a.example"),
    host_name: "gate.example",
    voids: spf::VoidTerms::DEFAULT,
};

async fn check(zone: &str, helo: &str, mail_from: Option<&str>) -> SpfResults {
    let (_server, dns) = dns(zone);
    spf::check(&dns, &SpfQuery { helo, mail_from, ..JOE }).await
}

/// The result for `joe@a.example` when `client` sends from it with the HELO name `mail.c.example`.
async fn of_joe(zone: &str, client: IpAddr) -> SpfCheck {
    let (_server, dns) = dns(zone);
    spf::check(&dns, &SpfQuery { client, helo: "mail.c.example", ..JOE }).await.mail_from
}

/// Result, reason and term, as the log has them.
fn said(check: &SpfCheck) -> String {
    format!("{} ({})", check.result.text(), check.why())
}

/// Checks `joe@a.example` against each zone with `record` before it, with the result and its
/// explanation.
async fn all_come_out(client: IpAddr, record: &str, rows: &[(&str, &str, &str)]) {
    for (row, zone, wanted) in rows {
        assert_eq!(said(&of_joe(&format!("{record}\n{zone}"), client).await), *wanted, "{row}");
    }
}

fn found(domain: &str, result: SpfResult) -> (String, SpfResult) {
    (domain.to_owned(), result)
}

fn short(check: &SpfCheck) -> (String, SpfResult) {
    (check.domain.clone(), check.result)
}

#[tokio::test]
async fn every_result_comes_from_the_record() {
    let rows = [
        ("no such name", "", "none (no SPF record)"),
        ("no record", r#"a.example TXT "hello""#, "none (no SPF record)"),
        ("no record, but nearly", r#"a.example TXT "v=spf10 -all""#, "none (no SPF record)"),
        ("pass", r#"a.example TXT "v=spf1 ip6:2001:db8::/64 -all""#, "pass (matched: ip6:2001:db8::/64)"),
        ("fail", r#"a.example TXT "v=spf1 ip6:2001:db8:1::/64 -all""#, "fail (matched: -all)"),
        ("softfail", r#"a.example TXT "v=spf1 ~all""#, "softfail (matched: ~all)"),
        ("neutral", r#"a.example TXT "v=spf1 ?all""#, "neutral (matched: ?all)"),
        ("the end reached", r#"a.example TXT "v=spf1""#, "neutral (no term matched)"),
        ("the first match", r#"a.example TXT "v=spf1 ip4:192.0.2.1 ~all -all""#, "softfail (matched: ~all)"),
        (
            "two records",
            "a.example TXT \"v=spf1 +all\"\na.example TXT \"v=spf1 -all\"",
            "permerror (more than one SPF record)",
        ),
        ("SERVFAIL", "a.example FAULT servfail", "temperror (DNS server replied SERVFAIL)"),
        ("REFUSED", "a.example FAULT refused", "temperror (DNS server replied REFUSED)"),
        ("silence", "a.example FAULT timeout", "temperror (no answer from DNS)"),
    ];
    all_come_out(CLIENT, "", &rows).await;
}

#[tokio::test]
async fn a_record_is_found_however_it_is_written() {
    let rows = [
        (
            "upper case",
            r#"a.example TXT "V=SPF1 IP6:2001:DB8::/64 -ALL""#,
            "pass (matched: ip6:2001:db8::/64)",
        ),
        (
            "in two strings",
            r#"a.example TXT "v=spf1 ip6:2001:" "db8::/64 -all""#,
            "pass (matched: ip6:2001:db8::/64)",
        ),
        ("with an empty string", r#"a.example TXT "" "v=spf1 +all""#, "pass (matched: all)"),
        (
            "beside others",
            "a.example TXT hello\na.example TXT \"v=spf1 +all\"\na.example TXT x",
            "pass (matched: all)",
        ),
        ("beside an empty one", "a.example TXT \"\"\na.example TXT \"v=spf1 +all\"", "pass (matched: all)"),
        ("by TCP", "a.example TXT \"v=spf1 +all\"\na.example FAULT truncate", "pass (matched: all)"),
        ("behind a CNAME", "a.example CNAME b.example\nb.example TXT \"v=spf1 +all\"", "pass (matched: all)"),
        ("with spaces", r#"a.example TXT "v=spf1   +all  ""#, "pass (matched: all)"),
    ];
    all_come_out(CLIENT, "", &rows).await;
}

#[tokio::test]
async fn an_error_anywhere_in_the_record_is_an_error() {
    let rows = [
        ("behind a match", "+all moo", "permerror (unknown mechanism: moo)"),
        ("a modifier", "+all redirect=", "permerror (bad domain name: redirect=)"),
        ("a modifier unknown", "+all x=%z", "permerror (bad macro: x=%z)"),
        ("twice", "+all exp=b.example exp=b.example", "permerror (modifier given twice: exp=b.example)"),
        ("an octet", "+all é", r"permerror (octet that is not visible ASCII: \xc3\xa9)"),
        ("an argument", "+all ip6", "permerror (argument missing or not allowed: ip6)"),
        ("an address", "+all ip4:192.0.2", "permerror (bad IP address: ip4:192.0.2)"),
        ("a length", "+all a/33", "permerror (bad prefix length: a/33)"),
    ];
    for (row, terms, wanted) in rows {
        let zone = format!("a.example TXT \"v=spf1 {terms}\"");
        assert_eq!(said(&of_joe(&zone, CLIENT).await), wanted, "{row}");
        let below = format!("a.example TXT \"v=spf1 include:b.example\"\nb.example TXT \"v=spf1 {terms}\"");
        let inner = wanted.replace(": ", ": include:b.example > ");
        assert_eq!(said(&of_joe(&below, CLIENT).await), inner, "{row}");
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
        let evidence = spf::check(&dns, &SpfQuery { helo, mail_from, ..JOE }).await;
        let none = SpfCheck::new(domain.to_owned(), SpfResult::None, SpfReason::NoDomain);
        assert_eq!(evidence, SpfResults { helo: none.clone(), mail_from: none }, "{helo}");
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

/// RFC 1035 3.3.14 wants one string or more; the library refuses the whole answer.
#[tokio::test]
async fn a_text_record_without_any_string_is_no_answer() {
    let socket = tokio::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await.expect("a socket on loopback");
    let address = socket.local_addr().expect("it is bound");
    let serve = async {
        let mut octets = [0; 512];
        loop {
            let (length, peer) = socket.recv_from(&mut octets).await.expect("a question");
            let question_end = length - OPT_OCTETS;
            let mut answer = octets[..question_end].to_vec();
            // a response with one answer and nothing else: TXT of the name asked about, for 60 s,
            // of no octets
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            answer.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, 0]);
            socket.send_to(&answer, peer).await.expect("an answer");
        }
    };
    let dns = Resolver::new(&[address], short_timeout(), NonZeroU8::MIN);
    tokio::select! {
        () = serve => unreachable!("it serves for ever"),
        evidence = spf::check(&dns, &JOE) => {
            assert_eq!(said(&evidence.mail_from), "temperror (no usable answer from DNS)");
        }
    }
}

/// The EDNS record at the end of a question, without options.
const OPT_OCTETS: usize = 11;
