//! Claims about a real LMTP server behind: Debian's Dovecot, by each way that leads to it.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use sixgate::nexthop::{Address, Capabilities, ClientIdentity};
use sixgate_tests::{
    dovecot::Dovecot,
    gate::{self, Need},
    netns::Netns,
};
use tokio::runtime;

use crate::{LMTP, MESSAGE, SMTP, Session, UNAVAILABLE, Way, next_hop, peer::unix};

const PLAIN: SocketAddr = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 24, 0, 0));
const PROXIED: SocketAddr = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 2424, 0, 0));

/// The reply that a sender gets to each command, and the result of the probe.
fn visit(netns: &Netns, way: Way, place: Address, commands: &[&str]) -> (Vec<String>, Option<Capabilities>) {
    netns.run(|| {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let next_hop = next_hop(way, place);
            let mut session = Session::new(&next_hop);
            let mut heard = Vec::new();
            for command in commands {
                heard.extend(session.say(command).await.map(|reply| reply.to_string()));
            }
            session.transport.close().await;
            let _ = next_hop.probe().await;
            (heard, next_hop.capabilities())
        })
    })
}

#[test]
fn dovecot_delivers_to_each_recipient_and_knows_the_client() {
    if !gate::require(&[Need::Root, Need::Dovecot]) {
        return;
    }
    let netns = Netns::new().expect("a namespace");
    let dovecot = Dovecot::start(&netns, PLAIN, PROXIED).expect("Dovecot");
    let client = |client| Way { client, ..LMTP };
    let rows = [
        ("plain", LMTP, PLAIN.into(), "from gate.example ([::1])"),
        ("socket", LMTP, unix(&dovecot.socket()), "from gate.example\n"),
        (
            "xclient",
            client(ClientIdentity::Xclient),
            PLAIN.into(),
            "from helo.sender.example ([2001:db8::1])",
        ),
        ("proxy", client(ClientIdentity::Proxy), PROXIED.into(), "from helo.sender.example ([2001:db8::1])"),
    ];
    for (name, way, place, received) in rows {
        let (one, other) = (format!("RCPT TO:<{name}@d.example>"), "RCPT TO:<other@d.example>");
        let (heard, offer) = visit(&netns, way, place, &[&one, other, "DATA", other, "DATA"]);
        let codes: Vec<&str> = heard.iter().map(|reply| &reply[..9]).collect();
        assert_eq!(codes, ["250 2.1.5", "452 4.5.3", "250 2.0.0", "250 2.1.5", "250 2.0.0"], "{heard:?}");
        let offer = offer.expect("an offer");
        assert!(offer.eight_bit_mime && !offer.smtp_utf8, "{name}: {offer:?}");
        let messages = dovecot.messages(name).expect("mail");
        let [message] = messages.as_slice() else { panic!("{name}: {messages:?}") };
        assert!(message.contains(&format!("Received: {received}")), "{name}: {message}");
        let text = String::from_utf8(MESSAGE.to_vec()).expect("a text").replace("\r\n", "\n");
        assert!(message.ends_with(&text), "{name}: {message}");
    }
    assert_eq!(dovecot.messages("other").expect("mail").len(), 4);
}

#[test]
fn dovecot_gets_no_mail_in_ways_that_it_does_not_expect() {
    if !gate::require(&[Need::Root, Need::Dovecot]) {
        return;
    }
    let netns = Netns::new().expect("a namespace");
    let _dovecot = Dovecot::start(&netns, PLAIN, PROXIED).expect("Dovecot");
    let proxy = Way { client: ClientIdentity::Proxy, ..LMTP };
    for (way, place) in [(SMTP, PLAIN), (proxy, PLAIN), (LMTP, PROXIED)] {
        let (heard, _) = visit(&netns, way, place.into(), &["RCPT TO:<b@d.example>"]);
        assert_eq!(heard, [UNAVAILABLE], "{way:?} at {place}");
    }
}
