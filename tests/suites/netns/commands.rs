//! Commands beside a daemon that was started with other settings than the file has now: they warn,
//! and leave what is the daemon's alone.

use std::process::Output;

use nix::sys::signal::Signal;
use sixgate_tests::site::{GATE, OTHER, SENDER, Site};

use crate::{can_run, site};

fn text(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap()
}

#[track_caller]
fn expect(site: &Site, command: &str, code: i32, words: &[&str], untrue: &[&str]) {
    let text = site.expect(command, code, words);
    assert!(!untrue.iter().any(|words| text.contains(words)), "{command}: none of {untrue:?} in\n{text}");
}

/// The code of the reply to RCPT at `destination`.
fn rcpt(site: &Site, destination: &str) -> u16 {
    site.rcpt(SENDER, destination).code
}

#[test]
fn a_command_on_another_store_says_so_and_leaves_the_maps() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    let (old, new) = (site.folder().join("store.db"), site.folder().join("new.db"));
    let site = site.configured(&format!("store = {new:?}"));
    site.sixgate("init --force");
    let warning = format!(
        "warning: the daemon (pid {}) and the BPF maps use the opt-in store {} as before: this command is about {}, which \
         takes its place at `systemctl restart sixgate`",
        daemon.pid(),
        old.display(),
        new.display()
    );
    expect(&site, &format!("optin add {OTHER}"), 0, &["added", &warning], &[]);
    expect(&site, "domain add contoso.com", 0, &["added", &warning], &[]);
    expect(&site, "optin list", 0, &[OTHER, &warning], &[GATE]);
    let restart =
        "the configuration has changed since the daemon started (store): `systemctl restart sixgate`";
    for status in ["status", "status --verify"] {
        expect(&site, status, 1, &[restart], &["sixgate attach", "differ"]);
    }
    expect(&site, "attach", 2, &["nothing was changed: the daemon uses another opt-in store than "], &[]);
    assert_eq!((rcpt(&site, GATE), rcpt(&site, OTHER)), (250, 550));
    assert!(!daemon.log().contains("cannot copy the opt-in store"), "{}", daemon.log());
    daemon.stop().unwrap();
    let daemon = site.serve(&[]);
    expect(&site, "status", 0, &[], &[]);
    assert_eq!((rcpt(&site, GATE), rcpt(&site, OTHER)), (550, 250));
    daemon.stop().unwrap();
}

#[test]
fn a_control_socket_that_the_daemon_lacks_is_reported_with_its_process() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    site.write(&format!("control_socket = {:?}", site.folder().join("another")));
    let words = format!("the daemon (pid {}) does not answer at ", daemon.pid());
    expect(&site, "status", 1, &[&words, "another control_socket"], &["the daemon is not running"]);
    site.write("");
    expect(&site, "status", 0, &[], &[]);
    // a second one with sockets and addresses of its own, on the same pins
    let own = format!("control_socket = {:?}\nlisten.addresses = [\"[::]:2525\"]", site.folder().join("own"));
    site.write(&own);
    expect(
        &site,
        "serve",
        2,
        &[&format!("another sixgate daemon, pid {}, uses the pins", daemon.pid())],
        &[],
    );
    daemon.stop().unwrap();
}

#[test]
fn what_a_command_did_is_not_reported_as_a_removed_pin() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    // another interface, so that the maps stay
    site.gate.ip("link add more0 type veth peer name more1").unwrap();
    for name in ["more0", "more1"] {
        site.gate.ip(&format!("link set {name} up")).unwrap();
    }
    site.sixgate("attach --iface more0");
    // it sees what both came to, not one after the other
    daemon.signal(Signal::SIGSTOP).unwrap();
    site.sixgate("detach --iface gate0");
    site.sixgate("attach --iface gate0");
    daemon.signal(Signal::SIGCONT).unwrap();
    daemon.wait_for_log("a command attached the XDP program to gate0 anew").unwrap();
    let (_, log) = daemon.stop().unwrap();
    assert!(!log.contains("was removed"), "{log}");
}

#[test]
fn a_place_that_cannot_hold_the_pins_is_reported_and_mail_is_served() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    daemon.stop().unwrap();
    site.write(&format!("xdp.bpffs = {:?}", site.folder().join("plain")));
    let daemon = site.serve(&[]);
    daemon.wait_for_log("no bpffs at ").unwrap();
    let status = site.run("status");
    let text = text(&status);
    assert_eq!(status.status.code(), Some(1), "{text}");
    assert_eq!(text.matches("no bpffs at ").count(), 1, "{text}");
    assert_eq!(rcpt(&site, GATE), 250);
    daemon.stop().unwrap();
}
