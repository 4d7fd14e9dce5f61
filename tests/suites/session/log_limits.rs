//! How much a flood of clients leaves in the log.

use sixgate_tests::site::{GATE, SENDER, Site};

use crate::{can_run, site, site_with_tls};

/// A source of another /64 and /48.
const OTHER: &str = "2001:db8:77::7";
/// Connections of a flood: many times what a second may log about one network.
const FLOOD: usize = 400;
/// Lines in a second about one network.
const LINES: usize = 25;

/// What each connection of a flood does, and the line that it leaves.
struct Row {
    site: Site,
    said: &'static [&'static str],
    line: &'static str,
    kind: &'static str,
}

#[test]
fn a_flood_leaves_a_bounded_number_of_lines_and_others_have_theirs() {
    if !can_run(&[]) {
        return;
    }
    let rows = [
        Row { site: site(""), said: &["\n"], line: "session ended", kind: "session" },
        Row {
            site: site_with_tls("").0,
            said: &["EHLO flood\r\n", "STARTTLS\r\n", "NOOP\r\n"],
            line: "disconnected: the TLS handshake failed",
            kind: "session",
        },
    ];
    for Row { site, said, line, kind } in rows {
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
        (0..FLOOD / 2).for_each(|_| connect(SENDER));
        connect(OTHER);
        (0..FLOOD / 2).for_each(|_| connect(SENDER));
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
        assert_eq!(logged + suppressed, FLOOD, "{line}: each is told or counted");
    }
}
