//! The packaged alerts and the packaged dashboard, with Debian's Prometheus.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use sixgate_tests::{
    gate::Need,
    http::ADDRESS,
    prometheus::{Prometheus, promtool},
    site::{GATE, INTERFACE, OTHER, SENDER},
    timeouts::wait_until,
};

use crate::{can_run, site};

fn packaged(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(path).canonicalize().unwrap()
}

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(packaged("grafana/sixgate.json")).unwrap()).unwrap()
}

/// Each query of the dashboard, with the title of its panel.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(move |target| (title.to_owned(), target["expr"].as_str().unwrap().to_owned()))
    });
    targets.collect()
}

#[test]
fn the_alerts_hold_their_cases() {
    if !can_run(&[Need::Prometheus]) {
        return;
    }
    let rules = packaged("prometheus/sixgate.rules.yml");
    let cases = include_str!("sixgate.rules.test.yml").replace("RULES", &rules.display().to_string());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cases.yml");
    fs::write(&file, cases).unwrap();
    let (good, text) = promtool(&["test", "rules", file.to_str().unwrap()], "").unwrap();
    assert!(good, "{text}");
}

#[test]
fn alerts_and_dashboard_name_documented_metrics_only() {
    let rules = fs::read_to_string(packaged("prometheus/sixgate.rules.yml")).unwrap();
    let texts = queries(&dashboard()).into_iter().map(|(_, query)| query);
    let document = fs::read_to_string(packaged("../docs/operating.md")).unwrap();
    for text in texts.chain(rules.lines().filter(|line| !line.starts_with('#')).map(str::to_owned)) {
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        for name in words.filter(|word| word.starts_with("sixgate_")) {
            let name = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(document.contains(&format!("`{name}`")), "docs/operating.md lacks {name}: {text}");
        }
    }
}

#[test]
fn each_query_of_the_dashboard_finds_what_the_daemon_counts() {
    let needs = [Need::Prometheus, Need::Xdp, Need::Bpffs, Need::Program("swaks")];
    if !can_run(&needs) {
        return;
    }
    let site =
        site(&format!("answer = \"kernel\"\nxdp.interfaces = [{INTERFACE:?}]\nxdp.mode = \"generic\""));
    site.sixgate(&format!("guard add {OTHER}"));
    let daemon = site.serve(&[]);
    let prometheus =
        Prometheus::start(&site.gate, ADDRESS, &packaged("prometheus/sixgate.rules.yml")).unwrap();
    let mail = |recipient: &str, destination: &str| {
        let arguments = ["--from", "a@sender.example", "--to", recipient];
        drop(site.swaks(SENDER, destination, &arguments));
    };
    // of everything once before the first scrape that counts, so that there is a rate afterwards
    let everything = || {
        mail("user@contoso.com", GATE);
        mail("user@elsewhere.example", GATE);
        mail("user@contoso.com", OTHER);
    };
    everything();
    wait_until("Prometheus scrapes the daemon", || {
        prometheus.query("count_over_time(sixgate_build_info[1m]) > 1").is_ok_and(|found| !found.is_empty())
    });
    everything();
    for (panel, query) in queries(&dashboard()) {
        let query = query.replace("$__rate_interval", "1m").replace("$instance", ".*");
        // a query that is wrong is an error at once
        prometheus.query(&query).unwrap();
        if !WITHOUT_CAUSE.contains(&panel.as_str()) {
            wait_until(&format!("{panel}: nothing is found by {query}"), || {
                prometheus.query(&query).is_ok_and(|found| !found.is_empty())
            });
        }
    }
    let alerts = prometheus.query("ALERTS").unwrap();
    assert!(alerts.is_empty(), "{alerts:?}");
    daemon.stop().unwrap();
    wait_until("the end of the daemon raises an alert", || {
        let query = "ALERTS{alertname=\"SixgateDown\"}";
        prometheus.query(query).is_ok_and(|found| !found.is_empty())
    });
}

/// Panels that are empty here: there is no TLS, no limit is reached, and the mode is enforce.
const WITHOUT_CAUSE: [&str; 3] =
    ["Limits reached", "TLS handshakes, by outcome", "Shadow mode: what enforce would have refused"];
