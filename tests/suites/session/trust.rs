//! Trust by certificate: a sender without reverse DNS and without SPF, regardless of the XDP
//! program's knowledge of it.

use std::{fs, sync::Arc};

use rcgen::ExtendedKeyUsagePurpose;
use rustls::ClientConfig;
use sixgate_tests::{
    certs::{Authority, Pair},
    gate::Need,
    site::{GATE, INTERFACE, OTHER, Site},
};

use crate::{can_run, site_with_tls, start_tls};

/// An address without reverse DNS.
const NAMELESS: &str = "2001:db8:51::240";
const NO_PTR: &str =
    "450 4.7.25 Service unavailable, sending IPv6 address [2001:db8:51::240] must have reverse DNS record.";

/// Who there is.
struct Parties {
    site: Site,
    partner: Arc<ClientConfig>,
    stranger: Arc<ClientConfig>,
    nobody: Arc<ClientConfig>,
}

fn parties(settings: &str) -> Parties {
    let (site, gate) = site_with_tls(&format!("xdp.interfaces = [\"{INTERFACE}\"]\n{settings}"));
    let (partners, strangers) = (Authority::new("partners"), Authority::new("strangers"));
    fs::write(site.folder().join("partners.pem"), partners.pem()).unwrap();
    let shows = |authority: &Authority| gate.client(Some(&authority.issue("mail.partner.example"))).unwrap();
    Parties {
        partner: shows(&partners),
        stranger: shows(&strangers),
        nobody: gate.client(None).unwrap(),
        site,
    }
}

impl Parties {
    /// Sets who is trusted, beside their authority: a part of a TOML table.
    fn trusting(mut self, more: &str) -> Self {
        let ca = self.site.folder().join("partners.pem");
        let trust = format!("tls.client_trust = {{ ca = {ca:?}{more} }}");
        self.site = self.site.configured(&trust);
        self
    }

    /// The reply that NAMELESS gets to RCPT, after a handshake with this certificate or in the
    /// clear, and to the message if it gets that far.
    fn send(&self, config: Option<&Arc<ClientConfig>>, to: &str) -> String {
        let mut client = self.site.connect(NAMELESS, GATE);
        match config {
            Some(config) => start_tls(&mut client, config),
            None => drop(client.reply().unwrap()),
        }
        client.say("EHLO mail.partner.example").unwrap();
        assert_eq!(client.say("MAIL FROM:<a@unproven.example>").unwrap().code, 250);
        let reply = client.say(&format!("RCPT TO:<{to}>")).unwrap();
        if reply.code != 250 {
            return reply.last().to_owned();
        }
        client.say("DATA").unwrap();
        client.message("Subject: trusted\r\n\r\n").unwrap().last().to_owned()
    }
}

#[test]
fn a_certificate_spares_what_dns_would_say_and_nothing_else() {
    if !can_run(&[Need::Bpffs, Need::Xdp]) {
        return;
    }
    for answer in ["kernel", "daemon"] {
        let parties = parties(&format!("answer = {answer:?}")).trusting("");
        let daemon = parties.site.serve(&[]);
        // after the first one, DNS has answered that there is no record: every further one is
        // served nevertheless
        for (who, config) in [
            ("in the clear", None),
            ("without a certificate", Some(&parties.nobody)),
            ("a stranger", Some(&parties.stranger)),
        ] {
            assert_eq!(parties.send(config, "user@contoso.com"), NO_PTR, "{answer}: {who}");
        }
        let taken = parties.send(Some(&parties.partner), "user@contoso.com");
        assert!(taken.starts_with("250 2.0.0 Delivered"), "{answer}: {taken}");
        let foreign = parties.send(Some(&parties.partner), "user@elsewhere.example");
        assert!(
            foreign.starts_with("550 5.2.1 Service unavailable, [elsewhere.example]"),
            "{answer}: {foreign}"
        );
        assert!(daemon.wait_for_log("trusted_by=").unwrap().contains("partners.pem"));
        let delivered = daemon.wait_for_log("message outcome=\"delivered\"").unwrap();
        assert!(delivered.contains("trusted_by=\"") && delivered.contains("partners.pem"), "{delivered}");

        let mut refused = parties.site.connect(NAMELESS, OTHER);
        refused.reply().unwrap();
        let offer = refused.say("EHLO mail.partner.example").unwrap();
        assert!(!offer.lines.iter().any(|line| line.contains("STARTTLS")), "{answer}: {offer:?}");
        refused.say("MAIL FROM:<a@unproven.example>").unwrap();
        let reply = refused.say("RCPT TO:<user@contoso.com>").unwrap();
        assert!(reply.last().starts_with("550 5.2.1"), "{answer}: {reply:?}");

        assert_eq!(
            parties.site.counter("tag_no_ptr") + parties.site.counter("also_begun_no_ptr"),
            0,
            "{answer}"
        );
        let delivered = parties.site.delivered();
        let [message] = delivered.as_slice() else { panic!("{answer}: {delivered:?}") };
        assert!(message.contains("Authentication-Results: gate.example; none\r\n"), "{message}");
        assert!(message.contains(" with ESMTPS id "), "{message}");
    }
}

#[test]
fn only_the_names_that_are_listed_are_trusted() {
    if !can_run(&[Need::Bpffs, Need::Xdp]) {
        return;
    }
    for (names, wanted) in [
        ("\"mail.partner.example\"", "250"),
        ("\"other.example\", \"mail.partner.example\"", "250"),
        ("\"partner.example\"", "450 4.7.25"),
    ] {
        let parties = parties("").trusting(&format!(", names = [{names}]"));
        let _daemon = parties.site.serve(&["--no-xdp"]);
        let heard = parties.send(Some(&parties.partner), "user@contoso.com");
        assert!(heard.starts_with(wanted), "{names}: {heard}");
        assert_eq!(parties.send(Some(&parties.stranger), "user@contoso.com"), NO_PTR, "{names}");
    }
}

#[test]
fn a_certificate_that_is_not_trusted_leaves_word_why() {
    if !can_run(&[]) {
        return;
    }
    let name = "mail.partner.example";
    let (partners, strangers) = (Authority::new("partners"), Authority::new("strangers"));
    let (good, strange) = (partners.issue(name), strangers.issue(name));
    let garbage = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n".to_owned();
    let rows = [
        ("expired", partners.issue_for(name, 0, 1_000_000_000)),
        ("not_yet_valid", partners.issue_for(name, 4_000_000_000, 4_100_000_000)),
        ("wrong_usage", partners.issue_meant_for(name, ExtendedKeyUsagePurpose::CodeSigning)),
        ("unknown_authority", strange.clone()),
        ("unknown_authority", Authority::new("partners").issue(name)),
        ("unknown_authority", strangers.issue_meant_for(name, ExtendedKeyUsagePurpose::ServerAuth)),
        ("name_not_listed", partners.issue("mail.partner.example.evil.example")),
        ("key_not_held", Pair { key: strange.key, ..good.clone() }),
        ("unreadable", Pair { certificate: garbage, ..good.clone() }),
    ];
    let (site, gate) = site_with_tls("");
    let ca = site.folder().join("partners.pem");
    fs::write(&ca, partners.pem()).unwrap();
    let site = site.configured(&format!("tls.client_trust = {{ ca = {ca:?}, names = [{name:?}] }}"));
    let daemon = site.serve(&["--no-xdp"]);
    let line_about = |number: usize, shown: Option<&Pair>| {
        let source = format!("2001:db8:51::24{number:x}");
        let mut client = site.connect(&source, GATE);
        start_tls(&mut client, &gate.client(shown).unwrap());
        assert_eq!(client.say("QUIT").unwrap().code, 221);
        let line = format!("source={source} destination={GATE}}}: sixgate::session::start_tls: tls version=");
        daemon.wait_for_log(&line).unwrap()
    };
    for (number, (why, shown)) in rows.iter().enumerate() {
        let line = line_about(number, Some(shown));
        assert!(line.ends_with(&format!(" client_certificate=\"{why}\"")), "{line}");
    }
    let without = line_about(rows.len(), None);
    assert!(!without.contains("client_certificate") && !without.contains("trusted_by"), "{without}");
    let trusted = line_about(rows.len() + 1, Some(&good));
    assert!(trusted.ends_with(&format!(" trusted_by=\"{name}\"")), "{trusted}");
}

#[test]
fn what_the_kernel_knew_before_is_taken_out() {
    if !can_run(&[Need::Bpffs, Need::Xdp]) {
        return;
    }
    let parties = parties("answer = \"kernel\"");
    let daemon = parties.site.serve(&[]);
    for _ in 0..2 {
        assert_eq!(parties.send(None, "user@contoso.com"), NO_PTR);
    }
    assert_eq!(parties.site.counter("also_begun_no_ptr"), 1, "the kernel refuses it by itself");
    daemon.stop().unwrap();
    let parties = parties.trusting("");
    let _daemon = parties.site.serve(&[]);
    let taken = parties.send(Some(&parties.partner), "user@contoso.com");
    assert!(taken.starts_with("250 2.0.0 Delivered"), "{taken}");
    assert_eq!(parties.site.counter("also_begun_no_ptr"), 1);
}

#[test]
fn a_reload_that_adds_trust_takes_out_what_the_kernel_knew() {
    if !can_run(&[Need::Bpffs, Need::Xdp]) {
        return;
    }
    let parties = parties("answer = \"kernel\"");
    let _daemon = parties.site.serve(&[]);
    for _ in 0..2 {
        assert_eq!(parties.send(None, "user@contoso.com"), NO_PTR);
    }
    assert_eq!(parties.site.counter("also_begun_no_ptr"), 1, "the kernel refuses it by itself");
    let parties = parties.trusting("");
    parties.site.expect("reload", 0, &["changed: tls"]);
    let taken = parties.send(Some(&parties.partner), "user@contoso.com");
    assert!(taken.starts_with("250 2.0.0 Delivered"), "{taken}");
    assert_eq!(parties.site.counter("also_begun_no_ptr"), 1);
}
