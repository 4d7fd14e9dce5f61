//! Several queues: with any of them, the answers of a session are one dialogue.

use anyhow::{Context as _, Result, ensure};
use aya::programs::XdpMode;

use super::SUITE;
use crate::{
    netns::Netns,
    site::{GATE, INTERFACE, OTHER, PEER, SENDER, Site},
    vm::{
        report::{Case, Report},
        session,
    },
    xdp_helper::Pass,
};

/// Refused sessions over a veth pair with four queues.
pub(super) fn run(report: &Report) -> Result<()> {
    let case = Case { suite: SUITE, path: "veth native, 4 queues", script: "refused", wanted: "kernel" };
    report.case(case, || {
        let site = Site::joined_by(session::ZONE, "", join);
        let settings = format!("xdp = {{ interfaces = [{INTERFACE:?}], mode = \"native\" }}");
        let site = site.configured(&settings);
        let _pass = Pass::attach(&site.outside, PEER, XdpMode::Driver)?;
        site.sixgate(&format!("optin add {GATE}"));
        let daemon = site.try_serve(&[])?;
        for number in 0..SESSIONS {
            session::refuse(site.try_connect(SENDER, OTHER)?)
                .with_context(|| format!("session {number}\n--- log\n{}", daemon.log()))?;
        }
        let greeted = site.counter("answer_greeting");
        ensure!(greeted == SESSIONS, "the program greeted {greeted} of {SESSIONS}");
        Ok("kernel".to_owned())
    })
}

fn join(gate: &Netns, outside: &Netns) -> Result<()> {
    let queues = "numtxqueues 4 numrxqueues 4";
    let peer = outside.path();
    gate.ip(&format!(
        "link add {INTERFACE} index 901 {queues} type veth peer name {PEER} index 902 {queues} netns {peer}"
    ))?;
    gate.ip(&format!("link set {INTERFACE} up"))?;
    outside.ip(&format!("link set {PEER} up")).map(drop)
}

/// From as many ports: enough for each queue.
const SESSIONS: u64 = 32;
