//! The effects of the next hop on sixgate itself rather than on senders: it does not take sixgate's
//! own mail, it was never reached, it is sixgate itself, it has few connections.

use std::fs;

use sixgate_tests::{
    certs::Authority,
    client::{Client, Reply},
    daemon::warnings,
    gate::{self, Need},
    postfix::Postfix,
    site::{GATE, INTERFACE, OTHER, SENDER, Site},
};

use crate::{
    ORDINARY, ZONE,
    behind::{BEHIND, PLAIN, TAKEN, with_server},
};

/// Sources of one network, with reverse DNS.
const QUIET: [&str; 4] = ["2001:db8:52::1", "2001:db8:52::2", "2001:db8:52::3", "2001:db8:52::4"];

/// What senders are told while the mail server behind cannot be used.
const UNAVAILABLE: &str = "451 4.4.1 Mail server is not available, please try again later.";

#[test]
fn postfix_that_demands_tls_of_the_gate_returns_no_mail() {
    let start = |site: &Site| {
        let pair = Authority::new("tests").issue("mx.example");
        let (certificate, key) = (site.folder().join("certificate"), site.folder().join("key"));
        fs::write(&certificate, pair.certificate).unwrap();
        fs::write(&key, pair.key).unwrap();
        let settings = format!(
            "{TAKEN}\nsmtpd_tls_security_level = encrypt\nsmtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}",
            certificate.display(),
            key.display(),
        );
        Postfix::start(&site.gate, BEHIND.into(), &settings).unwrap()
    };
    let Some((site, _postfix, daemon)) = with_server(PLAIN, start) else { return };
    let words = "[::1]:10025 rejected sixgate itself, not the sender, at MAIL: \
                 530 5.7.0 Must issue a STARTTLS command first";
    daemon.wait_for_log(&format!("the next hop is not usable yet error=\"{words}")).unwrap();
    let sent = site.swaks(SENDER, GATE, ORDINARY);
    assert!(sent.output.contains(&format!("<** {UNAVAILABLE}")), "{}", sent.output);
    let line = daemon.wait_for_log("delivery to the next hop failed").unwrap();
    assert!(line.contains(" WARN ") && line.contains(words), "{line}");
}

/// A site whose mail server behind has yet to be started; GATE and contoso.com have opted in. None
/// without what it takes.
fn site(settings: &str) -> Option<Site> {
    if !gate::require(&[Need::Root, Need::Postfix]) {
        return None;
    }
    let quiet: String = QUIET.iter().map(|source| format!("{source} PTR quiet.example\n")).collect();
    let site = Site::new(&format!("{ZONE}\n{quiet}"), PLAIN).configured(settings);
    site.route("2001:db8:51::/48");
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    Some(site)
}

/// The reply that a client gets to RCPT, or before.
fn rcpt(client: &mut Client) -> String {
    for command in ["EHLO mail.sender.example", "MAIL FROM:<a@sender.example>"] {
        client.say(command).unwrap();
    }
    client.say("RCPT TO:<user@contoso.com>").unwrap().unnamed().to_owned()
}

fn greeted(site: &Site, destination: &str) -> (Client, Reply) {
    let mut client = site.connect(SENDER, destination);
    let greeting = client.reply().unwrap();
    (client, greeting)
}

#[test]
fn clients_are_put_off_until_the_mail_server_has_answered_once() {
    let Some(site) = site("") else { return };
    let daemon = site.serve(&["--no-xdp"]);
    daemon.wait_for_log("the next hop has never answered").unwrap();
    site.sixgate(&format!("trust add {SENDER}"));
    let (mut client, greeting) = greeted(&site, GATE);
    let wanted = "421 4.4.1 gate.example Mail server is not available, please try again later.";
    assert_eq!(greeting.last(), wanted, "a trusted source misses extensions as well");
    client.closed().unwrap();
    site.sixgate(&format!("trust remove {SENDER}"));
    let (_, greeting) = greeted(&site, GATE);
    assert_eq!(greeting.last(), wanted);
    daemon.wait_for_log("reason=\"next_hop_unknown\"").unwrap();
    let (mut client, _) = greeted(&site, OTHER);
    let wanted = "550 5.2.1 Service unavailable, [contoso.com] does not accept email over IPv6.";
    assert_eq!(rcpt(&mut client), wanted, "what has not opted in goes on being refused");

    let _postfix = Postfix::start(&site.gate, BEHIND.into(), TAKEN).unwrap();
    daemon.wait_for_log("the next hop is usable again").unwrap();
    assert!(offers_all(&site));
}

/// Whether 8BITMIME and SMTPUTF8 are offered.
fn offers_all(site: &Site) -> bool {
    let (mut client, greeting) = greeted(site, GATE);
    assert!(greeting.last().starts_with("220 "), "{greeting:?}");
    let offer = client.say("EHLO mail.sender.example").unwrap().lines.join("\n");
    ["8BITMIME", "SMTPUTF8", "SIZE"].iter().all(|keyword| offer.contains(keyword))
}

#[test]
fn what_the_mail_server_offered_last_is_known_after_a_restart() {
    let Some(site) = site("") else { return };
    let postfix = Postfix::start(&site.gate, BEHIND.into(), TAKEN).unwrap();
    site.serve(&["--no-xdp"]).stop().unwrap();
    drop(postfix);
    let daemon = site.serve(&["--no-xdp"]);
    daemon.wait_for_log("the next hop is not usable yet").unwrap();
    daemon.wait_for_log("listening").unwrap();
    assert!(!daemon.log().contains("the next hop has never answered"), "{}", daemon.log());
    assert!(offers_all(&site));
    let (mut client, _) = greeted(&site, GATE);
    assert_eq!(rcpt(&mut client), UNAVAILABLE);
    daemon.stop().unwrap();

    // another next hop
    let site = site.configured("next_hop = { smtp = \"[::1]:10026\" }");
    let _daemon = site.serve(&["--no-xdp"]);
    assert!(greeted(&site, GATE).1.last().starts_with("421 4.4.1 "));
}

#[test]
fn a_last_offer_that_cannot_be_read_is_logged_and_none() {
    let Some(site) = site("") else { return };
    fs::write(site.folder().join("next-hop.json"), "{").unwrap();
    let daemon = site.serve(&["--no-xdp"]);
    daemon.wait_for_log("the next hop's last offer is unknown").unwrap();
    assert!(greeted(&site, GATE).1.last().starts_with("421 4.4.1 "));
}

#[test]
fn a_next_hop_that_is_sixgate_itself_is_refused_by_name() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let site = Site::new("", "");
    for (address, listening) in [(GATE, "[::]:25"), (OTHER, "[::]:25"), (GATE, "[2001:db8:25::25]:25")] {
        let settings =
            format!("listen.addresses = [\"{listening}\"]\nnext_hop = {{ lmtp = \"[{address}]:25\" }}");
        site.write(&settings);
        let wanted = match listening {
            "[::]:25" => format!("next_hop: [{address}]:25 is sixgate itself, which listens at {listening}"),
            _ => format!("sixgate itself listens at [{address}]:25"),
        };
        for command in ["config check", "serve --no-xdp"] {
            let output = site.run(command);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && said.contains(&wanted), "{command}: {said}");
        }
    }
    // the same addresses at another port, and another host's
    for address in [format!("[{GATE}]:10025"), format!("[{SENDER}]:25"), "127.0.0.1:25".to_owned()] {
        site.write(&format!("next_hop = {{ smtp = \"{address}\" }}"));
        site.sixgate("config check");
    }
}

#[test]
fn a_next_hop_that_becomes_sixgate_itself_gets_no_mail() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let site = Site::new(ZONE, "next_hop = { smtp = \"[2001:db8:25::77]:25\" }");
    site.route("2001:db8:51::/48");
    let daemon = site.serve(&["--no-xdp"]);
    site.gate.add_address(INTERFACE, "2001:db8:25::77/64".parse().unwrap()).unwrap();
    let line = daemon.wait_for_log("is sixgate itself").unwrap();
    let wanted = "the next hop is not usable error=\"[2001:db8:25::77]:25 is sixgate itself";
    assert!(line.contains(wanted), "{line}");
}

/// A client that has had a recipient accepted, and is silent from now on.
fn quiet(site: &Site, source: &str) -> Client {
    let mut client = site.connect(source, GATE);
    assert_eq!(client.reply().unwrap().code, 220);
    assert_eq!(rcpt(&mut client), "250 2.1.5 Ok");
    client
}

/// Sends a message in the transaction that is open.
fn deliver(client: &mut Client) {
    assert_eq!(client.say("DATA").unwrap().code, 354);
    assert!(client.message("Subject: a\n\nb\n").unwrap().last().starts_with("250 2.0.0 Ok: queued as "));
}

#[test]
fn quiet_sessions_of_one_network_leave_the_mail_server_to_others() {
    // a recipient's connection is held for longer than the test takes
    let limits = "limits = { next_hop_connections = 8, next_hop_idle_timeout = \"1h\" }";
    let Some(site) = site(limits) else { return };
    site.route("2001:db8:52::/48");
    let settings = format!("{TAKEN}\ndefault_process_limit = 10");
    let postfix = Postfix::start(&site.gate, BEHIND.into(), &settings).unwrap();
    let daemon = site.serve(&["--no-xdp"]);
    let held = [quiet(&site, QUIET[0]), quiet(&site, QUIET[1])];
    let waiting: Vec<Client> = (0..98)
        .map(|number| {
            let mut client = site.connect(QUIET[number % QUIET.len()], GATE);
            assert_eq!(client.reply().unwrap().code, 220);
            for command in ["EHLO mail.sender.example", "MAIL FROM:<a@sender.example>"] {
                client.say(command).unwrap();
            }
            client.send("RCPT TO:<user@contoso.com>").unwrap();
            client
        })
        .collect();
    let sent = site.swaks(SENDER, GATE, ORDINARY);
    assert_eq!(sent.code, 0, "{}", sent.output);
    assert_eq!(postfix.messages().unwrap().len(), 1);
    // the probe, the quiet ones that have their share, and the one that sent
    let connections = postfix.log().matches(": connect from ").count();
    assert!(connections <= 4, "{connections} connections:\n{}", postfix.log());
    drop((held, waiting));
    drop(daemon);
}

#[test]
fn a_silent_client_gives_its_connection_back_and_takes_another() {
    let limits = "limits = { next_hop_connections = 1, next_hop_idle_timeout = \"500ms\" }";
    let Some(site) = site(limits) else { return };
    let postfix = Postfix::start(&site.gate, BEHIND.into(), TAKEN).unwrap();
    let daemon = site.serve(&["--no-xdp"]);
    // each waits until the other's connection is given back
    let (mut first, mut second) = (quiet(&site, SENDER), quiet(&site, SENDER));
    deliver(&mut second);
    assert_eq!(first.say("DATA").unwrap().code, 354);
    // within the message, too
    first.write(b"Subject: a\r\n\r\n").unwrap();
    assert_eq!(rcpt_again(&mut second), "250 2.1.5 Ok");
    assert!(first.message("b\n").unwrap().last().starts_with("250 2.0.0 Ok: queued as "));
    deliver(&mut second);
    assert_eq!(postfix.messages().unwrap().len(), 3);
    let (_, log) = daemon.stop().unwrap();
    assert!(warnings(&log).is_empty(), "{log}");
}

fn rcpt_again(client: &mut Client) -> String {
    client.say("MAIL FROM:<a@sender.example>").unwrap();
    client.say("RCPT TO:<user@contoso.com>").unwrap().unnamed().to_owned()
}

#[test]
fn a_trusted_source_finds_a_connection_when_others_have_all_that_they_may() {
    let limits = "limits = { next_hop_connections = 2, next_hop_idle_timeout = \"1h\" }";
    let Some(site) = site(limits) else { return };
    site.sixgate("trust add 2001:db8:51::7");
    let postfix = Postfix::start(&site.gate, BEHIND.into(), TAKEN).unwrap();
    let daemon = site.serve(&["--no-xdp"]);
    let _quiet = quiet(&site, SENDER);
    let mut trusted = quiet(&site, "2001:db8:51::7");
    deliver(&mut trusted);
    assert_eq!(postfix.messages().unwrap().len(), 1);
    drop(daemon);
}
