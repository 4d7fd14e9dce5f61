//! Attempts to send through sixgate to somewhere else: none reaches the next hop, from no client.
//! Shadow mode is the business of the suite `session`.

use sixgate_tests::site::{GATE, SENDER, Site};

use crate::{can_run, site};

/// Recipients that are not contoso.com's, or ask a server behind to send further.
const FOREIGN: &[&str] = &[
    "<user@fabrikam.example>",
    "<user@contoso.com.fabrikam.example>",
    "<user@notcontoso.com>",
    "<user@sub.contoso.com>",
    "<user%fabrikam.example@contoso.com>",
    "<fabrikam.example!user@contoso.com>",
    "<user@fabrikam.example@contoso.com>",
    "<\"user@fabrikam.example\"@contoso.com>",
    "<@contoso.com:user@fabrikam.example>",
    "<@fabrikam.example:user@fabrikam.example>",
    "<user@[2001:db8:25::25]>",
    "<user@[IPv6:2001:db8:25::25]>",
    "<user@[127.0.0.1]>",
    "<user@localhost>",
    "<user@contoso.com,user@fabrikam.example>",
    "<user@contoso.com> <user@fabrikam.example>",
    "<user@contoso.com\t@fabrikam.example>",
    "<user>",
    "<>",
];

#[test]
fn an_ordinary_sender_cannot_relay() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("");
    assert_refused(&site, SENDER);
}

#[test]
fn a_trusted_source_cannot_relay() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("");
    site.sixgate("trust add 2001:db8:51::7");
    assert_refused(&site, "2001:db8:51::7");
}

fn assert_refused(site: &Site, source: &str) {
    for recipient in FOREIGN {
        let mut client = site.connect(source, GATE);
        client.reply().unwrap();
        client.say("EHLO mail.sender.example").unwrap();
        assert_eq!(client.say("MAIL FROM:<a@sender.example>").unwrap().code, 250);
        let refused = client.say(&format!("RCPT TO:{recipient}")).unwrap();
        assert!((500..600).contains(&refused.code), "{recipient}: {}", client.transcript());
        assert_eq!(client.say("DATA").unwrap().code, 554, "{recipient}: {}", client.transcript());
    }
    assert!(site.delivered().is_empty());
}
