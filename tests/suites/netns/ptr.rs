//! Knowledge about reverse DNS changes under live traffic: kernel, daemon and command never
//! disagree for longer than a connection takes.

use sixgate_tests::{
    dns::Zone,
    site::{GATE, SENDER, Site},
    timeouts::wait_until,
};

use crate::{ORDINARY, ZONE, can_run, site};

/// An address without reverse DNS, at first.
const NAMELESS: &str = "2001:db8:51::240";

#[test]
fn what_a_command_sets_holds_from_the_next_syn_on_with_any_dns() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("");
    // one after the other, and nothing in between that could give the daemon time
    for round in 1..=3 {
        assert_eq!(rcpt(&site, SENDER), ACCEPTED, "round {round}: DNS");
        site.sixgate(&format!("ptr set {SENDER} absent"));
        assert_eq!(rcpt(&site, SENDER), no_ptr(SENDER), "round {round}: set absent");
        site.sixgate(&format!("ptr set {SENDER} exists"));
        assert_eq!(rcpt(&site, SENDER), ACCEPTED, "round {round}: set exists");
        site.sixgate(&format!("ptr remove {SENDER}"));
    }
    assert_eq!(site.counter("tag_no_ptr"), 3);
    site.sixgate(&format!("ptr set {NAMELESS} exists"));
    for _ in 0..2 {
        assert_eq!(rcpt(&site, NAMELESS), ACCEPTED, "DNS knows no record");
        assert!(site.sixgate(&format!("ptr get {NAMELESS}")).contains(" exists command "));
    }
}

#[test]
fn an_expired_answer_of_dns_is_asked_again_and_reaches_the_kernel() {
    if !can_run() {
        return;
    }
    // longer than any test: nothing here expires by itself
    let without = format!("{ZONE}\nip6.arpa 86400 SOA a b 1 1 1 1 86400");
    let with = format!("{ZONE}\n{NAMELESS} 86400 PTR late.example\nlate.example AAAA {NAMELESS}");
    let (site, _daemon) = site("");
    for round in 1..=3 {
        site.dns.replace(Zone::parse(&without).unwrap());
        assert_eq!(rcpt(&site, NAMELESS), no_ptr(NAMELESS), "round {round}: no record");
        assert!(site.sixgate(&format!("ptr get {NAMELESS}")).contains(" absent dns "), "round {round}");
        let tagged = site.counter("tag_no_ptr");
        assert_eq!(rcpt(&site, NAMELESS), no_ptr(NAMELESS), "round {round}: the kernel knows");
        assert_eq!(site.counter("tag_no_ptr"), tagged + 1, "round {round}");

        site.dns.replace(Zone::parse(&with).unwrap());
        site.sixgate(&format!("ptr remove {NAMELESS}"));
        assert_eq!(rcpt(&site, NAMELESS), ACCEPTED, "round {round}: a record appeared");
        assert!(site.sixgate(&format!("ptr get {NAMELESS}")).contains(" exists dns "), "round {round}");
        site.sixgate("ptr flush");
    }
}

#[test]
fn an_entry_that_expires_is_looked_up_again() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("");
    site.sixgate(&format!("ptr set {SENDER} absent --for 2s"));
    assert_eq!(rcpt(&site, SENDER), no_ptr(SENDER));
    wait_until("the entry expires", || !site.run(&format!("ptr get {SENDER}")).status.success());
    assert_eq!(rcpt(&site, SENDER), ACCEPTED);
    assert!(site.sixgate(&format!("ptr get {SENDER}")).contains(" exists dns "));
}

#[test]
fn each_of_the_four_results_is_counted_logged_and_in_the_message() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let metrics = folder.path().join("sixgate.prom");
    let (site, daemon) = site(&format!("metrics.file = {metrics:?}\npermanent_refusals = [\"no_ptr\"]"));
    let zone = "2001:db8:51::a PTR pass.example\npass.example AAAA 2001:db8:51::a\n\
                2001:db8:51::b PTR fail.example\n\
                2001:db8:51::d PTR temperror.example\ntemperror.example FAULT servfail\n\
                2001:db8:51::e PTR evil\\013\\010host.example\n\
                sender.example TXT \"v=spf1 ip6:2001:db8:51::/64 -all\"";
    site.dns.replace(Zone::parse(zone).unwrap());
    let (leads_nowhere, no_answer) =
        (" reason=\"no PTR name resolves to the address\"", " reason=\"no answer from DNS\"");
    for (source, result, name, reason, verified) in [
        ("2001:db8:51::a", "pass", " ptr=\"pass.example\"", "", "pass.example"),
        ("2001:db8:51::b", "fail", " ptr=\"fail.example\"", leads_nowhere, "unknown"),
        ("2001:db8:51::d", "temperror", " ptr=\"temperror.example\"", no_answer, "unknown"),
        ("2001:db8:51::e", "fail", "", leads_nowhere, "unknown"),
    ] {
        let sent = site.swaks(source, GATE, ORDINARY);
        assert_eq!(sent.code, 0, "{source}: {}", sent.output);
        let line = daemon.wait_for_log(&format!(" iprev=\"{result}\"{name} mail_from=")).unwrap();
        assert!(line.contains(&format!("source={source} ")), "{line}");
        let field = format!("iprev={result}{reason} policy.iprev=\"{source}\"");
        let delivered = site.delivered();
        let has_field = |message: &&String| message.replace("\r\n\t", " ").contains(&field);
        let message = delivered.iter().find(has_field).unwrap_or_else(|| panic!("{field}"));
        assert!(message.contains(&format!("\r\n\t({verified} [IPv6:{source}])\r\n")), "{message}");
    }
    let refused = no_ptr("2001:db8:51::c").replace("450 4.7.25", "550 5.7.25");
    assert_eq!(rcpt(&site, "2001:db8:51::c"), refused);
    let (_, log) = daemon.stop().unwrap();
    assert!(!log.contains("evil"), "{log}");
    assert!(site.delivered().iter().all(|message| !message.contains("evil")));
    let metrics = std::fs::read_to_string(metrics).unwrap();
    for (result, sessions) in [("pass", 1), ("fail", 2), ("permerror", 1), ("temperror", 1)] {
        let line = format!("sixgate_ptr_total{{result=\"{result}\"}} {sessions}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

/// The reply that a new session from `source` gets to its RCPT.
fn rcpt(site: &Site, source: &str) -> String {
    site.rcpt(source, GATE).last().to_owned()
}

fn no_ptr(source: &str) -> String {
    format!("450 4.7.25 Service unavailable, sending IPv6 address [{source}] must have reverse DNS record.")
}

const ACCEPTED: &str = "250 2.1.5 Recipient ok";
