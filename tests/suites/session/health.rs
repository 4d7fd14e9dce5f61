//! Faults that an administrator has to mend while mail is served: `status` reports them with exit
//! code 1, and the log when they begin and when they end.

mod next_hop;

use std::{fs, net::SocketAddr};

use serde_json::Value;
use sixgate_tests::{
    dns::{DnsServer, Zone},
    mounts::with_small_disk,
    site::Site,
};
use tokio::runtime::Builder;

use crate::{ZONE, can_run, site};

/// Exit code, the problems in JSON, and all that is printed for people.
fn status(site: &Site) -> (Option<i32>, Vec<String>, String) {
    let json = site.run("status --json");
    let document: Value = serde_json::from_slice(&json.stdout).unwrap();
    let problems = document["problems"].as_array().unwrap();
    let problems = problems.iter().map(|problem| problem.as_str().unwrap().to_owned()).collect();
    let output = site.run("status");
    assert_eq!(output.status.code(), json.status.code());
    (output.status.code(), problems, String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// One problem, which begins so.
#[track_caller]
fn is_broken(site: &Site, problem: &str) {
    let (code, problems, text) = status(site);
    assert_eq!(code, Some(1), "{text}");
    assert!(problems.len() == 1 && problems[0].starts_with(problem), "{problem:?}: {problems:?}");
    assert!(text.contains(&format!("sixgate: {problem}")), "{problem:?}: {text}");
}

#[track_caller]
fn is_good(site: &Site) {
    let (code, problems, text) = status(site);
    assert!(code == Some(0) && problems.is_empty(), "{problems:?}: {text}");
}

#[test]
fn dns_that_does_not_answer_is_reported_when_it_begins_and_when_it_ends() {
    if !can_run(&[]) {
        return;
    }
    let address: SocketAddr = "[::1]:5300".parse().unwrap();
    let site = site(&format!("dns.servers = [\"{address}\"]"));
    // it asks for its own name at the start
    let daemon = site.serve(&["--no-xdp"]);
    let line = daemon.wait_for_log("DNS does not answer").unwrap();
    assert!(line.contains(" WARN ") && line.contains("error="), "{line}");
    is_broken(&site, "DNS does not answer: ");
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _server: DnsServer = {
        let _inside = runtime.enter();
        let (udp, tcp) = (site.gate.udp(address).unwrap(), site.gate.listen(address).unwrap());
        Zone::parse(ZONE).unwrap().serve_on(udp, tcp).unwrap()
    };
    let line = daemon.wait_for_log("DNS answers again").unwrap();
    assert!(line.contains(" INFO "), "{line}");
    is_good(&site);
    let (_, log) = daemon.stop().unwrap();
    assert_eq!(log.matches("DNS does not answer").count(), 1, "{log}");
}

#[test]
fn an_unwritable_metrics_file_is_reported_when_it_begins_and_ends() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let folder = site.folder().join("collector");
    let file = folder.join("sixgate.prom");
    let site = site.configured(&format!("metrics.file = {file:?}"));
    let problem = format!("metrics.file: cannot write {}: ", file.display());
    let checked = String::from_utf8(site.run("config check").stderr).unwrap();
    assert!(checked.contains(&format!("warning: {problem}")), "{checked}");
    let daemon = site.serve(&["--no-xdp"]);
    daemon.wait_for_log(&problem).unwrap();
    is_broken(&site, &problem);
    fs::create_dir(&folder).unwrap();
    is_good(&site);
    assert!(fs::read_to_string(&file).unwrap().contains("sixgate_sessions_open"));
    daemon.wait_for_log("metrics.file: it can be written again").unwrap();
    let (_, log) = daemon.stop().unwrap();
    assert_eq!(log.matches(&problem).count(), 1, "{log}");
}

#[test]
fn a_temporary_directory_gone_or_full_is_reported_when_it_begins_and_ends() {
    if !can_run(&[]) {
        return;
    }
    let site = site("limits.message_size = 100000");
    let folder = site.folder().join("temporary");
    fs::create_dir(&folder).unwrap();
    let site = site.configured(&format!("temporary_directory = {folder:?}"));
    let gone = format!("temporary_directory: cannot make a temporary file in {}: ", folder.display());
    let full = format!("temporary_directory: the file system of {} has ", folder.display());
    with_small_disk(&folder, 1 << 20, || {
        let daemon = site.serve(&["--no-xdp"]);
        is_good(&site);
        // what is left is less than one message
        fs::write(folder.join("filler"), vec![0; (1 << 20) - 65536]).unwrap();
        is_broken(&site, &full);
        daemon.wait_for_log(&full).unwrap();
        fs::remove_file(folder.join("filler")).unwrap();
        is_good(&site);
        daemon.wait_for_log("temporary_directory: it can be written again").unwrap();
        daemon.stop().unwrap();
    })
    .unwrap();
    let daemon = site.serve(&["--no-xdp"]);
    fs::remove_dir(&folder).unwrap();
    is_broken(&site, &gone);
    fs::create_dir(&folder).unwrap();
    is_good(&site);
    daemon.stop().unwrap();
}

#[test]
fn settings_that_lead_nowhere_are_warned_of() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let folder = site.folder().display().to_string();
    let rows = [
        ("store = \"/\"".to_owned(), "cannot open the opt-in store /: is a directory"),
        (
            format!("xdp = {{ bpffs = \"{folder}/plain\", interfaces = [\"gate0\"] }}"),
            "xdp.bpffs: no bpffs at ",
        ),
        (format!("metrics.file = \"{folder}/none/sixgate.prom\""), "none/sixgate.prom: "),
        (
            "next_hop = { smtp = \"[ff02::1]:25\" }".to_owned(),
            "next_hop: [ff02::1]:25 is a multicast or broadcast address",
        ),
        (
            "dns.servers = [\"224.0.0.1:53\"]".to_owned(),
            "dns.servers: 224.0.0.1:53 is a multicast or broadcast address",
        ),
        (format!("next_hop = {{ lmtp = \"unix:{folder}/lmtp\" }}"), "/lmtp: is the mail server running?"),
        ("limits.session_timeout = \"90s\"".to_owned(), "less than limits.command_timeout, 300s: "),
        ("limits.session_timeout = \"24h\"".to_owned(), "limits.session_timeout is 86400s: "),
    ];
    let check = || {
        let output = site.run("config check");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (_, before) = check();
    for (settings, wanted) in rows {
        assert!(!before.contains(wanted), "{before}");
        site.write(&settings);
        let (code, text) = check();
        assert!(code == Some(0) && text.contains("warning: ") && text.contains(wanted), "{settings}: {text}");
    }
}

#[test]
fn since_when_a_next_hop_does_not_answer_is_reported_as_it_is() {
    if !can_run(&[]) {
        return;
    }
    let site = site("next_hop = { smtp = \"[::1]:10099\" }");
    let daemon = site.serve(&["--no-xdp"]);
    is_broken(&site, "the next hop is not usable, and was not since the start: ");
    daemon.stop().unwrap();
    site.write(&format!("next_hop = {{ maildir = {:?} }}", site.folder().join("Maildir")));
    let daemon = site.serve(&["--no-xdp"]);
    is_good(&site);
    site.write("");
    site.sixgate("reload");
    is_broken(&site, "the next hop is not usable, and was not since the reload that named it: ");
    daemon.stop().unwrap();
}
