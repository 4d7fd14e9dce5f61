//! Mail that a Postfix behind the gate takes is not refused for good: the same commands are sent to
//! the gate and to the Postfix behind it, and what the gate passes on is read there as it was read
//! here.

use std::net::{Ipv6Addr, SocketAddrV6};

use sixgate_tests::{
    client::Client,
    daemon::Daemon,
    gate::Need,
    postfix::Postfix,
    site::{GATE, SENDER, Site},
};

use crate::{
    can_run,
    next_hops::{Kind, NextHop},
    site,
};

const BEHIND: SocketAddrV6 = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 10025, 0, 0);
const FROM: &str = "MAIL FROM:<a@sender.example>";
const TO: &str = "RCPT TO:<user@contoso.com>";

/// Commands to which the gate replies as Postfix does: both take them, or both refuse them.
const ALIKE: &[&[&str]] = &[
    &["MAIL FROM:a@sender.example", TO],
    &["MAIL FROM: a@sender.example SIZE=10", TO],
    &["MAIL FROM: <a@sender.example>", TO],
    &["MAIL FROM:<a@sender.example> ", TO],
    &["mail from:<a@sender.example>", TO],
    &["MAIL  FROM:<a@sender.example>", TO],
    &["MAIL FROM :<a@sender.example>", TO],
    &["MAIL\tFROM:<a@sender.example>", TO],
    &["MAIL FROM:\t<a@sender.example>\tSIZE=10", TO],
    &["MAIL FROM:<a@sender.example>SIZE=10", TO],
    &["MAIL FROM:<>SIZE=10", TO],
    &["MAIL FROM:<a@sender.example>;", TO],
    &["MAIL FROM:a@sender.example>", TO],
    &["MAIL FROM:<<a@sender.example>>", TO],
    &["MAIL FROM:<a@sender.example", TO],
    &["MAIL FROM:< a@sender.example >", TO],
    &["MAIL FROM:Joe <a@sender.example>", TO],
    &["MAIL FROM:<a@sender.example> (comment)", TO],
    &["MAIL FROM:<a@sen_der.example>", TO],
    &["MAIL FROM:<a@_sender.example>", TO],
    &["MAIL FROM:<a@-sender.example>", TO],
    &["MAIL FROM:<a@sender.example.>", TO],
    &["MAIL FROM:<a@sender.example..>", TO],
    &["MAIL FROM:<a@sender..example>", TO],
    &["MAIL FROM:<a@.sender.example>", TO],
    &["MAIL FROM:<a@sender>", TO],
    &["MAIL FROM:<a@>", TO],
    &["MAIL FROM:<a..b@sender.example>", TO],
    &["MAIL FROM:<a.@sender.example>", TO],
    &["MAIL FROM:<.a@sender.example>", TO],
    &["MAIL FROM:<MAILER-DAEMON>", TO],
    &["MAIL FROM:MAILER-DAEMON", TO],
    &["MAIL FROM:<\"\"@sender.example>", TO],
    &["MAIL FROM:<\"a b\"@sender.example>", TO],
    &["MAIL FROM:\"a b\"@sender.example", TO],
    &["MAIL FROM:<a b@sender.example>", TO],
    &["MAIL FROM:<a,b@sender.example>", TO],
    &["MAIL FROM:<a;b@sender.example>", TO],
    &["MAIL FROM:<a@[192.0.2.1]>", TO],
    &["MAIL FROM:<a@[IPv6:2001:db8::1]>", TO],
    &["MAIL FROM:<a@[nonsense]>", TO],
    &["MAIL FROM:<a@b.example> SIZE=0", TO],
    &["MAIL FROM:<a@b.example> SIZE=", TO],
    &["MAIL FROM:<a@b.example> SIZE=1 SIZE=2", TO],
    &["MAIL FROM:<a@b.example> SIZE=-1", TO],
    &["MAIL FROM:<a@b.example> SIZE=9999999999", TO],
    &["MAIL FROM:<a@b.example> BODY=8BITMIME", TO],
    &["MAIL FROM:<a@b.example> body=7bit BODY=8BITMIME", TO],
    &["MAIL FROM:<a@b.example> BODY=BINARYMIME", TO],
    &["MAIL FROM:<a@b.example> SMTPUTF8 SMTPUTF8", TO],
    &["MAIL FROM:<a@b.example> SMTPUTF8=1", TO],
    &["MAIL FROM:<a@b.example> AUTH=<>", TO],
    &["MAIL FROM:<a@b.example> FROB=1", TO],
    &["MAIL FROM:<a@b.example> REQUIRETLS", TO],
    &["MAIL FROM:", TO],
    &["MAIL", TO],
    &["MAIL a@sender.example", TO],
    &["MAIL FROM: <> SIZE=10", TO],
    &["MAIL FROM:< >", TO],
    &[" MAIL FROM:<a@b.example>", TO],
    &[TO],
    &[FROM, "DATA"],
    &[FROM, FROM],
    &[FROM, "RCPT TO:user@contoso.com"],
    &[FROM, "RCPT TO: <user@contoso.com> "],
    &[FROM, "RCPT TO : <user@contoso.com>"],
    &[FROM, "RCPT TO:<user@contoso.com.>"],
    &[FROM, "RCPT TO:<user@CONTOSO.com>"],
    &[FROM, "RCPT TO:<user@con_toso.com>"],
    &[FROM, "RCPT TO:<a..b@contoso.com>"],
    &[FROM, "RCPT TO:<.a@contoso.com>"],
    &[FROM, "RCPT TO:<a.@contoso.com>"],
    &[FROM, "RCPT TO:<-user@contoso.com>"],
    &[FROM, "RCPT TO:<user>"],
    &[FROM, "RCPT TO:postmaster"],
    &[FROM, "RCPT TO:<\"postmaster\">"],
    &[FROM, "RCPT TO:<<user@contoso.com>>"],
    &[FROM, "RCPT TO:user@contoso.com>"],
    &[FROM, "RCPT TO:<user@contoso.com>;"],
    &[FROM, "RCPT TO:<\"user\"@contoso.com>"],
    &[FROM, "RCPT TO:<>"],
    &[FROM, "RCPT TO:<user@contoso.com> FROB"],
    &[FROM, "RCPT TO:<@relay.example:user@contoso.com>"],
    &[FROM, "RCPT TO:<user@contoso.com>, <v@contoso.com>"],
    &[FROM, "RCPT TO:<user%other.example@contoso.com>"],
    &[FROM, "RCPT TO:<other.example!user@contoso.com>"],
    &[FROM, "RCPT TO:<\"user@other.example\"@contoso.com>"],
    &["EHLO"],
    &["HELO "],
    &["EHLO mail .example"],
    &["EHLO m\u{e4}il.example"],
    &["EHLO\tmail.example"],
    &["EHLO [192.0.2.1]"],
    &["EHLO (x)"],
    &["HELO a b"],
    &["  NOOP x"],
    &["RSET x"],
    &["QUIT x"],
    &["FROB"],
    &[""],
    &[FROM, TO, "DATA x"],
    &[FROM, TO, " DATA "],
    &[FROM, TO, "EHLO x.example", TO],
];

/// Commands that the gate refuses although Postfix takes them; docs/policy.md has the reasons.
const REFUSED: &[&[&str]] = &[
    // another server could read it otherwise
    &["MAIL FROM:<a:b@sender.example>"],
    &["MAIL FROM:<a(b)@sender.example>"],
    &["MAIL FROM:<a\\@b@sender.example>"],
    &["MAIL FROM:<a@b@sender.example>"],
    &["MAIL FROM:<\"a\".b@sender.example>"],
    &["MAIL FROM:<a @ sender.example>"],
    &["MAIL FROM:(c)<a@sender.example>"],
    &["MAIL FROM:<a@ sender.example>"],
    // control characters
    &["MAIL FROM:<a\x01b@sender.example>"],
    &["MAIL FROM:<\"a\tb\"@sender.example>"],
    &["MAIL FROM:<@sender.example>"],
    &[FROM, "RCPT TO:<user(x)@contoso.com>"],
    // RFC 6531 3.5
    &["MAIL FROM:<\u{fc}@sender.example>"],
    &[FROM, "RCPT TO:<\u{fc}@contoso.com>"],
    // extensions that are not offered
    &["MAIL FROM:<a@sender.example> RET=HDRS"],
    &["MAIL FROM:<a@sender.example> ENVID=x"],
    &[FROM, "RCPT TO:<user@contoso.com> NOTIFY=NEVER"],
    &[FROM, "RCPT TO:<user@contoso.com> ORCPT=rfc822;user@contoso.com"],
];

#[test]
fn what_postfix_takes_is_taken() {
    let Some((site, _postfix, _daemon)) = in_front_of_postfix("") else { return };
    let long = format!("MAIL FROM:<{}@sender.example>", "x".repeat(230));
    let long_recipient = format!("RCPT TO:<{}@contoso.com>", "x".repeat(230));
    let umlauts = format!("MAIL FROM:<{}@sender.example> SMTPUTF8", "\u{fc}".repeat(40));
    let long = [&[long.as_str(), TO][..], &[FROM, &long_recipient], &[&umlauts, TO]];
    for commands in ALIKE.iter().chain(&long) {
        let (ours, theirs) = (classes(gate(&site), commands), classes(behind(&site), commands));
        assert_eq!(ours, theirs, "{commands:?}");
    }
    for commands in REFUSED {
        let (ours, theirs) = (classes(gate(&site), commands), classes(behind(&site), commands));
        assert!(ours.ends_with('5') && theirs.ends_with('2'), "{commands:?}: {ours} and {theirs}");
    }
}

/// Postfix shows local parts with empty atoms in quotes.
#[test]
fn the_next_hop_reads_addresses_as_the_gate_does() {
    let Some((site, postfix, _daemon)) = in_front_of_postfix("") else { return };
    let long = format!("{}@sender.example", "x".repeat(230));
    let long_recipient = format!("{}@contoso.com", "y".repeat(230));
    let rows = [
        ("a@sender.example", "u1@contoso.com", "a@sender.example", "u1@contoso.com"),
        ("<a@_sender.example>", "<u2@contoso.com.>", "a@_sender.example", "u2@contoso.com"),
        ("<a@sender.example.>", "< u3@contoso.com >", "a@sender.example", "u3@contoso.com"),
        ("<a..b@sender.example>", "<u..4@contoso.com>", "\"a..b\"@sender.example", "\"u..4\"@contoso.com"),
        ("<<a@sender.example>>", "u6@contoso.com>", "a@sender.example", "u6@contoso.com"),
        ("<a@sender.example>;", "<u7@contoso.com>;", "a@sender.example", "u7@contoso.com"),
        ("\"a b\"@sender.example", "<.u5@contoso.com>", "\"a b\"@sender.example", "\".u5\"@contoso.com"),
        (&format!("<{long}>"), &format!("<{long_recipient}>"), &long, &long_recipient),
    ];
    for (from, to, from_behind, to_behind) in rows {
        let mut client = gate(&site);
        client.say("EHLO mail.sender.example").unwrap();
        for command in [format!("MAIL FROM:{from}"), format!("RCPT TO:{to}")] {
            assert_eq!(client.say(&command).unwrap().code, 250, "{}", client.transcript());
        }
        client.say("DATA").unwrap();
        assert_eq!(client.message("Subject: x\n\nx\n").unwrap().code, 250, "{}", client.transcript());
        postfix.wait_for_log(&format!("from=<{from_behind}> to=<{to_behind}> proto=ESMTP")).unwrap();
    }
}

/// `%` and `!` are letters like others to a next hop that judges every domain itself.
#[test]
fn a_local_part_with_a_route_goes_to_a_next_hop_that_checks_domains() {
    let Some((site, _postfix, _daemon)) = in_front_of_postfix("domains = \"all\"") else { return };
    for recipient in
        ["user%other.example@contoso.com", "other.example!user@contoso.com", "user@other.example"]
    {
        let mut client = gate(&site);
        for command in ["EHLO mail.sender.example", FROM] {
            client.say(command).unwrap();
        }
        let reply = client.say(&format!("RCPT TO:<{recipient}>")).unwrap();
        assert!(reply.last().contains("Relay access denied"), "{}", client.transcript());
    }
}

/// RFC 5322 2.1.1: a receiver does well to take longer lines than it may send.
#[test]
fn a_long_line_is_taken_and_arrives_as_it_was_said() {
    if !can_run(&[]) {
        return;
    }
    let (site, next_hop) = NextHop::start(Kind::SmtpTcp, site(""));
    let _daemon = site.serve(&["--no-xdp"]);
    for (octets, code) in [(10_000, 250), (10_001, 550)] {
        let mut client = gate(&site);
        for command in ["EHLO mail.sender.example", FROM, TO, "DATA"] {
            client.say(command).unwrap();
        }
        client.write(format!("Subject: a\r\n\r\n{}\r\n", "x".repeat(octets)).as_bytes()).unwrap();
        assert_eq!(client.say(".").unwrap().code, code, "{octets}");
    }
    let wanted = format!("Subject: a\r\n\r\n{}\r\n", "x".repeat(10_000));
    assert_eq!(next_hop.messages(&site), [wanted.into_bytes()]);
}

/// SPF has nothing to look at then (RFC 7208 4.3): such a sender has to be proved by DKIM.
#[test]
fn a_sender_without_a_domain_never_passes_spf() {
    let Some((site, postfix, daemon)) = in_front_of_postfix("") else { return };
    for from in ["<MAILER-DAEMON>", "<\"a@sender.example\">", "<a@[IPv6:2001:db8:51::4]>", "a"] {
        let mut client = gate(&site);
        client.say("EHLO mail.sender.example").unwrap();
        assert_eq!(client.say(&format!("MAIL FROM:{from}")).unwrap().code, 250, "{}", client.transcript());
        client.say(TO).unwrap();
        client.say("DATA").unwrap();
        let reply = client.message("Subject: x\n\nx\n").unwrap();
        assert!(reply.last().starts_with("450 4.7.26 "), "{}", client.transcript());
    }
    assert_eq!(postfix.messages().unwrap(), Vec::<String>::new());
    let (_, log) = daemon.stop().unwrap();
    assert_eq!(log.matches("spf=\"none (").count(), 4, "{log}");
}

/// Postfix behind a gate that tells it the client; the domain contoso.com is its own.
fn in_front_of_postfix(settings: &str) -> Option<(Site, Postfix, Daemon)> {
    if !can_run(&[Need::Postfix]) {
        return None;
    }
    let site = site(settings).configured("next_hop = { smtp = \"[::1]:10025\", client = \"xclient\" }");
    let settings = "virtual_mailbox_domains = contoso.com\nsmtpd_authorized_xclient_hosts = [::1]";
    let postfix = Postfix::start(&site.gate, BEHIND.into(), settings).unwrap();
    let daemon = site.serve(&["--no-xdp"]);
    Some((site, postfix, daemon))
}

fn gate(site: &Site) -> Client {
    greeted(site.connect(SENDER, GATE))
}

fn behind(site: &Site) -> Client {
    let source = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0);
    greeted(Client::connect(Some(&site.gate), source, BEHIND).unwrap())
}

fn greeted(mut client: Client) -> Client {
    client.reply().unwrap();
    client
}

/// The first digits of the replies to `commands`, after EHLO.
fn classes(mut client: Client, commands: &[&str]) -> String {
    client.say("EHLO mail.sender.example").unwrap();
    let replies = commands.iter().map(|command| client.say(command).unwrap());
    replies.map(|reply| char::from_digit(u32::from(reply.code / 100), 10).unwrap()).collect()
}
