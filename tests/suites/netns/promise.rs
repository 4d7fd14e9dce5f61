//! Each row of the promise, with swaks as the sender and the XDP program in the way.

use sixgate_tests::{
    dns::Zone,
    site::{GATE, OTHER, SENDER},
};

use crate::{ORDINARY, can_run, site};

/// An address without reverse DNS.
const NAMELESS: &str = "2001:db8:51::240";

#[test]
fn a_destination_without_opt_in_is_refused_at_rcpt_and_tagged() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("");
    let sent = site.swaks(SENDER, OTHER, ORDINARY);
    assert_eq!(sent.code, RCPT_REFUSED, "{}", sent.output);
    let wanted = "550 5.2.1 Service unavailable, [contoso.com] does not accept email over IPv6.";
    assert!(sent.output.contains(wanted), "{}", sent.output);
    assert_eq!(site.counter("tag_not_opted_in"), 1);
    assert!(site.delivered().is_empty());
}

#[test]
fn a_source_without_ptr_is_refused_by_the_daemon_then_by_the_kernel() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("");
    let wanted = format!(
        "450 4.7.25 Service unavailable, sending IPv6 address [{NAMELESS}] must have reverse DNS record."
    );
    for (attempt, tagged) in [(1, 0), (2, 1)] {
        let sent = site.swaks(NAMELESS, GATE, ORDINARY);
        assert_eq!(sent.code, RCPT_REFUSED, "attempt {attempt}: {}", sent.output);
        assert!(sent.output.contains(&wanted), "attempt {attempt}: {}", sent.output);
        assert_eq!(site.counter("tag_no_ptr"), tagged, "attempt {attempt}");
    }
    assert_eq!(site.dns.queries_for(NAMELESS, "PTR"), 1);
}

#[test]
fn a_message_without_spf_and_dkim_is_refused_after_its_end() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("");
    let arguments =
        ["--helo", "mail.sender.example", "--from", "a@unproven.example", "--to", "user@contoso.com"];
    let sent = site.swaks(SENDER, GATE, &arguments);
    assert_eq!(sent.code, MESSAGE_REFUSED, "{}", sent.output);
    let wanted = format!(
        "450 4.7.26 Service unavailable, message sent over IPv6 [{SENDER}] must pass either SPF or DKIM validation."
    );
    assert!(sent.output.contains(&wanted), "{}", sent.output);
    assert!(site.delivered().is_empty());
}

#[test]
fn a_message_that_passes_is_delivered_as_it_was_sent() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("");
    let body = "--body=a line\n.a dotted line\nüöä €";
    let sent = site.swaks(SENDER, GATE, &[ORDINARY, &[body, "--h-Subject", "over IPv6"]].concat());
    assert_eq!(sent.code, 0, "{}", sent.output);
    assert!(sent.output.contains("250 2.0.0 Delivered as"), "{}", sent.output);
    let delivered = site.delivered();
    let [message] = delivered.as_slice() else {
        panic!("{} messages", delivered.len());
    };
    assert!(message.contains("\r\nSubject: over IPv6\r\n"), "{message}");
    assert!(message.contains("\r\na line\r\n.a dotted line\r\nüöä €\r\n"), "{message}");
    let results = message.lines().filter(|line| line.starts_with("Authentication-Results: gate.example"));
    assert_eq!(results.count(), 1, "{message}");
    assert_eq!(site.counter("pass_opted_in"), 1);
}

#[test]
fn a_dns_failure_is_a_temporary_refusal_and_leaves_nothing_in_the_kernel() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("");
    let faults = Zone::parse(&format!("{NAMELESS} FAULT servfail")).unwrap();
    site.dns.replace(faults);
    let wanted = "451 4.4.3 Temporary DNS failure, please try again later.";
    let sent = site.swaks(NAMELESS, GATE, ORDINARY);
    assert_eq!(sent.code, RCPT_REFUSED, "{}", sent.output);
    assert!(sent.output.contains(wanted), "{}", sent.output);
    // DNS is well again, and so is the sender, at once; its domain is one without an earlier query
    let names = format!("{NAMELESS} PTR mail.late.example\nlate.example TXT \"v=spf1 ip6:{NAMELESS} -all\"");
    site.dns.replace(Zone::parse(&names).unwrap());
    let late = ["--helo", "mail.late.example", "--from", "a@late.example", "--to", "user@contoso.com"];
    let sent = site.swaks(NAMELESS, GATE, &late);
    assert_eq!(sent.code, 0, "{}", sent.output);
    assert_eq!(site.counter("tag_no_ptr"), 0);
}

/// swaks(1), exit codes.
const RCPT_REFUSED: i32 = 24;
const MESSAGE_REFUSED: i32 = 26;
