//! The log in Postfix's form, line by line, and as programs read it that are made for Postfix.
//!
//! The other forms are tested by [`super::formats`].

use std::fs::{self, File};

use sixgate_tests::{
    daemon::Daemon,
    gate::Need,
    log_readers::{exporter, fail2ban, pflogsumm},
    site::{GATE, OTHER, SENDER, Site},
};

use super::begin;
use crate::{can_run, site};

/// A sender without reverse DNS.
const UNNAMED: &str = "2001:db8:51::9";
const FORM: &str = "log.format = \"postfix\"\n";

/// One session of each kind, and the log.
fn log(site: &Site, arguments: &[&str]) -> String {
    let path = site.folder().join("mail.log");
    let log = File::create(&path).unwrap();
    let daemon = Daemon::start_logging_to(log, Some(&site.gate), &site.config(), arguments).unwrap();
    let message = |mail_from: &str| {
        let mut client = begin(site, mail_from);
        client.say("RCPT TO:<user@contoso.com>").unwrap();
        client.say("DATA").unwrap();
        let code = client.message("Subject: x\r\n\r\n").unwrap().code;
        client.say("QUIT").unwrap();
        client.closed().unwrap();
        code
    };
    assert_eq!(message("good"), 250);
    let mut unlisted = begin(site, "a");
    assert_eq!(unlisted.say("RCPT TO:<\"a b\"@fabrikam.example>").unwrap().code, 550);
    unlisted.hang_up().unwrap();
    unlisted.closed().unwrap();
    drop(unlisted);
    assert_eq!(site.rcpt(UNNAMED, GATE).code, 450);
    assert_eq!(site.rcpt(SENDER, OTHER).code, 550);
    let mut unproven = site.connect(SENDER, GATE);
    unproven.reply().unwrap();
    unproven.say("HELO x").unwrap();
    unproven.say("MAIL FROM:<>").unwrap();
    unproven.say("RCPT TO:<user@contoso.com>").unwrap();
    unproven.say("DATA").unwrap();
    assert_eq!(unproven.message("Subject: x\r\n\r\n").unwrap().code, 450);
    unproven.say("QUIT").unwrap();
    unproven.closed().unwrap();
    drop(unproven);
    let mut wrong = begin(site, "a");
    wrong.write(b"AUTH LOGIN\r\nx\r\nx\r\n").unwrap();
    for code in [502, 500, 421] {
        assert_eq!(wrong.reply().unwrap().code, code);
    }
    wrong.closed().unwrap();
    drop(wrong);
    daemon.stop().unwrap();
    fs::read_to_string(path).unwrap()
}

/// The text of the lines of smtpd, without time, host and process.
fn texts(log: &str) -> Vec<&str> {
    log.lines()
        .filter_map(|line| line.split_once(" postfix/smtpd[")?.1.split_once("]: "))
        .map(|it| it.1)
        .collect()
}

#[test]
fn sessions_are_logged_as_postfix_logs_them() {
    if !can_run(&[]) {
        return;
    }
    let site = site(FORM).configured("[limits]\nerrors = 2\n");
    let log = log(&site, &["--no-xdp"]);
    let client = format!("mail.sender.example[{SENDER}]");
    let about = "proto=ESMTP helo=<mail.sender.example>";
    let wanted = [
        format!("connect from unknown[{SENDER}]"),
        format!("NOQUEUE: client={client}"),
        "proxy-accept: END-OF-MESSAGE: 250 2.0.0 Delivered as ".to_owned(),
        format!("disconnect from {client} ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5"),
        format!(
            "NOQUEUE: reject: RCPT from {client}: 550 5.2.1 Service unavailable, [fabrikam.example] does not accept \
             email over IPv6.; from=<a@sender.example> to=<\"a b\"@fabrikam.example> {about}"
        ),
        format!("lost connection after RCPT from {client}"),
        format!("disconnect from {client} ehlo=1 mail=1 rcpt=0/1 commands=2/3"),
        format!(
            "NOQUEUE: reject: RCPT from unknown[{UNNAMED}]: 450 4.7.25 Service unavailable, sending IPv6 address \
             [{UNNAMED}] must have reverse DNS record.; from=<"
        ),
        format!("NOQUEUE: reject: RCPT from unknown[{SENDER}]: 550 5.2.1 Service unavailable, ["),
        format!(
            "NOQUEUE: reject: END-OF-MESSAGE from {client}: 450 4.7.26 Service unavailable, message sent over IPv6 \
             [{SENDER}] must pass either SPF or DKIM validation.; from=<> to=<user@contoso.com> proto=SMTP helo=<x>"
        ),
        format!("disconnect from {client} helo=1 mail=1 rcpt=1 data=0/1 quit=1 commands=4/5"),
        format!(
            "NOQUEUE: reject: AUTH from unknown[{SENDER}]: 502 5.5.1 Command not implemented; from=<a@sender.example>"
        ),
        format!("NOQUEUE: reject: UNKNOWN from unknown[{SENDER}]: 500 5.5.2 Command not recognized; "),
        format!("too many errors after UNKNOWN from unknown[{SENDER}]"),
        format!("disconnect from unknown[{SENDER}] ehlo=1 auth=0/1 mail=1 unknown=0/2 commands=2/5"),
    ];
    let texts = texts(&log);
    for wanted in &wanted {
        assert!(texts.iter().any(|text| text.starts_with(wanted)), "{wanted}\nin\n{log}");
    }
    for text in ["connect from ", "disconnect from "] {
        assert_eq!(texts.iter().filter(|line| line.starts_with(text)).count(), 6, "{log}");
    }
    assert!(!log.contains("session closed") && log.contains("]: listening address="), "{log}");
}

#[test]
fn pflogsumm_counts_what_was_received_and_rejected() {
    if !can_run(&[Need::LogReaders]) {
        return;
    }
    let site = site(FORM).configured("[limits]\nerrors = 2\n");
    log(&site, &["--no-xdp"]);
    let report = pflogsumm(&site.folder().join("mail.log")).unwrap();
    let line = |text: &str| report.lines().any(|line| line.split_whitespace().eq(text.split_whitespace()));
    for wanted in ["1 received", "6 rejected (100%)", "0 reject warnings", "6 connections"] {
        assert!(line(wanted), "{wanted}\n{report}");
    }
    assert!(report.contains("smtpd (total: 1)") == report.contains("hostname is gate.example"), "{report}");
}

#[test]
fn fail2ban_finds_the_senders_that_were_refused() {
    if !can_run(&[Need::LogReaders]) {
        return;
    }
    let site = site(FORM).configured("[limits]\nerrors = 2\n");
    log(&site, &["--no-xdp"]);
    let found = fail2ban(&site.folder().join("mail.log")).unwrap();
    assert_eq!(found, [SENDER, UNNAMED, SENDER, SENDER]);
}

#[test]
fn the_exporter_counts_connections_and_rejections() {
    if !can_run(&[Need::LogReaders]) {
        return;
    }
    let site = site(FORM).configured("[limits]\nerrors = 2\n");
    log(&site, &["--no-xdp"]);
    let is_read = |metrics: &str| metrics.contains("postfix_smtpd_disconnects_total 6");
    let metrics = exporter(&site.gate, &site.folder().join("mail.log"), is_read).unwrap();
    for wanted in [
        "postfix_smtpd_connects_total 6",
        "postfix_smtpd_messages_processed_total{sasl_method=\"\"} 1",
        "postfix_smtpd_messages_rejected_total{code=\"450\"} 1",
        "postfix_smtpd_messages_rejected_total{code=\"550\"} 2",
        "postfix_smtpd_connections_lost_total{after_stage=\"RCPT\"} 1",
    ] {
        assert!(metrics.contains(wanted), "{wanted}\n{metrics}");
    }
}
