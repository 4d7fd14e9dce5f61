//! Claims about a host that lacks something, or whose surroundings fail: the reply tells the sender
//! to come back later, clients that need less go on, and all is well again when the lack is over.
//!
//! The same by parts, with more cases than the real daemon could be put through: DNS in `checks`,
//! next hops in `nexthop`. docs/operating.md has the table of all faults.

mod descriptors;
mod disk;
mod dying;
mod jumps;
mod lies;
mod lifetimes;
mod restarts;
mod stops;
mod validity;

use sixgate_tests::{
    client::Client,
    site::{GATE, SENDER, Site},
};

/// A site where GATE and contoso.com have opted in; DNS answers from `zone`.
fn site(zone: &str, settings: &str) -> Site {
    let site = Site::new(zone, settings);
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    site
}

/// A site with a sender that passes every check: sender.example at SENDER.
fn honest_site(settings: &str) -> Site {
    let zone = format!(
        "{SENDER} PTR mail.sender.example\nsender.example TXT \"v=spf1 ip6:{SENDER} -all\"\n\
         mail.sender.example AAAA {SENDER}"
    );
    site(&zone, settings)
}

/// A client that has sent EHLO.
fn greeted(site: &Site, source: &str) -> Client {
    let mut client = site.connect(source, GATE);
    assert_eq!(client.reply().unwrap().code, 220);
    assert_eq!(client.say("EHLO mail.sender.example").unwrap().code, 250);
    client
}

/// Sends everything up to DATA, which has to be accepted.
fn begin_message(client: &mut Client) {
    for (command, code) in
        [("MAIL FROM:<a@sender.example>", 250), ("RCPT TO:<user@contoso.com>", 250), ("DATA", 354)]
    {
        assert_eq!(client.say(command).unwrap().code, code, "{command}: {}", client.transcript());
    }
}
