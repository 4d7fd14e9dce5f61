//! Shadow mode is safe: what enforce would refuse is passed on to a next hop that judges the client
//! itself; mail that is refused all the same is counted, and the log has it at the start.

use std::fs;

use sixgate_tests::{
    client::{Client, Reply},
    daemon::warnings,
    gate::Need,
    postfix::Postfix,
    site::{GATE, OTHER, SENDER, Site},
};

use crate::{
    can_run,
    next_hops::{Kind, NextHop},
    site,
};

/// Recipients that are not contoso.com's, or ask a server behind to send further.
const FOREIGN: &[(&str, &str)] = &[
    ("user@fabrikam.example", "domain_not_opted_in"),
    ("user@sub.contoso.com", "domain_not_opted_in"),
    ("user@fabrikam.example.", "domain_not_opted_in"),
    ("user@[127.0.0.1]", "domain_not_opted_in"),
    ("user", "domain_not_opted_in"),
    ("user%fabrikam.example@contoso.com", "routed"),
    ("fabrikam.example!user@contoso.com.", "routed"),
    ("\"user@fabrikam.example\"@contoso.com", "routed"),
];

#[test]
fn a_next_hop_that_does_not_learn_the_client_is_no_relay_in_shadow() {
    if !can_run(&[]) {
        return;
    }
    let (site, metrics) = shadow();
    let (site, next_hop) = NextHop::start(Kind::SmtpTcp, site);
    site.sixgate("trust add 2001:db8:51::7");
    let daemon = site.serve(&["--no-xdp"]);
    for source in [SENDER, "2001:db8:51::7"] {
        let mut client = begin(&site, source, GATE);
        for (recipient, _) in FOREIGN {
            let reply = rcpt(&mut client, recipient);
            assert_eq!(reply.code, 550, "{recipient}: {reply:?}");
        }
    }
    assert!(next_hop.messages(&site).is_empty());
    let (_, log) = daemon.stop().unwrap();
    assert!(log.contains(" WARN sixgate::server::run: mode is shadow, but recipients in domains"), "{log}");
    assert_eq!(log.matches(" not_shadowed=true").count(), 2 * FOREIGN.len(), "{log}");
    let counted = fs::read_to_string(metrics).unwrap();
    for (reason, count) in [("domain_not_opted_in", 10), ("routed", 6)] {
        let wanted = format!("sixgate_not_shadowed_total{{reason=\"{reason}\"}} {count}\n");
        assert!(counted.contains(&wanted), "{wanted} in {counted}");
    }
}

#[test]
fn a_maildir_takes_every_recipient_in_shadow() {
    if !can_run(&[]) {
        return;
    }
    let (site, metrics) = shadow();
    let daemon = site.serve(&["--no-xdp"]);
    for (recipient, reason) in FOREIGN {
        let mut client = begin(&site, SENDER, GATE);
        assert_eq!(rcpt(&mut client, recipient).code, 250, "{}", client.transcript());
        client.say("DATA").unwrap();
        assert_eq!(client.message("Subject: x\n\nx\n").unwrap().code, 250, "{}", client.transcript());
        daemon.wait_for_log(&format!("enforce would have refused reason=\"{reason}\"")).unwrap();
    }
    assert_eq!(site.delivered().len(), FOREIGN.len());
    daemon.stop().unwrap();
    let counted = fs::read_to_string(metrics).unwrap();
    assert!(counted.contains("sixgate_shadow_total{reason=\"routed\"} 3\n"), "{counted}");
    assert!(counted.contains("sixgate_shadow_total{reason=\"domain_not_opted_in\"} 5\n"), "{counted}");
    assert!(!counted.contains("sixgate_not_shadowed_total{"), "{counted}");
}

/// Neither opted in nor listed, without reverse DNS, SPF and DKIM: the next hop replies as it does
/// to other clients.
#[test]
fn a_server_behind_that_learns_the_client_judges_alone_in_shadow() {
    if !can_run(&[Need::Postfix]) {
        return;
    }
    let site =
        site("mode = \"shadow\"").configured("next_hop = { smtp = \"[::1]:10025\", client = \"xclient\" }");
    site.sixgate("domain remove contoso.com");
    let settings = "virtual_mailbox_domains = contoso.com\nsmtpd_authorized_xclient_hosts = [::1]";
    let postfix = Postfix::start(&site.gate, "[::1]:10025".parse().unwrap(), settings).unwrap();
    let daemon = site.serve(&["--no-xdp"]);
    let mut client = begin(&site, "2001:db8:51::240", OTHER);
    for recipient in ["user@fabrikam.example", "user%fabrikam.example@contoso.com"] {
        let reply = rcpt(&mut client, recipient);
        assert!(reply.last().contains("Relay access denied"), "{}", client.transcript());
    }
    assert_eq!(rcpt(&mut client, "user@contoso.com").code, 250, "{}", client.transcript());
    client.say("DATA").unwrap();
    assert_eq!(client.message("Subject: x\n\nx\n").unwrap().code, 250, "{}", client.transcript());
    assert_eq!(postfix.messages().unwrap().len(), 1);
    let (_, log) = daemon.stop().unwrap();
    assert!(log.contains("no domain is listed: enforce would refuse every recipient"), "{log}");
    assert!(!log.contains("not_shadowed=true"), "{log}");
}

#[test]
fn a_message_that_breaks_a_rule_of_taste_arrives_whole_in_shadow() {
    if !can_run(&[]) {
        return;
    }
    let rows = [
        ("message_line", format!("Subject: a\r\n\r\n{}\r\n", "x".repeat(20_000))),
        ("received", "Received: from a by b; c\r\n".repeat(101)),
        ("header_size", format!("X: {}\r\n", "x".repeat(900)).repeat(300) + "\r\nbody\r\n"),
    ];
    for kind in [Kind::SmtpTcp, Kind::Maildir] {
        let (site, metrics) = shadow();
        let (site, next_hop) = NextHop::start(kind, site);
        let daemon = site.serve(&["--no-xdp"]);
        for (count, (reason, message)) in rows.iter().enumerate() {
            let mut client = begin(&site, SENDER, GATE);
            rcpt(&mut client, "user@contoso.com");
            client.say("DATA").unwrap();
            client.write(message.as_bytes()).unwrap();
            assert_eq!(client.say(".").unwrap().code, 250, "{reason}: {}", client.transcript());
            daemon.wait_for_log(&format!("enforce would have refused reason=\"{reason}\"")).unwrap();
            let messages = next_hop.messages(&site);
            assert_eq!(messages.len(), count + 1, "{kind:?}: {reason}");
            assert!(messages.iter().any(|found| found == message.as_bytes()), "{kind:?}: {reason}");
        }
        daemon.stop().unwrap();
        let counted = fs::read_to_string(metrics).unwrap();
        for (reason, _) in &rows {
            let wanted = format!("sixgate_shadow_total{{reason=\"{reason}\"}} 1\n");
            assert!(counted.contains(&wanted), "{wanted} in {counted}");
        }
    }
}

#[test]
fn an_envelope_that_breaks_a_rule_of_taste_is_passed_on_in_shadow() {
    if !can_run(&[]) {
        return;
    }
    for kind in [Kind::SmtpTcp, Kind::Maildir] {
        let (site, metrics) = shadow();
        let (site, next_hop) = NextHop::start(kind, site);
        let daemon = site.serve(&["--no-xdp"]);
        let mut client = site.connect(SENDER, GATE);
        client.reply().unwrap();
        for (command, code) in [
            ("EHLO", 501),
            ("MAIL FROM:<a@sender.example>", 503),
            ("EHLO mail.sender.example", 250),
            ("MAIL FROM:<a@sender.example> MT-PRIORITY=3", 555),
            ("MAIL FROM:<jörg@sender.example> RET=HDRS ENVID=a", 250),
            ("RCPT TO:<jürgen@contoso.com> NOTIFY=NEVER ORCPT=rfc822;a", 250),
            ("RCPT TO:<\"a NOTIFY=NEVER\"@contoso.com> NOTIFY=NEVER", 250),
            ("RCPT TO:<user@contoso.com> X=NEVER", 555),
            ("DATA", 354),
        ] {
            assert_eq!(client.say(command).unwrap().code, code, "{command}: {}", client.transcript());
        }
        assert_eq!(client.message("Subject: x\n\nx\n").unwrap().code, 250, "{}", client.transcript());
        client.write(b"MAIL FROM:<j\xf6rg@sender.example>\r\n").unwrap();
        assert_eq!(client.reply().unwrap().code, 501, "{}", client.transcript());
        assert_eq!(next_hop.messages(&site).len(), 1, "{kind:?}");
        let (_, log) = daemon.stop().unwrap();
        for (sender, recipient) in
            [("jörg@sender.example", ""), ("jörg@sender.example", " recipient=\"jürgen@contoso.com\"")]
        {
            let line =
                format!("enforce would have refused reason=\"not_ascii\" mail_from={sender:?}{recipient}");
            assert!(log.contains(&line), "{line} in {log}");
        }
        let counted = fs::read_to_string(metrics).unwrap();
        for wanted in [
            "shadow_total{reason=\"not_ascii\"} 2",
            "shadow_total{reason=\"unknown_parameter\"} 3",
            "not_shadowed_total{reason=\"bad_sender\"} 1",
            "not_shadowed_total{reason=\"bad_sequence\"} 1",
            "not_shadowed_total{reason=\"no_name\"} 1",
            "not_shadowed_total{reason=\"unknown_parameter\"} 2",
        ] {
            assert!(counted.contains(&format!("sixgate_{wanted}\n")), "{wanted} in {counted}");
        }
    }
}

/// They are looked for in the first 256 KiB only.
#[test]
fn forged_results_in_a_header_without_end_are_refused_in_shadow_too() {
    if !can_run(&[]) {
        return;
    }
    let (site, _) = shadow();
    let daemon = site.serve(&["--no-xdp"]);
    let padding = format!("X: {}\r\n", "x".repeat(900)).repeat(300);
    let mut client = begin(&site, SENDER, GATE);
    rcpt(&mut client, "user@contoso.com");
    client.say("DATA").unwrap();
    client
        .write(format!("{padding}Authentication-Results: gate.example; spf=pass\r\n\r\n").as_bytes())
        .unwrap();
    assert!(client.say(".").unwrap().last().starts_with("552 5.3.4 "), "{}", client.transcript());
    let line = daemon.wait_for_log("message outcome=\"header_size\"").unwrap();
    assert!(line.contains(" not_shadowed=true "), "{line}");
    assert!(site.delivered().is_empty());
}

#[test]
fn what_shadow_refuses_is_counted_and_said_at_the_start() {
    if !can_run(&[]) {
        return;
    }
    let (site, metrics) = shadow();
    let daemon = site.serve(&["--no-xdp"]);
    let mut client = begin(&site, SENDER, GATE);
    assert_eq!(rcpt(&mut client, "a b@contoso.com").code, 501, "{}", client.transcript());
    rcpt(&mut client, "user@contoso.com");
    client.say("DATA").unwrap();
    client.write(b"Subject: a\r\n\r\nb\n.\r\n").unwrap();
    assert_eq!(client.reply().unwrap().code, 550, "{}", client.transcript());
    assert!(site.delivered().is_empty());
    let (_, log) = daemon.stop().unwrap();
    assert!(log.contains(" INFO sixgate::server::run: mode is shadow: messages are passed on"), "{log}");
    assert!(warnings(&log).is_empty(), "{log}");
    let counted = fs::read_to_string(metrics).unwrap();
    for reason in ["bad_address", "line_end"] {
        let wanted = format!("sixgate_not_shadowed_total{{reason=\"{reason}\"}} 1\n");
        assert!(counted.contains(&wanted), "{wanted} in {counted}");
    }
}

#[test]
fn a_reload_into_shadow_holds_for_sessions_that_are_open() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let daemon = site.serve(&["--no-xdp"]);
    let mut client = begin(&site, SENDER, GATE);
    assert_eq!(send_in_circles(&mut client).code, 554, "{}", client.transcript());
    let site = site.configured("mode = \"shadow\"");
    site.sixgate("reload");
    daemon.wait_for_log("mode is shadow: messages are passed on").unwrap();
    client.say("MAIL FROM:<a@sender.example>").unwrap();
    assert_eq!(send_in_circles(&mut client).code, 250, "{}", client.transcript());
    assert_eq!(site.delivered().len(), 1);
}

#[test]
fn a_start_that_would_hurt_is_warned_of() {
    if !can_run(&[]) {
        return;
    }
    let zone = "gate.example A 192.0.2.25\ncontoso.com MX 10 mx.contoso.com.\nmx.contoso.com A 192.0.2.26\n\
                mx.contoso.com AAAA 2001:db8:25::25\ncontoso.com MX 20 other.example.\nother.example A 192.0.2.27\n\
                other.example AAAA 2001:db8:99::1";
    let mut site = Site::new(zone, "answer = \"daemon\"");
    let daemon = site.serve(&["--no-xdp"]);
    for warning in [
        "no domain is listed: sixgate refuses every recipient",
        "no destination has opted in: sixgate refuses all mail",
        "gate.example has the IPv4 address 192.0.2.25, too",
    ] {
        daemon.wait_for_log(&format!(" WARN sixgate::server::run: {warning}")).unwrap();
    }
    daemon.stop().unwrap();
    let checked = site.run("config check");
    let said = String::from_utf8(checked.stderr).unwrap();
    assert!(
        checked.status.success() && said.contains(": warning: no domain is listed: sixgate refuses"),
        "{said}"
    );
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    let daemon = site.serve(&["--no-xdp"]);
    daemon.wait_for_log("mx.contoso.com has the IPv4 address 192.0.2.26, too").unwrap();
    let (_, log) = daemon.stop().unwrap();
    assert_eq!(warnings(&log).len(), 2, "{log}");
    for setting in
        ["refuse_at = \"greeting\"", "refuse_at = \"rcpt\"\ntemporary_refusals = [\"not_opted_in\"]"]
    {
        site = site.configured(setting);
        let daemon = site.serve(&["--no-xdp"]);
        begin(&site, SENDER, GATE);
        let (_, log) = daemon.stop().unwrap();
        assert!(warnings(&log).is_empty(), "{log}");
    }
}

/// Sends a message with one Received field more than enforce takes, within a transaction.
fn send_in_circles(client: &mut Client) -> Reply {
    rcpt(client, "user@contoso.com");
    client.say("DATA").unwrap();
    client.write("Received: from a by b; c\r\n".repeat(101).as_bytes()).unwrap();
    client.say(".").unwrap()
}

/// A site in shadow mode, and the file of its metrics.
fn shadow() -> (Site, std::path::PathBuf) {
    let site = site("mode = \"shadow\"");
    let metrics = site.folder().join("sixgate.prom");
    (site.configured(&format!("metrics.file = {metrics:?}")), metrics)
}

/// At the point where recipients may be named.
fn begin(site: &Site, source: &str, destination: &str) -> Client {
    let mut client = site.connect(source, destination);
    client.reply().unwrap();
    client.say("EHLO mail.sender.example").unwrap();
    assert_eq!(client.say("MAIL FROM:<a@sender.example>").unwrap().code, 250);
    client
}

fn rcpt(client: &mut Client, recipient: &str) -> Reply {
    client.say(&format!("RCPT TO:<{recipient}>")).unwrap()
}
