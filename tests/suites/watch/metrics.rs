//! The metrics over HTTP: the same as in the file, in both formats, clean by promtool.

use std::{collections::BTreeMap, fs};

use sixgate_tests::{
    gate::Need,
    http,
    metrics::{self, Metric},
    prometheus,
    site::{GATE, OTHER, SENDER, Site},
};

use crate::{can_run, site};

/// Sends a message that is accepted, and one for an address that has not opted in.
fn send_mail(site: &Site) {
    let _ = site.swaks(SENDER, GATE, &["--from", "a@sender.example", "--to", "user@contoso.com"]);
    let _ = site.swaks(SENDER, OTHER, &["--from", "a@sender.example", "--to", "user@contoso.com"]);
    assert_eq!(site.delivered().len(), 1);
}

fn read(site: &Site) -> BTreeMap<String, Metric> {
    metrics::read(&http::get(&site.gate, "/metrics").unwrap().body).unwrap()
}

#[test]
fn the_metrics_are_clean_in_both_formats() {
    if !can_run(&[Need::Program("swaks"), Need::Prometheus]) {
        return;
    }
    let site = site("");
    let daemon = site.serve(&["--no-xdp"]);
    send_mail(&site);
    let answer = http::get(&site.gate, "/metrics").unwrap();
    assert_eq!(answer.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let (good, text) = prometheus::promtool(&["check", "metrics"], &answer.body).unwrap();
    assert!(good && text.is_empty(), "{text}\n{}", answer.body);
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let request = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n\r\n");
    let open = http::send(&site.gate, &request).unwrap();
    let content_type = open.field("content-type").unwrap();
    assert!(content_type.starts_with("application/openmetrics-text; version=1.0.0"), "{content_type}");
    assert!(open.body.ends_with("\n# EOF\n"), "{}", open.body);
    daemon.stop().unwrap();
}

#[test]
fn the_metrics_tell_sessions_times_sets_and_state() {
    if !can_run(&[Need::Program("swaks")]) {
        return;
    }
    let site = site("");
    site.sixgate("trust add 2001:db8:77::/48");
    let file = site.folder().join("sixgate.prom");
    let site = site.configured(&format!("metrics.file = {file:?}"));
    let daemon = site.serve(&["--no-xdp"]);
    send_mail(&site);
    let found = read(&site);
    let value = |name: &str, labels: &str| found[name].samples.get(labels).copied();
    assert_eq!(value("sixgate_messages_total", "outcome=\"delivered\""), Some(1));
    for check in ["ptr", "spf", "dkim"] {
        let label = format!("check=\"{check}\"");
        assert_eq!(value("sixgate_check_seconds", &format!("count,{label}")), Some(1), "{check}");
    }
    assert!(value("sixgate_dns_question_seconds", "count,result=\"answered\"").unwrap() >= 2);
    for step in ["recipient", "message"] {
        assert_eq!(value("sixgate_next_hop_seconds", &format!("count,step=\"{step}\"")), Some(1), "{step}");
    }
    for (list, entries) in [("optin", 1), ("domain", 1), ("trust", 1), ("guard", 0)] {
        let label = format!("list=\"{list}\"");
        assert_eq!(value("sixgate_store_entries", &label), Some(entries), "{list}");
    }
    assert_eq!(value("sixgate_mode", "mode=\"enforce\""), Some(1));
    assert_eq!(value("sixgate_mode", "mode=\"shadow\""), Some(0));
    assert_eq!(found["sixgate_build_info"].samples.values().sum::<u64>(), 1);
    for name in ["sixgate_next_hop_usable", "sixgate_dns_answers"] {
        assert_eq!(value(name, ""), Some(1), "{name}");
    }
    assert_eq!(value("sixgate_problems", ""), Some(0));
    assert_eq!(value("sixgate_xdp_attached", ""), Some(0));
    // the file has the same names
    site.sixgate("status");
    let in_file = metrics::read(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(in_file.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
    // a change of the configuration shows at once
    site.write(&format!("metrics.file = {file:?}\nmode = \"shadow\"\nnext_hop.smtp = \"[::1]:10025\""));
    let _ = site.run("reload");
    let after = read(&site);
    assert_eq!(after["sixgate_mode"].samples["mode=\"shadow\""], 1);
    assert_eq!(after["sixgate_next_hop_usable"].samples[""], 0);
    assert!(after["sixgate_problems"].samples[""] >= 1);
    daemon.stop().unwrap();
}
