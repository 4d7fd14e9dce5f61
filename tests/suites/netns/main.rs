//! Real senders in one namespace, the gate with its XDP program in another: every row of the
//! promise, and what happens to it while things change.
//!
//! Letters and rows that need no XDP program are the business of the suite `dialogs`.

mod behind;
mod changes;
mod commands;
mod crowd;
mod dns;
mod doctor;
mod doctor_facts;
mod ends;
mod faults;
mod first;
mod hop;
mod identity;
mod interfaces;
mod kills;
mod members;
mod messages;
mod other_pins;
mod promise;
mod ptr;
mod relay;
mod reload;
mod rights;
mod seen;
mod setup;
mod shadow;
mod spray;
mod styles;
mod trace;
mod trust;
mod unproven;
mod upgrade;
mod verified;

use sixgate_tests::{
    daemon::Daemon,
    gate::{self, Need},
    site::{GATE, INTERFACE, Site},
};

/// DNS for [`sixgate_tests::site::SENDER`]: reverse DNS, and SPF for sender.example.
const ZONE: &str = "
    2001:db8:51::4 PTR mail.sender.example
    mail.sender.example AAAA 2001:db8:51::4
    sender.example TXT \"v=spf1 ip6:2001:db8:51::4 -all\"
";

/// What these tests cannot do without.
fn can_run() -> bool {
    gate::require(&[Need::Root, Need::Bpffs, Need::Xdp, Need::Program("swaks")])
}

/// A site whose gate has the program on its interface; GATE and contoso.com have opted in. The
/// daemon answers, unless `settings` name another responder.
fn site(settings: &str) -> (Site, Daemon) {
    let site = Site::new(ZONE, "answer = \"daemon\"")
        .configured(settings)
        .configured(&format!("xdp.interfaces = [\"{INTERFACE}\"]"));
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    let daemon = site.serve(&[]);
    (site, daemon)
}

/// What swaks needs to send an ordinary message from sender.example.
const ORDINARY: &[&str] =
    &["--helo", "mail.sender.example", "--from", "a@sender.example", "--to", "user@contoso.com"];
