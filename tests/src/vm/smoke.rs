//! The least that a kernel has to do: load and attach the program, refuse one session by itself, and let one reach the
//! daemon, on each kind of link.

use anyhow::{Context as _, Result, ensure};
use aya::programs::loaded_programs;

use super::report::{Case, Report};
use crate::{
    client::Client,
    scene::{Link, Responder, Scene},
    site::{GATE, OTHER, SENDER},
};

/// Tries each link.
pub(super) fn run(report: &Report) -> Result<()> {
    for (link, name) in LINKS {
        let started = Started::new(link);
        let path = match &started {
            Ok(started) => format!("{name} {}", started.mode),
            Err(_) => (*name).to_owned(),
        };
        for (script, wanted) in [("refused", Responder::Kernel), ("delivered", Responder::Daemon)] {
            let wanted = wanted.to_string();
            report.case(Case { suite: "smoke", path: &path, script, wanted: &wanted }, || {
                let started = started.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
                let answered = if script == "refused" { started.refuse() } else { started.deliver() };
                let log =
                    || format!("--- counters\n{}\n--- log\n{}", started.scene.raised(), started.daemon.log());
                answered.with_context(log)
            })?;
        }
        if let Ok(started) = started {
            if *link == Link::Card {
                facts(report, &started)?;
            }
            started.daemon.stop()?;
        }
    }
    Ok(())
}

/// A daemon that serves on a link, its program attached.
struct Started {
    // before the scene, whose program it holds
    daemon: crate::daemon::Daemon,
    scene: Scene,
    mode: &'static str,
}

impl Started {
    fn new(link: &Link) -> Result<Self> {
        let scene = Scene::new(*link, ZONE, "")?;
        scene.site.sixgate(&format!("optin add {GATE}"));
        scene.site.sixgate("domain add contoso.com");
        let daemon = scene.site.try_serve(&[])?;
        let mode = scene.mode();
        Ok(Self { daemon, scene, mode })
    }

    /// One session to an address that has not opted in; who answered it.
    fn refuse(&self) -> Result<String> {
        let mut client = self.scene.connect(SENDER, OTHER)?;
        said(client.reply()?.last(), "220 gate.example ESMTP sixgate")?;
        say(&mut client, "EHLO mail.sender.example", "250 ENHANCEDSTATUSCODES")?;
        say(&mut client, "MAIL FROM:<a@sender.example>", "250 2.1.0 Sender ok")?;
        say(&mut client, "RCPT TO:<user@contoso.com>", REFUSAL)?;
        say(&mut client, "QUIT", "221 2.0.0 gate.example closing connection")?;
        client.closed()?;
        Ok(self.scene.responder().to_string())
    }

    /// One session to an address that has opted in; who answered it.
    fn deliver(&self) -> Result<String> {
        let before = self.scene.site.counter("answer_greeting");
        let mut client = self.scene.connect(SENDER, GATE)?;
        said(client.reply()?.last(), "220 gate.example ESMTP sixgate")?;
        for line in ["EHLO mail.sender.example", "MAIL FROM:<a@sender.example>", "RCPT TO:<user@contoso.com>"]
        {
            let reply = client.say(line)?;
            ensure!(reply.code == 250, "{line}: {reply:?}");
        }
        ensure!(client.say("DATA")?.code == 354, "{}", client.transcript());
        let reply = client.message("From: a@sender.example\nSubject: one\n\nA line.\n")?;
        ensure!(reply.code == 250, "{}", client.transcript());
        ensure!(client.say("QUIT")?.code == 221, "{}", client.transcript());
        client.closed()?;
        let delivered = self.scene.site.delivered().len();
        ensure!(delivered == 1, "{delivered} messages are in the Maildir");
        let passed = self.scene.site.counter("pass_opted_in") > 0;
        let greeted = self.scene.site.counter("answer_greeting") - before;
        Ok(if passed && greeted == 0 { Responder::Daemon } else { Responder::Both }.to_string())
    }
}

fn say(client: &mut Client, line: &str, wanted: &str) -> Result<()> {
    said(client.say(line)?.last(), wanted)
}

fn said(line: &str, wanted: &str) -> Result<()> {
    ensure!(line == wanted, "replied {line:?}, has to be {wanted:?}");
    Ok(())
}

/// What the kernel knows of the program, and what the product says about it.
fn facts(report: &Report, started: &Started) -> Result<()> {
    let ours = loaded_programs()
        .filter_map(Result::ok)
        .find(|program| program.name_as_str() == Some("sixgate"))
        .context("the kernel has no program called sixgate")?;
    if let Some(count) = ours.verified_instruction_count() {
        report.fact("instructions processed by the verifier", &count.to_string())?;
    }
    let status = started.scene.site.run("status");
    report.fact("status", String::from_utf8_lossy(&status.stdout).trim_end())
}

/// In this order, so that what fails first is what matters most.
const LINKS: &[(Link, &str)] = &[
    (Link::Card, "card"),
    (Link::CardGeneric, "card"),
    (Link::Native, "veth"),
    (Link::Generic, "veth"),
    (Link::Loopback, "lo"),
];
const REFUSAL: &str = "550 5.2.1 Service unavailable, [contoso.com] does not accept email over IPv6.";
/// DNS for the usual sender: reverse DNS, and SPF for sender.example.
const ZONE: &str = "
    2001:db8:51::4 PTR mail.sender.example
    mail.sender.example AAAA 2001:db8:51::4
    sender.example TXT \"v=spf1 ip6:2001:db8:51::4 -all\"
";
