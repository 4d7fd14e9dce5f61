//! The daemon's view of the sessions that the kernel refuses by itself: its log, its counters, and
//! its work while the kernel cannot answer.
//!
//! Other suites test the replies to such a session.

use std::{collections::BTreeSet, fs};

use aya::programs::XdpMode;
use jiff::{SignedDuration, Timestamp};
use sixgate_common::event::SHARE_MAX;
use sixgate_tests::{
    daemon::Daemon,
    netns::Netns,
    site::{GATE, OTHER, SENDER, Site},
    xdp_helper::Pass,
};

use crate::{can_run, site};

/// A site whose gate answers from the kernel, in native mode, and writes its counters to a file;
/// the sender's end of the link has the program that `peer` attaches.
fn answering<T>(peer: impl FnOnce(&Netns) -> T) -> (Site, Daemon, T) {
    let (site, daemon) = site("answer = \"daemon\"");
    drop(daemon);
    site.sixgate("detach");
    let peer = peer(&site.outside);
    let file = site.folder().join("sixgate.prom");
    let site = site.configured(&format!("answer = \"kernel\"\nmetrics.file = {file:?}"));
    let daemon = site.serve(&[]);
    (site, daemon, peer)
}

fn pass(outside: &Netns) -> Pass {
    Pass::attach(outside, PEER, XdpMode::Driver).unwrap()
}

/// The sender's end of the link.
const PEER: &str = "outside0";

/// A source without a PTR record.
const NAMELESS: &str = "2001:db8:51::c";

/// A value in the metrics file; none if it is not there.
fn metric(site: &Site, name: &str) -> Option<u64> {
    let text = fs::read_to_string(site.folder().join("sixgate.prom")).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[test]
fn each_session_that_the_kernel_refuses_is_logged_and_counted_once() {
    if !can_run() {
        return;
    }
    let (site, daemon, _pass) = answering(pass);
    let mut client = site.connect(SENDER, OTHER);
    client.reply().unwrap();
    for line in ["EHLO a.example", "MAIL FROM:<a@b.example>", "RCPT TO:<user@contoso.com>", "QUIT"] {
        client.say(line).unwrap();
    }
    client.closed().unwrap();
    let line = daemon.wait_for_log("ending=\"quit\"").unwrap();
    for wanted in [
        "INFO",
        "refused id=k",
        &format!(" source={SENDER} destination={OTHER} "),
        "reason=\"not_opted_in\" list=\"optin\" mail_from=\"a@b.example\" recipient=\"user@contoso.com\" \
         domain=\"contoso.com\" reply=\"550 5.2.1 Service unavailable, [contoso.com] does not accept email over IPv6.\"",
        "duration_ms=",
        "commands=4",
        "answer=\"kernel\"",
    ] {
        assert!(line.contains(wanted), "{wanted} is not in {line}");
    }
    let mut client = site.connect(SENDER, OTHER);
    client.reply().unwrap();
    drop(client);
    let line = daemon.wait_for_log("ending=\"closed\"").unwrap();
    assert!(line.contains("commands=0") && !line.contains("domain="), "{line}");
    assert!(!line.contains("mail_from=") && !line.contains("reply="), "{line}");
    let (_, log) = daemon.stop().unwrap();
    assert_eq!(log.matches("answer=\"kernel\"").count(), 2, "{log}");
    let sessions =
        |ending| format!("sixgate_kernel_sessions_total{{reason=\"not_opted_in\",ending=\"{ending}\"}}");
    assert_eq!(metric(&site, &sessions("quit")), Some(1));
    assert_eq!(metric(&site, &sessions("closed")), Some(1));
    assert_eq!(
        metric(&site, "sixgate_xdp_total{counter=\"answer_greeting\"}"),
        Some(2),
        "the program's counters, too"
    );
    assert_eq!(site.counter("tag_not_opted_in"), 0, "no session was the daemon's");
}

#[test]
fn a_session_that_the_kernel_refuses_is_logged_in_postfixs_form() {
    if !can_run() {
        return;
    }
    let (site, daemon, _pass) = answering(pass);
    drop(daemon);
    let site = site.configured("log.format = \"postfix\"");
    let daemon = site.serve(&[]);
    let mut client = site.connect(SENDER, OTHER);
    client.reply().unwrap();
    for line in ["EHLO a.example", "MAIL FROM:<a@b.example>", "RCPT TO:<user@contoso.com>", "QUIT"] {
        client.say(line).unwrap();
    }
    client.closed().unwrap();
    let smtpd = format!(" postfix/smtpd[{}]: ", daemon.pid());
    for text in [
        format!("{smtpd}disconnect from unknown[{SENDER}] commands=3/4"),
        format!("{smtpd}connect from unknown[{SENDER}]"),
        format!(
            "{smtpd}NOQUEUE: reject: RCPT from unknown[{SENDER}]: 550 5.2.1 Service unavailable, [contoso.com] does not \
             accept email over IPv6.; from=<a@b.example> to=<user@contoso.com> proto=SMTP"
        ),
    ] {
        daemon.wait_for_log(&text).unwrap();
    }
    assert!(!daemon.log().contains("refused id="), "{}", daemon.log());
}

#[test]
fn one_grep_for_sender_recipient_or_code_finds_each_refusal() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("answer = \"daemon\"");
    let talk = |site: &Site, daemon: &Daemon| {
        site.sixgate(&format!("ptr set {NAMELESS} absent"));
        for (source, destination) in [(SENDER, OTHER), (NAMELESS, GATE)] {
            let mut client = site.connect(source, destination);
            client.reply().unwrap();
            for line in [
                "EHLO a.example",
                "MAIL FROM:<first@b.example> SIZE=1000",
                "RCPT TO:<one@contoso.com>",
                "RCPT TO:<two@CONTOSO.com> NOTIFY=NEVER",
                "RSET",
                "MAIL FROM:<\"a> b\"@b.example>",
                "RCPT TO:<@relay.example:three@[2001:db8::1]>",
                "RSET",
                "MAIL FROM:<>",
                "RCPT TO:<\u{fc}\u{7}@fabrikam.example>",
                "QUIT",
            ] {
                client.say(line).unwrap();
            }
            client.closed().unwrap();
        }
        daemon.wait_for_lines("@fabrikam.example", 2).unwrap();
    };
    talk(&site, &daemon);
    let (_, by_daemon) = daemon.stop().unwrap();
    site.sixgate("detach");
    let _peer = pass(&site.outside);
    let site = site.configured("answer = \"kernel\"");
    let daemon = site.serve(&[]);
    talk(&site, &daemon);
    let (_, by_kernel) = daemon.stop().unwrap();
    let told = |log: &str| -> Vec<String> {
        let lines = log.lines().filter(|line| line.contains("reason=\"no"));
        let part = |line: &str| {
            let (before, after) = line.split_once("reason=").unwrap();
            let what = if before.contains("recipient refused") { "recipient refused " } else { "refused " };
            let end = [" duration_ms=", " at="].iter().filter_map(|mark| after.find(mark)).min();
            format!("{what}{}", &after[..end.unwrap_or(after.len())])
        };
        lines.map(part).collect()
    };
    let refused = |what: &str, from: &str, to: &str, domain: &str, about: &str| {
        let domain = if domain.is_empty() { String::new() } else { format!(" domain=\"{domain}\"") };
        let reply = format!("550 5.2.1 Service unavailable, [{about}] does not accept email over IPv6.");
        format!(
            "{what} \"not_opted_in\" list=\"optin\" mail_from={from:?} recipient=\"{to}\"{domain} reply=\"{reply}\""
        )
    };
    let recipient = "recipient refused";
    let wanted = [
        refused(recipient, "first@b.example", "one@contoso.com", "contoso.com", "contoso.com"),
        refused(recipient, "first@b.example", "two@CONTOSO.com", "CONTOSO.com", "CONTOSO.com"),
        refused(recipient, "\"a> b\"@b.example", "@relay.example:three@[2001:db8::1]", "", OTHER),
        refused("refused", "", "ü\\u{7}@fabrikam.example", "fabrikam.example", "fabrikam.example"),
    ];
    let by_daemon = told(&by_daemon);
    assert_eq!(by_daemon[..4], wanted);
    let reply = format!(
        "\"no_ptr\" mail_from=\"first@b.example\" recipient=\"one@contoso.com\" domain=\"contoso.com\" reply=\"450 4.7.25 \
         Service unavailable, sending IPv6 address [{NAMELESS}] must have reverse DNS record.\""
    );
    assert!(by_daemon[4].contains(&reply), "{by_daemon:#?}");
    assert_eq!(told(&by_kernel), by_daemon);
}

#[test]
fn a_mark_of_a_domain_holds_from_the_next_session_even_without_daemon() {
    if !can_run() {
        return;
    }
    let (site, daemon, _pass) = answering(pass);
    let rcpt = || {
        let mut client = site.connect(SENDER, OTHER);
        client.reply().unwrap();
        for line in ["HELO a.example", "MAIL FROM:<a@b.example>"] {
            assert_eq!(client.say(line).unwrap().code, 250);
        }
        let answer = client.say("RCPT TO:<user@Contoso.com>").unwrap();
        client.say("QUIT").unwrap();
        answer.last().to_owned()
    };
    let reply =
        |codes: &str| format!("{codes} Service unavailable, [Contoso.com] does not accept email over IPv6.");
    let change = || {
        site.sixgate("domain add --temporary contoso.com");
        assert_eq!(rcpt(), reply("450 4.2.1"));
        site.sixgate("domain remove --temporary contoso.com");
        assert_eq!(rcpt(), reply("550 5.2.1"));
    };
    change();
    let line = {
        site.sixgate("domain add --temporary contoso.com");
        rcpt();
        daemon.wait_for_lines("reply=\"450 4.2.1", 2).unwrap();
        site.sixgate("domain remove --temporary contoso.com");
        daemon.kill().unwrap()
    };
    drop(line);
    change();
    assert_eq!(site.counter("tag_not_opted_in"), 0, "no session was the daemon's");
    assert_eq!(site.counter("also_temporary"), 3);
}

#[test]
fn sessions_that_ended_without_the_daemon_are_logged_up_to_a_bound() {
    const SESSIONS: u64 = 130;
    // those about one network in a second
    const LINES: usize = 25;
    if !can_run() {
        return;
    }
    let (site, daemon, _pass) = answering(pass);
    daemon.kill().unwrap();
    let (mut first, began) = (None, Timestamp::now());
    for _ in 0..SESSIONS {
        let mut client = site.connect(SENDER, OTHER);
        client.reply().unwrap();
        assert_eq!(client.say("QUIT").unwrap().code, 221);
        client.closed().unwrap();
        first.get_or_insert_with(Timestamp::now);
    }
    let daemon = site.serve(&[]);
    let over_share = site.counter("also_event_over_share");
    let reported = SESSIONS - over_share;
    assert!(reported >= u64::from(SHARE_MAX), "{over_share}");
    let line = daemon.wait_for_log("lines suppressed").unwrap();
    assert!(line.contains(&format!("log rate limit: {} lines", reported - LINES as u64)), "{line}");
    let (_, log) = daemon.stop().unwrap();
    assert_eq!(log.matches("ending=\"quit\"").count(), LINES);
    // when it happened, and not when the daemon learned of it; each with a name of its own
    let field = |line: &str, mark: &str| {
        let (_, after) = line.split_once(mark).unwrap();
        after.split([' ', '"']).next().unwrap().to_owned()
    };
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("ending=\"quit\"")).collect();
    let at: Timestamp = field(lines[0], " at=\"").parse().unwrap();
    assert!(began - TICK <= at && at <= first.unwrap() + TICK, "{began} {at} {first:?}");
    let names: BTreeSet<String> = lines.iter().map(|line| field(line, " id=")).collect();
    // a port that is used again within one tick of the kernel's clock makes the same name
    assert!(names.len() + 2 >= LINES, "{} names", names.len());
    let counted = |name| metric(&site, name);
    let quit = "sixgate_kernel_sessions_total{reason=\"not_opted_in\",ending=\"quit\"}";
    assert_eq!(counted(quit), Some(reported), "all that are reported");
    let ended = "sixgate_xdp_total{counter=\"also_ended\"}";
    assert_eq!(counted(ended), Some(SESSIONS), "all are counted");
    assert_eq!(counted("sixgate_limits_reached_total{limit=\"log_lines\"}"), Some(reported - LINES as u64));
}

/// The program reads the clock of the last tick, and the log tells microseconds.
const TICK: SignedDuration = SignedDuration::from_millis(20);

#[test]
fn the_daemon_answers_while_the_peers_program_is_away() {
    if !can_run() {
        return;
    }
    let (site, daemon, peer) = answering(pass);
    assert_eq!(site.connect(SENDER, OTHER).reply().unwrap().code, 220);
    assert_eq!((site.counter("also_begun_not_opted_in"), site.counter("tag_not_opted_in")), (1, 0));
    drop(peer);
    daemon.wait_for_log("its peer runs no XDP program").unwrap();
    assert!(
        site.sixgate("status").contains("answer     daemon, not kernel: gate0: its peer runs no XDP program")
    );
    assert_eq!(site.connect(SENDER, OTHER).reply().unwrap().code, 220);
    assert_eq!((site.counter("also_begun_not_opted_in"), site.counter("tag_not_opted_in")), (1, 1));
    let _peer = pass(&site.outside);
    daemon.wait_for_log("now answered by the kernel").unwrap();
    assert_eq!(site.connect(SENDER, OTHER).reply().unwrap().code, 220);
    assert_eq!((site.counter("also_begun_not_opted_in"), site.counter("tag_not_opted_in")), (2, 1));
}
