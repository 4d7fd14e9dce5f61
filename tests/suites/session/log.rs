//! The lines of the log about a session that was refused, given up or ended.
//!
//! How many lines there are is the business of [`crate::log_limits`].

mod closing;
mod fields;
mod formats;
mod journald;
mod postfix;

use std::fs;

use sixgate_tests::{
    client::Client,
    daemon::Daemon,
    site::{GATE, SENDER, Site},
};

use crate::{can_run, site, site_with_tls};

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

/// The lines sent after EHLO and MAIL FROM:<NAME@sender.example>, and the fields of the log's line
/// beside `reply` and mail_from.
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
fn who_looks_in_and_leaves_is_logged_in_debug_only() {
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

pub(super) fn serve(site: Site) -> (Site, Daemon) {
    let daemon = site.serve(&["--no-xdp"]);
    (site, daemon)
}

/// A session that has sent EHLO.
pub(super) fn connect(site: &Site) -> Client {
    let mut client = site.connect(SENDER, GATE);
    client.reply().unwrap();
    client.say("EHLO mail.sender.example").unwrap();
    client
}

/// A session with a transaction whose sender is `name`.
pub(super) fn begin(site: &Site, name: &str) -> Client {
    let mut client = connect(site);
    assert_eq!(client.say(&format!("MAIL FROM:<{name}@sender.example>")).unwrap().code, 250);
    client
}

/// A line names the session, its sender `name`, and what is `wanted`, of which the first is in no
/// other line.
fn check(daemon: &Daemon, name: &str, wanted: &[&str]) {
    let line = daemon.wait_for_log(wanted[0]).unwrap();
    let ends = format!("source={SENDER} destination={GATE}");
    let mail_from = format!("mail_from=\"{name}@sender.example\"");
    for part in wanted.iter().copied().chain([" INFO session{id=", ends.as_str(), mail_from.as_str()]) {
        assert!(line.contains(part), "{name}: {part} in\n{line}");
    }
}
