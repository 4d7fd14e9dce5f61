//! Messages that prove nothing, and why their senders are told apart: bounces, and keys that are
//! being tested.

use std::fs;

use sixgate_tests::{
    client::Client,
    gate::{self, Need},
    sign::{self, ED25519_RECORD},
    site::{GATE, SENDER, Site},
};

use crate::ZONE;

/// Sends `message` with the reverse-path `from`, and returns the reply to it.
fn send(site: &Site, from: &str, message: &str) -> String {
    let mut client: Client = site.connect(SENDER, GATE);
    client.reply().unwrap();
    let mail = format!("MAIL FROM:<{from}>");
    for line in ["EHLO mail.sender.example", &mail, "RCPT TO:<user@contoso.com>", "DATA"] {
        assert!(client.say(line).unwrap().code < 400, "{}", client.transcript());
    }
    client.write(message.as_bytes()).unwrap();
    client.say(".").unwrap().last().to_owned()
}

#[test]
fn bounces_and_test_keys_are_counted_apart_and_bounces_get_a_5xx() {
    const PLAIN: &str = "From: a@signer.example\r\n\r\nHello.\r\n";
    if !gate::require(&[Need::Root]) {
        return;
    }
    let testing = ED25519_RECORD.replacen("v=DKIM1;", "v=DKIM1; t=y;", 1);
    assert_ne!(testing, ED25519_RECORD);
    let zone = format!(
        "{ZONE}\nsigner.example TXT \"v=spf1 -all\"\ntest._domainkey.signer.example TXT {testing}\n\
         s._domainkey.signer.example TXT {ED25519_RECORD}"
    );
    let site = Site::new(&zone, "");
    let file = site.folder().join("sixgate.prom");
    let site = site.configured(&format!("metrics.file = {file:?}"));
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    let signed = |selector| {
        let signer = sign::ed25519("signer.example", selector, &["From"]);
        String::from_utf8(sign::signed(&signer, PLAIN.as_bytes())).unwrap()
    };
    let mut site = site;
    for (permanent, refused) in [("", "450 4.7.26 "), ("\"not_authenticated\"", "550 5.7.26 ")] {
        site = site.configured(&format!("permanent_refusals = [{permanent}]"));
        let site = &site;
        let daemon = site.serve(&["--no-xdp"]);
        assert!(send(site, "a@signer.example", PLAIN).starts_with(refused));
        assert!(send(site, "", PLAIN).starts_with(refused));
        assert!(send(site, "a@signer.example", &signed("test")).starts_with("450 4.7.26 "));
        assert!(send(site, "", &signed("test")).starts_with("450 4.7.26 "));
        // another signature is enough
        assert!(send(site, "", &signed("s")).starts_with("250 "), "{}", daemon.log());
        for (outcome, count) in [("not_authenticated", 1), ("null_sender", 1), ("testing_key", 2)] {
            daemon.wait_for_lines(&format!("outcome=\"{outcome}\""), count).unwrap();
        }
        daemon.stop().unwrap();
        let counters = fs::read_to_string(&file).unwrap();
        for (outcome, count) in [("not_authenticated", 1), ("null_sender", 1), ("testing_key", 2)] {
            let line = format!("sixgate_messages_total{{outcome=\"{outcome}\"}} {count}\n");
            assert!(counters.contains(&line), "{line}{counters}");
        }
    }
}
