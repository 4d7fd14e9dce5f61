//! docs/first-day.md: each path from a mail server alone to sixgate in front of it, and the first
//! day.

use sixgate_tests::gate::{self, Need};

use crate::{
    book::blocks,
    follow,
    host::{GATE, Host, OTHER},
};

/// What these tests cannot do without.
fn can_run(server: Need) -> bool {
    gate::require(&[
        Need::Root,
        Need::Bpffs,
        Need::Xdp,
        server,
        Need::Program("swaks"),
        Need::Program("nsenter"),
    ])
}

/// Sends a message, which has to be taken in a session with this greeting.
fn send(host: &Host, subject: &str, greeting: &str) {
    let sent = host.send(GATE, "user@example.com", subject);
    assert_eq!(sent.code, 0, "{}", sent.output);
    assert!(sent.output.contains(greeting), "{greeting} in\n{}", sent.output);
}

/// Follows a path from the mail server alone, whose greeting is given, and sends before and after.
fn follow_path(host: &Host, heading: &str, before: &str) {
    let book = blocks("docs/first-day.md");
    send(host, "before", before);
    follow(host, &book, &["Install"]);
    let printed = follow(host, &book, &[heading]);
    assert!(printed.contains("next: systemctl enable --now sixgate"), "{printed}");
    assert!(printed.contains(": 0 errors, ") || printed.contains(" 0 errors, "), "{printed}");
    send(host, "after", "220 mx.example.com ESMTP sixgate");
}

#[test]
fn the_first_day_from_postfix_to_enforcement() {
    if !can_run(Need::Postfix) {
        return;
    }
    let host = Host::new();
    follow_path(&host, "From Postfix", "ESMTP Postfix");
    let held = host.held();
    // Postfix knows the sender, not the gate
    assert!(held.contains("\nSubject: after\n") && held.contains("2001:db8:51::5"), "{held}");
    let sent = host.send(OTHER, "user@example.com", "in shadow mode");
    assert_eq!(sent.code, 0, "{}", sent.output);
    let book = blocks("docs/first-day.md");
    let printed = follow(&host, &book, &["Shadow mode", "Refused senders"]);
    assert!(printed.contains("enforce would have refused"), "{printed}");
    follow(&host, &book, &["Enforce"]);
    let refused = host.send(OTHER, "user@example.com", "enforced");
    assert_eq!(refused.code, 24, "{}", refused.output);
    send(&host, "enforced", "220 mx.example.com ESMTP sixgate");
    assert_eq!(host.run("sixgate doctor --quiet").status.code(), Some(0));
}

#[test]
fn the_path_from_postfix_with_postscreen() {
    if !can_run(Need::Postfix) {
        return;
    }
    let host = Host::new();
    host.output(
        "postconf -M 'smtp/inet=smtp inet n - y - 1 postscreen' 'smtpd/pass=smtpd pass - - y - - smtpd'\n\
         postconf -e postscreen_greet_wait=1s\n\
         postfix reload",
    );
    follow_path(&host, "From Postfix with postscreen", "ESMTP Postfix");
    let services = host.output("postconf -M smtp/inet 0.0.0.0:25/inet '[::1]:10025/inet' || true");
    assert!(services.contains("postscreen") && !services.contains("\nsmtp "), "{services}");
    assert!(host.held().contains("2001:db8:51::5"));
}
