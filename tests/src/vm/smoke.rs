//! The least that a kernel has to do: load and attach the program, refuse one session by itself,
//! and let one reach the daemon, on each kind of link.

use std::fs;

use anyhow::{Context as _, Result};
use aya::programs::loaded_programs;

use super::{
    explained,
    report::{Case, Report},
    session::{self, ZONE},
};
use crate::{
    daemon::Daemon,
    scene::{Link, Responder, Scene},
    site::{GATE, OTHER, SENDER},
    trace::Trace,
};

/// Tries each link.
pub(super) fn run(report: &Report) -> Result<()> {
    for (link, name) in LINKS {
        let started = Started::new(link);
        let path = match &started {
            Ok(started) if !name.ends_with(started.mode) => format!("{name}: {}", started.mode),
            _ => (*name).to_owned(),
        };
        let refused_by = started.as_ref().map_or(Responder::Kernel, Started::refused_by);
        for (script, wanted) in [("refused", refused_by), ("delivered", Responder::Daemon)] {
            let wanted = wanted.to_string();
            report.case(Case { suite: "smoke", path: &path, script, wanted: &wanted }, || {
                let started = started.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
                let answered = if script == "refused" { started.refuse() } else { started.deliver() };
                let log =
                    || format!("--- counters\n{}\n--- log\n{}", started.scene.raised(), started.daemon.log());
                explained(answered, log)
            })?;
        }
        if let Ok(started) = started {
            if *link == Link::Card {
                let wanted = Case { suite: "smoke", path: &path, script: "traced", wanted: "traced" };
                report.case(wanted, || {
                    explained(started.trace(), || format!("--- log\n{}", started.daemon.log()))
                })?;
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
    daemon: Daemon,
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

    /// Who has to answer refused sessions: the program; on a kernel with PREEMPT_RT the daemon, if
    /// `status` names a reason.
    fn refused_by(&self) -> Responder {
        let real_time = fs::read_to_string("/sys/kernel/realtime").is_ok_and(|text| text.trim() == "1");
        let announced = session::announced(&self.scene.site).unwrap_or(Responder::Kernel);
        if real_time { announced } else { Responder::Kernel }
    }

    /// A session to an address that has not opted in; who answered it.
    fn refuse(&self) -> Result<String> {
        session::refuse(self.scene.connect(SENDER, OTHER)?)?;
        Ok(self.scene.responder().to_string())
    }

    /// A session to an address that has not opted in, while the program is traced.
    fn trace(&self) -> Result<String> {
        let trace = Trace::start(&self.scene.site, &format!("--source {SENDER}"))?;
        session::refuse(self.scene.connect(SENDER, OTHER)?)?;
        trace.wait_for(" SYN seq ")?;
        trace.kill()?;
        self.daemon.wait_for_log("the XDP program is no longer traced")?;
        session::refuse(self.scene.connect(SENDER, OTHER)?)?;
        Ok("traced".to_owned())
    }

    /// A session to an address that has opted in; who answered it.
    fn deliver(&self) -> Result<String> {
        let before = self.scene.site.counter("answer_greeting");
        session::deliver(self.scene.connect(SENDER, GATE)?, &self.scene.site)?;
        let passed = self.scene.site.counter("pass_opted_in") > 0;
        let greeted = self.scene.site.counter("answer_greeting") - before;
        Ok(if passed && greeted == 0 { Responder::Daemon } else { Responder::Both }.to_string())
    }
}

/// The kernel's facts about the program, and the product's report on it.
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
    (Link::Card, "card, auto"),
    (Link::CardGeneric, "card, generic"),
    (Link::Native, "veth, native"),
    (Link::Generic, "veth, generic"),
    (Link::Loopback, "lo, generic"),
];
