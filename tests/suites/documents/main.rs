//! The documents to the letter: every command of README.md, docs/operating.md, docs/tickets.md and
//! docs/first-day.md, in their order, on a machine with a Postfix that has mail to lose.
//!
//! Only the compiler and systemd have stand-ins: systemctl(1) does what the installed unit
//! specifies.

mod book;
mod first_day;
mod host;
mod servers;
mod tickets;

use sixgate_tests::gate::{self, Need};

use crate::{
    book::{Block, blocks},
    host::{GATE, Host, OTHER},
    servers::Server,
};

#[test]
fn the_documents_lead_from_postfix_alone_to_enforcement_and_back() {
    if !gate::require(&[
        Need::Root,
        Need::Bpffs,
        Need::Xdp,
        Need::Postfix,
        Need::Program("swaks"),
        Need::Program("nsenter"),
    ]) {
        return;
    }
    let (readme, operating) = (blocks("README.md"), blocks("docs/operating.md"));
    let host = Host::new(Server::Postfix);
    let served_by_postfix = |subject: &str| {
        let sent = host.send(GATE, "user@example.com", subject);
        assert_eq!(sent.code, 0, "{}", sent.output);
        assert!(sent.output.contains("ESMTP Postfix"), "{}", sent.output);
    };
    let served_by_sixgate = |destination: &str, subject: &str| {
        let sent = host.send(destination, "user@example.com", subject);
        assert_eq!(sent.code, 0, "{}", sent.output);
        assert!(sent.output.contains("220 mx.example.com ESMTP sixgate"), "{}", sent.output);
        let message = message(&host, subject);
        assert!(message.contains("Authentication-Results: mx.example.com"), "{message}");
        // Postfix knows the sender, not the gate: XCLIENT works
        assert!(message.contains("2001:db8:51::5"), "{message}");
    };

    served_by_postfix("before");
    follow(&host, &readme, &["Installation", "Configuration"]);
    served_by_postfix("with sixgate installed");
    let verified = host.run("systemd-analyze verify --man=no /etc/systemd/system/sixgate.service 2>&1");
    assert!(verified.status.success() && verified.stdout.is_empty(), "{verified:?}");
    // in tenths: https://www.freedesktop.org/software/systemd/man/latest/systemd-analyze.html
    for (unit, exposure) in [("sixgate", 15), ("sixgate-attach", 12)] {
        let analyzed = format!(
            "systemd-analyze security --offline=true --threshold={exposure} /etc/systemd/system/{unit}.service 2>&1"
        );
        let analyzed = host.run(&analyzed);
        assert!(analyzed.status.success(), "{unit}: {}", String::from_utf8_lossy(&analyzed.stdout));
    }

    follow(&host, &readme, &["Change-over"]);
    served_by_sixgate(GATE, "through the gate");
    served_by_sixgate(OTHER, "in shadow mode");
    let status = host.output("sixgate status");
    assert!(status.contains("shadow"), "{status}");

    let printed = follow(&host, &readme, &["Enforcement"]);
    assert!(printed.contains("enforce would have refused"), "{printed}");
    served_by_sixgate(GATE, "enforced");
    let refused = host.send(OTHER, "user@example.com", "refused");
    assert_eq!(refused.code, 24, "{}", refused.output);
    assert!(
        refused
            .output
            .contains("550 5.2.1 Service unavailable, [example.com] does not accept email over IPv6."),
        "{}",
        refused.output
    );

    tickets::solve(&host);
    served_by_sixgate(GATE, "after the tickets");

    // an order of its own: each section stands for itself
    for block in operating.iter().filter(|block| block.heading != "Return") {
        host.follow(block);
        served_by_sixgate(GATE, &format!("after {}", block.place));
    }

    follow(&host, &readme, &["Return to Postfix alone"]);
    served_by_postfix("again");
    let gone = host.run("sixgate status");
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
    for subject in ["before", "with sixgate installed", "again"] {
        assert!(message(&host, subject).contains("by mx.example.com (Postfix)"));
    }
}

/// Follows the blocks below `headings`, each of which has to have some; what they print.
fn follow(host: &Host, book: &[Block], headings: &[&str]) -> String {
    let mut printed = String::new();
    for heading in headings {
        let mut blocks = book.iter().filter(|block| block.heading == *heading).peekable();
        assert!(blocks.peek().is_some(), "no commands below \"{heading}\"");
        printed.extend(blocks.map(|block| host.follow(block)));
    }
    printed
}

/// The one message with `subject` that Postfix holds.
fn message(host: &Host, subject: &str) -> String {
    let held = host.held();
    let line = format!("\nSubject: {subject}\n");
    assert_eq!(held.matches(&line).count(), 1, "{subject}:\n{held}");
    // postcat(1) puts a heading in front of each message
    let before = held.split_once(&line).map(|(before, _)| before).unwrap_or_default();
    let from = before.rfind("*** MESSAGE CONTENTS").unwrap_or(0);
    before[from..].to_owned()
}
