//! What the daemon sees of the sessions that the kernel refuses by itself: its log, its counters, greetings that got
//! lost, and what it does while the kernel cannot answer.
//!
//! What such a session hears is tested elsewhere.

use std::{fs, thread, time::Duration};

use aya::programs::XdpMode;
use sixgate_tests::{
    client::Client,
    daemon::Daemon,
    netns::Netns,
    site::{OTHER, SENDER, Site},
    xdp_helper::{Lossy, Pass},
};

use crate::{can_run, site};

/// A site whose gate answers from the kernel, in native mode, and writes its counters to a file; the sender's end of the
/// link has the program that `peer` attaches.
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
        &format!("refused source={SENDER} destination={OTHER} "),
        "reason=\"not_opted_in\"",
        "domain=\"contoso.com\"",
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
fn sessions_that_ended_while_the_daemon_was_away_are_logged_when_it_is_back_up_to_a_bound() {
    const SESSIONS: u64 = 130;
    const LINES: usize = 100;
    if !can_run() {
        return;
    }
    let (site, daemon, _pass) = answering(pass);
    daemon.kill().unwrap();
    for _ in 0..SESSIONS {
        let mut client = site.connect(SENDER, OTHER);
        client.reply().unwrap();
        assert_eq!(client.say("QUIT").unwrap().code, 221);
        client.closed().unwrap();
    }
    let daemon = site.serve(&[]);
    let line = daemon.wait_for_log("sessions refused, not logged one by one").unwrap();
    assert!(line.contains(&format!("sessions={}", SESSIONS - LINES as u64)), "{line}");
    let (_, log) = daemon.stop().unwrap();
    assert_eq!(log.matches("ending=\"quit\"").count(), LINES);
    let counted = |name| metric(&site, name);
    let quit = "sixgate_kernel_sessions_total{reason=\"not_opted_in\",ending=\"quit\"}";
    assert_eq!(counted(quit), Some(SESSIONS), "all are counted");
    assert_eq!(
        counted("sixgate_limits_reached_total{limit=\"refused_lines\"}"),
        Some(SESSIONS - LINES as u64)
    );
}

#[test]
fn a_greeting_that_got_lost_is_heard_after_all() {
    const CLIENTS: usize = 40;
    if !can_run() {
        return;
    }
    let lossless = |outside: &Netns| Lossy::attach(outside, PEER, XdpMode::Driver, 0).unwrap();
    let (site, daemon, mut lossy) = answering(lossless);
    site.connect(SENDER, OTHER).reply().unwrap();
    let before = site.counter("also_begun_not_opted_in");
    lossy.set(300).unwrap();
    let (greetings, begun) = thread::scope(|scope| {
        let connecting: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| site.try_connect(SENDER, OTHER).ok())).collect();
        let connected: Vec<Client> =
            connecting.into_iter().filter_map(|client| client.join().unwrap()).collect();
        lossy.set(0).unwrap();
        let begun = site.counter("also_begun_not_opted_in") - before;
        let listening: Vec<_> =
            connected.into_iter().map(|client| scope.spawn(|| greeting(client))).collect();
        let heard: Vec<_> = listening.into_iter().filter_map(|client| client.join().unwrap()).collect();
        (heard, begun)
    });
    // whose handshake arrived is greeted, and nobody hears anything else
    assert!(greetings.iter().all(|lines| *lines == ["220 gate.example ESMTP sixgate"]), "{greetings:?}");
    assert_eq!(greetings.len() as u64, begun);
    let (_, log) = daemon.stop().unwrap();
    let again = metric(&site, "sixgate_greetings_total{outcome=\"sent_again\"}");
    assert!(again.is_some_and(|again| again > 0), "{again:?}\n{log}");
    assert_eq!(metric(&site, "sixgate_greetings_total{outcome=\"failed\"}"), None, "{log}");
}

/// What a client hears first; nothing if its handshake got lost.
fn greeting(mut client: Client) -> Option<Vec<String>> {
    client.wait_at_most(PATIENCE).unwrap();
    client.reply().ok().map(|reply| reply.lines)
}

/// Longer than the wait between two looks at a greeting that is as old as connecting may take.
const PATIENCE: Duration = Duration::from_secs(18);

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
