//! The restrictions that the daemon gives itself: what it goes on doing, what it can do no longer,
//! and how they are switched off.

use std::{fs, os::unix::fs::symlink, path::Path};

use serde_json::Value;
use sixgate_tests::{
    daemon::binary,
    gate::Need,
    service::Service,
    site::{GATE, OTHER, SENDER, Site},
    timeouts::wait_until,
};

use crate::{NAME, can_run, site, site_with_tls, start_tls};

/// A line of /proc/PID/status of each thread (proc_pid_status(5)).
fn of_threads(pid: u64, line: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let status = threads.filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("status")).ok());
    let found =
        status.map(|text| text.lines().find_map(|found| found.strip_prefix(line)).unwrap().to_owned());
    found.map(|value| value.trim().to_owned()).collect()
}

fn status(site: &Site) -> Value {
    serde_json::from_slice(&site.run("status --json").stdout).unwrap()
}

fn pid(site: &Site) -> u64 {
    status(site)["daemon"]["pid"].as_u64().unwrap()
}

/// A Debian's kernel has Landlock; one that has been booted without it leaves half of this.
fn has_landlock(site: &Site) -> bool {
    status(site)["daemon"]["sandbox"]["landlock"].as_bool().unwrap()
}

fn deliver(site: &Site, config: &std::sync::Arc<rustls::ClientConfig>) {
    let mut client = site.connect(SENDER, GATE);
    start_tls(&mut client, config);
    client.say("EHLO mail.sender.example").unwrap();
    for line in ["MAIL FROM:<a@sender.example>", "RCPT TO:<user@contoso.com>", "DATA"] {
        assert!(client.say(line).unwrap().code < 400, "{}", client.transcript());
    }
    assert_eq!(client.message("Subject: in a sandbox\r\n\r\n").unwrap().code, 250);
}

#[test]
fn every_thread_is_restricted_and_mail_and_changes_go_on() {
    if !can_run(&[]) {
        return;
    }
    let (site, authority) = site_with_tls("");
    let config = authority.client(None).unwrap();
    let daemon = site.serve(&["--no-xdp"]);
    daemon.wait_for_log("sandbox: files by Landlock, system calls by seccomp").unwrap();
    site.expect("status", 0, &["\nsandbox    files by Landlock, system calls by seccomp\n"]);
    deliver(&site, &config);
    for (line, wanted) in [("Seccomp:", "2"), ("NoNewPrivs:", "1")] {
        let found = of_threads(daemon.pid().into(), line);
        assert!(found.len() > 2 && found.iter().all(|value| value == wanted), "{line} {found:?}");
    }
    // the store, the configuration, and files that it names newly in the directories of before
    site.sixgate(&format!("optin add {OTHER}"));
    assert_eq!(site.rcpt(SENDER, OTHER).code, 250);
    let folder = site.folder().display();
    site.write(&format!(
        "metrics.file = \"{folder}/metrics\"\nhttp.listen = \"unix:{folder}/http\"\n\
         next_hop.maildir = \"{folder}/Maildir/.of-sixgate\""
    ));
    site.expect("reload", 0, &["reloaded, changed: "]);
    wait_until("the metrics", || site.folder().join("metrics").exists());
    assert!(site.folder().join("http").exists());
    deliver(&site, &config);
    assert!(site.folder().join("Maildir/.of-sixgate/new").exists());
    let (status, log) = daemon.stop().unwrap();
    assert!(status.success() && !log.contains("denied") && !log.contains("not permitted"), "{log}");
}

#[test]
fn a_file_elsewhere_needs_a_restart_and_is_named_by_its_setting() {
    if !can_run(&[]) {
        return;
    }
    let (site, authority) = site_with_tls("");
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    authority.issue("renewed.example").install(elsewhere.path()).unwrap();
    let (key, certificate) = (elsewhere.path().join("key.pem"), elsewhere.path().join("certificate.pem"));
    let tls = |key: &Path| format!("tls = {{ certificate = {certificate:?}, key = {key:?} }}");
    let daemon = site.serve(&["--no-xdp"]);
    if !has_landlock(&site) {
        return;
    }
    let link = site.folder().join("elsewhere.pem");
    symlink(&key, &link).unwrap();
    for (settings, named) in [
        (tls(&key), format!("tls.certificate: {}", certificate.display())),
        (format!("tls = {{ key = {link:?} }}"), format!("tls.key: {}", link.display())),
        (format!("metrics.file = \"{}/metrics\"", elsewhere.path().display()), "metrics.file: ".to_owned()),
        ("metrics.file = \"/etc/sixgate-metrics\"".to_owned(), "metrics.file: ".to_owned()),
        (
            format!("next_hop.maildir = \"{}/a/b\"", elsewhere.path().display()),
            "next_hop.maildir: ".to_owned(),
        ),
        (format!("temporary_directory = {:?}", elsewhere.path()), "temporary_directory: ".to_owned()),
    ] {
        site.write(&settings);
        let outside = "is outside the directories that the running daemon may use (`sandbox`): \
                       `systemctl restart sixgate`";
        for command in ["reload --dry-run", "reload"] {
            site.expect(command, 1, &[&named, outside]);
        }
    }
    let mut client = site.connect(SENDER, GATE);
    start_tls(&mut client, &authority.client(None).unwrap());
    daemon.stop().unwrap();
    site.write(&tls(&key));
    let daemon = site.serve(&["--no-xdp"]);
    daemon.stop().unwrap();
    // an administrator with another opinion
    site.write("sandbox = false");
    let daemon = site.serve(&["--no-xdp"]);
    site.expect("status", 0, &["\nsandbox    none; `sandbox = false` in the configuration\n"]);
    assert!(of_threads(daemon.pid().into(), "Seccomp:").iter().all(|value| value == "0"));
    site.write(&format!("sandbox = false\n{}", tls(&key)));
    site.expect("reload", 0, &["reloaded, changed: tls"]);
    site.write(&tls(&key));
    site.expect("status", 1, &["(sandbox): `systemctl restart sixgate`"]);
}

#[test]
fn a_successor_starts_from_a_process_without_restrictions() {
    if !can_run(&[Need::Root]) {
        return;
    }
    let site = site("");
    let mut service = Service::start(&site, None, &["--no-xdp"]).unwrap();
    let mut before = 0;
    for _ in 0..2 {
        let daemon = pid(&site);
        assert_ne!(daemon, before);
        assert!(of_threads(daemon, "Seccomp:").iter().all(|value| value == "2"));
        let parent: u64 = of_threads(daemon, "PPid:")[0].parse().unwrap();
        assert!(of_threads(parent, "Seccomp:").iter().all(|value| value == "0"));
        assert_eq!(site.rcpt(SENDER, GATE).code, 250);
        service.restart(&binary()).unwrap();
        before = daemon;
    }
    assert!(service.stop().unwrap().success());
}

#[test]
fn the_name_of_the_certificate_is_shown_after_a_renewal_in_its_archive() {
    if !can_run(&[]) {
        return;
    }
    let (site, authority) = site_with_tls("");
    let config = authority.client(None).unwrap();
    // as certbot keeps them: links to generations, in a directory of their own
    let archive = tempfile::tempdir_in("/dev/shm").unwrap();
    let renew = |number: u32, name: &str| {
        let made = archive.path().join(number.to_string());
        fs::create_dir(&made).unwrap();
        authority.issue(name).install(&made).unwrap();
        for file in ["certificate", "key"] {
            let numbered = archive.path().join(format!("{file}{number}.pem"));
            fs::rename(made.join(format!("{file}.pem")), &numbered).unwrap();
            let link = site.folder().join("link");
            symlink(numbered, &link).unwrap();
            fs::rename(&link, site.folder().join(format!("{file}.pem"))).unwrap();
        }
    };
    renew(1, NAME);
    let daemon = site.serve(&["--no-xdp"]);
    renew(2, NAME);
    daemon.wait_for_log("the certificate for TLS has changed").unwrap();
    deliver(&site, &config);
    let (_, log) = daemon.stop().unwrap();
    assert!(!log.contains("cannot be used"), "{log}");
}
