//! A session that the daemon has accepted is never taken over by the program: it ends as it began,
//! regardless of changes to the maps meanwhile.

use sixgate_tests::{
    client::Client,
    gate,
    scene::{Link, Scene},
    site::{GATE, SENDER, Site},
};

use crate::kernel::NEEDS;

/// DNS for the usual sender: reverse DNS, and SPF for sender.example.
pub(crate) const ZONE: &str = "
    2001:db8:51::4 PTR mail.sender.example
    mail.sender.example AAAA 2001:db8:51::4
    sender.example TXT \"v=spf1 ip6:2001:db8:51::4 -all\"
";

/// Sends one message that has to be delivered.
pub(crate) fn deliver(site: &Site, number: u64) {
    let mut client = begin(site);
    finish(&mut client, number);
}

/// A session to an address that has opted in, its recipient accepted.
fn begin(site: &Site) -> Client {
    let mut client = site.connect(SENDER, GATE);
    assert_eq!(client.reply().unwrap().code, 220);
    for line in ["EHLO mail.sender.example", "MAIL FROM:<a@sender.example>", "RCPT TO:<user@contoso.com>"] {
        let reply = client.say(line).unwrap();
        assert_eq!(reply.code, 250, "{}", client.transcript());
    }
    client
}

/// The rest of it: the message, and QUIT.
fn finish(client: &mut Client, number: u64) {
    assert_eq!(client.say("DATA").unwrap().code, 354);
    let message = format!("From: a@sender.example\nSubject: number {number}\n\nA line.\n");
    assert_eq!(client.message(&message).unwrap().code, 250, "{}", client.transcript());
    assert_eq!(client.say("QUIT").unwrap().code, 221);
    client.closed().unwrap();
}

/// The reply that a new session of the same sender gets to RCPT.
fn refused(site: &Site) -> String {
    let mut client = site.connect(SENDER, GATE);
    assert_eq!(client.reply().unwrap().code, 220);
    for line in ["HELO mail.sender.example", "MAIL FROM:<a@sender.example>"] {
        assert_eq!(client.say(line).unwrap().code, 250);
    }
    let reply = client.say("RCPT TO:<user@contoso.com>").unwrap();
    client.say("QUIT").unwrap();
    reply.last().to_owned()
}

#[test]
fn an_accepted_session_ends_as_it_began_and_the_next_one_is_the_kernels() {
    if !gate::require(NEEDS) {
        return;
    }
    for link in [Link::Native, Link::Generic] {
        let scene = Scene::new(link, ZONE, "").unwrap();
        let site = &scene.site;
        site.sixgate(&format!("optin add {GATE}"));
        site.sixgate("domain add contoso.com");
        let daemon = site.serve(&[]);
        let mut clients = [begin(site), begin(site)];

        site.sixgate(&format!("ptr set {SENDER} absent"));
        let wanted = format!(
            "450 4.7.25 Service unavailable, sending IPv6 address [{SENDER}] must have reverse DNS record."
        );
        assert_eq!(refused(site), wanted);
        finish(&mut clients[0], 1);
        site.sixgate(&format!("optin remove --allow-empty {GATE}"));
        let wanted = "550 5.2.1 Service unavailable, [contoso.com] does not accept email over IPv6.";
        assert_eq!(refused(site), wanted);
        finish(&mut clients[1], 2);

        assert_eq!(site.counter("pass_opted_in"), 2);
        assert_eq!(site.counter("answer_greeting"), 2);
        assert_eq!(site.delivered().len(), 2);
        daemon.stop().unwrap();
    }
}
