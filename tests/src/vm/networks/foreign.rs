//! Frames for other hosts and for groups, which a promiscuous card or a flooded network brings:
//! no program on this host answers them.

use std::{io::ErrorKind, net::SocketAddrV6, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use super::SUITE;
use crate::{
    scene::{Link, Scene},
    site::{GATE, INTERFACE, OTHER, PEER, SENDER},
    vm::{
        explained,
        report::{Case, Report},
        session,
    },
};

/// Tries each link.
pub(super) fn run(report: &Report) -> Result<()> {
    for (link, name) in
        [(Link::Card, "card"), (Link::CardGeneric, "card"), (Link::Native, "veth"), (Link::Generic, "veth")]
    {
        let scene = Scene::new(link, session::ZONE, "")?;
        scene.site.sixgate(&format!("optin add {GATE}"));
        let daemon = scene.site.try_serve(&[])?;
        scene.site.gate.ip(&format!("link set dev {INTERFACE} promisc on"))?;
        let path = format!("{name} {}", scene.mode());
        for (script, address) in FOREIGN {
            report.case(Case { suite: SUITE, path: &path, script, wanted: "none" }, || {
                let log = || format!("--- counters\n{}\n--- log\n{}", scene.raised(), daemon.log());
                explained(try_address(&scene, address), log)
            })?;
        }
        daemon.stop()?;
    }
    Ok(())
}

/// A connection whose frames go to `address`; before it, one that is answered.
fn try_address(scene: &Scene, address: &str) -> Result<String> {
    let neighbour = |arguments: &str| scene.site.outside.ip(&format!("-6 neighbor {arguments} dev {PEER}"));
    session::refuse(scene.connect(SENDER, OTHER)?)?;
    let answers = |scene: &Scene| scene.site.counter("answer_syn") + scene.site.counter("answer_reset");
    let (answered, seen) = (answers(scene), seen(scene)?);
    neighbour(&format!("replace {OTHER} lladdr {address} nud permanent"))?;
    let connected = scene.site.outside.run(|| -> Result<bool> {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&SocketAddrV6::new(SENDER.parse()?, 0, 0, 0).into())?;
        match socket.connect_timeout(&SocketAddrV6::new(OTHER.parse()?, 25, 0, 0).into(), PATIENCE) {
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(false),
            Ok(()) => Ok(true),
            Err(error) => bail!("the connection was answered: {error}"),
        }
    });
    neighbour(&format!("delete {OTHER}"))?;
    ensure!(!connected?, "the connection was taken");
    ensure!(answers(scene) == answered, "the program answered");
    ensure!(self::seen(scene)? > seen, "the frames did not reach the program");
    Ok("none".to_owned())
}

/// All that the program has counted.
fn seen(scene: &Scene) -> Result<u64> {
    let stats: serde_json::Value = serde_json::from_str(&scene.site.sixgate("stats --json"))?;
    let counters = stats["counters"].as_array().context("stats have no counters")?;
    Ok(counters.iter().filter_map(|counter| counter["value"].as_u64()).sum())
}

/// Longer than a SYN takes to be sent again, twice.
const PATIENCE: Duration = Duration::from_secs(5);
const FOREIGN: &[(&str, &str)] =
    &[("another host's address", "02:00:00:00:00:77"), ("a group's address", "33:33:00:00:00:99")];
