//! More connections than are allowed, and fewer descriptors than are needed: each sender gets the
//! reason or waits, and no connection is lost.
//!
//! The suite `faults` has the replies of a session that itself lacks a descriptor.

use std::{collections::BTreeSet, fs};

use sixgate_tests::{
    client::Client,
    daemon::Daemon,
    descriptors::{descriptors, leave_free},
    gate::{self, Need},
    site::{GATE, SENDER, Site},
    timeouts::{patience, wait_until},
};

use crate::ZONE;

const TRUSTED: &str = "2001:db8:ffff::1";
/// The 421 that does not tell clients which limit was reached; the log does.
const IN_ALL: &str = "421 4.7.0 gate.example Too many connections, please try again later.";
const OF_NETWORK: &str =
    "421 4.7.0 gate.example Too many connections from your network, please try again later.";
const GREETING: &str = "220 gate.example ESMTP sixgate";

/// A daemon without XDP program, for which GATE and contoso.com have opted in, and TRUSTED is
/// trusted.
fn site(settings: &str) -> (Site, Daemon) {
    let site = Site::new(ZONE, settings);
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    site.sixgate(&format!("trust add {TRUSTED}"));
    let daemon = site.serve(&["--no-xdp"]);
    (site, daemon)
}

#[test]
fn connections_are_bounded_in_all_and_by_address_and_network() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let (site, daemon) = site(
        "limits = { connections = 9, connections_per_source = 2, connections_per_64 = 3, \
         connections_per_56 = 4, connections_per_48 = 5 }",
    );
    let mut open = Vec::new();
    for (source, refused) in [
        ("2001:db8:51::1", None),
        ("2001:db8:51::1", None),
        ("2001:db8:51::1", Some((OF_NETWORK, "connections_per_source"))),
        ("2001:db8:51::2", None),
        ("2001:db8:51::3", Some((OF_NETWORK, "connections_per_64"))),
        ("2001:db8:51:1::1", None),
        ("2001:db8:51:2::1", Some((OF_NETWORK, "connections_per_56"))),
        ("2001:db8:51:100::1", None),
        ("2001:db8:51:200::1", Some((OF_NETWORK, "connections_per_48"))),
        (TRUSTED, None),
        (TRUSTED, None),
        (TRUSTED, None),
        (TRUSTED, None),
        (TRUSTED, Some((IN_ALL, "connections"))),
        ("2001:db8:52::1", Some((IN_ALL, "connections"))),
    ] {
        let mut client = connect(&site, source);
        let Some((reply, limit)) = refused else {
            assert_eq!(client.reply().unwrap().last(), GREETING, "{source}");
            open.push(client);
            continue;
        };
        assert_eq!(client.reply().unwrap().last(), reply, "{source}");
        client.closed().unwrap();
        daemon
            .wait_for_log(&format!("connection rejected: limit reached source={source} limit=\"{limit}\""))
            .unwrap();
    }
    // each connection's slot is released
    for mut client in open {
        assert_eq!(client.say("QUIT").unwrap().code, 221);
        client.closed().unwrap();
    }
    let mut client = connect(&site, "2001:db8:51::1");
    assert_eq!(client.reply().unwrap().last(), GREETING);
}

#[test]
fn a_client_that_comes_while_descriptors_are_used_up_waits_and_is_served() {
    if !gate::require(&[Need::Root, Need::Program("prlimit")]) {
        return;
    }
    let (site, daemon) = site("");
    let usual = at_rest(&site, &daemon).len();
    let mut served: Vec<Client> = (0..3).map(|_| connect(&site, SENDER)).collect();
    for client in &mut served {
        assert_eq!(client.reply().unwrap().last(), GREETING);
    }
    leave_free(&daemon, 0);
    let waiting: Vec<Client> = (0..5).map(|_| connect(&site, SENDER)).collect();
    daemon.wait_for_log("cannot accept connections, clients wait in the listen queue").unwrap();
    // those who are there go on, one leaves, and the next one gets its slot
    assert_eq!(served[0].say("HELO mail.sender.example").unwrap().code, 250);
    for mut client in served {
        assert_eq!(client.say("QUIT").unwrap().code, 221);
        client.closed().unwrap();
    }
    for mut client in waiting {
        assert_eq!(client.reply().unwrap().last(), GREETING);
        assert_eq!(client.say("QUIT").unwrap().code, 221);
        client.closed().unwrap();
    }
    daemon.wait_for_log("connections are accepted again").unwrap();
    wait_until("the descriptors are closed", || descriptors(&daemon).len() <= usual);
}

#[test]
fn too_few_descriptors_are_logged_at_the_start_and_a_low_limit_is_raised() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let (_site, daemon) = site("limits = { connections = 4294967295, connections_per_source = 1 }");
    daemon
        .wait_for_log("limits.connections = 4294967295 and limits.dns_concurrency = 256 may need 17179870780 descriptors")
        .unwrap();
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "soft and hard limit: {line}");
}

/// Connects from anywhere: the gate's way back is made.
fn connect(site: &Site, source: &str) -> Client {
    site.route("2001:db8::/32");
    site.connect(source, GATE)
}

/// Waits until the daemon has begun everything that it does by itself; its open descriptors then.
///
/// It makes no connection: the descriptor of a session that has just ended would be counted.
fn at_rest(site: &Site, daemon: &Daemon) -> BTreeSet<u32> {
    site.sixgate("domain add another.example");
    daemon.wait_for_log("the opt-in store has changed").unwrap();
    descriptors(daemon)
}

#[test]
fn idle_connections_of_one_network_leave_others_theirs_and_must_hurry() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let (site, daemon) = site("limits.connections = 20");
    let mut idle = Vec::new();
    loop {
        let mut client = connect(&site, "2001:db8:51::1");
        let reply = client.reply().unwrap().last().to_owned();
        if reply == OF_NETWORK {
            break;
        }
        assert_eq!(reply, GREETING);
        idle.push(client);
    }
    // of 18, for two are kept for trusted sources
    assert_eq!(idle.len(), 14);
    daemon
        .wait_for_log("connection rejected: limit reached source=2001:db8:51::1 limit=\"connections_share\"")
        .unwrap();
    let mut others: Vec<Client> = ["2001:db8:52::1", TRUSTED].map(|source| connect(&site, source)).into();
    for client in &mut others {
        assert_eq!(client.reply().unwrap().last(), GREETING);
    }
    // the time for a command is five minutes otherwise
    let mut left = 0;
    for client in &mut idle {
        client.wait_at_most(2 * patience()).unwrap();
        if left < 5 {
            assert!(client.reply().unwrap().last().starts_with("421 4.4.2 "));
            left += 1;
        }
    }
    assert_eq!(others[1].say("NOOP").unwrap().code, 250, "a trusted source takes its time");
}

#[test]
fn an_address_that_is_not_there_yet_is_listened_at() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let late = "2001:db8:25::77";
    let (site, daemon) = site(&format!("listen.addresses = [\"[{late}]:25\"]"));
    daemon.wait_for_log(&format!("no interface has the address [{late}]:25 yet")).unwrap();
    site.gate.add_address(sixgate_tests::site::INTERFACE, format!("{late}/64").parse().unwrap()).unwrap();
    assert_eq!(site.connect(SENDER, late).reply().unwrap().code, 220);
}
