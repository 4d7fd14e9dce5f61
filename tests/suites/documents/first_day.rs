//! docs/first-day.md: each path from a mail server alone to sixgate in front of it, and the first
//! day.

use sixgate_tests::{
    gate::{self, Need},
    timeouts::wait_until,
};

use crate::{
    book::blocks,
    follow,
    host::{GATE, Host, OTHER, SENDER},
    servers::Server,
};

/// Whether a machine with `server` can be made.
fn can_run(server: Server) -> bool {
    let needs = [Need::Root, Need::Bpffs, Need::Xdp, Need::Program("swaks"), Need::Program("nsenter")];
    gate::require(&[&needs, server.needs()].concat())
}

/// Sends a message, which has to be taken in a session with this greeting.
fn send(host: &Host, subject: &str, greeting: &str) {
    let sent = host.send(GATE, "user@example.com", subject);
    assert_eq!(sent.code, 0, "{}", sent.output);
    assert!(sent.output.contains(greeting), "{greeting} in\n{}", sent.output);
}

/// Follows a path from the mail server alone, whose greeting is given, and sends before and after.
/// The server has the message, knows the real client, and keeps IPv4.
fn follow_path(host: &Host, heading: &str, before: &str) {
    let book = blocks("docs/first-day.md");
    send(host, "before", before);
    follow(host, &book, &["Install"]);
    let printed = follow(host, &book, &[heading]);
    assert!(printed.contains("next: systemctl enable --now sixgate"), "{printed}");
    assert!(printed.contains(": 0 errors, ") || printed.contains(" 0 errors, "), "{printed}");
    send(host, "after", "220 mx.example.com ESMTP sixgate");
    wait_until("the message is in the mailbox", || host.held().contains("\nSubject: after\n"));
    assert!(received(host, "after").contains("2001:db8:51::5"), "{}", host.held());
    assert!(host.greeting_of_ipv4().contains(before), "{}", host.greeting_of_ipv4());
}

/// The header fields, those of the mail server in front, of the message with `subject`.
fn received(host: &Host, subject: &str) -> String {
    let held = host.held();
    let (before, _) = held.split_once(&format!("\nSubject: {subject}\n")).expect("it is there");
    before[before.rfind("\nSubject: ").unwrap_or(0)..].to_owned()
}

/// Follows the change to enforce mode: a destination that has not opted in is refused.
fn enforce(host: &Host) {
    follow(host, &blocks("docs/first-day.md"), &["Enforce"]);
    let refused = host.send(OTHER, "user@example.com", "enforced");
    assert_eq!(refused.code, 24, "{}", refused.output);
    assert!(refused.output.contains(REFUSAL), "{}", refused.output);
    send(host, "enforced", "220 mx.example.com ESMTP sixgate");
}

/// What spam filters reject on request: <https://spamassassin.apache.org/gtube/>.
const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";
const REFUSAL: &str = "550 5.2.1 Service unavailable, [example.com] does not accept email over IPv6.";

#[test]
fn the_first_day_from_postfix_to_enforcement() {
    if !can_run(Server::Postfix) {
        return;
    }
    let host = Host::new(Server::Postfix);
    follow_path(&host, "From Postfix", "ESMTP Postfix");
    let sent = host.send(OTHER, "user@example.com", "in shadow mode");
    assert_eq!(sent.code, 0, "{}", sent.output);
    let book = blocks("docs/first-day.md");
    let printed = follow(&host, &book, &["Shadow mode", "Refused senders"]);
    assert!(printed.contains("enforce would have refused"), "{printed}");
    enforce(&host);
    assert_eq!(host.run("sixgate doctor --quiet").status.code(), Some(0));
}

#[test]
fn the_path_from_postfix_with_postscreen() {
    if !can_run(Server::Postfix) {
        return;
    }
    let host = Host::new(Server::Postfix);
    host.output(
        "postconf -M 'smtp/inet=smtp inet n - y - 1 postscreen' 'smtpd/pass=smtpd pass - - y - - smtpd'\n\
         postconf -e postscreen_greet_wait=1s\n\
         postfix reload",
    );
    follow_path(&host, "From Postfix with postscreen", "ESMTP Postfix");
    let services = host.output("postconf -M smtp/inet 0.0.0.0:25/inet '[::1]:10025/inet' || true");
    assert!(services.contains("postscreen") && !services.contains("\nsmtp "), "{services}");
}

#[test]
fn the_path_from_exim() {
    if !can_run(Server::Exim) {
        return;
    }
    let host = Host::new(Server::Exim);
    follow_path(&host, "From Exim", "ESMTP Exim");
    enforce(&host);
}

#[test]
fn the_path_from_opensmtpd() {
    if !can_run(Server::OpenSmtpd) {
        return;
    }
    let host = Host::new(Server::OpenSmtpd);
    follow_path(&host, "From OpenSMTPD", "ESMTP OpenSMTPD");
    enforce(&host);
}

#[test]
fn rspamd_stays_the_milter_and_sees_the_sender() {
    if !can_run(Server::PostfixWithRspamd) {
        return;
    }
    let host = Host::new(Server::PostfixWithRspamd);
    follow_path(&host, "From Postfix", "ESMTP Postfix");
    let log = || host.output("cat /var/log/rspamd/rspamd.log");
    let lines: Vec<String> =
        log().lines().filter(|line| line.contains(" ip: 2001:db8:51::5")).map(str::to_owned).collect();
    // before sixgate, and behind it
    assert_eq!(lines.len(), 2, "{}", log());
    let to = ["--from", "anna@first.example", "--to", "user@example.com", "--body", GTUBE];
    let rejected = host.swaks(SENDER, GATE, &to);
    assert!(rejected.output.contains("554 5.7.1 Gtube pattern"), "{}", rejected.output);
    enforce(&host);
}
