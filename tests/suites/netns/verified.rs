//! The message that is verified is the one that is passed on, and the bounds on the cost of
//! verification, from the sender's socket to the Maildir, the reply and the counters.

use std::fs;

use sixgate_tests::{
    client::Client,
    daemon::Daemon,
    sign::{self, ED25519_RECORD},
    site::{GATE, SENDER, Site},
};

use crate::{ZONE, can_run};

/// A gate for contoso.com without XDP. SPF of signer.example fails, its key at `s` is ED25519's,
/// the one at `silent` is not to be had.
fn site(settings: &str) -> (Site, Daemon) {
    let zone = format!(
        "{ZONE}\nsigner.example TXT \"v=spf1 -all\"\ns._domainkey.signer.example TXT {ED25519_RECORD}\n\
         silent._domainkey.signer.example FAULT timeout\nsilent.example FAULT timeout\n\
         explains.example TXT \"v=spf1 -all exp=silent.example\""
    );
    let site = Site::new(&zone, "answer = \"daemon\"");
    let file = site.folder().join("sixgate.prom");
    let site = site.configured(&format!("metrics.file = {file:?}")).configured(settings);
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    let daemon = site.serve(&["--no-xdp"]);
    (site, daemon)
}

/// Sends `message` as it is, and returns the reply to it.
fn send(site: &Site, message: &str) -> String {
    send_as(site, "mail.signer.example", "a@signer.example", message)
}

/// Likewise, as another sender.
fn send_as(site: &Site, helo: &str, from: &str, message: &str) -> String {
    let mut client: Client = site.connect(SENDER, GATE);
    client.reply().unwrap();
    for line in
        [&format!("EHLO {helo}"), &format!("MAIL FROM:<{from}>"), "RCPT TO:<user@contoso.com>", "DATA"]
    {
        assert!(client.say(line).unwrap().code < 400, "{}", client.transcript());
    }
    client.write(message.as_bytes()).unwrap();
    client.say(".").unwrap().last().to_owned()
}

fn signed(selector: &str, headers: &[&str], message: &str) -> String {
    let signer = sign::ed25519("signer.example", selector, headers);
    String::from_utf8(sign::signed(&signer, message.as_bytes())).unwrap()
}

/// How often a bound was reached, once the daemon has stopped.
fn reached(site: &Site, limit: &str) -> Option<u64> {
    let text = fs::read_to_string(site.folder().join("sixgate.prom")).unwrap();
    let name = format!("sixgate_limits_reached_total{{limit=\"{limit}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok())
}

#[test]
fn forged_results_are_verified_and_then_removed() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("hostname = \"gate.example\"");
    let rest = "From: a@signer.example\r\nSubject: results \r\n\r\n\r\n body \r\n\r\n";
    let forged = [
        "Authentication-Results: gate.example; dkim=pass header.d=bank.example\r\n",
        "authentication-results:\r\n\t(x) \"GATE.example\" 1; spf=pass\r\n",
        "Authentication-Results: other.example 2; spf=pass\r\n",
    ];
    let kept = "Authentication-Results: other.example; spf=pass\r\n";
    let message = format!("{}{kept}{}{rest}{}", forged[0], forged[1], forged[0]);
    let message = message.replacen("From:", &format!("{}From:", forged[2]), 1);
    let message = signed("s", &["From", "Subject", "Authentication-Results"], &message);

    assert!(send(&site, &message).starts_with("250 "), "{}", daemon.log());
    let (signature, _) = message.split_once(forged[0]).unwrap();
    let [whole] = &site.delivered()[..] else { panic!("{}", daemon.log()) };
    let passed_on = format!("{signature}{kept}{rest}{}", forged[0]);
    let ours = whole.strip_suffix(&passed_on).unwrap_or_else(|| panic!("{whole:?}"));
    assert!(ours.contains("dkim=pass header.d=signer.example") && ours.contains("spf=fail"), "{ours}");
    assert_eq!(ours.matches("Authentication-Results:").count(), 1, "{ours}");
}

#[test]
fn every_bound_of_dkim_that_any_sender_reaches_is_counted() {
    if !can_run() {
        return;
    }
    let (site, daemon) =
        site("dns.timeout = \"1m\"\nlimits = { verification_timeout = \"1s\", dkim_max_hashed = 100000 }");
    let message = "From: a@signer.example\r\n\r\nbody\r\n";
    let malformed = "DKIM-Signature: v=1\r\n";
    let names = format!(
        "DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=s; b=AAAA; bh=AAAA; h=from{}\r\n",
        ":x".repeat(300)
    );
    let good = signed("s", &["From"], message);
    let late = signed("silent", &["From"], message);
    let rows = [
        (format!("{}{good}", malformed.repeat(10)), "450 4.7.26 ", "dkim_signatures"),
        (format!("{names}{message}"), "450 4.7.26 ", "dkim_names"),
        (format!("{}{good}", "X: y\r\n".repeat(1001)), "450 4.7.26 ", "dkim_fields"),
        (format!("{good}{}", "0123456789\r\n".repeat(10_000)), "450 4.7.26 ", "dkim_hashing"),
        (late.clone(), "451 4.4.3 ", "dkim_time"),
        (format!("{late}\r\n"), "451 4.4.3 ", "dkim_time"),
    ];
    for (message, reply, limit) in &rows {
        let said = send(&site, message);
        assert!(said.starts_with(reply), "{limit}: {said}\n{}", daemon.log());
    }
    assert!(send(&site, &format!("{}{good}", malformed.repeat(9))).starts_with("250 "), "{}", daemon.log());
    daemon.stop().unwrap();
    for (limit, times) in
        [("dkim_signatures", 1), ("dkim_names", 1), ("dkim_fields", 1), ("dkim_hashing", 1), ("dkim_time", 2)]
    {
        assert_eq!(reached(&site, limit), Some(times), "{limit}");
    }
    assert_eq!(site.delivered().len(), 1);
}

#[test]
fn what_decides_nothing_is_not_waited_for_and_spoils_no_result() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("dns.timeout = \"1m\"\nlimits.verification_timeout = \"3s\"");
    let message = "From: a@signer.example\r\n\r\n";
    let refused = format!(
        "450 4.7.26 Service unavailable, message sent over IPv6 [{SENDER}] must pass either SPF or DKIM validation."
    );
    // SPF of the HELO identity; an explanation of a fail
    assert_eq!(send_as(&site, "mail.example", "a@explains.example", message), refused, "{}", daemon.log());
    let taken = send_as(&site, "silent.example", "a@sender.example", message);
    assert!(taken.starts_with("250 "), "{taken}\n{}", daemon.log());
    let delivered = site.delivered();
    let [whole] = &delivered[..] else { panic!("{}", daemon.log()) };
    for result in [
        "spf=pass reason=\"matched: ip6:2001:db8:51::4/128\" smtp.mailfrom=sender.example",
        "spf=temperror reason=\"evaluation took too long\" smtp.helo=silent.example",
    ] {
        assert!(whole.replace("\r\n\t", " ").contains(result), "{whole}");
    }
}
