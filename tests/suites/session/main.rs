//! Sessions of the real daemon over sockets, where the dialogs' notation does not reach: TLS, trust
//! by certificate, and the part of a session's input that arrives at the next hop.

mod administration;
mod explain;
mod health;
mod log;
mod log_limits;
mod next_hops;
mod odd_octets;
mod passed;
mod real;
mod sandbox;
mod settings;
mod shadow;
mod shadow_report;
mod smuggling;
mod taken;
mod tls;
mod trust;

use std::sync::Arc;

use rustls::ClientConfig;
use sixgate_tests::{
    certs::Authority,
    client::Client,
    gate::{self, Need},
    site::{GATE, Site},
};

/// DNS for [`sixgate_tests::site::SENDER`]: reverse DNS, and SPF for sender.example.
const ZONE: &str = "
    2001:db8:51::4 PTR mail.sender.example
    mail.sender.example AAAA 2001:db8:51::4
    sender.example TXT \"v=spf1 exists:%{l}._spf.sender.example ip6:2001:db8:51::4 -all\"
    _sender.example TXT \"v=spf1 exists:%{l}._spf.%{d} ip6:2001:db8:51::4 -all\"
";
/// The gate's name.
const NAME: &str = "gate.example";

/// A site whose gate has a certificate of the authority; GATE and contoso.com have opted in.
fn site_with_tls(settings: &str) -> (Site, Authority) {
    let authority = Authority::new("of the gate");
    let site = site(settings);
    authority.issue(NAME).install(site.folder()).unwrap();
    let folder = site.folder().display();
    let tls = format!("[tls]\ncertificate = \"{folder}/certificate.pem\"\nkey = \"{folder}/key.pem\"\n");
    (site.configured(&tls), authority)
}

/// A site where GATE and contoso.com have opted in.
fn site(settings: &str) -> Site {
    let site = Site::new(ZONE, "answer = \"daemon\"").configured(settings);
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    site
}

fn can_run(more: &[Need]) -> bool {
    gate::require(&[&[Need::Root], more].concat())
}

/// Greets and goes on encrypted; the second EHLO is not sent yet.
fn start_tls(client: &mut Client, config: &Arc<ClientConfig>) {
    client.reply().unwrap();
    let offer = client.say("EHLO mail.sender.example").unwrap();
    assert!(offer.lines.iter().any(|line| line.ends_with("STARTTLS")), "{offer:?}");
    assert_eq!(client.say("STARTTLS").unwrap().last(), "220 2.0.0 Ready to start TLS");
    client.encrypt(config, NAME).unwrap();
}
