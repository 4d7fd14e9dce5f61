//! Real clients that the gate refuses: the reply that each gets, and what a mail server then does
//! with the message. The table in docs/policy.md is this one.
//!
//! The suite `dialogs` tests the gate's replies byte by byte.

mod rows;
mod stage;
mod way;

use sixgate_tests::gate::{self, Need};

use crate::{
    rows::{
        Client,
        Fate::{self, Bounced, Ipv4, NextMx, Queued},
        Reason, Style, Topology,
    },
    stage::Stage,
    way::{Answer, Link, Way},
};

/// What becomes of a message at the first attempt if the gate is the only MX, if there is a second
/// one, and if the gate's host has an IPv4 address too.
const TABLE: &[(Client, Style, Reason, [Fate; 3])] = &[
    (Client::Postfix, Style::Rcpt, Reason::Closed, [Bounced, Bounced, Bounced]),
    (Client::Postfix, Style::Rcpt, Reason::Nameless, [Queued, NextMx, Ipv4]),
    (Client::Postfix, Style::Greeting, Reason::Closed, [Queued, NextMx, Ipv4]),
    (Client::Postfix, Style::Reset, Reason::Closed, [Queued, NextMx, Ipv4]),
    (Client::Exim, Style::Rcpt, Reason::Closed, [Bounced, Bounced, Bounced]),
    (Client::Exim, Style::Rcpt, Reason::Nameless, [Queued, NextMx, Ipv4]),
    (Client::Exim, Style::Greeting, Reason::Closed, [Bounced, NextMx, Ipv4]),
    (Client::Exim, Style::Reset, Reason::Closed, [Queued, NextMx, Ipv4]),
    (Client::Postfix, Style::Temporary, Reason::Closed, [Queued, NextMx, Ipv4]),
    (Client::Exim, Style::Temporary, Reason::Closed, [Queued, NextMx, Ipv4]),
    (Client::OpenSmtpd, Style::Temporary, Reason::Closed, [Queued, Queued, Queued]),
    (Client::OpenSmtpd, Style::Rcpt, Reason::Closed, [Bounced, Bounced, Bounced]),
    (Client::OpenSmtpd, Style::Rcpt, Reason::Nameless, [Queued, Queued, Queued]),
    (Client::OpenSmtpd, Style::Greeting, Reason::Closed, [Queued, NextMx, Ipv4]),
    (Client::OpenSmtpd, Style::Reset, Reason::Closed, [Queued, NextMx, Ipv4]),
];

/// The way in which every row is seen in a test run that is not a long one.
const USUAL: Way = Way { answer: Answer::Kernel, link: Link::Native };
const ANSWERS: &[Answer] = &[Answer::Kernel, Answer::Daemon];

/// swaks(1) talks SMTP to the gate alone: its exit code, and the refusal as it prints it. The
/// daemon's reset may come before or after connect(2) returns, and the code shows which; the
/// kernel's comes before.
const SWAKS: &[(Style, Reason, &[i32], Option<&str>)] = &[
    (
        Style::Rcpt,
        Reason::Closed,
        &[24],
        Some("<** 550 5.2.1 Service unavailable, [closed-only.example] does not accept email over IPv6."),
    ),
    (
        Style::Rcpt,
        Reason::Nameless,
        &[24],
        Some(
            "<** 450 4.7.25 Service unavailable, sending IPv6 address [SOURCE] must have reverse DNS record.",
        ),
    ),
    (
        Style::Greeting,
        Reason::Closed,
        &[21],
        Some("<** 554 gate.example Service unavailable, [2001:db8:25::a1] does not accept email over IPv6."),
    ),
    (
        Style::Temporary,
        Reason::Closed,
        &[24],
        Some("<** 450 4.2.1 Service unavailable, [closed-only.example] does not accept email over IPv6."),
    ),
    (Style::Reset, Reason::Closed, &[2, 6, 21], None),
];

#[test]
fn postfix_does_with_a_refusal_what_the_table_says() {
    check(USUAL, Client::Postfix, &Style::ALL);
}

#[test]
fn exim_does_with_a_refusal_what_the_table_says() {
    check(USUAL, Client::Exim, &Style::ALL);
}

#[test]
fn opensmtpd_does_with_a_refusal_what_the_table_says() {
    check(USUAL, Client::OpenSmtpd, &Style::ALL);
}

#[test]
fn in_generic_mode_a_sender_does_the_same() {
    check(Way { link: Link::Generic, ..USUAL }, Client::Exim, &[Style::Rcpt]);
}

#[test]
fn on_lo_a_sender_does_the_same() {
    check(Way { link: Link::Loopback, ..USUAL }, Client::Postfix, &[Style::Greeting]);
}

#[test]
fn refused_by_the_daemon_a_sender_does_the_same() {
    check(Way { answer: Answer::Daemon, ..USUAL }, Client::Exim, &Style::ALL);
}

#[test]
fn every_sender_does_the_same_with_any_refuser() {
    if !gate::long() {
        return;
    }
    for way in ways() {
        for client in [Client::Postfix, Client::Exim, Client::OpenSmtpd] {
            check(way, client, &Style::ALL);
        }
    }
}

#[test]
fn swaks_gets_each_refusal_with_any_refuser() {
    ways().for_each(check_swaks);
}

/// Every way of refusing.
fn ways() -> impl Iterator<Item = Way> {
    let links = [Link::Native, Link::Generic, Link::Loopback];
    ANSWERS.iter().flat_map(move |answer| links.map(|link| Way { answer: *answer, link }))
}

/// The rows of `client` and these styles, refused in this way.
fn check(way: Way, client: Client, styles: &[Style]) {
    if !gate::require(&[Need::Root, Need::Bpffs, Need::Xdp, Need::Postfix, client.need()]) {
        return;
    }
    for style in styles {
        let stage = Stage::new(way, *style);
        let sender = client.start(stage.senders());
        println!("{way:?} {style:?} {}", sender.version());
        let rows: Vec<_> = TABLE.iter().filter(|row| (row.0, row.1) == (client, *style)).collect();
        assert!(!rows.is_empty(), "the table has nothing on {client:?} and {style:?}");
        for (_, _, reason, wanted) in rows {
            let seen = Topology::ALL.map(|topology| stage.send(sender.as_ref(), *reason, topology));
            assert_eq!(seen, *wanted, "{client:?} {style:?} {reason:?}:\n{}", sender.log());
        }
        stage.check_who_answered();
    }
}

/// The replies that swaks gets in every style.
fn check_swaks(way: Way) {
    if !gate::require(&[Need::Root, Need::Bpffs, Need::Xdp, Need::Postfix, Need::Program("swaks")]) {
        return;
    }
    for style in Style::ALL {
        let stage = Stage::new(way, style);
        for (_, reason, codes, heard) in SWAKS.iter().filter(|row| row.0 == style) {
            let sent = stage.swaks(*reason);
            let codes = if way.answer == Answer::Kernel { &codes[..1] } else { codes };
            assert!(codes.contains(&sent.code), "{style:?} {reason:?}: {} {}", sent.code, sent.output);
            let said = sent.output.lines().find(|line| line.starts_with("<**"));
            let heard = heard.map(|text| text.replace("SOURCE", stage.source(*reason)));
            assert_eq!(said, heard.as_deref(), "{style:?} {reason:?}:\n{}", sent.output);
        }
        stage.check_who_answered();
    }
}
