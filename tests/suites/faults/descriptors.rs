//! A daemon that may open no more files: the reply to the sender depends on what its message
//! needed, and nothing has to be done for the next one to be taken once there are descriptors
//! again.
//!
//! Connections that wait are in the suite `netns`, too.

use std::{
    fs::{self, Permissions},
    net::{Ipv6Addr, SocketAddr, SocketAddrV6},
    os::unix::fs::PermissionsExt as _,
    time::Instant,
};

use sixgate::nexthop::{Address, Protocol};
use sixgate_tests::{
    certs::Authority,
    client::Client,
    daemon::Daemon,
    descriptors::{descriptors, leave_free},
    gate::{self, Need},
    site::{GATE, INTERFACE, OTHER, SENDER, Site},
    smtp_sink::SmtpSink,
    timeouts::wait_until,
};
use tempfile::TempDir;

use crate::{begin_message, greeted, honest_site};

const NEEDS: &[Need] = &[Need::Root, Need::Program("prlimit")];
/// A source that needs no DNS.
const TRUSTED: &str = "2001:db8:51::7";
/// Descriptors for all that a test does.
const PLENTY: usize = 100;
const NOT_STORED: &str = "451 4.3.0 The message could not be stored, please try again later.";
const UNAVAILABLE: &str = "451 4.4.1 Mail server is not available, please try again later.";
const DNS_FAILURE: &str = "451 4.4.3 Temporary DNS failure, please try again later.";

/// Every way to a mail server behind.
fn servers() -> Vec<(TempDir, Protocol, Address)> {
    let tcp = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 10025, 0, 0));
    let mut all = Vec::new();
    for protocol in [Protocol::Smtp, Protocol::Lmtp] {
        for is_tcp in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            // smtp-sink gives its rights up before it listens
            fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
            let socket = folder.path().join("socket");
            let unix = || Address::Unix(socket.as_path().try_into().unwrap());
            all.push((folder, protocol, if is_tcp { tcp.into() } else { unix() }));
        }
    }
    all
}

/// A daemon with a mail server behind.
fn with_server(protocol: Protocol, address: &Address) -> (Site, SmtpSink, Daemon) {
    let (key, options): (_, &[&str]) = match protocol {
        Protocol::Smtp => ("smtp", &[]),
        Protocol::Lmtp => ("lmtp", &["-L"]),
    };
    let site = honest_site(&format!("next_hop = {{ {key} = \"{address}\" }}"));
    let sink = SmtpSink::start(&site.gate, address.clone(), options).unwrap();
    let daemon = at_rest(&site);
    (site, sink, daemon)
}

/// Starts the daemon and waits until it has begun everything that it does by itself.
fn at_rest(site: &Site) -> Daemon {
    site.sixgate(&format!("trust add {TRUSTED}"));
    let daemon = site.serve(&["--no-xdp"]);
    site.sixgate("domain add another.example");
    daemon.wait_for_log("the opt-in store has changed").unwrap();
    daemon
}

fn quit(mut client: Client) {
    assert_eq!(client.say("QUIT").unwrap().code, 221);
    client.closed().unwrap();
}

/// The reply to RCPT in a new transaction.
fn rcpt(client: &mut Client) -> String {
    client.say("RSET").unwrap();
    assert_eq!(client.say("MAIL FROM:<a@sender.example>").unwrap().code, 250);
    client.say("RCPT TO:<user@contoso.com>").unwrap().unnamed().to_owned()
}

/// Sends a message of about so many octets, from DATA on; the reply to it.
fn data(client: &mut Client, octets: usize) -> String {
    assert_eq!(client.say("DATA").unwrap().code, 354);
    client.write(b"Subject: descriptors\r\n\r\n").unwrap();
    client.write("0123456789\r\n".repeat(octets / 12).as_bytes()).unwrap();
    client.say(".").unwrap().unnamed().to_owned()
}

const SMALL: usize = 1000;
/// More than is kept in memory.
const LARGE: usize = 300 * 1024;

#[test]
fn without_a_descriptor_the_next_hop_is_temporarily_unavailable() {
    if !gate::require(&[NEEDS, &[Need::Postfix]].concat()) {
        return;
    }
    for (_folder, protocol, address) in servers() {
        let (site, sink, daemon) = with_server(protocol, &address);
        let mut client = greeted(&site, TRUSTED);
        leave_free(&daemon, 0);
        for _ in 0..3 {
            assert_eq!(rcpt(&mut client), UNAVAILABLE, "{address}");
        }
        leave_free(&daemon, PLENTY);
        // the same session, as if nothing had been
        assert_eq!(rcpt(&mut client), "250 2.1.5 Ok", "{address}");
        assert!(data(&mut client, SMALL).starts_with("250 "), "{address}");
        assert_eq!(sink.messages().unwrap().len(), 1, "{address}");
        quit(client);
        assert!(daemon.stop().unwrap().0.success());
    }
}

#[test]
fn without_a_descriptor_large_messages_are_temporarily_refused() {
    if !gate::require(&[NEEDS, &[Need::Postfix]].concat()) {
        return;
    }
    for (_folder, protocol, address) in servers() {
        let (site, sink, daemon) = with_server(protocol, &address);
        let mut client = greeted(&site, TRUSTED);
        leave_free(&daemon, 1);
        assert_eq!(rcpt(&mut client), "250 2.1.5 Ok", "{address}");
        assert_eq!(data(&mut client, LARGE), NOT_STORED, "{address}");
        assert_eq!(rcpt(&mut client), "250 2.1.5 Ok", "{address}");
        assert!(data(&mut client, SMALL).starts_with("250 "), "{address}: a small one needs no file");
        leave_free(&daemon, PLENTY);
        assert_eq!(rcpt(&mut client), "250 2.1.5 Ok", "{address}");
        assert!(data(&mut client, LARGE).starts_with("250 "), "{address}");
        assert_eq!(sink.messages().unwrap().len(), 2, "{address}");
        quit(client);
        assert!(daemon.stop().unwrap().0.success());
    }
}

/// From none to enough: DNS, the temporary file, the Maildir's file and its directory each go
/// without once.
#[test]
fn with_any_number_of_descriptors_accepted_mail_is_there_and_no_other() {
    if !gate::require(NEEDS) {
        return;
    }
    let site = honest_site("");
    let daemon = at_rest(&site);
    let usual = descriptors(&daemon).len();
    let (mut taken, mut heard) = (0, Vec::new());
    for free in 1..=ENOUGH {
        leave_free(&daemon, free);
        let mut client = greeted(&site, SENDER);
        let mut said = rcpt(&mut client);
        if said == "250 2.1.5 Recipient ok" {
            said = data(&mut client, LARGE);
        }
        taken += usize::from(said.starts_with("250 2.0.0 Delivered as "));
        quit(client);
        wait_until("the descriptors are closed", || descriptors(&daemon).len() <= usual);
        let files = |folder: &str| fs::read_dir(site.folder().join("Maildir").join(folder)).unwrap().count();
        assert_eq!((files("tmp"), files("new")), (0, taken), "{free} descriptors: {said}");
        heard.push(said);
    }
    let refused = |said: &&String| [DNS_FAILURE, NOT_STORED].contains(&said.as_str());
    let delivered = |said: &&String| said.starts_with("250 2.0.0 Delivered as ");
    let without = heard.iter().take_while(refused).count();
    assert_eq!(heard.iter().skip(without).take_while(delivered).count() + without, ENOUGH, "{heard:?}");
    assert!(heard[0] == DNS_FAILURE && heard.contains(&NOT_STORED.to_owned()) && taken > 0, "{heard:?}");
    assert!(daemon.stop().unwrap().0.success());
}

/// Descriptors with which one session of the test above has all that it needs, and some more.
const ENOUGH: usize = 8;

#[test]
fn accepting_is_tried_ten_times_a_second_and_not_more() {
    if !gate::require(NEEDS) {
        return;
    }
    let site = honest_site("");
    let metrics = site.folder().join("sixgate.prom");
    let site = site.configured(&format!("metrics.file = {metrics:?}"));
    let daemon = at_rest(&site);
    let mut there: Vec<Client> = (0..25).map(|_| greeted(&site, TRUSTED)).collect();
    let begun = Instant::now();
    leave_free(&daemon, 0);
    let mut waiting = site.connect(TRUSTED, GATE);
    daemon.wait_for_log("cannot accept connections, clients wait in the listen queue").unwrap();
    // a daemon that spins would do so thousands of times meanwhile
    for client in &mut there {
        // each session allows so many commands without a message
        for _ in 0..20 {
            assert_eq!(client.say("VRFY user").unwrap().code, 252);
            assert_eq!(rcpt(client), "250 2.1.5 Recipient ok", "who needs none goes on");
        }
    }
    leave_free(&daemon, PLENTY);
    assert_eq!(waiting.reply().unwrap().code, 220);
    let tries = begun.elapsed().as_millis() / 100 + 1;
    there.into_iter().for_each(quit);
    quit(waiting);
    daemon.stop().unwrap();
    let counted = fs::read_to_string(metrics).unwrap();
    let name = "sixgate_limits_reached_total{limit=\"accept\"} ";
    let times: u128 = counted.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap();
    assert!((1..=tries).contains(&times), "{times} times, {tries} at most");
}

#[test]
fn what_changed_while_no_file_could_be_read_is_read_afterwards() {
    if !gate::require(NEEDS) {
        return;
    }
    let site = honest_site("");
    let authority = Authority::new("of the gate");
    authority.issue("old.example").install(site.folder()).unwrap();
    let folder = site.folder().display();
    let tls = format!("[tls]\ncertificate = \"{folder}/certificate.pem\"\nkey = \"{folder}/key.pem\"\n");
    let site = site.configured(&tls);
    let daemon = at_rest(&site);
    let client = authority.client(None).unwrap();
    let (mut first, mut second) = (greeted(&site, TRUSTED), greeted(&site, TRUSTED));
    leave_free(&daemon, 0);
    // another file is there now, which takes descriptors to open
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        fs::remove_file(site.folder().join(name)).unwrap();
    }
    site.sixgate("store restore");
    site.sixgate("domain add later.example");
    daemon.wait_for_log("the opt-in store cannot be read").unwrap();
    authority.issue("new.example").install(site.folder()).unwrap();
    assert_eq!(rcpt(&mut first), "250 2.1.5 Recipient ok", "the last good content is in force");
    assert_eq!(first.say("RSET").unwrap().code, 250);
    assert_eq!(first.say("STARTTLS").unwrap().code, 220);
    first.encrypt(&client, "old.example").unwrap();
    daemon.wait_for_log("the new certificate for TLS cannot be used").unwrap();

    leave_free(&daemon, PLENTY);
    // at most once a second somebody's RCPT has the store read again
    wait_until("the store is read again", || {
        let mut client = greeted(&site, TRUSTED);
        assert_eq!(client.say("MAIL FROM:<a@sender.example>").unwrap().code, 250);
        let is_read = client.say("RCPT TO:<user@later.example>").unwrap().code == 250;
        quit(client);
        is_read
    });
    assert_eq!(second.say("MAIL FROM:<a@sender.example>").unwrap().code, 250);
    assert_eq!(second.say("RCPT TO:<user@later.example>").unwrap().last(), "250 2.1.5 Recipient ok");
    assert_eq!(second.say("RSET").unwrap().code, 250);
    assert_eq!(second.say("STARTTLS").unwrap().code, 220);
    second.encrypt(&client, "new.example").unwrap();
    let log = daemon.log();
    for said_once in ["the opt-in store cannot be read", "the new certificate for TLS cannot be used"] {
        assert!(log.matches(said_once).count() <= 2, "{log}");
    }
}

#[test]
fn the_kernel_goes_on_refusing_and_the_daemon_keeps_its_maps() {
    if !gate::require(&[NEEDS, &[Need::Bpffs, Need::Xdp]].concat()) {
        return;
    }
    let site = honest_site(&format!("answer = \"kernel\"\nxdp.interfaces = [\"{INTERFACE}\"]"));
    site.sixgate(&format!("trust add {TRUSTED}"));
    let daemon = site.serve(&[]);
    quit(greeted(&site, TRUSTED));
    let mut there = greeted(&site, TRUSTED);
    leave_free(&daemon, 0);
    daemon.wait_for_log("cannot open the BPF maps").unwrap();
    let mut refused = site.connect(SENDER, OTHER);
    assert_eq!(refused.reply().unwrap().code, 220);
    for (line, wanted) in [
        ("EHLO mail.sender.example", "250"),
        ("MAIL FROM:<a@sender.example>", "250"),
        ("RCPT TO:<user@contoso.com>", "550 5.2.1 Service unavailable, [contoso.com]"),
        ("QUIT", "221"),
    ] {
        assert!(refused.say(line).unwrap().last().starts_with(wanted), "{line}");
    }
    daemon.wait_for_log("refused").unwrap();
    assert_eq!(there.say("NOOP").unwrap().code, 250);
    leave_free(&daemon, PLENTY);
    let mut client = greeted(&site, SENDER);
    begin_message(&mut client);
    assert!(client.message("Subject: a\n\nb\n").unwrap().last().starts_with("250 2.0.0 "));
    let (_, log) = daemon.stop().unwrap();
    assert!(!log.contains("the XDP program is gone"), "{log}");
    assert_eq!(log.matches("cannot open the BPF maps").count(), 1, "{log}");
}
