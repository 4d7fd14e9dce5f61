//! The forms in which other programs read what happened: the journal, and node_exporter's textfile
//! collector.
//!
//! [`super`] tests the content.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
};

use sixgate_tests::{
    daemon::Daemon,
    metrics,
    site::{GATE, SENDER, Site},
};

use super::{connect, serve};
use crate::{can_run, site};

/// node_exporter's textfile collector: another user, who reads the Prometheus text format 0.0.4 and
/// no newer one.
#[test]
fn the_metrics_file_is_one_for_the_textfile_collector() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let file = site.folder().join("sixgate.prom");
    let (site, daemon) = serve(site.configured(&format!("metrics.file = {file:?}")));
    connect(&site).say("QUIT").unwrap();
    daemon.stop().unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o644);
    let metrics = metrics::read(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(metrics["sixgate_sessions_open"].kind, "gauge");
    let sessions = &metrics["sixgate_sessions_total"];
    assert_eq!((sessions.kind.as_str(), sessions.samples.values().sum::<u64>()), ("counter", 1));
}

#[test]
fn lines_for_the_journal_begin_with_their_priority() {
    if !can_run(&[]) {
        return;
    }
    for format in ["text", "json"] {
        let site =
            Site::new("", &format!("answer = \"daemon\"\nlog.level = \"debug\"\nlog.format = {format:?}"));
        site.sixgate(&format!("optin add {GATE}"));
        let log = site.folder().join("journal");
        let file = File::create(&log).unwrap();
        let daemon =
            Daemon::start_logging_to_journal(file, Some(&site.gate), &site.config(), &["--no-xdp"]).unwrap();
        let mut client = site.connect(SENDER, GATE);
        client.reply().unwrap();
        // one who leaves so has a line of the level debug
        client.hang_up().unwrap();
        client.closed().unwrap();
        daemon.stop().unwrap();
        let log = fs::read_to_string(log).unwrap();
        let message = |line: &str| match format {
            "json" => {
                let line: serde_json::Value = serde_json::from_str(&line[3..]).expect(line);
                assert!(line["timestamp"].is_null() && line["level"].is_null(), "{line}");
                line["fields"]["message"].as_str().unwrap().to_owned()
            }
            _ => line.get(3..).unwrap().to_owned(),
        };
        for (priority, said) in [("<4>", "no domain is listed"), ("<6>", "listening"), ("<7>", "")] {
            let lines = log.lines().filter(|line| line.starts_with(priority));
            assert!(lines.map(message).any(|line| line.contains(said)), "{priority} {said}: {log}");
        }
        for line in log.lines() {
            let rest = line.strip_prefix('<').and_then(|line| line.get(1..)?.strip_prefix('>')).expect(line);
            assert!(rest.starts_with(['{', 's', 'h']), "no time: {line}");
            assert!(![" INFO ", " WARN ", "DEBUG "].iter().any(|level| rest.contains(level)), "{line}");
        }
    }
}
