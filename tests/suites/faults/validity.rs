//! What holds from one date to another, signatures and certificates: it is judged by the time of
//! day as it is then, and by nothing that was seen before.

use mail_auth::dkim::Canonicalization;
use sixgate_tests::{
    certs::Authority,
    client::Client,
    clock::{WallClock, seconds_since_1970},
    gate,
    sign::{self, ByHand, ED25519_RECORD},
    site::SENDER,
};

use crate::{
    greeted, honest_site,
    jumps::{NEEDS, YEAR},
    site,
};

const HOUR: i64 = 60 * 60;
/// SPF of signer.example fails: its signature decides.
const NEITHER: &str = "450 4.7.26 Service unavailable, message sent over IPv6 [2001:db8:51::4] must pass either SPF or DKIM validation.";

#[test]
fn a_signature_counts_in_its_period_after_any_jump_of_the_clock() {
    if !gate::require(NEEDS) {
        return;
    }
    let clock = WallClock::new().unwrap();
    let zone = format!(
        "{SENDER} PTR mail.signer.example\nmail.signer.example AAAA {SENDER}\n\
         signer.example TXT \"v=spf1 -all\"\ns._domainkey.signer.example TXT {ED25519_RECORD}"
    );
    let site = site(&zone, "");
    let daemon = site.serve_by(&clock, &["--no-xdp"]);
    let now = seconds_since_1970();
    let dated = signed(&format!(" t={now}; x={};", now + HOUR));
    let expires = signed(&format!(" x={};", now + HOUR));
    let undated = signed("");
    // jumps within one session, and what becomes of each signature then
    let mut client = greeted(&site, SENDER);
    let mut taken = 0;
    for (offset, of_dated, of_expiring) in [
        (0, true, true),
        (10 * YEAR, false, false),
        (0, true, true),
        (-10 * YEAR, false, true),
        (-now, false, true),
        (0, true, true),
        (-4 * 60, true, true),
        (-10 * 60, false, true),
        (HOUR - 5 * 60, true, true),
        (HOUR + 60, false, false),
        (0, true, true),
    ] {
        for (message, passes) in [(&dated, of_dated), (&expires, of_expiring), (&undated, true)] {
            let said = send(&mut client, message, || clock.jump(offset).unwrap());
            let as_wanted = if passes { said.starts_with("250 2.0.0 ") } else { said == NEITHER };
            assert!(as_wanted, "{offset} s: {said}\n{message}{}", daemon.log());
            taken += usize::from(passes);
        }
    }
    for reason in ["signature expired", "t= is in the future"] {
        daemon.wait_for_log(reason).unwrap();
    }
    assert_eq!(site.delivered().len(), taken);
}

/// A message with a signature that has these tags beside what it needs.
fn signed(times: &str) -> String {
    let field = format!(
        "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=signer.example; s=s;{times} h=from; bh={{bh}}; b={{b}}\r\n"
    );
    let by_hand = ByHand {
        field: &field,
        header: "from:a@signer.example\r\n",
        body: "body\r\n",
        canonicalization: Canonicalization::Relaxed,
    };
    by_hand.sign(&sign::ed25519_key()) + "From: a@signer.example\r\n\r\nbody\r\n"
}

/// Sends `message`; `within` runs when half of it was sent.
fn send(client: &mut Client, message: &str, within: impl FnOnce()) -> String {
    for line in ["MAIL FROM:<a@signer.example>", "RCPT TO:<user@contoso.com>", "DATA"] {
        assert!(client.say(line).unwrap().code < 400, "{}", client.transcript());
    }
    let (half, rest) = message.split_at(message.len() / 2);
    client.write(half.as_bytes()).unwrap();
    within();
    client.write(rest.as_bytes()).unwrap();
    client.say(".").unwrap().last().to_owned()
}

#[test]
fn a_certificate_counts_while_it_is_valid_and_is_renewed_at_any_time() {
    if !gate::require(NEEDS) {
        return;
    }
    let clock = WallClock::new().unwrap();
    let (gate, partners) = (Authority::new("of the gate"), Authority::new("partners"));
    let site = site("", "");
    gate.issue("first.example").install(site.folder()).unwrap();
    let path = |name: &str| site.folder().join(name);
    std::fs::write(path("partners.pem"), partners.pem()).unwrap();
    let tls = format!(
        "[tls]\ncertificate = {:?}\nkey = {:?}\nclient_trust.ca = {:?}\n",
        path("certificate.pem"),
        path("key.pem"),
        path("partners.pem")
    );
    let site = site.configured(&tls);
    let daemon = site.serve_by(&clock, &["--no-xdp"]);
    let now = seconds_since_1970();
    let partner = partners.issue_for("mail.partner.example", now - 24 * HOUR, now + YEAR);
    let config = gate.client(Some(&partner)).unwrap();
    let mut name = "first.example".to_owned();
    for (number, (offset, trusted)) in [
        (0, true),
        (10 * YEAR, false),
        (0, true),
        (-10 * YEAR, false),
        (-now, false),
        (100 * YEAR, false),
        (0, true),
    ]
    .into_iter()
    .enumerate()
    {
        // it jumps between greeting and handshake
        let mut client = greeted(&site, SENDER);
        clock.jump(offset).unwrap();
        assert_eq!(client.say("STARTTLS").unwrap().code, 220);
        client.encrypt(&config, &name).unwrap();
        client.say("EHLO mail.partner.example").unwrap();
        client.say("MAIL FROM:<a@unproven.example>").unwrap();
        let said = client.say("RCPT TO:<user@contoso.com>").unwrap();
        let wanted = if trusted { "250 2.1.5 " } else { "450 4.7.25 " };
        assert!(said.last().starts_with(wanted), "{offset} s: {said:?}");
        name = format!("renewed{number}.example");
        gate.issue(&name).install(site.folder()).unwrap();
    }
    let (status, log) = daemon.stop().unwrap();
    assert!(status.success() && !log.contains("panicked"), "{log}");
}

#[test]
fn a_certificate_of_ours_that_ends_soon_is_warned_of_once_when_it_is_read() {
    if !gate::require(NEEDS) {
        return;
    }
    let authority = Authority::new("of the gate");
    let site = honest_site("");
    let now = seconds_since_1970();
    let folder = site.folder().to_owned();
    let install = |until| authority.issue_for("gate.example", now - YEAR, until).install(&folder).unwrap();
    install(now + 6 * 24 * HOUR);
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| folder.join(name));
    let site = site.configured(&format!("tls = {{ certificate = {certificate:?}, key = {key:?} }}"));
    let daemon = site.serve(&["--no-xdp"]);
    daemon.wait_for_log(&format!("our certificate {} expires at ", certificate.display())).unwrap();
    // each handshake looks at the file
    let shake = || {
        let mut client = greeted(&site, SENDER);
        assert_eq!(client.say("STARTTLS").unwrap().code, 220);
        let _ = client.encrypt(&authority.client(None).unwrap(), "gate.example");
    };
    shake();
    install(now - HOUR);
    shake();
    daemon.wait_for_log(&format!("our certificate {} expired at ", certificate.display())).unwrap();
    shake();
    install(now + 8 * 24 * HOUR);
    shake();
    let (status, log) = daemon.stop().unwrap();
    assert!(status.success() && !log.contains("panicked"), "{log}");
    assert_eq!(log.matches("our certificate").count(), 2, "{log}");
}
