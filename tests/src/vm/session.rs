//! The two sessions that are tried everywhere: one that is refused, and one that reaches the daemon
//! and the Maildir.
//!
//! It claims nothing about who answers.

use anyhow::{Context as _, Result, ensure};

use crate::{client::Client, scene::Responder, site::Site};

/// The dialogue of a session to an address that has not opted in.
pub(super) fn refuse(mut client: Client) -> Result<()> {
    check(client.reply()?.last(), GREETING)?;
    for (command, wanted) in [
        ("EHLO mail.sender.example", "250 ENHANCEDSTATUSCODES"),
        ("MAIL FROM:<a@sender.example>", "250 2.1.0 Sender ok"),
        ("RCPT TO:<user@contoso.com>", REFUSAL),
        ("QUIT", "221 2.0.0 gate.example closing connection"),
    ] {
        check(client.say(command)?.last(), wanted).with_context(|| command.to_owned())?;
    }
    client.closed()
}

/// The dialogue of a session to an address that has opted in, with a message that is in the Maildir
/// of `site` then.
pub(super) fn deliver(mut client: Client, site: &Site) -> Result<()> {
    let before = site.delivered().len();
    check(client.reply()?.last(), GREETING)?;
    for (command, code) in [
        ("EHLO mail.sender.example", 250),
        ("MAIL FROM:<a@sender.example>", 250),
        ("RCPT TO:<user@contoso.com>", 250),
        ("DATA", 354),
    ] {
        let reply = client.say(command)?;
        ensure!(reply.code == code, "{command}: {reply:?}");
    }
    let reply = client.message("From: a@sender.example\nSubject: one\n\nA line.\n")?;
    ensure!(reply.code == 250, "the message: {reply:?}");
    ensure!(client.say("QUIT")?.code == 221, "{}", client.transcript());
    client.closed()?;
    let delivered = site.delivered().len() - before;
    ensure!(delivered == 1, "{delivered} messages came into the Maildir");
    Ok(())
}

/// The side that answers refused sessions, from `status`: the daemon only for a reason, of the
/// whole or of an interface.
pub(super) fn announced(site: &Site) -> Result<Responder> {
    let status: serde_json::Value =
        serde_json::from_slice(&site.run("status --json").stdout).context("status is no JSON")?;
    let interfaces = status["interfaces"].as_array().map(Vec::as_slice).unwrap_or_default();
    let reasoned = !status["answer_fallback"].is_null()
        || interfaces.iter().any(|interface| !interface["fallback"].is_null());
    Ok(if reasoned { Responder::Daemon } else { Responder::Kernel })
}

fn check(line: &str, wanted: &str) -> Result<()> {
    ensure!(line == wanted, "the reply is {line:?}, not {wanted:?}");
    Ok(())
}

const GREETING: &str = "220 gate.example ESMTP sixgate";
const REFUSAL: &str = "550 5.2.1 Service unavailable, [contoso.com] does not accept email over IPv6.";
/// DNS for the usual sender, and for the one in a VLAN: reverse DNS, and SPF for sender.example.
pub(super) const ZONE: &str = "
    2001:db8:51::4 PTR mail.sender.example
    2001:db8:26::4 PTR mail.sender.example
    mail.sender.example AAAA 2001:db8:51::4
    mail.sender.example AAAA 2001:db8:26::4
    sender.example TXT \"v=spf1 ip6:2001:db8:51::4 ip6:2001:db8:26::4 -all\"
";
