//! What the mail server behind the gate does to us rather than to senders: it does not take our mail, it was never
//! reached, it is ourselves, it has few connections.

use std::fs;

use sixgate_tests::{
    certs::Authority,
    postfix::Postfix,
    site::{GATE, SENDER, Site},
};

use crate::{
    ORDINARY,
    behind::{BEHIND, PLAIN, TAKEN, with_server},
};

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
    daemon.wait_for_log(&format!("the next hop is not usable yet: {words}")).unwrap();
    let sent = site.swaks(SENDER, GATE, ORDINARY);
    assert!(sent.output.contains(&format!("<** {UNAVAILABLE}")), "{}", sent.output);
    let line = daemon.wait_for_log("mail cannot be handed on").unwrap();
    assert!(line.contains(" WARN ") && line.contains(words), "{line}");
}
