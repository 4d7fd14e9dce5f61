//! A restart of the service: the daemon serves until the next one does, and finishes its sessions.

use std::net::TcpListener;

use nix::sys::signal::Signal;
use sixgate_tests::{
    client::Client,
    daemon::binary,
    gate::{self, Need},
    service::Service,
    site::{GATE, SENDER, Site},
    smtp_sink::SmtpSink,
    timeouts::wait_until,
};

use crate::{begin_message, greeted, honest_site};

/// The socket of a socket unit, if there is to be one.
fn socket(site: &Site, has_unit: bool) -> Option<TcpListener> {
    site.gate.tool("sysctl", "-qw net.ipv6.bindv6only=1").unwrap();
    has_unit.then(|| site.gate.listen("[::]:25".parse().unwrap()).unwrap())
}

fn pid(site: &Site) -> u64 {
    let status: serde_json::Value = serde_json::from_slice(&site.run("status --json").stdout).unwrap();
    status["daemon"]["pid"].as_u64().unwrap_or_else(|| panic!("{status}"))
}

/// Sends a whole message in the session of `client`.
fn send(client: &mut Client) -> String {
    begin_message(client);
    client.message("Subject: whole\r\n\r\n").unwrap().last().to_owned()
}

fn quit(mut client: Client) {
    assert_eq!(client.say("QUIT").unwrap().code, 221);
    client.closed().unwrap();
}

#[test]
fn sessions_under_way_are_finished_and_new_ones_served_at_once() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    for has_unit in [true, false] {
        let site = honest_site("");
        let mut service = Service::start(&site, socket(&site, has_unit), &["--no-xdp"]).unwrap();
        let before = pid(&site);
        let (mut idle, mut in_transaction, mut sending) =
            (greeted(&site, SENDER), greeted(&site, SENDER), greeted(&site, SENDER));
        assert_eq!(in_transaction.say("MAIL FROM:<a@sender.example>").unwrap().code, 250);
        begin_message(&mut sending);
        sending.write(b"Subject: half a").unwrap();
        service.restart(&binary()).unwrap();
        assert_ne!(pid(&site), before);
        quit(greeted(&site, SENDER));
        sending.write(b" message\r\n\r\n").unwrap();
        assert!(sending.say(".").unwrap().last().starts_with("250 2.0.0 Delivered as "));
        assert_eq!(in_transaction.say("RCPT TO:<user@contoso.com>").unwrap().code, 250);
        assert!(send(&mut idle).starts_with("250 2.0.0 Delivered as "));
        // a second restart while the first daemon still has sessions
        service.restart(&binary()).unwrap();
        assert_eq!(in_transaction.say("RCPT TO:<other@contoso.com>").unwrap().code, 250);
        for client in [idle, in_transaction, sending] {
            quit(client);
        }
        service.wait_for_log(0, "the sessions have ended").unwrap();
        assert!(send(&mut greeted(&site, SENDER)).starts_with("250 2.0.0 Delivered as "));
        assert_eq!(service.notices("STOPPING=1"), 0);
        assert!(service.stop().unwrap().success());
        service.wait_for_all().unwrap();
        assert_eq!(service.notices("STOPPING=1"), 1);
        assert_eq!(site.delivered().len(), 3);
    }
}

#[test]
fn the_reply_of_a_next_hop_that_is_late_reaches_the_client() {
    if !gate::require(&[Need::Root, Need::Postfix]) {
        return;
    }
    let site = honest_site("next_hop = { smtp = \"[::1]:10025\" }");
    let sink =
        SmtpSink::start(&site.gate, "[::1]:10025".parse::<std::net::SocketAddr>().unwrap(), &["-w", "3"]);
    let sink = sink.unwrap();
    let mut service = Service::start(&site, None, &["--no-xdp"]).unwrap();
    let mut client = greeted(&site, SENDER);
    begin_message(&mut client);
    client.write(b"Subject: late\r\n\r\n.\r\n").unwrap();
    service.restart(&binary()).unwrap();
    quit(greeted(&site, SENDER));
    assert_eq!(client.reply().unwrap().code, 250);
    quit(client);
    assert_eq!(sink.messages().unwrap().len(), 1);
}

#[test]
fn a_start_that_fails_leaves_the_daemon_that_serves() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let site = honest_site("");
    let mut service = Service::start(&site, None, &["--no-xdp"]).unwrap();
    let before = pid(&site);
    let mut open = greeted(&site, SENDER);
    assert!(service.leave().unwrap().success());
    for bad in ["mode = \"none\"", "store = \"/nowhere/store.db\""] {
        site.write(bad);
        service.start_process(&binary()).unwrap_err();
        assert!(send(&mut greeted(&site, SENDER)).starts_with("250 2.0.0 Delivered as "));
    }
    site.write("");
    assert_eq!(pid(&site), before);
    service.start_process(&binary()).unwrap();
    assert_ne!(pid(&site), before);
    assert!(send(&mut open).starts_with("250 2.0.0 Delivered as "));
    assert!(send(&mut greeted(&site, SENDER)).starts_with("250 2.0.0 Delivered as "));
}

#[test]
fn a_stop_between_end_and_start_ends_the_daemon_in_order() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let site = honest_site("");
    let mut service = Service::start(&site, None, &["--no-xdp"]).unwrap();
    let mut sending = greeted(&site, SENDER);
    begin_message(&mut sending);
    service.leave().unwrap();
    service.wait_for_log(0, "serving until the next daemon takes over").unwrap();
    service.forget();
    wait_until("no client is let in any more", || site.try_connect(SENDER, GATE).is_err());
    assert_eq!(sending.message("Subject: last\r\n\r\n").unwrap().code, 250);
    sending.reply().unwrap();
    sending.closed().unwrap();
    service.wait_for_all().unwrap();
}

#[test]
fn a_killed_parent_process_costs_no_session() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let site = honest_site("");
    let mut service = Service::start(&site, None, &["--no-xdp"]).unwrap();
    let mut open = greeted(&site, SENDER);
    service.signal(Signal::SIGKILL).unwrap();
    service.wait_for_log(0, "serving until the next daemon takes over").unwrap();
    quit(greeted(&site, SENDER));
    service.start_process(&binary()).unwrap();
    assert!(send(&mut open).starts_with("250 2.0.0 Delivered as "));
    quit(open);
    service.wait_for_log(0, "the sessions have ended").unwrap();
}

#[test]
fn other_addresses_and_another_control_socket_come_with_a_restart() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let site = honest_site("");
    let mut service = Service::start(&site, None, &["--no-xdp"]).unwrap();
    let before = pid(&site);
    let mut open = greeted(&site, SENDER);
    let control = site.folder().join("other");
    site.write(&format!("listen.addresses = [\"[{GATE}]:25\"]\ncontrol_socket = {control:?}"));
    service.restart(&binary()).unwrap();
    assert_ne!(pid(&site), before);
    site.expect("status", 0, &[&format!("listening  [{GATE}]:25")]);
    assert!(send(&mut greeted(&site, SENDER)).starts_with("250 2.0.0 Delivered as "));
    assert!(send(&mut open).starts_with("250 2.0.0 Delivered as "));
}
