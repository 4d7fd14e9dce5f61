//! How much a flood of clients leaves in the log.

use sixgate_tests::{
    gate::Need,
    site::{GATE, SENDER, Site},
};

use crate::{can_run, log, site, site_with_tls};

/// A source of another /64 and /48.
const OTHER: &str = "2001:db8:77::7";
/// Connections of a flood: many times what a second may log about one network.
const FLOOD: usize = 400;
/// Of one network, handshakes in 10 seconds.
const HANDSHAKES: usize = 200;
/// Lines in a second about one network.
const LINES: usize = 25;

/// What each connection of a flood does, and the line that it leaves.
struct Row {
    site: Site,
    said: &'static [&'static str],
    line: &'static str,
    kind: &'static str,
    /// Connections that leave it.
    most: usize,
}

#[test]
fn a_flood_leaves_a_bounded_number_of_lines_and_others_have_theirs() {
    if !can_run(&[]) {
        return;
    }
    let rows = [
        Row { site: site(""), said: &["\n"], line: "session ended", kind: "session", most: FLOOD },
        Row {
            site: site_with_tls("").0,
            said: &["EHLO flood\r\n", "STARTTLS\r\n", "NOOP\r\n"],
            line: "disconnected: the TLS handshake failed",
            kind: "session",
            most: HANDSHAKES,
        },
    ];
    for Row { site, said, line, kind, most } in rows {
        site.route("2001:db8:77::/48");
        let daemon = site.serve(&["--no-xdp"]);
        let connect = |source: &str| {
            let mut client = site.connect(source, GATE);
            for line in said {
                client.reply().unwrap();
                client.write(line.as_bytes()).unwrap();
            }
            while client.line().is_ok_and(|line| line.is_some()) {}
        };
        let began = std::time::Instant::now();
        (0..most / 2).for_each(|_| connect(SENDER));
        connect(OTHER);
        (0..most / 2).for_each(|_| connect(SENDER));
        let seconds = began.elapsed().as_secs() as usize + 2;
        let (_, log) = daemon.stop().unwrap();
        let about = |source: &str| {
            let source = format!("source={source} ");
            log.lines().filter(|text| text.contains(line) && text.contains(&source)).count()
        };
        assert_eq!(about(OTHER), 1, "{line}");
        let logged = about(SENDER);
        assert!(logged <= LINES * seconds, "{line}: {logged} lines in {seconds} s");
        let suppressed: usize = log
            .lines()
            .filter(|text| text.contains("lines suppressed") && text.contains(&format!("kind=\"{kind}\"")))
            .map(|text| {
                let (_, after) = text.split_once("log rate limit: ").unwrap();
                after.split(' ').next().unwrap().parse::<usize>().unwrap()
            })
            .sum();
        assert!(suppressed > 0, "{line}");
        assert_eq!(logged + suppressed, most, "{line}: each is told or counted");
    }
}

#[test]
fn a_network_that_begins_too_many_handshakes_goes_on_in_the_clear() {
    if !can_run(&[]) {
        return;
    }
    let (site, authority) = site_with_tls("");
    site.route("2001:db8:77::/48");
    let daemon = site.serve(&["--no-xdp"]);
    let start_tls = |source: &str| {
        let mut client = site.connect(source, GATE);
        client.reply().unwrap();
        client.say("EHLO mail.sender.example").unwrap();
        (client.say("STARTTLS").unwrap(), client)
    };
    // a slow machine may need more than one interval
    let (reply, mut client) = (0..20 * HANDSHAKES)
        .map(|_| start_tls(SENDER))
        .find(|(reply, _)| reply.code != 220)
        .expect("there is a bound");
    assert!(reply.last().starts_with("454 4.7.0 "), "{reply:?}");
    assert_eq!(client.say("MAIL FROM:<user@sender.example>").unwrap().code, 250);
    let (reply, mut client) = start_tls(OTHER);
    assert_eq!(reply.code, 220, "{reply:?}");
    client.encrypt(&authority.client(None).unwrap(), crate::NAME).unwrap();
    daemon.wait_for_log("STARTTLS rejected: rate limit of TLS handshakes for this network").unwrap();
}

#[test]
fn endless_refusals_leave_a_bounded_number_of_lines_and_one_with_a_count() {
    if !can_run(&[Need::Root]) {
        return;
    }
    let (site, daemon) = log::serve(site("limits.recipients = 50"));
    let mut client = log::begin(&site, "flood");
    client.write("RCPT TO:<user@elsewhere.example>\r\n".repeat(600).as_bytes()).unwrap();
    while client.line().is_ok_and(|line| line.is_some()) {}
    let rest = daemon.wait_for_log("lines suppressed").unwrap();
    assert!(rest.contains("log rate limit: 481 lines suppressed"), "{rest}");
    let (_, log) = daemon.stop().unwrap();
    assert_eq!(log.matches("recipient refused").count(), 20, "{log}");
}
