//! What the log says of what a session refused, gave up or ended, and how much of it.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
};

use sixgate_tests::{
    client::Client,
    daemon::Daemon,
    gate::Need,
    metrics, sign,
    site::{GATE, SENDER, Site},
};

use crate::{
    can_run,
    next_hops::{Kind, NextHop},
    site, site_with_tls,
};

/// Bounds that a test reaches soon.
const TIGHT: &str = r#"
[limits]
line_length = 998
recipients = 3
message_size = 300000
message_disk = 37856
received = 3
errors = 2
messages_per_connection = 2
command_timeout = "1500ms"
"#;

/// What is said after EHLO and MAIL FROM:<NAME@sender.example>, and what its line says beside `reply` and mail_from.
struct Row {
    name: &'static str,
    said: String,
    wanted: &'static [&'static str],
}

impl Row {
    fn run(&self, site: &Site, daemon: &Daemon) {
        let mut client = begin(site, self.name);
        client.write(self.said.as_bytes()).unwrap();
        check(daemon, self.name, self.wanted);
    }
}

fn row(name: &'static str, said: impl Into<String>, wanted: &'static [&'static str]) -> Row {
    Row { name, said: said.into(), wanted }
}

#[test]
fn what_a_rule_or_a_bound_refuses_has_a_line_with_the_reply() {
    if !can_run(&[]) {
        return;
    }
    let rcpt = "RCPT TO:<user@contoso.com>\r\n";
    let data = format!("{rcpt}DATA\r\n");
    let large = format!("\r\n{}", "0123456789abcd\r\n".repeat(17_000));
    let rows = [
        row(
            "bare",
            format!("{data}Subject: x\r\n\n.\r\n"),
            &["session ended reason=\"line_end\" after=\"DATA\"", "reply=\"550 5.6.0 Lines end with <CRLF>"],
        ),
        row(
            "command",
            format!("{rcpt}NOOP\n"),
            &["session ended reason=\"line_end\" after=\"RCPT\"", "reply=\"500 5.5.2 Lines end with <CRLF>"],
        ),
        row(
            "line",
            format!("{data}{}\r\n.\r\n", "x".repeat(999)),
            &[
                "message outcome=\"message_line\"",
                "recipients=1 octets=1004",
                "reply=\"550 5.6.0 A line of the message is too long\"",
            ],
        ),
        row(
            "header",
            format!("{data}{}.\r\n", format!("X: {}\r\n", "x".repeat(900)).repeat(300)),
            &["message outcome=\"header_size\"", "reply=\"552 5.3.4 Message header size"],
        ),
        row(
            "hops",
            format!("{data}{}.\r\n", "Received: x\r\n".repeat(4)),
            &["message outcome=\"received\"", "reply=\"554 5.4.6 Too many Received fields"],
        ),
        row(
            "size",
            format!("{data}{large}{large}.\r\n"),
            &["message outcome=\"message_size\"", "reply=\"552 5.3.4 Message size"],
        ),
        row(
            "chunk",
            format!("{rcpt}BDAT 300001\r\n{}", "x".repeat(300_001)),
            &["recipients=1 octets=300001", "message outcome=\"message_size\""],
        ),
        row(
            "recipients",
            rcpt.repeat(4),
            &[
                "command refused reason=\"recipients\" after=\"RCPT\"",
                "reply=\"452 4.5.3 Too many recipients\"",
            ],
        ),
        row("unknown", "x\r\n", &["command refused reason=\"unknown_command\"", "reply=\"500 5.5.2 Command"]),
        row(
            "errors",
            "x\r\nx\r\nx\r\n",
            &[
                "session ended reason=\"errors\" after=\"MAIL\"",
                "reply=\"421 4.7.0 gate.example Too many errors\"",
            ],
        ),
        row("long", format!("{}\r\n", "x".repeat(600)), &["command refused reason=\"line_length\""]),
    ];
    let (site, daemon) = serve(site(TIGHT));
    for row in rows {
        row.run(&site, &daemon);
    }
    let mut gone = begin(&site, "gone");
    gone.say("RCPT TO:<user@contoso.com>").unwrap();
    gone.say("DATA").unwrap();
    gone.write(b"Subject").unwrap();
    gone.hang_up().unwrap();
    check(&daemon, "gone", &["disconnected: the client is gone after=\"DATA\" octets=7"]);

    let mut holder = begin(&site, "holder");
    holder.say("RCPT TO:<user@contoso.com>").unwrap();
    let held = format!("{large}{}", "0123456789abcd\r\n".repeat(1700));
    holder.write(format!("BDAT {}\r\n{held}", held.len()).as_bytes()).unwrap();
    // the octets lie on the disk once the chunk has its reply
    assert_eq!(holder.reply().unwrap().code, 250);
    let full = &["message outcome=\"message_disk\"", "reply=\"452 4.3.1 Insufficient"];
    row("disk", format!("{data}{large}0123456789abcd\r\n.\r\n"), full).run(&site, &daemon);
}

#[test]
fn a_session_that_ends_by_its_own_bounds_says_which() {
    if !can_run(&[]) {
        return;
    }
    let (site, daemon) = serve(site(TIGHT));
    let mut silent = begin(&site, "silent");
    assert_eq!(silent.reply().unwrap().code, 421);
    let silence =
        &["session ended reason=\"timeout\" after=\"MAIL\"", "reply=\"421 4.4.2 gate.example Time-out"];
    check(&daemon, "silent", silence);

    let mut idle = connect(&site);
    idle.write("NOOP\r\n".repeat(101).as_bytes()).unwrap();
    let ended = daemon.wait_for_log("session ended reason=\"commands\"").unwrap();
    assert!(ended.contains("after=\"EHLO\"") && ended.contains("Too many commands"), "{ended}");

    let mut sender = connect(&site);
    let message = "MAIL FROM:<a@sender.example>\r\nRCPT TO:<user@contoso.com>\r\nDATA\r\n\r\n.\r\n";
    sender.write(message.repeat(3).as_bytes()).unwrap();
    let ended = daemon.wait_for_log("session ended reason=\"messages_per_connection\"").unwrap();
    assert!(ended.contains("messages=2") && ended.contains("Too many messages"), "{ended}");

    let mut stopped = begin(&site, "stopped");
    stopped.say("RCPT TO:<user@contoso.com>").unwrap();
    stopped.say("DATA").unwrap();
    daemon.signal(nix::sys::signal::Signal::SIGTERM).unwrap();
    daemon.wait_for_log("SIGTERM: stopping").unwrap();
    stopped.write("Subject: x\r\n\r\n.\r\n".as_bytes()).unwrap();
    assert_eq!(stopped.reply().unwrap().code, 250);
    assert_eq!(stopped.reply().unwrap().last(), "421 4.3.2 gate.example Service is shutting down");
    let (_, log) = daemon.stop().unwrap();
    let ended = log.lines().find(|line| line.contains("session ended reason=\"stopping\"")).expect(&log);
    assert!(ended.contains("messages=1") && ended.contains("reply=\"421 4.3.2"), "{ended}");
}

#[test]
fn what_comes_too_slowly_or_takes_too_long_ends_with_a_line() {
    if !can_run(&[]) {
        return;
    }
    let times = "data_timeout = \"1s\"\ndata_rate = 1000\ntransaction_timeout = \"3s\"";
    let (site, daemon) = serve(site(&format!("[limits]\n{times}")));
    let mut slow = begin(&site, "crumbs");
    let mut long = begin(&site, "long");
    slow.say("RCPT TO:<user@contoso.com>").unwrap();
    slow.write(b"BDAT 16\r\nSubject: crumb\r\n").unwrap();
    assert_eq!(slow.reply().unwrap().last(), "250 2.0.0 16 octets received");
    assert_eq!(slow.reply().unwrap().last(), "421 4.4.2 gate.example The message arrives too slowly");
    check(&daemon, "crumbs", &["session ended reason=\"data_rate\" after=\"BDAT\" octets=16"]);
    assert_eq!(long.reply().unwrap().last(), "421 4.4.2 gate.example The transaction takes too long");
    check(&daemon, "long", &["session ended reason=\"transaction_timeout\" after=\"MAIL\""]);
}

#[test]
fn who_does_not_wait_for_the_reply_is_counted_and_logged_all_the_same() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let metrics = site.folder().join("sixgate.prom");
    let (site, daemon) = serve(site.configured(&format!("metrics.file = {metrics:?}")));
    for _ in 0..20 {
        // the greeting is left unread, so that closing is a reset
        site.connect(SENDER, GATE).write(b"\n").unwrap();
    }
    // who comes later is let in later
    connect(&site).say("QUIT").unwrap();
    let (_, log) = daemon.stop().unwrap();
    assert_eq!(log.matches("session ended reason=\"line_end\" after=\"connect\"").count(), 20, "{log}");
    let counters = fs::read_to_string(metrics).unwrap();
    assert!(counters.contains("sixgate_limits_reached_total{limit=\"line_end\"} 20\n"), "{counters}");
}

/// node_exporter's textfile collector: another user, who reads the Prometheus text format 0.0.4 and no newer one.
#[test]
fn the_metrics_file_is_one_for_the_textfile_collector() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let file = site.folder().join("sixgate.prom");
    let (site, daemon) = serve(site.configured(&format!("metrics.file = {file:?}")));
    connect(&site).say("QUIT").unwrap();
    daemon.stop().unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o644);
    let metrics = metrics::read(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(metrics["sixgate_sessions_open"].kind, "gauge");
    let sessions = &metrics["sixgate_sessions_total"];
    assert_eq!((sessions.kind.as_str(), sessions.samples.values().sum::<u64>()), ("counter", 1));
}

#[test]
fn a_handshake_that_fails_has_a_line() {
    if !can_run(&[]) {
        return;
    }
    let (site, daemon) = serve(site_with_tls("").0);
    let mut client = connect(&site);
    client.say("STARTTLS").unwrap();
    client.write(b"NOOP\r\n").unwrap();
    let line = daemon.wait_for_log("disconnected: the TLS handshake failed").unwrap();
    assert!(line.contains("after=\"STARTTLS\"") && line.contains(&format!("source={SENDER}")), "{line}");
}

#[test]
fn who_looks_in_and_leaves_is_told_to_nobody_who_does_not_ask() {
    if !can_run(&[]) {
        return;
    }
    for (level, lines) in [("info", 0), ("debug", 2)] {
        let (site, daemon) = serve(site(&format!("log.level = \"{level}\"")));
        for said in ["", "NOOP"] {
            let mut client = connect(&site);
            if !said.is_empty() {
                client.say(said).unwrap();
            }
            client.hang_up().unwrap();
            client.closed().unwrap();
        }
        let (_, log) = daemon.stop().unwrap();
        assert_eq!(log.matches("disconnected").count(), lines, "{log}");
    }
}

#[test]
fn endless_refusals_leave_a_bounded_number_of_lines_and_one_with_a_count() {
    if !can_run(&[Need::Root]) {
        return;
    }
    let (site, daemon) = serve(site("limits.recipients = 50"));
    let mut client = begin(&site, "flood");
    client.write("RCPT TO:<user@elsewhere.example>\r\n".repeat(600).as_bytes()).unwrap();
    while client.line().is_ok_and(|line| line.is_some()) {}
    let rest = daemon.wait_for_log("lines suppressed").unwrap();
    assert!(rest.contains("log rate limit: 481 lines suppressed"), "{rest}");
    let (_, log) = daemon.stop().unwrap();
    assert_eq!(log.matches("recipient refused").count(), 20, "{log}");
}

#[test]
fn whose_refusal_a_recipient_heard_is_told() {
    if !can_run(&[]) {
        return;
    }
    let (refused, taken) = ("recipient refused by the next hop", "recipient not handed on");
    let (lmtp, _hop) = NextHop::start(Kind::LmtpTcp, site(""));
    let nobody = site("").configured("next_hop = { smtp = \"[::1]:9\" }");
    // it answered before
    let offer = "{\"next_hop\": \"[::1]:9\", \"protocol\": \"smtp\", \"client\": \"none\", \
                 \"eight_bit_mime\": true, \"smtp_utf8\": true, \"size\": null}";
    fs::write(nobody.folder().join("next-hop.json"), offer).unwrap();
    for (site, recipients, code) in [(nobody, 1, "451 4.4.1 "), (lmtp, 2, "452 4.5.3 ")] {
        let (site, daemon) = serve(site);
        let mut client = begin(&site, "a");
        let replies = (0..recipients).map(|_| client.say("RCPT TO:<user@contoso.com>").unwrap());
        assert!(replies.last().is_some_and(|reply| reply.last().starts_with(code)), "{code}");
        let line = daemon.wait_for_log(taken).unwrap();
        assert!(line.contains(&format!("reply=\"{code}")), "{line}");
        assert!(!daemon.log().contains(refused), "{}", daemon.log());
    }
}

/// In text and in JSON, of what is refused at each step, and of what shadow mode passes on: MAIL's address, the recipients,
/// Message-ID and the reply.
#[test]
fn sender_recipient_message_id_and_reply_find_each_refusal() {
    if !can_run(&[]) {
        return;
    }
    let id = "<1@mail.sender.example>";
    let header = format!("Subject: x\r\nMessage-ID:\r\n {id}\r\n");
    let rcpt = "RCPT TO:<user@contoso.com>\r\nRCPT TO:<other@contoso.com>\r\n";
    let long = format!("{rcpt}DATA\r\n{header}\r\n{}\r\n.\r\n", "x".repeat(999));
    let both = "user@contoso.com, other@contoso.com";
    // what is said after MAIL, the line, its `recipient`, its `to`, whether it has a Message-ID, and the reply
    type Case<'a> = (&'a str, String, &'a str, &'a str, &'a str, bool, &'a str);
    let enforced: Vec<Case<'_>> = vec![
        ("line", long.clone(), "message", "", both, true, "550 5.6.0 A line of the message is too long"),
        (
            "chunk",
            format!("{rcpt}BDAT {}\r\n{header}BDAT 300001\r\n{}", header.len(), "x".repeat(300_001)),
            "message",
            "",
            both,
            true,
            "552 5.3.4 Message size exceeds fixed limit",
        ),
        (
            "bare",
            format!("{rcpt}DATA\r\n{header}\r\n\n"),
            "session ended",
            "",
            both,
            true,
            "550 5.6.0 Lines end with <CRLF>",
        ),
        (
            "address",
            "RCPT TO:<a b\u{1}@contoso.com>\r\n".to_owned(),
            "command refused",
            "a b\u{1}@contoso.com",
            "",
            false,
            "501 5.1.3 ",
        ),
        (
            "third",
            format!("{rcpt}RCPT TO:<third@contoso.com>\r\nRCPT TO:<{}@contoso.com> X\r\n", "x".repeat(200)),
            "command refused",
            "third@contoso.com",
            "",
            false,
            "452 4.5.3 Too many recipients",
        ),
        ("proof", format!("{rcpt}DATA\r\n{header}\r\n.\r\n"), "message", "", both, true, "450 4.7.26 "),
    ];
    let shadowed: Vec<Case<'_>> = vec![
        (
            "line",
            long,
            "enforce would have refused",
            "",
            both,
            true,
            "550 5.6.0 A line of the message is too long",
        ),
        (
            "domain",
            "RCPT TO:<user@fabrikam.example>\r\n".to_owned(),
            "enforce would have refused",
            "user@fabrikam.example",
            "",
            false,
            "550 5.2.1 ",
        ),
        (
            "proof",
            format!("{rcpt}DATA\r\n{header}\r\n.\r\n"),
            "enforce would have refused",
            "",
            both,
            true,
            "450 4.7.26 ",
        ),
    ];
    for (mode, cases) in [("enforce", &enforced), ("shadow", &shadowed)] {
        for format in ["text", "json"] {
            let settings = format!(
                "mode = \"{mode}\"\nlog.format = \"{format}\"\n[limits]\nline_length = 998\nrecipients = 2\n\
                 message_size = 300000"
            );
            let (site, daemon) = serve(site(&settings));
            for (name, said, event, recipient, to, has_id, reply) in cases {
                // no SPF record, so that the message fails for want of a proof
                let sender = format!("{name}@unproven.example");
                let mut client = connect(&site);
                client.say(&format!("MAIL FROM:<{sender}>")).unwrap();
                client.write(said.as_bytes()).unwrap();
                // the first line that names the sender
                let line = daemon.wait_for_log(&sender).unwrap();
                assert!(line.contains(event) && line.contains(reply), "{mode} {name}: {line}");
                let id = if *has_id { id } else { "" };
                for (field, value) in [("recipient", *recipient), ("to", *to), ("message_id", id)] {
                    let shown = if format == "json" {
                        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
                        assert!(line["spans"].is_null() && line["span"]["id"].is_string(), "{line}");
                        line["fields"][field].as_str().unwrap_or_default() == value
                    } else {
                        let is_there = line.contains(&format!(" {field}="));
                        is_there != value.is_empty()
                            && (!is_there || line.contains(&format!(" {field}={value:?}")))
                    };
                    assert!(shown, "{mode} {name}: {field}={value:?} in\n{line}");
                }
            }
            if mode == "enforce" {
                daemon.wait_for_log(&format!("{}[...]", "x".repeat(95))).unwrap();
            }
        }
    }
}

#[test]
fn lines_for_the_journal_begin_with_their_priority() {
    if !can_run(&[]) {
        return;
    }
    for format in ["text", "json"] {
        let site =
            Site::new("", &format!("answer = \"daemon\"\nlog.level = \"debug\"\nlog.format = {format:?}"));
        site.sixgate(&format!("optin add {GATE}"));
        let log = site.folder().join("journal");
        let file = File::create(&log).unwrap();
        let daemon =
            Daemon::start_logging_to_journal(file, Some(&site.gate), &site.config(), &["--no-xdp"]).unwrap();
        let mut client = site.connect(SENDER, GATE);
        client.reply().unwrap();
        client.say("QUIT").unwrap();
        drop(client);
        daemon.stop().unwrap();
        let log = fs::read_to_string(log).unwrap();
        let message = |line: &str| match format {
            "json" => {
                let line: serde_json::Value = serde_json::from_str(&line[3..]).expect(line);
                assert!(line["timestamp"].is_null() && line["level"].is_null(), "{line}");
                line["fields"]["message"].as_str().unwrap().to_owned()
            }
            _ => line.get(3..).unwrap().to_owned(),
        };
        for (priority, said) in [("<4>", "no domain is listed"), ("<6>", "listening"), ("<7>", "")] {
            let lines = log.lines().filter(|line| line.starts_with(priority));
            assert!(lines.map(message).any(|line| line.contains(said)), "{priority} {said}: {log}");
        }
        for line in log.lines() {
            let rest = line.strip_prefix('<').and_then(|line| line.get(1..)?.strip_prefix('>')).expect(line);
            assert!(rest.starts_with(['{', 's', 'h']), "no time: {line}");
            assert!(![" INFO ", " WARN ", "DEBUG "].iter().any(|level| rest.contains(level)), "{line}");
        }
    }
}

#[test]
fn what_a_signature_lacks_is_told_with_its_selector_and_algorithm() {
    if !can_run(&[]) {
        return;
    }
    let zone = "mail.sender.example AAAA 2001:db8:51::4\n2001:db8:51::4 PTR mail.sender.example\n\
                sender.example TXT \"v=spf1 ip6:2001:db8:51::4 -all\"\n\
                bad._domainkey.signer.example TXT \"v=DKIM1; k=ed25519\"\n\
                other._domainkey.signer.example TXT \"v=spf1 -all\"";
    let site = Site::new(zone, "answer = \"daemon\"");
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    let (site, daemon) = serve(site);
    for (selector, reason) in [
        ("none", "no key record"),
        ("bad", "key record without usable key: no p="),
        ("other", "TXT records, but no key record"),
    ] {
        let signer = sign::ed25519("signer.example", selector, &["From"]);
        let message = sign::signed(&signer, b"From: a@signer.example\r\n\r\nx\r\n");
        let mut client = begin(&site, "a");
        client.say("RCPT TO:<user@contoso.com>").unwrap();
        client.say("DATA").unwrap();
        client.write(&message).unwrap();
        assert_eq!(client.say(".").unwrap().code, 250, "{}", client.transcript());
        let wanted = format!("dkim=\"permerror signer.example s={selector} a=ed25519-sha256 ({reason})\"");
        daemon.wait_for_log(&wanted).unwrap();
        let results = site.delivered().concat();
        let signed = format!("dkim=permerror reason=\"{reason}\"");
        assert!(results.contains(&signed), "{results}");
    }
}

#[test]
fn the_line_of_a_trusted_sender_names_its_prefix() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    site.sixgate("trust add 2001:db8:51::/64");
    let (site, daemon) = serve(site);
    let mut client = begin(&site, "a");
    client.say("RCPT TO:<user@elsewhere.example>").unwrap();
    client.say("RCPT TO:<user@contoso.com>").unwrap();
    client.say("DATA").unwrap();
    assert_eq!(client.message("Subject: x\n\nx\n").unwrap().code, 250);
    for event in ["recipient refused recipient=\"user@elsewhere.example\"", "message outcome=\"delivered\""] {
        let line = daemon.wait_for_log(event).unwrap();
        assert!(line.contains("trusted_by=\"2001:db8:51::/64\""), "{line}");
    }
}

#[test]
fn what_the_next_hop_offers_is_logged_in_its_own_keywords() {
    if !can_run(&[]) {
        return;
    }
    let (site, _hop) = NextHop::start(Kind::SmtpTcp, site(""));
    let (_site, daemon) = serve(site);
    let line = daemon.wait_for_log("the next hop's offer changed").unwrap();
    assert!(line.contains("capabilities=\"8BITMIME SMTPUTF8\""), "{line}");
}

fn serve(site: Site) -> (Site, Daemon) {
    let daemon = site.serve(&["--no-xdp"]);
    (site, daemon)
}

/// A session that has said EHLO.
fn connect(site: &Site) -> Client {
    let mut client = site.connect(SENDER, GATE);
    client.reply().unwrap();
    client.say("EHLO mail.sender.example").unwrap();
    client
}

/// A session with a transaction whose sender is `name`.
fn begin(site: &Site, name: &str) -> Client {
    let mut client = connect(site);
    assert_eq!(client.say(&format!("MAIL FROM:<{name}@sender.example>")).unwrap().code, 250);
    client
}

/// A line names the session, its sender `name`, and what is `wanted`, of which the first is in no other line.
fn check(daemon: &Daemon, name: &str, wanted: &[&str]) {
    let line = daemon.wait_for_log(wanted[0]).unwrap();
    let ends = format!("source={SENDER} destination={GATE}");
    let mail_from = format!("mail_from=\"{name}@sender.example\"");
    for part in wanted.iter().copied().chain([" INFO session{id=", ends.as_str(), mail_from.as_str()]) {
        assert!(line.contains(part), "{name}: {part} in\n{line}");
    }
}
