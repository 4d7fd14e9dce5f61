//! Listening sockets that systemd passes: systemd-socket-activate(1) opens them, and starts the
//! daemon at the first connection.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStderr, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sixgate_tests::{
    client::Client,
    daemon::binary,
    site::{GATE, OTHER, SENDER, Site},
};

use crate::{can_run, site};

/// The process that listens, and later is the daemon, once it listens.
fn activated(site: &Site, listen: &str) -> (Child, BufReader<ChildStderr>) {
    let mut command = Command::new("systemd-socket-activate");
    command.arg(format!("--listen={listen}")).arg(binary()).arg("--config").arg(site.config());
    command.args(["serve", "--no-xdp"]).stderr(Stdio::piped());
    let mut child = site.gate.spawn(&mut command).unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(line.starts_with("Listening on "), "{line}");
    (child, lines)
}

fn greeted(mut client: Client) {
    assert_eq!(client.reply().unwrap().code, 220);
}

#[test]
fn a_passed_socket_is_used_and_keeps_its_connections() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    site.gate.tool("sysctl", "-qw net.ipv6.bindv6only=1").unwrap();
    let (mut daemon, mut lines) = activated(&site, "[::]:25");
    // it was made before the daemon was
    greeted(site.connect(SENDER, GATE));
    greeted(site.connect(SENDER, GATE));
    site.expect("status", 0, &["listening  [::]:25"]);
    kill(Pid::from_raw(daemon.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert!(daemon.wait().unwrap().success());
    let mut log = String::new();
    lines.read_to_string(&mut log).unwrap();
    assert!(log.contains("listening address=[::]:25"), "{log}");
}

#[test]
fn a_passed_socket_that_does_not_fit_is_refused_by_name() {
    if !can_run(&[]) {
        return;
    }
    let site = site("listen.addresses = [\"[::]:25\"]");
    let rows = [
        (
            "[::]:25",
            "0",
            "a socket at [::]:25 that takes IPv4, too: set `BindIPv6Only=ipv6-only` in sixgate.socket",
        ),
        (
            "[2001:db8:25::99]:25",
            "1",
            "a socket at [2001:db8:25::99]:25, which listen.addresses lacks: give `ListenStream=` in sixgate.socket the \
             same addresses, or run `systemctl disable --now sixgate.socket`",
        ),
    ];
    for (listen, ipv6_only, refusal) in rows {
        site.gate.tool("sysctl", &format!("-qw net.ipv6.bindv6only={ipv6_only}")).unwrap();
        let (mut daemon, mut lines) = activated(&site, listen);
        let _client = site.connect(SENDER, OTHER);
        assert_eq!(daemon.wait().unwrap().code(), Some(2));
        let mut log = String::new();
        lines.read_to_string(&mut log).unwrap();
        assert!(log.contains(&format!("systemd passed {refusal}")), "{log}");
    }
}
