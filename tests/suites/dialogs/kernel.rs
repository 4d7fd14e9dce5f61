//! The same scripts against the XDP program, with the senders' real TCP: those whose sessions are all refused from their
//! first packet, on every kind of link. The daemon runs, and hears of no connection.
//!
//! What each segment is answered with is the business of the suite `xdp`.

use std::{
    collections::BTreeSet,
    net::{Ipv6Addr, SocketAddrV6},
    path::PathBuf,
    sync::Mutex,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::XdpMode;
use ipnet::Ipv6Net;
use sixgate_common::refuse::Reason;
use sixgate_tests::{
    client::Client,
    dialog::{Script, Step},
    gate::{self, Need},
    site::{INTERFACE, Site},
    xdp_helper::Pass,
};

use crate::{folder, memory, play, scripts};

/// What these tests cannot do without.
pub(crate) const NEEDS: &[Need] = &[Need::Root, Need::Bpffs, Need::Xdp, Need::Program("ip")];

/// Where sender and program meet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Link {
    /// A veth pair, the program in its driver.
    Native,
    /// The same, and whoever makes the peer's program is somebody else.
    Lossy,
    /// A veth pair, the program in the network stack.
    Generic,
    /// Both on one host.
    Loopback,
}

/// A site whose program answers, and senders that reach it.
pub(crate) struct Scene {
    pub(crate) site: Site,
    link: Link,
    /// Senders that have their address.
    senders: Mutex<BTreeSet<Ipv6Addr>>,
    _peer: Option<Pass>,
}

impl Scene {
    /// A site as [`Site::new`] makes it, whose daemon will attach the program where `link` says.
    pub(crate) fn new(link: Link, zone: &str, settings: &str) -> Result<Self> {
        let (interface, mode) = match link {
            Link::Native | Link::Lossy => (INTERFACE, "native"),
            Link::Generic => (INTERFACE, "generic"),
            Link::Loopback => ("lo", "generic"),
        };
        let site = Site::new(zone, settings)
            .configured(&format!("xdp = {{ interfaces = [\"{interface}\"], mode = \"{mode}\" }}"));
        // what answers natively on a veth reaches only a peer that has a program, too
        let peer = (link == Link::Native).then(|| Pass::attach(&site.outside, OUTSIDE, XdpMode::Driver));
        if link == Link::Loopback {
            site.sixgate("guard add 2001:db8:25::/64");
        }
        Ok(Self { site, link, senders: Mutex::default(), _peer: peer.transpose()? })
    }

    /// Connects from `source` to port 25 of `destination`.
    pub(crate) fn connect(&self, source: &str, destination: &str) -> std::io::Result<Client> {
        if self.link != Link::Loopback {
            return self.site.try_connect(source, destination);
        }
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        if self.senders.lock().unwrap().insert(source) {
            self.site.gate.add_address("lo", Ipv6Net::from(source)).unwrap();
        }
        let destination = SocketAddrV6::new(destination, 25, 0, 0);
        Client::connect(Some(&self.site.gate), SocketAddrV6::new(source, 0, 0, 0), destination)
    }

    /// That the program answered `sessions` connections, and passed no SYN on to the daemon.
    pub(crate) fn answered(&self, sessions: u64) -> Result<()> {
        let count = |names: &[&str]| -> u64 { names.iter().map(|name| self.site.counter(name)).sum() };
        let (greeted, reset) = (count(&["answer_greeting"]), count(&["answer_reset"]));
        // a SYN that is answered with a reset may come again, before the reset has arrived
        let all = greeted == sessions || greeted == 0 && reset >= sessions;
        ensure!(all, "{greeted} of {sessions} sessions were greeted by the program, {reset} reset");
        let passed = count(SYNS_PASSED);
        ensure!(passed == 0, "{passed} SYN(s) were passed on");
        Ok(())
    }
}

#[test]
fn what_is_refused_over_veth_in_the_driver() {
    run_all(Link::Native);
}

#[test]
fn what_is_refused_over_veth_in_the_stack() {
    run_all(Link::Generic);
}

#[test]
fn what_is_refused_on_one_host() {
    run_all(Link::Loopback);
}

/// Runs every script whose sessions are all refused from the first packet, and names those that did not go as written.
fn run_all(link: Link) {
    if !gate::require(NEEDS) {
        return;
    }
    let scripts: Vec<(PathBuf, Script, Vec<Reason>)> = ["promise", "styles", "refused"]
        .iter()
        .flat_map(|name| scripts(&folder(name)))
        .filter_map(|path| {
            let script = Script::read(&path).unwrap();
            let refusals: Option<Vec<Reason>> = memory::refusals(&script).unwrap().into_iter().collect();
            Some((path, script, refusals?))
        })
        .collect();
    assert!(scripts.len() >= SCRIPTS_LEAST, "only {} scripts", scripts.len());
    let failed: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = scripts
            .iter()
            .map(|(path, script, refusals)| {
                scope.spawn(move || run(link, script, refusals).with_context(|| path.display().to_string()))
            })
            .collect();
        let ended = running.into_iter().map(|run| run.join().expect("a script panicked"));
        ended.filter_map(Result::err).map(|error| format!("{error:#}")).collect()
    });
    assert!(failed.is_empty(), "{} of {} failed:\n\n{}", failed.len(), scripts.len(), failed.join("\n\n"));
}

fn run(link: Link, script: &Script, refusals: &[Reason]) -> Result<()> {
    let scene = Scene::new(link, &script.zone, &script.settings)?;
    for command in &script.setup {
        scene.site.sixgate(command);
    }
    let daemon = scene.site.try_serve(&[])?;
    let connections = script.steps.iter().filter_map(|(_, step)| match step {
        Step::Connect { source, .. } => Some(source),
        _ => None,
    });
    for (source, reason) in connections.zip(refusals) {
        if *reason == Reason::NoPtr {
            scene.site.sixgate(&format!("ptr set {source} absent"));
        }
    }
    play(script, &|source, destination| scene.connect(source, destination))
        .and_then(|()| scene.answered(refusals.len() as u64))
        .with_context(|| format!("--- counters\n{}\n--- log\n{}---", raised(&scene.site), daemon.log()))?;
    daemon.stop()?;
    Ok(())
}

/// The counters that are not 0.
fn raised(site: &Site) -> String {
    let stats = site.sixgate("stats");
    let value = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    let raised = stats.lines().filter(|line| value(line).is_some_and(|value| value != "0"));
    raised.collect::<Vec<_>>().join("\n")
}

/// Counters of SYNs that the host's TCP got, and so the daemon.
const SYNS_PASSED: &[&str] = &[
    "pass_checksum",
    "pass_not_ready",
    "pass_not_ours",
    "pass_opted_in",
    "pass_trusted",
    "shadow_no_ptr",
    "shadow_not_opted_in",
    "tag_no_ptr",
    "tag_not_opted_in",
];
/// The interface of the site's outside.
pub(crate) const OUTSIDE: &str = "outside0";
/// So many scripts there are at least: none is left out by mistake.
const SCRIPTS_LEAST: usize = 14;
