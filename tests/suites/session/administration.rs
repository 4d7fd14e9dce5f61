//! What an administrator does to a running daemon: signals, and another configuration, while mail
//! comes in.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::{
    libc,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use sixgate_tests::{
    client::Client,
    daemon::{Daemon, binary},
    gate::Need,
    site::{GATE, SENDER, Site},
    smtp_sink::SmtpSink,
    timeouts::{patience, wait_until},
};

use crate::{can_run, site};

/// Greets, and begins a message from sender.example to `to`; the reply to RCPT.
fn begin(client: &mut Client, to: &str) -> String {
    client.reply().unwrap();
    client.say("EHLO mail.sender.example").unwrap();
    transaction(client, to)
}

fn transaction(client: &mut Client, to: &str) -> String {
    assert_eq!(client.say("MAIL FROM:<a@sender.example>").unwrap().code, 250);
    client.say(&format!("RCPT TO:<{to}>")).unwrap().last().to_owned()
}

/// Each signal whose default action ends a process, but for those that end sixgate in order or
/// stand for a fault.
fn harmless_signals() -> impl Iterator<Item = i32> {
    let named = [
        libc::SIGHUP,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGPIPE,
        libc::SIGALRM,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGIO,
        libc::SIGPWR,
        libc::SIGSTKFLT,
        libc::SIGXCPU,
        libc::SIGXFSZ,
    ];
    named.into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX())
}

/// Sends a signal that nix may have no name for.
fn send(daemon: &Daemon, signal: i32) {
    let sent = Command::new("kill").args([format!("-{signal}"), daemon.pid().to_string()]).status().unwrap();
    assert!(sent.success(), "signal {signal}");
}

#[test]
fn no_signal_ends_the_daemon_but_those_that_ask_it_to_stop() {
    if !can_run(&[]) {
        return;
    }
    for stop in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let site = site("");
        let daemon = site.serve(&["--no-xdp"]);
        let mut client = site.connect(SENDER, GATE);
        assert!(begin(&mut client, "user@contoso.com").starts_with("250 "));
        client.say("DATA").unwrap();
        client.write(b"Subject: through it all\r\n").unwrap();
        harmless_signals().for_each(|signal| send(&daemon, signal));
        daemon.wait_for_log("the configuration was reloaded").unwrap();
        assert_eq!(client.message("\r\nstill here\r\n").unwrap().code, 250);
        assert_eq!(client.say("QUIT").unwrap().code, 221);
        daemon.signal(stop).unwrap();
        daemon.wait_for_log(&format!("{}: stopping", stop.as_str())).unwrap();
        let (status, _) = daemon.stop_after_signal().unwrap();
        assert!(status.success(), "{stop}: {status}");
        assert_eq!(site.delivered().len(), 1);
    }
}

#[test]
fn a_terminal_that_closes_does_not_end_the_daemon() {
    if !can_run(&[Need::Program("script")]) {
        return;
    }
    let site = site("");
    let serve = format!("exec {} --config {} serve --no-xdp", binary().display(), site.config().display());
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &serve, "/dev/null"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut terminal = site.gate.spawn(&mut command).unwrap();
    let pid = pid_by_status(&site);
    let mut client = site.connect(SENDER, GATE);
    assert!(begin(&mut client, "user@contoso.com").starts_with("250 "));
    client.say("DATA").unwrap();
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    wait_until("SIGHUP is a reload", || status(&site)["daemon"]["last_reload"]["at"].is_string());
    assert_eq!(client.message("Subject: after the terminal\r\n\r\n").unwrap().code, 250);
    assert_eq!(pid_by_status(&site), pid);
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    client.closed().unwrap_or_default();
    wait_until("the daemon stops", || status(&site)["daemon"].is_null());
}

/// Waits for the daemon of the site, and returns its process id.
fn pid_by_status(site: &Site) -> i32 {
    wait_until("the daemon has a control socket", || status(site)["daemon"]["pid"].is_number());
    i32::try_from(status(site)["daemon"]["pid"].as_i64().unwrap()).unwrap()
}

fn status(site: &Site) -> Value {
    serde_json::from_slice(&site.run("status --json").stdout).unwrap()
}

#[test]
fn a_reload_holds_from_the_next_transaction_on_and_never_within_one() {
    if !can_run(&[]) {
        return;
    }
    let site = site("mode = \"enforce\"");
    let daemon = site.serve(&["--no-xdp"]);
    let mut client = site.connect(SENDER, GATE);
    assert!(begin(&mut client, "user@contoso.com").starts_with("250 "));
    site.expect(
        "status",
        0,
        &["mode       enforce\n", "daemon     running since ", "\nlistening  [::]:25\n"],
    );
    let site = site.configured("domains = \"all\"\nlimits.recipients = 1");
    let differing =
        ["domains is \"all\" in the configuration, \"listed\" in the daemon: run `sixgate reload`\n"];
    site.expect("status", 1, &differing);
    site.expect("reload", 0, &["reloaded, changed: domains, limits.recipients\n"]);
    daemon.wait_for_log("changed=\"domains, limits.recipients\" needs_restart=\"\"").unwrap();
    site.expect("status", 0, &["\nreload     20"]);
    // this transaction keeps what it began with
    let unlisted = client.say("RCPT TO:<user@fabrikam.com>").unwrap();
    assert!(unlisted.last().starts_with("550 5.2.1 "), "{unlisted:?}");
    assert_eq!(client.say("RCPT TO:<other@contoso.com>").unwrap().code, 250);
    client.say("RSET").unwrap();
    assert!(transaction(&mut client, "user@fabrikam.com").starts_with("250 "));
    assert_eq!(client.say("RCPT TO:<other@contoso.com>").unwrap().code, 452);
    client.say("DATA").unwrap();
    assert_eq!(client.message("Subject: taken\r\n\r\n").unwrap().code, 250);
    drop(client);
    daemon.stop().unwrap();
}

#[test]
fn a_configuration_with_an_error_changes_nothing_and_is_named() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let daemon = site.serve(&["--no-xdp"]);
    let good = fs::read_to_string(site.config()).unwrap();
    let rows = [
        ("mode = \"shadow\"\nmoed = \"shadow\"", "unknown key `moed`"),
        ("temporary_directory = \"/nowhere/at/all\"", "cannot make a temporary file in /nowhere/at/all"),
        ("[tls]\ncertificate = \"/no.pem\"\nkey = \"/no.pem\"", "cannot read /no.pem"),
    ];
    for (count, (bad, reason)) in rows.into_iter().enumerate() {
        fs::write(site.config(), format!("{bad}\n{good}").replacen("[tls]", "#\n[tls]", 1)).unwrap();
        if bad.starts_with("[tls]") {
            fs::write(site.config(), format!("{good}\n{bad}\n")).unwrap();
        }
        let wanted = ["reload rejected, the daemon keeps its configuration: ", reason];
        site.expect("reload", 1, &wanted);
        daemon.wait_for_lines("ERROR", 3 * count + 1).unwrap();
        daemon.signal(Signal::SIGHUP).unwrap();
        daemon.wait_for_lines("ERROR", 3 * count + 2).unwrap();
        let mut client = site.connect(SENDER, GATE);
        assert!(begin(&mut client, "user@contoso.com").starts_with("250 "));
        assert!(client.say("RCPT TO:<user@fabrikam.com>").unwrap().last().starts_with("550 "));
        // the reload by signal has been answered, too
        site.expect("reload", 1, &wanted);
        fs::write(site.config(), &good).unwrap();
        site.expect("reload", 0, &["reloaded, no setting that is in force has changed\n"]);
    }
    assert!(daemon.log().contains("the configuration was not reloaded, the one of before stays in force: "));
    daemon.stop().unwrap();
}

#[test]
fn a_dry_run_of_a_reload_makes_its_checks_and_changes_nothing() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let daemon = site.serve(&["--no-xdp"]);
    site.expect("reload --dry-run", 0, &["dry run, nothing was changed: no setting to change\n"]);
    let good = fs::read_to_string(site.config()).unwrap();
    for (bad, reason) in [
        ("moed = \"shadow\"", "unknown key `moed`"),
        ("temporary_directory = \"/nowhere/at/all\"", "cannot make a temporary file in /nowhere/at/all"),
    ] {
        fs::write(site.config(), format!("{bad}\n{good}")).unwrap();
        let wanted = ["a reload would be rejected, the daemon keeps its configuration: ", reason];
        site.expect("reload --dry-run", 1, &wanted);
    }
    let site = site.configured("domains = \"all\"\nlisten.addresses = [\"[::]:26\"]");
    let words = [
        "dry run, nothing was changed: to change: domains\n",
        "would not be in force until `systemctl restart sixgate`: listen.addresses",
    ];
    site.expect("reload --dry-run", 0, &words);
    site.expect("status", 1, &["domains is \"all\" in the configuration, \"listed\" in the daemon"]);
    let mut client = site.connect(SENDER, GATE);
    assert!(begin(&mut client, "user@contoso.com").starts_with("250 "));
    assert!(client.say("RCPT TO:<user@fabrikam.com>").unwrap().last().starts_with("550 "));
    assert!(!daemon.log().contains("the configuration was"));
    daemon.stop().unwrap();
}

#[test]
fn what_needs_a_restart_is_named_and_the_rest_is_in_force() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let daemon = site.serve(&["--no-xdp"]);
    let site = site.configured("limits.connections = 1\nlisten.addresses = [\"[::]:26\"]");
    let words =
        ["changed: limits.connections\n", "not in force until `systemctl restart sixgate`: listen.addresses"];
    site.expect("reload", 0, &words);
    let restart =
        "the configuration has changed since the daemon started (listen.addresses): `systemctl restart";
    site.expect("status", 1, &[restart]);
    let mut first = site.connect(SENDER, GATE);
    assert_eq!(first.reply().unwrap().code, 220);
    assert_eq!(site.connect(SENDER, GATE).reply().unwrap().code, 421);
    let site = site.configured("limits.connections = 2");
    site.expect("reload", 0, &["changed: limits.connections\n"]);
    assert_eq!(site.connect(SENDER, GATE).reply().unwrap().code, 220);
    daemon.stop().unwrap();
}

#[test]
fn another_next_hop_takes_the_next_transaction() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let daemon = site.serve(&["--no-xdp"]);
    let mut client = site.connect(SENDER, GATE);
    assert!(begin(&mut client, "user@contoso.com").starts_with("250 "));
    let other = site.folder().join("Other");
    let site = site.configured(&format!("next_hop = {{ maildir = {other:?} }}"));
    site.expect("reload", 0, &["changed: next_hop\n"]);
    client.say("DATA").unwrap();
    assert_eq!(client.message("Subject: begun before\r\n\r\n").unwrap().code, 250);
    assert_eq!((site.delivered().len(), messages_in(&other)), (1, 0));
    assert!(transaction(&mut client, "user@contoso.com").starts_with("250 "));
    client.say("DATA").unwrap();
    assert_eq!(client.message("Subject: begun after\r\n\r\n").unwrap().code, 250);
    assert_eq!((site.delivered().len(), messages_in(&other)), (1, 1));
    daemon.stop().unwrap();
}

#[test]
fn a_reload_whose_command_is_interrupted_is_completed() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let daemon = site.serve(&["--no-xdp"]);
    let silent = site.gate.listen("[::1]:10025".parse().unwrap()).unwrap();
    let site = site.configured("next_hop = { smtp = \"[::1]:10025\" }");
    let mut command = Command::new(binary())
        .arg("--config")
        .arg(site.config())
        .arg("reload")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // it is probed, and does not reply
    let _probed = silent.accept().unwrap();
    command.kill().unwrap();
    command.wait().unwrap();
    let line = daemon.wait_for_log("the configuration was reloaded").unwrap();
    assert!(line.contains("changed=\"next_hop\""), "{line}");
    daemon.stop().unwrap();
}

fn messages_in(maildir: &Path) -> usize {
    fs::read_dir(maildir.join("new")).unwrap().count()
}

#[test]
fn a_daemon_that_is_gone_is_named_and_its_socket_is_replaced() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let down = ["daemon     not running\n", "the daemon is not running: nothing answers at "];
    site.expect("status", 1, &down);
    site.expect("reload", 2, &["the daemon is not running: `systemctl start sixgate`"]);
    let socket: PathBuf = site.folder().join("control");
    site.serve(&["--no-xdp"]).kill().unwrap();
    assert!(socket.exists());
    site.expect("status", 1, &down);
    let daemon = site.serve(&["--no-xdp"]);
    site.expect("status", 0, &[&format!("pid {}, version ", daemon.pid())]);
    // another daemon does not take it away
    let second = site.folder().join("second.toml");
    let text = fs::read_to_string(site.config()).unwrap();
    fs::write(&second, format!("{text}\n[listen]\naddresses = [\"[::]:26\"]\n")).unwrap();
    let other = Daemon::start(Some(&site.gate), &second, &["--no-xdp"]).unwrap();
    other.wait_for_log("cannot make the control socket").unwrap();
    site.expect("status", 0, &[&format!("pid {}, version ", daemon.pid())]);
    other.stop().unwrap();
    assert!(socket.exists());
    daemon.stop().unwrap();
    assert!(!socket.exists());
}

#[test]
fn a_stop_waits_for_the_reply_to_a_message_that_the_next_hop_has() {
    if !can_run(&[Need::Postfix]) {
        return;
    }
    // smtp-sink has no bound of its own for how long it takes to answer
    let behind: SocketAddr = "[::1]:10025".parse().unwrap();
    let site = site(&format!("next_hop = {{ smtp = \"{behind}\" }}"));
    let _sink = SmtpSink::start(&site.gate, behind, &["-W", ".:40"]).unwrap();
    let daemon = site.serve(&["--no-xdp"]);
    let mut waiting = site.connect(SENDER, GATE);
    assert!(begin(&mut waiting, "user@contoso.com").starts_with("250 "));
    waiting.say("DATA").unwrap();
    waiting.write(b"Subject: handed over\r\n\r\n.\r\n").unwrap();
    let mut unfinished = site.connect(SENDER, GATE);
    assert!(begin(&mut unfinished, "user@contoso.com").starts_with("250 "));
    unfinished.say("DATA").unwrap();
    daemon.signal(Signal::SIGTERM).unwrap();
    unfinished.wait_at_most(2 * patience()).unwrap();
    assert!(unfinished.reply().is_err(), "it is cut off without a reply");
    daemon.wait_for_log("connection closed: the daemon is stopping").unwrap();
    waiting.wait_at_most(2 * patience()).unwrap();
    assert_eq!(waiting.reply().unwrap().code, 250);
    let (status, _) = daemon.stop_after_signal().unwrap();
    assert!(status.success(), "{status}");
}
