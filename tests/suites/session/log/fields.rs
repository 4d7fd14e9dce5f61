//! The fields of a line of the log beside its event: sender, recipients, Message-ID, reply,
//! signature, trusted prefix, the next hop's offer.
//!
//! Which events have a line is the business of [`super`].

use std::fs;

use sixgate_tests::{
    sign,
    site::{GATE, Site},
};

use super::{begin, connect, serve};
use crate::{
    can_run,
    next_hops::{Kind, NextHop},
    site,
};

#[test]
fn whose_refusal_a_recipient_got_is_logged() {
    if !can_run(&[]) {
        return;
    }
    let (refused, taken) = ("recipient refused by the next hop", "recipient deferred");
    let (lmtp, _hop) = NextHop::start(Kind::LmtpTcp, site(""));
    let unreachable = site("").configured("next_hop = { smtp = \"[::1]:9\" }");
    // it answered before
    let offer = "{\"next_hop\": \"[::1]:9\", \"protocol\": \"smtp\", \"client\": \"none\", \
                 \"eight_bit_mime\": true, \"smtp_utf8\": true, \"size\": null}";
    fs::write(unreachable.folder().join("next-hop.json"), offer).unwrap();
    for (site, recipients, code) in [(unreachable, 1, "451 4.4.1 "), (lmtp, 2, "452 4.5.3 ")] {
        let (site, daemon) = serve(site);
        let mut client = begin(&site, "a");
        let replies = (0..recipients).map(|_| client.say("RCPT TO:<user@contoso.com>").unwrap());
        assert!(replies.last().is_some_and(|reply| reply.last().starts_with(code)), "{code}");
        let line = daemon.wait_for_log(taken).unwrap();
        assert!(line.contains(&format!("reply=\"{code}")), "{line}");
        assert!(!daemon.log().contains(refused), "{}", daemon.log());
    }
}

/// In text and in JSON, of what is refused at each step, and of what shadow mode passes on: MAIL's
/// address, the recipients, Message-ID and the reply.
#[test]
fn sender_recipient_message_id_and_reply_find_each_refusal() {
    if !can_run(&[]) {
        return;
    }
    let id = "<1@mail.sender.example>";
    let header = format!("Subject: x\r\nMessage-ID:\r\n {id}\r\n");
    let rcpt = "RCPT TO:<user@contoso.com>\r\nRCPT TO:<other@contoso.com>\r\n";
    let long = format!("{rcpt}DATA\r\n{header}\r\n{}\r\n.\r\n", "x".repeat(999));
    let both = "user@contoso.com, other@contoso.com";
    // the commands after MAIL, the line, its `recipient`, its `to`, whether it has a Message-ID,
    // and the reply
    type Case<'a> = (&'a str, String, &'a str, &'a str, &'a str, bool, &'a str);
    let enforced: Vec<Case<'_>> = vec![
        ("line", long.clone(), "message", "", both, true, "550 5.6.0 A line of the message is too long"),
        (
            "chunk",
            format!("{rcpt}BDAT {}\r\n{header}BDAT 300001\r\n{}", header.len(), "x".repeat(300_001)),
            "message",
            "",
            both,
            true,
            "552 5.3.4 Message size exceeds fixed limit",
        ),
        (
            "bare",
            format!("{rcpt}DATA\r\n{header}\r\n\n"),
            "session ended",
            "",
            both,
            true,
            "550 5.6.0 Lines end with <CRLF>",
        ),
        (
            "address",
            "RCPT TO:<a b\u{1}@contoso.com>\r\n".to_owned(),
            "command refused",
            "a b\u{1}@contoso.com",
            "",
            false,
            "501 5.1.3 ",
        ),
        (
            "third",
            format!("{rcpt}RCPT TO:<third@contoso.com>\r\nRCPT TO:<{}@contoso.com> X\r\n", "x".repeat(200)),
            "command refused",
            "third@contoso.com",
            "",
            false,
            "452 4.5.3 Too many recipients",
        ),
        ("proof", format!("{rcpt}DATA\r\n{header}\r\n.\r\n"), "message", "", both, true, "450 4.7.26 "),
    ];
    let shadowed: Vec<Case<'_>> = vec![
        (
            "line",
            long,
            "enforce would have refused",
            "",
            both,
            true,
            "550 5.6.0 A line of the message is too long",
        ),
        (
            "domain",
            "RCPT TO:<user@fabrikam.example>\r\n".to_owned(),
            "enforce would have refused",
            "user@fabrikam.example",
            "",
            false,
            "550 5.2.1 ",
        ),
        (
            "proof",
            format!("{rcpt}DATA\r\n{header}\r\n.\r\n"),
            "enforce would have refused",
            "",
            both,
            true,
            "450 4.7.26 ",
        ),
    ];
    for (mode, cases) in [("enforce", &enforced), ("shadow", &shadowed)] {
        for format in ["text", "json"] {
            let settings = format!(
                "mode = \"{mode}\"\nlog.format = \"{format}\"\n[limits]\nline_length = 998\nrecipients = 2\n\
                 message_size = 300000"
            );
            let (site, daemon) = serve(site(&settings));
            for (name, said, event, recipient, to, has_id, reply) in cases {
                // no SPF record, so that the message fails for want of a proof
                let sender = format!("{name}@unproven.example");
                let mut client = connect(&site);
                client.say(&format!("MAIL FROM:<{sender}>")).unwrap();
                client.write(said.as_bytes()).unwrap();
                // the first line that names the sender
                let line = daemon.wait_for_log(&sender).unwrap();
                assert!(line.contains(event) && line.contains(reply), "{mode} {name}: {line}");
                let id = if *has_id { id } else { "" };
                for (field, value) in [("recipient", *recipient), ("to", *to), ("message_id", id)] {
                    let shown = if format == "json" {
                        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
                        assert!(line["spans"].is_null() && line["span"]["id"].is_string(), "{line}");
                        line["fields"][field].as_str().unwrap_or_default() == value
                    } else {
                        let is_there = line.contains(&format!(" {field}="));
                        is_there != value.is_empty()
                            && (!is_there || line.contains(&format!(" {field}={value:?}")))
                    };
                    assert!(shown, "{mode} {name}: {field}={value:?} in\n{line}");
                }
            }
            if mode == "enforce" {
                daemon.wait_for_log(&format!("{}[...]", "x".repeat(95))).unwrap();
            }
        }
    }
}

#[test]
fn what_a_signature_lacks_is_reported_with_its_selector_and_algorithm() {
    if !can_run(&[]) {
        return;
    }
    let zone = "mail.sender.example AAAA 2001:db8:51::4\n2001:db8:51::4 PTR mail.sender.example\n\
                sender.example TXT \"v=spf1 ip6:2001:db8:51::4 -all\"\n\
                bad._domainkey.signer.example TXT \"v=DKIM1; k=ed25519\"\n\
                other._domainkey.signer.example TXT \"v=spf1 -all\"";
    let site = Site::new(zone, "answer = \"daemon\"");
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    let (site, daemon) = serve(site);
    for (selector, reason) in [
        ("none", "no key record"),
        ("bad", "key record without usable key: no p="),
        ("other", "TXT records, but no key record"),
    ] {
        let signer = sign::ed25519("signer.example", selector, &["From"]);
        let message = sign::signed(&signer, b"From: a@signer.example\r\n\r\nx\r\n");
        let mut client = begin(&site, "a");
        client.say("RCPT TO:<user@contoso.com>").unwrap();
        client.say("DATA").unwrap();
        client.write(&message).unwrap();
        assert_eq!(client.say(".").unwrap().code, 250, "{}", client.transcript());
        let wanted = format!("dkim=\"permerror signer.example s={selector} a=ed25519-sha256 ({reason})\"");
        daemon.wait_for_log(&wanted).unwrap();
        let results = site.delivered().concat();
        let signed = format!("dkim=permerror reason=\"{reason}\"");
        assert!(results.contains(&signed), "{results}");
    }
}

#[test]
fn the_line_of_a_trusted_sender_names_its_prefix() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    site.sixgate("trust add 2001:db8:51::/64");
    let (site, daemon) = serve(site);
    let mut client = begin(&site, "a");
    client.say("RCPT TO:<user@elsewhere.example>").unwrap();
    client.say("RCPT TO:<user@contoso.com>").unwrap();
    client.say("DATA").unwrap();
    assert_eq!(client.message("Subject: x\n\nx\n").unwrap().code, 250);
    for event in ["recipient refused recipient=\"user@elsewhere.example\"", "message outcome=\"delivered\""] {
        let line = daemon.wait_for_log(event).unwrap();
        assert!(line.contains("trusted_by=\"2001:db8:51::/64\""), "{line}");
    }
}

#[test]
fn what_the_next_hop_offers_is_logged_in_its_own_keywords() {
    if !can_run(&[]) {
        return;
    }
    let (site, _hop) = NextHop::start(Kind::SmtpTcp, site(""));
    let (_site, daemon) = serve(site);
    let line = daemon.wait_for_log("the next hop's offer is known").unwrap();
    assert!(line.contains("capabilities=\"8BITMIME SMTPUTF8\""), "{line}");
}
